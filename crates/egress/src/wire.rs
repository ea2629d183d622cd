//! Heads of HTTP/1 messages: lines up to an empty one. Whatever two programs could read differently
//! is refused here.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Why there is no head.
#[derive(Debug)]
pub enum HeadError {
    /// The other end has closed, or the connection broke.
    Closed(io::Error),
    /// It cannot be one; why, in a sentence without its end.
    Bad(String),
}

/// Reads up to the empty line, and nothing that comes after it. Lines end in CR LF and in nothing
/// else, and there are no other control characters.
pub async fn read_head<R: AsyncBufRead + Unpin>(
    reader: &mut R,
    bytes_max: usize,
) -> Result<Vec<u8>, HeadError> {
    let bad = |why: &str| Err(HeadError::Bad(why.into()));
    let mut head: Vec<u8> = vec![];
    loop {
        let come = reader.fill_buf().await.map_err(HeadError::Closed)?;
        if come.is_empty() {
            return Err(HeadError::Closed(io::ErrorKind::UnexpectedEof.into()));
        }
        for (at, &byte) in come.iter().enumerate() {
            if (byte == b'\n') != (head.last() == Some(&b'\r')) {
                return bad("its lines do not end in CR LF");
            }
            if head.is_empty() && byte == b'\r' {
                return bad("it begins with an empty line");
            }
            if byte.is_ascii_control() && !b"\t\r\n".contains(&byte) {
                return bad("it is not HTTP/1");
            }
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") {
                reader.consume(at + 1);
                return Ok(head);
            }
            if head.len() >= bytes_max {
                return Err(HeadError::Bad(format!("its head is longer than {bytes_max} bytes")));
            }
        }
        let all = come.len();
        reader.consume(all);
    }
}

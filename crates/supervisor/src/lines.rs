//! What `up` and the supervisor say to each other, line by line; a line has a longest length.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// The lines that come.
pub struct Lines<R> {
    reader: BufReader<R>,
    /// What has come of the next.
    line: Vec<u8>,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most so many bytes.
    pub fn new(reader: R, bytes_max: usize) -> Lines<R> {
        Lines { reader: BufReader::new(reader), line: vec![], bytes_max }
    }

    /// The next line, without its end; `None` when no more comes. To give up waiting loses nothing.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let room = (self.bytes_max + 1).saturating_sub(self.line.len()) as u64;
        (&mut self.reader).take(room).read_until(b'\n', &mut self.line).await?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > self.bytes_max {
            let text = format!("a line is longer than {} bytes", self.bytes_max);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        } else if self.line.is_empty() {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.line)))
    }
}

#[cfg(test)]
mod tests;

//! Bodies on their way. A chunked body is read and written anew, so that both ends see the same
//! chunks.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::activity::{Activity, Direction};

/// The longest line between chunks, and the longest trailer, in bytes.
const LINE_BYTES_MAX: u64 = 4096;

/// Where a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked,
    /// With the connection.
    UntilEnd,
}

/// Which end of a relay failed.
#[derive(Debug)]
pub enum Broken {
    /// The one that is read.
    Source(io::Error),
    /// The one that is written.
    Sink(io::Error),
}

/// Passes a body on, and counts its bytes.
pub async fn relay<R, W>(
    body: Body,
    from: &mut R,
    to: &mut W,
    counted: (&Activity, Direction),
) -> Result<(), Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match body {
        Body::None => Ok(()),
        Body::Length(bytes) => pass(Some(bytes), from, to, counted).await,
        Body::UntilEnd => pass(None, from, to, counted).await,
        Body::Chunked => chunks(from, to, counted).await,
    }
}

async fn pass<R, W>(
    bytes: Option<u64>,
    from: &mut R,
    to: &mut W,
    (activity, direction): (&Activity, Direction),
) -> Result<(), Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut left = bytes;
    while left != Some(0) {
        let come = from.fill_buf().await.map_err(Broken::Source)?;
        if come.is_empty() {
            return match left {
                None => Ok(()),
                Some(_) => Err(Broken::Source(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        let most = left.map_or(come.len(), |left| come.len().min(left as usize));
        let written = to.write(&come[..most]).await.map_err(Broken::Sink)?;
        if written == 0 {
            return Err(Broken::Sink(io::ErrorKind::WriteZero.into()));
        }
        from.consume(written);
        activity.carried(direction, written);
        left = left.map(|left| left - written as u64);
    }
    Ok(())
}

async fn chunks<R, W>(
    from: &mut R,
    to: &mut W,
    counted: (&Activity, Direction),
) -> Result<(), Broken>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    loop {
        let size = chunk_size(&line(from).await?)?;
        if size == 0 {
            let mut trailer_bytes = 0;
            loop {
                let trailer = line(from).await?;
                trailer_bytes += trailer.len() as u64;
                if trailer.is_empty() {
                    return to.write_all(b"0\r\n\r\n").await.map_err(Broken::Sink);
                }
                if trailer_bytes > LINE_BYTES_MAX {
                    return Err(bad("its trailer is too long"));
                }
            }
        }
        let head = format!("{size:x}\r\n");
        to.write_all(head.as_bytes()).await.map_err(Broken::Sink)?;
        pass(Some(size), from, to, counted).await?;
        if !line(from).await?.is_empty() {
            return Err(bad("a chunk is longer than it says"));
        }
        to.write_all(b"\r\n").await.map_err(Broken::Sink)?;
    }
}

/// What the line before a chunk says; what stands after a semicolon is for nobody.
fn chunk_size(line: &[u8]) -> Result<u64, Broken> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    let is_number = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or_else(|| bad("the size of a chunk is no number"))
}

/// A line, without the CR LF that it must end in.
async fn line<R: AsyncBufRead + Unpin>(from: &mut R) -> Result<Vec<u8>, Broken> {
    let mut line = vec![];
    from.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await.map_err(Broken::Source)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) if !text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => {
            Ok(text.to_vec())
        }
        None if !line.ends_with(b"\n") && (line.len() as u64) < LINE_BYTES_MAX => {
            Err(Broken::Source(io::ErrorKind::UnexpectedEof.into()))
        }
        _ => Err(bad("a line between its chunks is none")),
    }
}

fn bad(why: &str) -> Broken {
    Broken::Source(io::Error::new(io::ErrorKind::InvalidData, why))
}

#[cfg(test)]
mod tests;

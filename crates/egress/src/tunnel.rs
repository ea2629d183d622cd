//! Two connections joined: what comes from one goes to the other, and so does its end.

use std::io;

use tokio::io::{AsyncBufRead, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::activity::{Activity, Direction};
use crate::body::{Body, Broken, relay};

/// How much is read at once, in bytes.
pub const BUFFER_BYTES: usize = 16 * 1024;

/// Joins them until both have ended. When one end has nothing more to say, the other is told so and
/// may go on.
///
/// # Errors
///
/// If one of the two broke. Both are then to be broken off, not ended.
pub async fn join<R: AsyncBufRead + Unpin>(
    from_model: &mut R,
    to_model: &mut OwnedWriteHalf,
    server: TcpStream,
    activity: &Activity,
) -> io::Result<()> {
    let (from_server, mut to_server) = server.into_split();
    let mut from_server = BufReader::with_capacity(BUFFER_BYTES, from_server);
    let up = async {
        relay(Body::UntilEnd, from_model, &mut to_server, (activity, Direction::Up)).await?;
        to_server.shutdown().await.map_err(Broken::Sink)
    };
    let down = async {
        relay(Body::UntilEnd, &mut from_server, to_model, (activity, Direction::Down)).await?;
        to_model.shutdown().await.map_err(Broken::Sink)
    };
    let result = tokio::try_join!(up, down);
    match result {
        Ok(_) => Ok(()),
        Err(Broken::Source(error) | Broken::Sink(error)) => {
            reset(to_server);
            Err(error)
        }
    }
}

/// Breaks a connection off, so that what it has carried does not look whole to the other end. The
/// half that reads is then to be dropped.
pub fn reset(writer: OwnedWriteHalf) {
    let _ = writer.as_ref().set_zero_linger();
    writer.forget();
}

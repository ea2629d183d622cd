//! One request passed on, and its answer back.

use std::fmt;
use std::io;

use domain::problem::Problem;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::activity::{Activity, Direction};
use crate::answer;
use crate::body::{Broken, relay};
use crate::destination::Destination;
use crate::dial::plain;
use crate::limits::Limits;
use crate::request::Message;
use crate::response;
use crate::tunnel::BUFFER_BYTES;
use crate::wire::{HeadError, read_head};

/// What the model sends.
pub type Reader = BufReader<OwnedReadHalf>;

/// Why a connection ended otherwise than by itself.
#[derive(Debug)]
pub enum Cut {
    /// What the model sent is not what it announced; or it hung up.
    Request(io::Error),
    /// The model does not take the answer.
    Model(io::Error),
    /// The server broke off, or answered what cannot be passed on.
    Server(io::Error),
    /// One end of a tunnel broke off.
    Broken(io::Error),
    /// Nothing came for too long.
    Idle,
    /// The policy no longer allows it.
    Forbidden,
}

impl Cut {
    /// What the model is told, if it was told nothing before.
    pub fn problem(&self, destination: &Destination, limits: &Limits) -> Option<Problem> {
        match self {
            Cut::Request(error) => Some(answer::bad_request(&error.to_string())),
            Cut::Server(error) if error.kind() == io::ErrorKind::InvalidData => {
                Some(answer::broken(destination, &error.to_string()))
            }
            Cut::Server(error) => Some(answer::broken(destination, plain(error))),
            Cut::Idle => Some(answer::timed_out(destination, limits.idle_time.as_secs())),
            Cut::Forbidden => Some(answer::refused(destination)),
            Cut::Model(_) | Cut::Broken(_) => None,
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Request(error) => write!(f, "the request broke: {error}"),
            Cut::Model(error) => write!(f, "the model broke off: {error}"),
            Cut::Server(error) => write!(f, "the destination broke off: {error}"),
            Cut::Broken(error) => write!(f, "broken off: {error}"),
            Cut::Idle => f.write_str("it was idle for too long"),
            Cut::Forbidden => f.write_str("the policy was changed"),
        }
    }
}

/// Passes a request on and its answer back. The body may still be on its way when the answer comes,
/// and nobody needs the rest of it when the answer is over.
pub async fn forward(
    reader: &mut Reader,
    writer: &mut OwnedWriteHalf,
    server: TcpStream,
    message: &Message,
    (activity, limits): (&Activity, &Limits),
) -> Result<(), Cut> {
    let (from_server, mut to_server) = server.into_split();
    let mut from_server = BufReader::with_capacity(BUFFER_BYTES, from_server);
    let up = async {
        let sent = async {
            to_server.write_all(&message.head).await.map_err(Broken::Sink)?;
            activity.carried(Direction::Up, message.head.len());
            relay(message.body, reader, &mut to_server, (activity, Direction::Up)).await
        };
        match sent.await {
            Err(Broken::Source(error)) => Cut::Request(error),
            // The server may have answered before it stopped listening.
            Ok(()) | Err(Broken::Sink(_)) => Cut::Model(gone(reader).await),
        }
    };
    let down = answer_back(&mut from_server, writer, message, limits, activity);
    tokio::select! {
        biased;
        result = down => result,
        cut = up => Err(cut),
    }
}

/// Returns once the model has hung up; without this, one that gives up on a server that does not
/// answer would keep its place. What else it sends is for nobody. One that ends only its own side
/// cannot be told from that, and loses the answer.
async fn gone(reader: &mut Reader) -> io::Error {
    loop {
        match reader.fill_buf().await {
            Ok([]) => return io::Error::new(io::ErrorKind::ConnectionAborted, "it hung up"),
            Ok(more) => {
                let bytes = more.len();
                reader.consume(bytes);
            }
            Err(error) => return error,
        }
    }
}

async fn answer_back(
    from_server: &mut Reader,
    writer: &mut OwnedWriteHalf,
    message: &Message,
    limits: &Limits,
    activity: &Activity,
) -> Result<(), Cut> {
    let bad = |why: String| Cut::Server(io::Error::new(io::ErrorKind::InvalidData, why));
    loop {
        let head = match read_head(from_server, limits.head_bytes_max).await {
            Ok(head) => head,
            Err(HeadError::Closed(error)) => return Err(Cut::Server(error)),
            Err(HeadError::Bad(why)) => return Err(bad(why)),
        };
        let response = response::parse(&head, limits.fields_max, message.is_head, message.version);
        let response = response.map_err(bad)?;
        writer.write_all(&response.head).await.map_err(Cut::Model)?;
        activity.carried(Direction::Down, response.head.len());
        if response.is_interim {
            continue;
        }
        let counted = (activity, Direction::Down);
        return relay(response.body, from_server, writer, counted).await.map_err(|broken| {
            match broken {
                Broken::Source(error) => Cut::Server(error),
                Broken::Sink(error) => Cut::Model(error),
            }
        });
    }
}

//! One connection to an HTTP listener: a CONNECT, or one request that is forwarded.

use std::time::Duration;

use domain::problem::Problem;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use crate::activity::{Activity, Direction};
use crate::answer;
use crate::book::Verdict;
use crate::dial::dial;
use crate::forward::{Cut, Reader, forward};
use crate::limits::Limits;
use crate::model::{Model, Visit};
use crate::request::{self, Asked};
use crate::tunnel::{BUFFER_BYTES, join, reset};
use crate::wire::{HeadError, read_head};

/// How long it may take a client to read an answer and to close.
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How much of what it still sends is read meanwhile, in bytes.
const LINGER_BYTES: u64 = 256 * 1024;

/// Serves a connection, to its end.
pub async fn serve(stream: TcpStream, model: &Model) {
    let _ = stream.set_nodelay(true);
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let mut visit = Visit::new(model);
    let request = match hear(&mut reader, &model.limits).await {
        Ok(request) => request,
        Err(None) => return visit.decided(Verdict::Failed, None, "it asked for nothing"),
        Err(Some(problem)) => {
            visit.decided(Verdict::Refused, None, problem.message.clone());
            drop(visit);
            return say(&mut reader, &mut writer, &problem).await;
        }
    };
    visit.asks_for(&request.destination);
    let (server, address) = match dial(model, &request.destination).await {
        Ok(made) => made,
        Err(undone) => {
            visit.decided(undone.verdict, undone.address, undone.why);
            drop(visit);
            return say(&mut reader, &mut writer, &undone.problem).await;
        }
    };
    visit.decided(Verdict::Allowed, Some(address), "");
    let is_forward = matches!(request.kind, Asked::Forward { .. });
    let work = async {
        match &request.kind {
            Asked::Tunnel => tunnel(&mut reader, &mut writer, server, &visit.activity).await,
            Asked::Forward(message) => {
                let work = (&visit.activity, &*model.limits);
                forward(&mut reader, &mut writer, server, message, work).await
            }
        }
    };
    let result = tokio::select! {
        result = work => result,
        () = visit.activity.idle(model.limits.idle_time) => Err(Cut::Idle),
        () = model.forbids(&request.destination, address) => Err(Cut::Forbidden),
    };
    let Err(cut) = result else {
        return linger(&mut reader, &mut writer).await;
    };
    visit.ended(cut.to_string());
    let is_told = !is_forward || visit.activity.bytes(Direction::Down) > 0;
    drop(visit);
    let problem = if is_told { None } else { cut.problem(&request.destination, &model.limits) };
    match problem {
        Some(problem) => say(&mut reader, &mut writer, &problem).await,
        None => reset(writer),
    }
}

/// The request; or what to tell, if anybody is there to be told.
async fn hear(reader: &mut Reader, limits: &Limits) -> Result<request::Request, Option<Problem>> {
    match timeout(limits.head_time, read_head(reader, limits.head_bytes_max)).await {
        Err(_) => Err(Some(answer::slow(limits.head_time.as_secs()))),
        Ok(Err(HeadError::Closed(_))) => Err(None),
        Ok(Err(HeadError::Bad(why))) => Err(Some(answer::bad_request(&why))),
        Ok(Ok(head)) => {
            request::parse(&head, limits.fields_max).map_err(|why| Some(answer::bad_request(&why)))
        }
    }
}

async fn tunnel(
    reader: &mut Reader,
    writer: &mut OwnedWriteHalf,
    server: TcpStream,
    activity: &Activity,
) -> Result<(), Cut> {
    let answer = b"HTTP/1.1 200 Connection established\r\n\r\n";
    writer.write_all(answer).await.map_err(Cut::Model)?;
    join(reader, writer, server, activity).await.map_err(Cut::Broken)
}

/// Answers with a problem, and closes.
async fn say(reader: &mut Reader, writer: &mut OwnedWriteHalf, problem: &Problem) {
    let answer = answer::answer(problem);
    if let Ok(Ok(())) = timeout(LINGER_TIME, writer.write_all(&answer)).await {
        linger(reader, writer).await;
    }
}

/// Ends the connection once the model has read what it was told: to close while it still sends
/// would take that from it.
async fn linger(reader: &mut Reader, writer: &mut OwnedWriteHalf) {
    let _ = writer.shutdown().await;
    let mut rest = reader.take(LINGER_BYTES);
    let mut nowhere = tokio::io::sink();
    let _ = timeout(LINGER_TIME, tokio::io::copy(&mut rest, &mut nowhere)).await;
}

/// Tells a connection that there are too many.
pub async fn turn_away(stream: TcpStream, limits: &Limits) {
    let (reader, mut writer) = stream.into_split();
    let problem = answer::busy(limits.connections_max);
    say(&mut BufReader::new(reader), &mut writer, &problem).await;
}

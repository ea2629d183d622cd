//! One connection: reads a request, runs it when a slot is free and its caller still waits, writes
//! the answer.

use std::io::{self, IoSlice, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::{Code, Problem};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use protocol::oip::{InferResponse, decode_request};
use protocol::tensor::Tensor;

use super::reader::{self, Method, Reader, Refusal, Request};
use super::{Open, Shared};

/// A request that has begun, and then does not come on for so long, is given up.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer that nobody reads for so long is given up.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer up to this size is sent in one piece, copied behind its head; a larger one as it lies
/// in memory.
const COPY_BYTES_MAX: usize = 64 * 1024;
/// What is read of a request that is refused before its body, so that its caller sees the answer,
/// in bytes.
const DRAIN_BYTES_MAX: usize = 1 << 20;

/// An answer.
struct Reply {
    status: u16,
    header_bytes: Option<usize>,
    body: bytes::Bytes,
}

/// Answers requests until the caller closes the connection or the server stops.
pub fn serve(open: &Open, shared: &Shared) {
    let stream = &open.stream;
    let mut reader = Reader::new();
    let mut writer = Writer { stream, buffer: Vec::with_capacity(4 * 1024) };
    loop {
        open.idle.store(true, Ordering::SeqCst);
        let stopping = shared.is_stopping();
        if stopping {
            // Answers what has been sent already, then ends.
            let _ = stream.shutdown(std::net::Shutdown::Read);
        }
        if !reader.wait(stream) {
            return;
        }
        open.idle.store(false, Ordering::SeqCst);
        let request = reader.request(stream, || writer.go_ahead());
        let request = match request {
            Ok(request) => request,
            Err(Refusal::Closed) => return,
            Err(Refusal::Bad(status, message)) => {
                let _ =
                    writer.write(&problem(status, &Problem::new(Code::BadRequest, message)), true);
                reader::drain(stream, DRAIN_BYTES_MAX);
                return;
            }
        };
        let closes = request.closes;
        let Some(reply) = answer(request, stream, shared) else { return };
        if writer.write(&reply, closes || shared.is_stopping()).is_err() || closes {
            return;
        }
    }
}

/// `None` if the caller has withdrawn the request.
fn answer(request: Request, stream: &UnixStream, shared: &Shared) -> Option<Reply> {
    let path = request.path.split('?').next().unwrap_or_default();
    let model = path
        .strip_prefix("/v2/models/")
        .and_then(|rest| rest.strip_prefix(shared.config.model.as_str()));
    Some(match (request.method, path, model) {
        (Method::Post, _, Some("/infer")) => return infer(request, stream, shared),
        (Method::Get, "/v2/health/live" | "/v2/health/ready", _)
        | (Method::Get, _, Some("/ready")) => json("{}".into()),
        (Method::Get, _, Some("")) => json(shared.metadata.clone()),
        (Method::Get, "/v2", _) => {
            json(br#"{"name":"decalog","version":"","extensions":["binary_tensor_data"]}"#.to_vec())
        }
        (_, "/v2" | "/v2/health/live" | "/v2/health/ready", _)
        | (_, _, Some("" | "/ready" | "/infer")) => problem(
            405,
            &Problem::new(Code::BadRequest, format!("{path} does not take this method")),
        ),
        _ => {
            let message = format!("there is nothing at {path}");
            problem(
                404,
                &Problem::new(Code::BadRequest, message)
                    .help(format!("the model is at /v2/models/{}", shared.config.model)),
            )
        }
    })
}

fn infer(request: Request, stream: &UnixStream, shared: &Shared) -> Option<Reply> {
    let request = match decode_request(request.body, request.header_bytes) {
        Ok(request) => request,
        // What the decoder refuses is the caller's mistake, whatever it is called there.
        Err(bad) => return Some(problem(400, &Problem { code: Code::BadRequest, ..bad })),
    };
    let outputs = {
        let slot = shared.slots.take();
        if has_hung_up(stream) {
            return None;
        }
        (shared.infer)(slot.number, &request)
            .and_then(|outputs| check(&request.inputs, outputs, shared.config.schema.batches))
    };
    let mut response = match outputs {
        Ok(outputs) => InferResponse {
            model_name: shared.config.model.clone(),
            model_version: None,
            id: request.id.clone(),
            outputs,
        },
        Err(bad) => return Some(problem(status_of(&bad), &bad)),
    };
    if let Err(bad) = response.select(&request.outputs) {
        return Some(problem(400, &Problem { code: Code::BadRequest, ..bad }));
    }
    let (header_bytes, body) = response.encode(&request.outputs, request.binary_output);
    // Here the request ends too: outputs may lie in memory of the runtime that depends on it.
    Some(Reply { status: 200, header_bytes, body })
}

/// One output row for each input row.
fn check(inputs: &[Tensor], outputs: Vec<Tensor>, batches: bool) -> Result<Vec<Tensor>, Problem> {
    let rows = inputs.first().and_then(|input| input.shape.first());
    let wrong = outputs.iter().find(|output| batches && output.shape.first() != rows);
    match wrong {
        Some(output) => Err(Problem::new(
            Code::BadOutput,
            format!(
                "`{}` has the shape {:?} for {} rows of input",
                output.name,
                output.shape,
                rows.unwrap_or(&0)
            ),
        )
        .help("a model must give one output row for each input row")),
        None => Ok(outputs),
    }
}

fn status_of(problem: &Problem) -> u16 {
    if problem.code == Code::BadRequest { 400 } else { 500 }
}

/// Whether the caller has closed its end. One that has only finished sending still waits for its
/// answer.
fn has_hung_up(stream: &UnixStream) -> bool {
    let mut state = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let _ = nix::poll::poll(&mut state, PollTimeout::ZERO);
    state[0]
        .revents()
        .is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
}

fn json(body: Vec<u8>) -> Reply {
    Reply { status: 200, header_bytes: None, body: body.into() }
}

fn problem(status: u16, problem: &Problem) -> Reply {
    Reply {
        status,
        header_bytes: None,
        body: serde_json::to_vec(problem).unwrap_or_default().into(),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        _ => "Internal Server Error",
    }
}

/// The writing side of a connection.
struct Writer<'a> {
    stream: &'a UnixStream,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn go_ahead(&mut self) -> io::Result<()> {
        self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
    }

    /// With one system call, unless the socket's buffer is full.
    fn write(&mut self, reply: &Reply, closes: bool) -> io::Result<()> {
        let out = &mut self.buffer;
        out.clear();
        write!(out, "HTTP/1.1 {} {}\r\nContent-Type: ", reply.status, reason(reply.status))?;
        match reply.header_bytes {
            Some(length) => write!(
                out,
                "application/octet-stream\r\nInference-Header-Content-Length: {length}"
            )?,
            None => out.extend_from_slice(b"application/json"),
        }
        write!(out, "\r\nContent-Length: {}\r\n", reply.body.len())?;
        out.extend_from_slice(if closes { b"Connection: close\r\n\r\n" } else { b"\r\n" });
        if reply.body.len() <= COPY_BYTES_MAX {
            out.extend_from_slice(&reply.body);
            return self.stream.write_all(out);
        }
        let mut pieces = [IoSlice::new(out), IoSlice::new(&reply.body)];
        let mut pieces = &mut pieces[..];
        while !pieces.is_empty() {
            match self.stream.write_vectored(pieces) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut pieces, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

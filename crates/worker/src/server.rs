//! Serves a runtime written in Rust as a worker: Open Inference Protocol v2 over HTTP/1.1 on a Unix
//! socket. Blocking threads, one for each connection, as there are few of them; the model runs on
//! the connection's own thread, so that nothing is handed over. At most `concurrency` requests run
//! at a time. No model code lives here.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use domain::{Problem, Schema};
use parking_lot::{Condvar, Mutex};
use protocol::oip::{InferRequest, metadata};
use protocol::tensor::Tensor;
use serde_json::json;

mod connection;
mod reader;
mod slots;
mod termination;

pub use termination::Termination;

/// The most connections that are open at a time; one more is closed at once.
const CONNECTIONS_MAX: usize = 256;
/// Of a connection's thread, in bytes: kernels of numeric libraries put arrays there. Untouched
/// pages cost nothing.
const STACK_BYTES: usize = 8 * 1024 * 1024;
/// Asked of the kernel for each socket, which may grant less.
const SOCKET_BUFFER_BYTES: usize = 1 << 20;

/// What a worker is.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The path to bind.
    pub socket: PathBuf,
    /// The model's name, under which requests come.
    pub model: String,
    /// The protocol's name for what runs the model, such as `onnx_onnxruntime`.
    pub platform: String,
    /// The model's columns.
    pub schema: Schema,
    /// Requests that run at the same time; at least 1.
    pub concurrency: u32,
    /// Whether one more connection may carry the next request.
    pub prefetch: bool,
}

/// What runs the model: it gets the number of a slot, below `concurrency`, that no other call uses
/// at the time. Its tensors keep the leading dimension of the inputs.
type Infer = dyn Fn(usize, &InferRequest) -> Result<Vec<Tensor>, Problem> + Send + Sync;

/// A server that runs.
pub struct Server {
    shared: Arc<Shared>,
    listener: Arc<UnixListener>,
    accepting: thread::JoinHandle<()>,
}

/// What all connections share.
struct Shared {
    config: ServerConfig,
    infer: Box<Infer>,
    slots: slots::Slots,
    /// The answer to `GET /v2/models/NAME`.
    metadata: Vec<u8>,
    stopping: AtomicBool,
    open: Mutex<HashMap<u64, Arc<Open>>>,
    closed: Condvar,
}

/// One open connection.
struct Open {
    stream: UnixStream,
    /// Whether no byte of a request has come since the last answer.
    idle: AtomicBool,
}

impl Server {
    /// Binds the socket, replacing a stale one, and serves until stopped. Call it when the model is
    /// loaded: whoever can connect may take the worker for ready.
    pub fn start<F>(config: ServerConfig, infer: F) -> io::Result<Server>
    where
        F: Fn(usize, &InferRequest) -> Result<Vec<Tensor>, Problem> + Send + Sync + 'static,
    {
        match std::fs::remove_file(&config.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = Arc::new(UnixListener::bind(&config.socket)?);
        let shared = Arc::new(Shared {
            slots: slots::Slots::new(config.concurrency.max(1) as usize),
            metadata: describe(&config),
            config,
            infer: Box::new(infer),
            stopping: AtomicBool::new(false),
            open: Mutex::new(HashMap::new()),
            closed: Condvar::new(),
        });
        let accepting = {
            let (shared, listener) = (shared.clone(), listener.clone());
            thread::Builder::new()
                .name("accept".into())
                .spawn(move || accept(&listener, &shared))?
        };
        Ok(Server { shared, listener, accepting })
    }

    /// Stops accepting, lets every request that has begun finish, and returns when the last
    /// connection is closed.
    pub fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let _ = std::fs::remove_file(&self.shared.config.socket);
        // Wakes the thread that accepts.
        let _ = socket2::SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        let _ = self.accepting.join();
        let mut open = self.shared.open.lock();
        for connection in open.values() {
            if connection.idle.load(Ordering::SeqCst) {
                // What has been sent already can still be read, and is answered.
                let _ = connection.stream.shutdown(Shutdown::Read);
            }
        }
        while !open.is_empty() {
            self.shared.closed.wait(&mut open);
        }
        drop(open);
        // The last threads are about to end. The model must be freed here, and not while the
        // process exits.
        while Arc::strong_count(&self.shared) > 1 {
            thread::yield_now();
        }
    }

    /// Serves until the process is told to end, then stops.
    pub fn run_until(self, termination: &Termination) {
        termination.wait();
        self.stop();
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

fn describe(config: &ServerConfig) -> Vec<u8> {
    let mut value = metadata(&config.model, &[], &config.platform, &config.schema);
    value["decalog"] = json!({
        "schema": config.schema,
        "prefetch": config.prefetch,
        "concurrency": config.concurrency.max(1),
        "binary": true,
    });
    value.to_string().into_bytes()
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut next = 0;
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if shared.is_stopping() => return,
            Err(error) => {
                // Out of descriptors, or a caller that hung up at once: the next one may do better.
                eprintln!("a connection cannot be accepted: {error}");
                thread::sleep(std::time::Duration::from_millis(10));
                continue;
            }
        };
        next += 1;
        if let Err(error) = open(next, stream, shared) {
            eprintln!("a connection cannot be served: {error}");
        }
    }
}

/// Starts the thread of a connection; one beyond the limit is dropped, which closes it.
fn open(id: u64, stream: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    let reference = socket2::SockRef::from(&stream);
    // Best effort: without large buffers it works as well, only slower.
    let _ = reference.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = reference.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    stream.set_read_timeout(Some(connection::READ_TIMEOUT))?;
    stream.set_write_timeout(Some(connection::WRITE_TIMEOUT))?;
    let connection = Arc::new(Open { stream, idle: AtomicBool::new(true) });
    {
        let mut open = shared.open.lock();
        if open.len() >= CONNECTIONS_MAX {
            return Err(io::Error::other(format!(
                "{CONNECTIONS_MAX} are open, which is the limit"
            )));
        }
        open.insert(id, connection.clone());
    }
    let registered = Registered { id, shared: shared.clone() };
    let run = move || connection::serve(&connection, &registered.shared);
    thread::Builder::new().name("connection".into()).stack_size(STACK_BYTES).spawn(run).map(drop)
}

/// Takes the connection off the list of open ones when its thread ends, or could not be started.
struct Registered {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.open.lock().remove(&self.id);
        self.shared.closed.notify_all();
    }
}

#[cfg(test)]
mod tests;

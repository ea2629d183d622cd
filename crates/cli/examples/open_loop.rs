//! An open-loop load: so many requests a second whatever the answers do, over kept connections,
//! each answer with its version and its times. Used by the soak test, which knows what was in force
//! when.
//!
//!     open_loop ADDRESS PATH BODY RATE OUTPUT      runs until its standard input ends
//!
//! OUTPUT gets 24 bytes for each request, little-endian: sent and received (u64, µs since 1970),
//! status (u16), version (u16), failure (u16: 0 none, 1 no connection, 2 the connection broke, 3 no
//! answer in time), 2 bytes of nothing. With RATE 0 it measures instead: as many requests as 16
//! connections can carry, until standard input ends; it prints the answers per second.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

const TIMEOUT: Duration = Duration::from_secs(30);
const MEASURE_CONNECTIONS: usize = 16;

#[derive(Clone, Copy, Default)]
struct Row {
    sent_us: u64,
    received_us: u64,
    status: u16,
    version: u16,
    failure: u16,
}

struct Load {
    address: SocketAddr,
    request: Vec<u8>,
    idle: Mutex<Vec<TcpStream>>,
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Status, version, and whether the connection may be used again.
struct Head {
    status: u16,
    version: u16,
    keep: bool,
}

async fn read_answer(stream: &mut TcpStream) -> std::io::Result<Head> {
    let mut buffer = Vec::with_capacity(1024);
    loop {
        if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let value = |name: &str| {
                head.lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(|value| value.trim().to_string())
            };
            let length: usize =
                value("content-length:").and_then(|text| text.parse().ok()).unwrap_or(0);
            while buffer.len() < end + 4 + length {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            let version = value("decalog-version:")
                .and_then(|text| text.trim_start_matches('v').parse().ok());
            return Ok(Head {
                status: head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0),
                version: version.unwrap_or(0),
                keep: value("connection:").as_deref() != Some("close"),
            });
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Load {
    /// A kept connection that its other end has not closed while it was idle.
    async fn kept(&self) -> Option<TcpStream> {
        let mut idle = self.idle.lock().await;
        while let Some(stream) = idle.pop() {
            // Asked of the kernel: the runtime may not have heard of the end yet.
            let looked =
                recv(stream.as_raw_fd(), &mut [0; 1], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
            if looked == Err(Errno::EAGAIN) {
                return Some(stream);
            }
        }
        None
    }

    async fn once(&self) -> Row {
        let mut row = Row { sent_us: now_us(), ..Row::default() };
        let result = tokio::time::timeout(TIMEOUT, self.ask()).await;
        row.received_us = now_us();
        match result {
            Ok(Ok(head)) => (row.status, row.version) = (head.status, head.version),
            Ok(Err(failure)) => row.failure = failure,
            Err(_) => row.failure = 3,
        }
        row
    }

    async fn ask(&self) -> Result<Head, u16> {
        let mut stream = match self.kept().await {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await.map_err(|_| 1u16)?;
                let _ = stream.set_nodelay(true);
                stream
            }
        };
        stream.write_all(&self.request).await.map_err(|_| 2u16)?;
        let head = read_answer(&mut stream).await.map_err(|_| 2u16)?;
        if head.keep {
            self.idle.lock().await.push(stream);
        }
        Ok(head)
    }
}

async fn run(
    load: Arc<Load>,
    rate: f64,
    output: String,
    stop: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let (rows, mut receiver) = mpsc::unbounded_channel::<Row>();
    let writer = tokio::spawn(async move {
        let mut file = std::io::BufWriter::new(std::fs::File::create(output)?);
        while let Some(row) = receiver.recv().await {
            file.write_all(&row.sent_us.to_le_bytes())?;
            file.write_all(&row.received_us.to_le_bytes())?;
            for field in [row.status, row.version, row.failure, 0] {
                file.write_all(&field.to_le_bytes())?;
            }
        }
        file.flush()
    });
    let begin = tokio::time::Instant::now();
    let mut due = 0u64;
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let until = (begin.elapsed().as_secs_f64() * rate) as u64;
        for _ in due..until {
            let (load, rows) = (load.clone(), rows.clone());
            tokio::spawn(async move {
                let _ = rows.send(load.once().await);
            });
        }
        due = until;
    }
    drop(rows);
    writer.await.map_err(std::io::Error::other)?
}

async fn measure(load: Arc<Load>, stop: Arc<AtomicBool>) {
    let answered = Arc::new(AtomicU64::new(0));
    let begin = tokio::time::Instant::now();
    let tasks: Vec<_> = (0..MEASURE_CONNECTIONS)
        .map(|_| {
            let (load, stop, answered) = (load.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    answered.fetch_add((load.once().await.status == 200) as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        let _ = task.await;
    }
    println!("{:.1}", answered.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, body, rate, output] =
        words.try_into().map_err(|_| "open_loop ADDRESS PATH BODY RATE OUTPUT")?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let load = Arc::new(Load {
        address: address.parse()?,
        request: request.into_bytes(),
        idle: Mutex::default(),
    });
    let (rate, stop) = (rate.parse::<f64>()?, Arc::new(AtomicBool::new(false)));
    let told = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        told.store(true, Ordering::Relaxed);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if rate > 0.0 {
        runtime.block_on(run(load, rate, output, stop))?
    } else {
        runtime.block_on(measure(load, stop))
    }
    Ok(())
}

//! A gateway on a free port, and workers on Unix sockets that behave as a test wants.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::route::{
    Address, KnownVersion, ModelRoutes, PlacementRoute, ReplicaRoute, Route, RouteTable,
    WorkerProtocol,
};
use domain::state::default_model;
use domain::{
    Column, Datatype, Digest, EnvironmentName, Placement, ReplicaId, Schema, VersionNumber,
};
use gateway::{Entrance, Gateway, GatewayConfig, Listener, Serve, Stop};
use protocol::Tensor;
use protocol::oip::{InferResponse, decode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};

pub const LONG: Duration = Duration::from_secs(20);

/// What a worker does with each batch of `x`: it answers `y = x + add`.
pub struct Worker {
    pub add: i64,
    /// A permit lets one batch pass.
    pub gate: Arc<Semaphore>,
    /// Rows of each batch that arrived.
    pub batches: mpsc::UnboundedSender<usize>,
    pub deaths: Arc<AtomicUsize>,
}

/// Rows of this value make the model raise.
pub const RAISES: i64 = -1;
/// Rows of this value kill the worker.
pub const KILLS: i64 = -2;

pub struct Started {
    pub socket: PathBuf,
    pub gate: Arc<Semaphore>,
    pub batches: mpsc::UnboundedReceiver<usize>,
    pub deaths: Arc<AtomicUsize>,
}

/// Starts a worker; `open` lets all batches pass.
pub fn start_worker(directory: &Path, name: &str, add: i64, open: bool) -> Started {
    let socket = directory.join(format!("{name}.sock"));
    let listener = UnixListener::bind(&socket).unwrap();
    let gate = Arc::new(Semaphore::new(if open { 1_000_000 } else { 0 }));
    let deaths = Arc::new(AtomicUsize::new(0));
    let (sender, batches) = mpsc::unbounded_channel();
    let worker =
        Arc::new(Worker { add, gate: gate.clone(), batches: sender, deaths: deaths.clone() });
    let path = socket.clone();
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    connections.spawn(serve(worker.clone(), accepted.unwrap().0));
                }
                Some(ended) = connections.join_next() => {
                    if !ended.unwrap() {
                        // Death: all connections close and nobody listens any more.
                        worker.deaths.fetch_add(1, Ordering::SeqCst);
                        std::fs::remove_file(&path).unwrap();
                        return;
                    }
                }
            }
        }
    });
    Started { socket, gate, batches, deaths }
}

async fn read_request(stream: &mut UnixStream) -> Option<(usize, Bytes)> {
    let mut buffer = vec![];
    loop {
        if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let number = |name: &str| {
                head.lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map_or(0, |value| value.trim().parse::<usize>().unwrap())
            };
            let total = end + 4 + number("content-length:");
            while buffer.len() < total {
                stream.read_buf(&mut buffer).await.ok().filter(|n| *n > 0)?;
            }
            return Some((
                number("inference-header-content-length:"),
                Bytes::from(buffer[end + 4..total].to_vec()),
            ));
        }
        stream.read_buf(&mut buffer).await.ok().filter(|n| *n > 0)?;
    }
}

/// `false` if the worker dies.
async fn serve(worker: Arc<Worker>, mut stream: UnixStream) -> bool {
    while let Some((header_bytes, body)) = read_request(&mut stream).await {
        let request = decode_request(body, Some(header_bytes)).unwrap();
        let x: Vec<i64> = request.inputs[0]
            .data
            .chunks(8)
            .map(|raw| i64::from_le_bytes(raw.try_into().unwrap()))
            .collect();
        let _ = worker.batches.send(x.len());
        worker.gate.acquire().await.unwrap().forget();
        if x.contains(&KILLS) {
            return false;
        }
        let answer = if x.contains(&RAISES) {
            let body = r#"{"error": "ValueError: negative", "code": "model_raised"}"#;
            format!("HTTP/1.1 500 Raised\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .into_bytes()
        } else {
            let data: Vec<u8> = x.iter().flat_map(|x| (x + worker.add).to_le_bytes()).collect();
            let output = Tensor {
                name: "y".into(),
                datatype: Datatype::Int64,
                shape: vec![x.len()],
                data: data.into(),
            };
            let response = InferResponse {
                model_name: "m".into(),
                outputs: vec![output],
                ..Default::default()
            };
            let (header_bytes, body) = response.encode(&[], true);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nInference-Header-Content-Length: {}\r\n\r\n",
                body.len(),
                header_bytes.unwrap()
            );
            [head.as_bytes(), &body].concat()
        };
        if stream.write_all(&answer).await.is_err() {
            break;
        }
    }
    true
}

pub fn placement(version: u32) -> Placement {
    Placement {
        model: default_model("m").unwrap(),
        environment: EnvironmentName::default(),
        version: VersionNumber(version),
        digest: Digest::of(&version.to_le_bytes()),
        revision: 0,
    }
}

/// Changes the routes of the one model of a table.
pub fn change_routes(table: &mut RouteTable, change: impl FnOnce(&mut ModelRoutes)) {
    change(Arc::make_mut(table.models.get_mut(&default_model("m").unwrap()).unwrap()));
}

/// A table in which `live` takes the traffic.
pub fn table(epoch: u64, live: u32, placements: Vec<PlacementRoute>) -> RouteTable {
    let route = Route {
        environment: EnvironmentName::default(),
        version: VersionNumber(live),
        candidate: None,
    };
    let known = |version: u32| KnownVersion {
        version: VersionNumber(version),
        digest: Digest::of(&version.to_le_bytes()),
    };
    let routes = ModelRoutes {
        routes: vec![route],
        placements,
        versions: (1..=live.max(2)).map(known).collect(),
    };
    RouteTable {
        epoch,
        models: [(default_model("m").unwrap(), Arc::new(routes))].into_iter().collect(),
    }
}

pub fn route(version: u32, sockets: &[&Path]) -> PlacementRoute {
    let replica = |socket: &&Path| ReplicaRoute {
        replica: ReplicaId(socket.file_stem().unwrap().to_string_lossy().into()),
        address: Address::unix(socket),
        protocol: WorkerProtocol::Binary,
        concurrency: 1,
        prefetch: false,
    };
    PlacementRoute {
        recording: domain::Recording::default(),
        placement: placement(version),
        schema: Schema {
            inputs: vec![Column::scalar("x", Datatype::Int64)],
            outputs: vec![Column::scalar("y", Datatype::Int64)],
            batches: true,
            ..Schema::default()
        },
        rows_max: 8,
        mix: true,
        queue_rows_max: 16,
        deadline_ms: 20_000,
        predict_ms_max: 20_000,
        failed: None,
        asleep: false,
        replicas: sockets.iter().map(replica).collect(),
    }
}

pub struct Server {
    pub gateway: Arc<Gateway>,
    pub stop: watch::Sender<Stop>,
    pub address: std::net::SocketAddr,
    /// Ends when serving has.
    pub serving: tokio::task::JoinHandle<()>,
    pub directory: tempfile::TempDir,
}

pub async fn start_gateway() -> Server {
    start_gateway_with(|_| ()).await
}

/// With other limits.
pub async fn start_gateway_with(change: impl FnOnce(&mut GatewayConfig)) -> Server {
    start_gateway_behind(Entrance::Plain, change).await
}

/// With other limits, and another entrance.
pub async fn start_gateway_behind(
    entrance: Entrance,
    change: impl FnOnce(&mut GatewayConfig),
) -> Server {
    let mut config =
        GatewayConfig { body_bytes_max: 1 << 20, body_ms_max: 20_000, ..GatewayConfig::default() };
    change(&mut config);
    let gateway = Gateway::new(config, tokio::runtime::Handle::current());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Serve {
        control: control(),
        control_runtime: tokio::runtime::Handle::current(),
        drain_ms_max: DRAIN_MS,
    };
    let serving = gateway.clone();
    let (stop, stopping) = watch::channel(Stop::No);
    let serving = tokio::spawn(async move {
        serving
            .serve(vec![Listener::Tcp { socket: listener, entrance }], serve, stopping)
            .await
            .unwrap()
    });
    Server { gateway, stop, address, serving, directory: tempfile::tempdir().unwrap() }
}

/// As long as answers in flight may take at the end; whoever is cut before shows it by ending
/// sooner.
pub const DRAIN_MS: u64 = 120_000;

/// A control plane that reads whole bodies, tells without end, works for ever, and panics.
fn control() -> axum::Router {
    use axum::routing::{get, post};
    let endless = || async {
        let lines = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b"{}\n")), ()))
        });
        axum::body::Body::from_stream(lines)
    };
    axum::Router::new()
        .route("/v1/upload", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/v1/follow", get(endless))
        .route("/v1/wait", get(std::future::pending::<()>))
        .route("/readyz", get(|| async { "ready" }))
        .route(
            "/v1/panic",
            get(|| async {
                if true {
                    panic!("on purpose")
                }
            }),
        )
}

/// What `x` tells a streaming worker to do.
pub const ENDLESS: i64 = -3;
/// The first piece of a stream, then nothing.
pub const HANGS: i64 = -4;

/// A worker whose answers stream: `x` pieces, then the end. Gives its socket, and how many streams
/// run.
pub fn start_streamer(directory: &Path, name: &str) -> (PathBuf, Arc<AtomicUsize>) {
    let socket = directory.join(format!("{name}.sock"));
    let listener = UnixListener::bind(&socket).unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            let running = count.clone();
            tokio::spawn(async move {
                while let Some((header_bytes, body)) = read_request(&mut stream).await {
                    let request = decode_request(body, Some(header_bytes)).unwrap();
                    let x = i64::from_le_bytes(request.inputs[0].data[..8].try_into().unwrap());
                    running.fetch_add(1, Ordering::SeqCst);
                    let written = write_pieces(&mut stream, x).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    if written.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (socket, running)
}

async fn write_pieces(stream: &mut UnixStream, x: i64) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    let piece = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    match x {
        RAISES => {
            stream.write_all(piece("data: 1\n\n").as_bytes()).await?;
            stream
                .write_all(piece("event: error\ndata: {\"error\": \"ValueError\"}\n\n").as_bytes())
                .await?;
        }
        HANGS => {
            stream.write_all(piece("data: 1\n\n").as_bytes()).await?;
            // Until the connection is closed.
            stream.read_u8().await?;
        }
        ENDLESS => loop {
            stream
                .write_all(piece(&format!("data: {}\n\n", "x".repeat(60_000))).as_bytes())
                .await?;
        },
        count => {
            for n in 0..count {
                stream.write_all(piece(&format!("data: {n}\n\n")).as_bytes()).await?;
            }
        }
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// A placement whose model streams.
pub fn streaming(version: u32, sockets: &[&Path]) -> PlacementRoute {
    let mut route = route(version, sockets);
    route.schema.streams = true;
    route
}

/// Waits until the other side closes; gives what it sent before.
pub async fn until_closed(stream: &mut TcpStream) -> String {
    let mut all = vec![];
    // A reset is an end as well.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut all))
        .await
        .expect("a closed connection");
    String::from_utf8_lossy(&all).into()
}

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Server {
    /// Sends raw bytes and reads one answer.
    pub async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream).await
    }

    pub fn predict_text(&self, reference: &str, body: &str, headers: &str) -> String {
        let length = body.len();
        format!(
            "POST /v1/models/{reference}/predict HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    }

    pub async fn predict(&self, reference: &str, body: &str) -> Answer {
        self.send(&self.predict_text(reference, body, "")).await
    }

    /// Opens a connection, sends a request and leaves the answer unread.
    pub async fn begin(&self, x: i64) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream
            .write_all(self.predict_text("m", &format!("{{\"x\": {x}}}"), "").as_bytes())
            .await
            .unwrap();
        stream
    }

    pub fn queued(&self) -> u64 {
        self.gateway.demand().iter().map(|demand| demand.queued_rows).sum()
    }

    /// Connects and sends this.
    pub async fn open(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// The next record that is of a placement.
    pub async fn record(&self) -> domain::record::Record {
        let records = self.gateway.records();
        let mut found = None;
        until("a record", || {
            found = records.pop();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Waits until this many rows are queued.
    pub async fn until_queued(&self, rows: u64) {
        let wait = async {
            while self.queued() != rows {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, wait)
            .await
            .unwrap_or_else(|_| panic!("{} rows are queued, not {rows}", self.queued()));
    }
}

pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut buffer = vec![];
    let read = async {
        loop {
            if let Some(end) = buffer.windows(4).position(|part: &[u8]| part == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&buffer[..end]).to_string();
                let length = head
                    .to_lowercase()
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length:").map(str::to_string));
                let total =
                    end + 4 + length.map_or(0, |value| value.trim().parse::<usize>().unwrap());
                if buffer.len() >= total {
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return Answer {
                        status,
                        head,
                        body: String::from_utf8_lossy(&buffer[end + 4..total]).into(),
                    };
                }
            }
            assert!(
                stream.read_buf(&mut buffer).await.unwrap() > 0,
                "closed after {}",
                String::from_utf8_lossy(&buffer)
            );
        }
    };
    tokio::time::timeout(LONG, read).await.expect("an answer in time")
}

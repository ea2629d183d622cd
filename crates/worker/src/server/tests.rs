//! The server with a model that adds one, or that waits for the test, through real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::time::Duration;

use domain::Code;
use domain::{Column, Datatype};

use super::*;

/// Far longer than anything takes: a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(directory: &tempfile::TempDir, concurrency: u32) -> ServerConfig {
    let column =
        |name: &str| Column { shape: Some(vec![-1]), ..Column::scalar(name, Datatype::Fp32) };
    ServerConfig {
        socket: directory.path().join("w.sock"),
        model: "m".into(),
        platform: "test".into(),
        schema: Schema {
            inputs: vec![column("x")],
            outputs: vec![column("y")],
            batches: true,
            ..Schema::default()
        },
        concurrency,
        prefetch: true,
    }
}

fn add_one(request: &InferRequest) -> Result<Vec<Tensor>, Problem> {
    let x = request.inputs.first().ok_or_else(|| Problem::new(Code::BadRequest, "no input"))?;
    let add = |bytes: &[u8]| (f32::from_le_bytes(bytes.try_into().unwrap()) + 1.0).to_le_bytes();
    let data: Vec<u8> = x.data.chunks_exact(4).flat_map(add).collect();
    if x.data.get(..4) == Some(&(-1f32).to_le_bytes()) {
        return Err(Problem::new(Code::ModelRaised, "no negatives").details(["line 3".to_string()]));
    }
    let mut shape = x.shape.clone();
    if x.data.get(..4) == Some(&(-2f32).to_le_bytes()) {
        shape = vec![1, data.len() / 4];
    }
    Ok(vec![Tensor { name: "y".into(), datatype: Datatype::Fp32, shape, data: data.into() }])
}

struct Client {
    stream: BufReader<UnixStream>,
}

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Client {
    fn connect(config: &ServerConfig) -> Client {
        let stream = UnixStream::connect(&config.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    fn answer(&mut self) -> Answer {
        let (mut headers, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            assert!(
                self.stream.read_line(&mut line).unwrap() > 0,
                "closed in the middle of: {headers}"
            );
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            headers.push_str(&line);
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        Answer { status: headers.split(' ').nth(1).unwrap().parse().unwrap(), headers, body }
    }

    fn ask(&mut self, bytes: &[u8]) -> Answer {
        self.send(bytes);
        self.answer()
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn post(body: &[u8], header_bytes: Option<usize>) -> Vec<u8> {
    let mut request = format!(
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: w\r\nContent-Length: {}\r\n",
        body.len()
    )
    .into_bytes();
    if let Some(length) = header_bytes {
        request
            .extend_from_slice(format!("Inference-Header-Content-Length: {length}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}

fn binary(rows: usize, width: usize, first: f32) -> Vec<u8> {
    let size = rows * width * 4;
    let mut body = format!(
        r#"{{"id":"7","inputs":[{{"name":"x","datatype":"FP32","shape":[{rows},{width}],"parameters":{{"binary_data_size":{size}}}}}],"parameters":{{"binary_data_output":true}}}}"#
    )
    .into_bytes();
    let header = body.len();
    (0..rows * width).for_each(|at| body.extend_from_slice(&(first + at as f32).to_le_bytes()));
    post(&body, Some(header))
}

fn text(value: f32) -> Vec<u8> {
    post(
        format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":[{value}]}}]}}"#
        )
        .as_bytes(),
        None,
    )
}

fn started(concurrency: u32) -> (tempfile::TempDir, ServerConfig, Server) {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory, concurrency);
    let server = Server::start(config.clone(), |_, request| add_one(request)).unwrap();
    (directory, config, server)
}

#[test]
fn describes_itself() {
    let (_keep, config, server) = started(3);
    let mut client = Client::connect(&config);
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/v2"] {
        assert_eq!(client.ask(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).status, 200);
    }
    let metadata = client.ask(b"GET /v2/models/m HTTP/1.1\r\nHost: w\r\n\r\n").json();
    assert_eq!(metadata["inputs"][0], json!({"name": "x", "datatype": "FP32", "shape": [-1, -1]}));
    assert_eq!(metadata["decalog"]["concurrency"], 3);
    assert_eq!(metadata["decalog"]["prefetch"], true);
    assert_eq!(
        serde_json::from_value::<Schema>(metadata["decalog"]["schema"].clone()).unwrap(),
        config.schema
    );
    assert_eq!(client.ask(b"GET /v2/models/n HTTP/1.1\r\n\r\n").status, 404);
    assert_eq!(client.ask(b"GET /v2/models/m/infer HTTP/1.1\r\n\r\n").status, 405);
    server.stop();
}

#[test]
fn answers_in_the_form_that_is_asked_for() {
    let (_keep, config, server) = started(1);
    let mut client = Client::connect(&config);
    let answer = client.ask(&text(4.0));
    assert_eq!(
        answer.json()["outputs"][0],
        json!({"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [5.0]})
    );
    // Small, larger than the buffer of heads, larger than that of sockets; then small again.
    for (rows, width) in [(2, 2), (64, 100), (3, 400_000), (1, 1)] {
        let answer = client.ask(&binary(rows, width, 10.0));
        assert_eq!(answer.status, 200);
        let header = answer.headers.split("Inference-Header-Content-Length: ").nth(1).unwrap();
        let header: usize = header.split('\r').next().unwrap().parse().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&answer.body[..header]).unwrap();
        assert_eq!(
            (&json["id"], &json["outputs"][0]["shape"]),
            (&json!("7"), &json!([rows, width]))
        );
        let values = answer.body[header..]
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        assert!(values.enumerate().all(|(at, value)| value == 10.0 + at as f32 + 1.0));
    }
    server.stop();
}

#[test]
fn large_tensors_are_aligned() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory, 1);
    let server = Server::start(config.clone(), |_, request| {
        assert_eq!(request.inputs[0].data.as_ptr() as usize % 64, 0);
        add_one(request)
    })
    .unwrap();
    let mut client = Client::connect(&config);
    for width in [10_000, 10_001, 123_456, 20_000] {
        assert_eq!(client.ask(&binary(1, width, 0.0)).status, 200);
    }
    server.stop();
}

#[test]
fn requests_may_come_together_or_in_pieces() {
    let (_keep, config, server) = started(1);
    let mut client = Client::connect(&config);
    let together: Vec<u8> = (0..50).flat_map(|value| text(value as f32)).collect();
    client.send(&together);
    for value in 0..50 {
        assert_eq!(client.answer().json()["outputs"][0]["data"][0], json!(value as f32 + 1.0));
    }
    for piece in binary(1, 8, 0.0).chunks(7) {
        client.send(piece);
    }
    assert_eq!(client.answer().status, 200);
    let mut waits = text(1.0);
    let head = waits.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    waits.splice(head..head, *b"\r\nExpect: 100-continue");
    let body_at = waits.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    client.send(&waits[..body_at]);
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.ask(&waits[body_at..]).status, 200);
    server.stop();
}

#[test]
fn errors_keep_the_connection() {
    let (_keep, config, server) = started(1);
    let mut client = Client::connect(&config);
    let raised = client.ask(&text(-1.0));
    assert_eq!(raised.status, 500);
    assert_eq!(
        raised.json(),
        json!({"error": "no negatives", "code": "model_raised", "details": ["line 3"]})
    );
    let rows = client.ask(&binary(2, 1, -2.0));
    assert_eq!((rows.status, rows.json()["code"].clone()), (500, json!("bad_output")));
    assert_eq!(rows.json()["error"], "`y` has the shape [1, 2] for 2 rows of input");
    let bad = client.ask(&post(b"{", None));
    assert_eq!((bad.status, bad.json()["code"].clone()), (400, json!("bad_request")));
    let output = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}],"outputs":[{"name":"z"}]}"#;
    assert_eq!(
        client.ask(&post(output.as_bytes(), None)).json()["error"],
        "the model has no output `z`"
    );
    assert_eq!(client.ask(&text(1.0)).status, 200);
    server.stop();
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let (_keep, config, server) = started(1);
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    let cases: [(&[u8], u16); 7] = [
        (b"hello\r\n\r\n", 400),
        (b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 10737418240\r\n\r\n", 413),
        (
            b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            400,
        ),
        (b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (b"POST /v2/models/m/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (long.as_bytes(), 431),
    ];
    for (request, status) in cases {
        let mut client = Client::connect(&config);
        let answer = client.ask(request);
        assert_eq!((answer.status, answer.json()["code"].clone()), (status, json!("bad_request")));
        assert!(answer.headers.contains("Connection: close"));
        assert!(client.is_closed());
    }
    // A body that stops half-way is nobody's request.
    let whole = binary(1, 50_000, 0.0);
    for part in [10, 300, whole.len() - 1] {
        let client = Client::connect(&config);
        (&*client.stream.get_ref()).write_all(&whole[..part]).unwrap();
        drop(client);
    }
    assert_eq!(Client::connect(&config).ask(&text(1.0)).status, 200);
    server.stop();
}

/// A model that tells when a request runs, and waits until it may end.
struct Gate {
    runs: mpsc::Receiver<f32>,
    go: mpsc::Sender<()>,
}

fn gated(concurrency: u32) -> (tempfile::TempDir, ServerConfig, Server, Gate, Arc<AtomicUsize>) {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory, concurrency);
    let (told, runs) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let may_go = Mutex::new(may_go);
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, inside) = (most.clone(), AtomicUsize::new(0));
    let server = Server::start(config.clone(), move |slot, request: &InferRequest| {
        assert!(slot < concurrency as usize);
        seen.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        told.send(f32::from_le_bytes(request.inputs[0].data[..4].try_into().unwrap())).unwrap();
        let passed = may_go.lock().recv_timeout(PATIENCE);
        inside.fetch_sub(1, Ordering::SeqCst);
        passed.unwrap();
        add_one(request)
    })
    .unwrap();
    (directory, config, server, Gate { runs, go }, most)
}

impl Gate {
    fn next(&self) -> f32 {
        self.runs.recv_timeout(PATIENCE).unwrap()
    }
}

#[test]
fn a_withdrawn_request_never_runs() {
    let (_keep, config, server, gate, _) = gated(1);
    let mut first = Client::connect(&config);
    first.send(&text(1.0));
    assert_eq!(gate.next(), 1.0);
    // All of these wait for the slot; only the last still wants its answer when the slot is free.
    // One of them has closed its sending side only, and so still waits.
    let mut withdrawn = Client::connect(&config);
    withdrawn.send(&text(2.0));
    let mut half_closed = Client::connect(&config);
    half_closed.send(&text(3.0));
    half_closed.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    drop(withdrawn);
    gate.go.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
    assert_eq!(gate.next(), 3.0);
    gate.go.send(()).unwrap();
    assert_eq!(half_closed.answer().status, 200);
    server.stop();
    assert!(gate.runs.try_recv().is_err());
}

#[test]
fn concurrency_is_kept() {
    let (_keep, config, server, gate, most) = gated(2);
    let mut clients: Vec<Client> = (0..5).map(|_| Client::connect(&config)).collect();
    for (value, client) in clients.iter_mut().enumerate() {
        client.send(&text(value as f32));
    }
    for _ in 0..5 {
        gate.next();
        gate.go.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    assert!(most.load(Ordering::SeqCst) <= 2);
    server.stop();
}

#[test]
fn stopping_finishes_what_runs() {
    let (_keep, config, server, gate, _) = gated(1);
    let mut idle = Client::connect(&config);
    let mut busy = Client::connect(&config);
    assert_eq!(idle.ask(b"GET /v2/health/ready HTTP/1.1\r\n\r\n").status, 200);
    busy.send(&text(1.0));
    assert_eq!(gate.next(), 1.0);
    let stopping = thread::spawn(move || server.stop());
    assert!(idle.is_closed());
    assert!(!stopping.is_finished());
    assert!(UnixStream::connect(&config.socket).is_err());
    gate.go.send(()).unwrap();
    let answer = busy.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains("Connection: close"));
    stopping.join().unwrap();
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory, 1);
    drop(UnixListener::bind(&config.socket).unwrap());
    let server = Server::start(config.clone(), |_, request| add_one(request)).unwrap();
    assert_eq!(Client::connect(&config).ask(&text(1.0)).status, 200);
    server.stop();
    assert!(!config.socket.exists());
}

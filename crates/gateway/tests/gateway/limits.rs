//! Whoever stalls is cut off: silent and idle connections, slow bodies, readers that take nothing;
//! and what a server that stops does not wait for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use gateway::{Entrance, Secure, Securing, Stop};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HALF_BODY: &str =
    "POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"x\":";
const HALF_UPLOAD: &str =
    "POST /v1/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc";
const FOLLOW: &str = "GET /v1/follow HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn silent_connections_make_room_for_those_who_ask() {
    let server = start_gateway_with(|config| config.connections_max = 8).await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let mut silent = vec![];
    for _ in 0..40 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
        assert_eq!(server.predict("m", r#"{"x": 1}"#).await.status, 200);
    }
    for stream in &mut silent[..30] {
        assert_eq!(until_closed(stream).await, "");
    }
}

#[tokio::test]
async fn one_too_many_is_told_so_while_all_are_at_work() {
    let server = start_gateway_with(|config| config.connections_max = 4).await;
    let worker = start_worker(server.directory.path(), "r1", 100, false);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let mut working = vec![];
    for x in 1..=3 {
        working.push(server.begin(x).await);
    }
    server.until_queued(2).await;
    let refused = server.predict("m", r#"{"x": 9}"#).await;
    assert_eq!(refused.status, 503);
    assert!(
        refused.body.contains("server_busy") && refused.head.to_lowercase().contains("retry-after"),
        "{}",
        refused.head
    );
    worker.gate.add_permits(100);
    for (stream, y) in working.iter_mut().zip(101..) {
        assert_eq!(read_answer(stream).await.body, format!("{{\"y\":{y}}}"));
    }
}

#[tokio::test]
async fn connections_on_which_nothing_happens_are_closed() {
    let server = start_gateway_with(|config| {
        (config.head_ms_max, config.idle_ms_max, config.body_stall_ms_max) = (100, 200, 100);
    })
    .await;
    for text in ["", "PRI * HTTP/2.0\r\n", "POST /v1/models/m", "GET / HTTP/1.1\r\nHost: loc"] {
        assert_eq!(until_closed(&mut server.open(text).await).await, "", "{text}");
    }
    let mut idle = server.open("GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = until_closed(&mut idle).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    for (text, status) in [(HALF_BODY, "408"), (HALF_UPLOAD, "400")] {
        let answer = until_closed(&mut server.open(text).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn what_manages_has_as_many_turns_as_it_may_and_probes_have_their_own() {
    let server = start_gateway_with(|config| {
        (config.control_requests_max, config.control_streams_max) = (3, 2)
    })
    .await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // Bodies on their way and answers without an end take no turn.
    let mut stalled = vec![];
    for _ in 0..8 {
        stalled.push(server.open(HALF_UPLOAD).await);
    }
    let _follows = [server.open(FOLLOW).await, server.open(FOLLOW).await];
    let mut refused = server.send(FOLLOW).await;
    while refused.status != 503 {
        refused = server.send(FOLLOW).await;
    }
    assert!(refused.body.contains("events --follow"), "{}", refused.body);
    let upload = "POST /v1/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(server.send(upload).await.body, "3");
    // What is at work does, also when its caller has gone.
    let mut working = vec![];
    for at in 0..3 {
        working.push(server.open(&get("/v1/wait")).await);
        if at == 0 {
            working.clear();
        }
    }
    let mut refused = server.send(upload).await;
    while refused.status != 503 {
        refused = server.send(upload).await;
    }
    assert!(
        refused.body.contains("server_busy") && refused.head.to_lowercase().contains("retry-after"),
        "{}",
        refused.head
    );
    stalled[0].write_all(&[b'x'; 97]).await.unwrap();
    assert_eq!(
        read_answer(&mut stalled[0]).await.status,
        503,
        "the rest of a body takes no turn that is not free"
    );
    assert_eq!(server.send(&get("/readyz")).await.body, "ready");
    assert_eq!(server.predict("m", r#"{"x": 1}"#).await.status, 200);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_gives_its_replica_back() {
    let server = start_gateway_with(|config| config.write_stall_ms_max = 200).await;
    let (socket, running) = start_streamer(server.directory.path(), "r1");
    server.gateway.apply(table(1, 1, vec![streaming(1, &[&socket])]));
    let stalled = server.begin(ENDLESS).await;
    until("the stream runs", || running.load(Ordering::SeqCst) == 1).await;
    let mut next =
        server.open(&server.predict_text("m", r#"{"x": 2}"#, "Connection: close\r\n")).await;
    let answer = until_closed(&mut next).await;
    assert!(answer.contains("data: 1"), "{answer}");
    assert_eq!(running.load(Ordering::SeqCst), 0);
    let records = [server.record().await, server.record().await];
    assert_eq!(records.map(|record| record.status), [499, 200]);
    drop(stalled);
}

#[tokio::test]
async fn a_slow_reader_that_goes_on_reading_gets_all() {
    let server = start_gateway_with(|config| config.write_stall_ms_max = 1_000).await;
    let (socket, _) = start_streamer(server.directory.path(), "r1");
    server.gateway.apply(table(1, 1, vec![streaming(1, &[&socket])]));
    let count = 200_000;
    let mut slow = server
        .open(&server.predict_text("m", &format!("{{\"x\": {count}}}"), "Connection: close\r\n"))
        .await;
    let (mut all, mut part) = (vec![], vec![0; 64 * 1024]);
    loop {
        // Slower than the model, and never for as long as the limit.
        tokio::time::sleep(Duration::from_millis(2)).await;
        match slow.read(&mut part).await.unwrap() {
            0 => break,
            read => all.extend_from_slice(&part[..read]),
        }
    }
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains(&format!("data: {}\n", count - 1)), "{}", all.len());
}

#[tokio::test]
async fn the_end_of_a_large_answer_reaches_a_slow_reader_also_when_the_server_stops() {
    let server = start_gateway_with(|config| {
        (config.head_ms_max, config.idle_ms_max, config.body_bytes_max) = (200, 200, 8 << 20);
    })
    .await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    // Several times what the buffers of both sides hold.
    let rows = 450_000;
    let text = format!("{{\"rows\": [{}]}}", vec![r#"{"x":1}"#; rows].join(","));
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut slow = socket.connect(server.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, server.predict_text("m", &text, "").as_bytes())
        .await
        .unwrap();
    let mut first = [0; 100];
    slow.read_exact(&mut first).await.unwrap();
    let begin = tokio::time::Instant::now();
    until("the idle limit is long over", || begin.elapsed() > Duration::from_millis(600)).await;
    server.stop.send_replace(Stop::Shutdown);
    let begin = tokio::time::Instant::now();
    until("quiet connections have been cut", || begin.elapsed() > Duration::from_millis(1_500))
        .await;
    let rest = until_closed(&mut slow).await;
    assert!(rest.ends_with("{\"y\":101}]}"), "{}", rest.len());
}

/// An HTTP/2 client that opens streams and reads what it is told to.
async fn http2(server: &Server) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(65_535).initial_connection_window_size(4 << 20);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn predict2(x: i64) -> http::Request<Full<Bytes>> {
    let body = Full::new(Bytes::from(format!("{{\"x\": {x}}}")));
    http::Request::post("http://localhost/v1/models/m/predict").body(body).unwrap()
}

#[tokio::test]
async fn one_http2_stream_that_is_not_read_is_reset_and_its_neighbours_go_on() {
    let server = start_gateway_with(|config| config.write_stall_ms_max = 300).await;
    let (socket, running) = start_streamer(server.directory.path(), "r1");
    server.gateway.apply(table(1, 1, vec![streaming(1, &[&socket])]));
    let mut client = http2(&server).await;
    let unread = client.send_request(predict2(ENDLESS)).await.unwrap();
    assert_eq!(unread.status(), 200);
    let read = client
        .send_request(predict2(3))
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    assert!(read.ends_with(b"data: 2\n\n"), "{read:?}");
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert!(unread.into_body().collect().await.is_err(), "it was reset");
}

#[tokio::test]
async fn a_server_that_stops_waits_for_answers_and_for_nothing_else() {
    let server = start_gateway().await;
    let worker = start_worker(server.directory.path(), "r1", 100, false);
    let (socket, running) = start_streamer(server.directory.path(), "r2");
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket]), streaming(2, &[&socket])]));
    let mut owed = server.begin(1).await;
    let mut cut = vec![];
    for text in [HALF_BODY, HALF_UPLOAD, FOLLOW, "", "POST /v1/mod"] {
        cut.push(server.open(text).await);
    }
    cut.push(server.open(&server.predict_text("m@v2", &format!("{{\"x\": {ENDLESS}}}"), "")).await);
    cut.push(server.open(&server.predict_text("m@v2", &format!("{{\"x\": {HANGS}}}"), "")).await);
    until("a stream runs", || running.load(Ordering::SeqCst) == 1).await;
    server.stop.send_replace(Stop::Shutdown);
    for stream in &mut cut {
        until_closed(stream).await;
    }
    assert!(!server.serving.is_finished(), "an answer is owed");
    worker.gate.add_permits(10);
    assert_eq!(read_answer(&mut owed).await.body, r#"{"y":101}"#);
    tokio::time::timeout(LONG, server.serving).await.expect("the end").unwrap();
    until("the models were told", || running.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn memory_is_taken_before_a_body_is_read() {
    let server = start_gateway_with(|config| {
        (config.memory_bytes_max, config.body_bytes_max) = (1_000_000, 1 << 30);
    })
    .await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket]), route(2, &[])]));
    let head = |reference: &str, length: usize| {
        format!(
            "POST /v1/models/{reference}/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    // Announced and not sent.
    let first = server.open(&head("m", 400_000)).await;
    let refused = async |text: String, status: u16, code: &str| {
        // The first is counted at some moment after it connected.
        for _ in 0..1_000 {
            let mut stream = server.open(&text).await;
            let answer =
                tokio::time::timeout(Duration::from_millis(100), read_answer(&mut stream)).await;
            if answer.is_ok_and(|answer| answer.status == status && answer.body.contains(code)) {
                return;
            }
        }
        panic!("never {status} {code}");
    };
    refused(head("m", 400_000), 429, "queue_full").await;
    let second = server.open(&head("m@v2", 450_000)).await;
    refused(head("m@v3", 500_000), 404, "no_such_version").await;
    refused(head("m@v2", 1_000_001), 413, "body_too_large").await;
    let chunked = "POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused(format!("{chunked}{:x}\r\n{}\r\n", 200_000, "x".repeat(200_000)), 429, "queue_full")
        .await;
    assert_eq!(server.predict("m", r#"{"x": 1}"#).await.status, 200, "small ones go on");
    drop((first, second));
    let text = format!("{{\"rows\": [{}]}}", vec![r#"{"x": 1}"#; 40_000].join(","));
    let answer = server.predict("m", &text).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_large_body_holds_up_nobody() {
    let server = start_gateway().await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    // This test has one thread: if that read the large body, it would answer the small one later.
    let mut large = server
        .open(&server.predict_text(
            "m",
            &format!("{{\"rows\": [{}]}}", vec![r#"{"x": 1}"#; 90_000].join(",")),
            "",
        ))
        .await;
    let mut byte = [0; 1];
    let small = server.predict("m", r#"{"x": 1}"#).await;
    assert_eq!(small.status, 200);
    assert!(
        matches!(large.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    );
    assert_eq!(read_answer(&mut large).await.status, 200);
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = start_gateway().await;
    let answer = server.send("GET /v1/panic HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("internal"), "{}", answer.body);
    assert_eq!(
        server.send("GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status,
        200
    );
}

/// Handshakes that never end.
struct Endless;

impl Secure for Endless {
    fn secure(&self, stream: TcpStream) -> Securing {
        Box::pin(async move {
            let _held = stream;
            std::future::pending().await
        })
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_off_and_makes_room() {
    let entrance = || Entrance::Secure(Arc::new(Endless));
    let server = start_gateway_behind(entrance(), |config| config.handshake_ms_max = 200).await;
    for begin in ["", "\x16", "\x16\x03\x01"] {
        let mut silent = server.open(begin).await;
        until_closed(&mut silent).await;
    }
    let server = start_gateway_behind(entrance(), |config| config.connections_max = 4).await;
    let mut first = server.open("\x16").await;
    // No later one waits for it; the quietest makes room for those that come.
    let _others = [server.open("\x16").await, server.open("\x16").await, server.open("\x16").await];
    until_closed(&mut first).await;
}

#[tokio::test]
async fn plain_http_where_tls_is_spoken_is_told_so() {
    let entrance = Entrance::Secure(Arc::new(Endless));
    let server = start_gateway_behind(entrance, |_| ()).await;
    let answer = server.send(FOLLOW).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("plain_text") && answer.body.contains("https://"));
}

//! Requests through real sockets: batches, failures, limits, releases.

use std::sync::atomic::Ordering;

use crate::support::*;
use domain::ReplicaId;
use domain::route::Observation;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn one_row_many_rows_and_references() {
    let server = start_gateway().await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    for reference in
        ["m", "default/m", "m@production", "m@v1", "default%2Fm%40production", "m@production@v1"]
    {
        let answer = server.predict(reference, r#"{"x": 1}"#).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"y":101}"#), "{reference}");
        assert!(answer.head.contains("decalog-version: v1"), "{}", answer.head);
        assert!(answer.head.contains("server-timing: queue;dur="), "{}", answer.head);
        assert!(answer.head.contains("decalog-request-id: "), "{}", answer.head);
    }
    let answer = server.predict("m", r#"{"rows": [{"x": 1}, {"x": 2}]}"#).await;
    assert_eq!(answer.body, r#"{"rows":[{"y":101},{"y":102}]}"#);
    let digest = domain::Digest::of(&1u32.to_le_bytes()).to_string();
    assert_eq!(server.predict(&format!("m@{}", &digest[..12]), r#"{"x": 1}"#).await.status, 200);
}

#[tokio::test]
async fn open_inference_in_json() {
    let server = start_gateway().await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let body = r#"{"id": "abc", "inputs": [{"name": "x", "shape": [2, 1], "datatype": "INT64", "data": [1, 2]}]}"#;
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answer = server.send(&post("/v2/models/m/infer", body)).await;
    assert_eq!(
        answer.body,
        r#"{"model_name":"m","model_version":"1","id":"abc","outputs":[{"name":"y","datatype":"INT64","shape":[2],"data":[101,102]}]}"#
    );
    let unknown = body.replace("\"inputs\"", "\"outputs\": [{\"name\": \"z\"}], \"inputs\"");
    assert!(server.send(&post("/v2/models/m/infer", &unknown)).await.body.contains("it has y"));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(server.send(&get("/v2/models/m")).await.body.contains(r#""shape":[-1]"#));
    assert_eq!(server.send(&get("/v2/models/m/versions/1/ready")).await.status, 200);
    assert_eq!(server.send(&get("/v2/models/m/versions/9/ready")).await.status, 404);
    assert_eq!(server.send(&get("/v2/models/m/infer")).await.status, 405);
}

#[tokio::test]
async fn a_bad_row_fails_its_own_request_and_no_other() {
    let server = start_gateway().await;
    let mut worker = start_worker(server.directory.path(), "r1", 100, false);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let mut first = server.begin(0).await;
    assert_eq!(worker.batches.recv().await, Some(1));
    let mut others = vec![];
    for x in [1, RAISES, 3] {
        others.push(server.begin(x).await);
    }
    server.until_queued(3).await;
    worker.gate.add_permits(1_000);
    assert_eq!(read_answer(&mut first).await.body, r#"{"y":100}"#);
    let mut answers = vec![];
    for stream in &mut others {
        answers.push(read_answer(stream).await);
    }
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 500, 200]);
    assert!(answers[1].body.contains("ValueError: negative"));
    let batches: Vec<usize> = std::iter::from_fn(|| worker.batches.try_recv().ok()).collect();
    assert_eq!(
        batches,
        [2, 1, 1, 1],
        "a batch of two, a size that was not tried before; then one by one"
    );
}

#[tokio::test]
async fn a_worker_that_dies_costs_only_the_row_that_kills_it() {
    let server = start_gateway().await;
    let mut observations = server.gateway.observations().unwrap();
    let mut workers: Vec<Started> = (1..=3)
        .map(|n| start_worker(server.directory.path(), &format!("r{n}"), 100, false))
        .collect();
    let sockets: Vec<_> = workers.iter().map(|worker| worker.socket.clone()).collect();
    let mut only_first = route(1, &[&sockets[0]]);
    only_first.deadline_ms = 15_000;
    server.gateway.apply(table(1, 1, vec![only_first]));
    let mut first = server.begin(0).await;
    assert_eq!(workers[0].batches.recv().await, Some(1));
    let mut good = server.begin(1).await;
    let mut bad = server.begin(KILLS).await;
    server.until_queued(2).await;
    workers.iter().for_each(|worker| worker.gate.add_permits(1_000));
    assert_eq!(read_answer(&mut first).await.status, 200);
    let broken = observations.recv().await.unwrap();
    assert!(
        matches!(&broken, Observation::Broken { replica, .. } if replica.0 == "r1"),
        "{broken:?}"
    );
    // Two more replicas, as a supervisor would start them.
    server.gateway.apply(table(2, 1, vec![route(1, &[&sockets[1], &sockets[2]])]));
    assert_eq!(read_answer(&mut good).await.body, r#"{"y":101}"#);
    let answer = read_answer(&mut bad).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("worker_died"), "{}", answer.body);
    assert_eq!(workers.iter().map(|worker| worker.deaths.load(Ordering::SeqCst)).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_caller_that_hangs_up_frees_its_place() {
    let server = start_gateway().await;
    let mut worker = start_worker(server.directory.path(), "r1", 100, false);
    let mut placement = route(1, &[&worker.socket]);
    placement.queue_rows_max = 2;
    server.gateway.apply(table(1, 1, vec![placement]));
    let mut running = server.begin(0).await;
    assert_eq!(worker.batches.recv().await, Some(1));
    let waiting = server.begin(1).await;
    let mut stays = server.begin(2).await;
    server.until_queued(2).await;
    let refused = server.predict("m", r#"{"x": 3}"#).await;
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after"), "{}", refused.head);
    drop(waiting);
    server.until_queued(1).await;
    let mut late = server.begin(4).await;
    server.until_queued(2).await;
    worker.gate.add_permits(1_000);
    assert_eq!(read_answer(&mut running).await.body, r#"{"y":100}"#);
    assert_eq!(read_answer(&mut stays).await.body, r#"{"y":102}"#);
    assert_eq!(read_answer(&mut late).await.body, r#"{"y":104}"#);
    assert_eq!(worker.batches.recv().await, Some(2), "the one that hung up is not in the batch");
}

#[tokio::test]
async fn deadlines_are_kept_in_the_queue_and_at_the_worker() {
    let server = start_gateway().await;
    let mut worker = start_worker(server.directory.path(), "r1", 100, false);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let timeout = |ms: &str| {
        server.predict_text("m", r#"{"x": 1}"#, &format!("Decalog-Timeout-Ms: {ms}\r\n"))
    };
    let running = server.send(&timeout("50")).await;
    assert_eq!(worker.batches.recv().await, Some(1));
    assert_eq!(
        (running.status, running.body.contains("while the model ran")),
        (504, true),
        "{}",
        running.body
    );
    let queued = server.send(&timeout("50")).await;
    assert_eq!(
        (queued.status, queued.body.contains("all replicas stayed busy")),
        (503, true),
        "{}",
        queued.body
    );
    assert_eq!(server.send(&timeout("soon")).await.status, 400);
    assert_eq!(server.queued(), 0);
}

#[tokio::test]
async fn a_prediction_that_never_returns_is_ended() {
    let server = start_gateway().await;
    let mut observations = server.gateway.observations().unwrap();
    let worker = start_worker(server.directory.path(), "r1", 100, false);
    let mut placement = route(1, &[&worker.socket]);
    placement.predict_ms_max = 50;
    server.gateway.apply(table(1, 1, vec![placement]));
    let answer = server.predict("m", r#"{"x": 1}"#).await;
    assert_eq!(answer.status, 504);
    assert!(answer.body.contains("predict_timeout"), "{}", answer.body);
    assert!(matches!(observations.recv().await, Some(Observation::Broken { .. })));
}

#[tokio::test]
async fn a_release_drops_nothing_and_returns_the_old_replica() {
    let server = start_gateway().await;
    let mut observations = server.gateway.observations().unwrap();
    let mut old = start_worker(server.directory.path(), "old", 100, false);
    let new = start_worker(server.directory.path(), "new", 200, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&old.socket])]));
    let mut running = server.begin(0).await;
    assert_eq!(old.batches.recv().await, Some(1));
    let mut queued = server.begin(1).await;
    server.until_queued(1).await;
    server.gateway.apply(table(2, 2, vec![route(2, &[&new.socket])]));
    assert_eq!(server.predict("m", r#"{"x": 2}"#).await.body, r#"{"y":202}"#);
    old.gate.add_permits(1_000);
    assert_eq!(read_answer(&mut running).await.body, r#"{"y":100}"#);
    assert_eq!(
        read_answer(&mut queued).await.body,
        r#"{"y":101}"#,
        "what was queued for the old version is answered by it"
    );
    assert_eq!(
        observations.recv().await,
        Some(Observation::Returned { replica: ReplicaId("old".into()) })
    );
    assert_eq!(server.predict("m@v1", r#"{"x": 2}"#).await.status, 503);
    server.gateway.apply(table(1, 1, vec![route(1, &[&old.socket])]));
    assert_eq!(
        server.predict("m", r#"{"x": 2}"#).await.body,
        r#"{"y":202}"#,
        "an older table is ignored"
    );
}

#[tokio::test]
async fn requests_wait_for_a_replica() {
    let server = start_gateway().await;
    server.gateway.apply(table(1, 1, vec![route(1, &[])]));
    let mut early = server.begin(1).await;
    server.until_queued(1).await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(2, 1, vec![route(1, &[&worker.socket])]));
    assert_eq!(read_answer(&mut early).await.body, r#"{"y":101}"#);
}

#[tokio::test]
async fn bad_input_gets_one_clear_error() {
    let server = start_gateway().await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let huge = "POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000000\r\n\r\n".to_string();
    let foreign = server.predict_text("m", r#"{"x": 1}"#, "").replace("localhost", "evil.example");
    let cross = server.predict_text("m", r#"{"x": 1}"#, "Origin: http://evil.example\r\n");
    let cases = [
        (server.predict_text("m", "{", ""), 400, "bad_json"),
        (server.predict_text("m", r#"{"x": "1"}"#, ""), 422, "x  expected INT64, got the string"),
        (server.predict_text("m", "{}", ""), 422, "x  is missing"),
        (server.predict_text("m", r#"{"x": 1, "z": 2}"#, ""), 422, "z  is not a column"),
        (server.predict_text("mm", r#"{"x": 1}"#, ""), 404, "did you mean `m`"),
        (server.predict_text("m@v9", r#"{"x": 1}"#, ""), 404, "it has v1"),
        (server.predict_text("m@staging", r#"{"x": 1}"#, ""), 404, "not_live"),
        (server.predict_text("M!", r#"{"x": 1}"#, ""), 400, "bad_reference"),
        (huge, 413, "body_too_large"),
        (foreign, 403, "foreign_host"),
        (cross, 403, "foreign_host"),
    ];
    for (request, status, text) in cases {
        let answer = server.send(&request).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.body);
        assert!(answer.body.contains(text), "{request}: {}", answer.body);
    }
    // A body that stops half-way harms nobody.
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"POST /v1/models/m/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"x\"").await.unwrap();
    drop(half);
    assert_eq!(server.predict("m", r#"{"x": 1}"#).await.status, 200);
    let records = server.gateway.records();
    let codes: Vec<&str> = std::iter::from_fn(|| records.pop()).map(|record| record.code).collect();
    assert!(codes.contains(&"schema_mismatch") && codes.contains(&""), "{codes:?}");
}

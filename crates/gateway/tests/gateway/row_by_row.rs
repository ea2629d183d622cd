//! Several rows for a model that is given them one by one.

use crate::support::*;

/// A gateway whose only model is given its rows one by one.
async fn start(open: bool) -> (Server, Started) {
    let server = start_gateway().await;
    let worker = start_worker(server.directory.path(), "r1", 100, open);
    let mut route = route(1, &[&worker.socket]);
    route.schema.alone = true;
    server.gateway.apply(table(1, 1, vec![route]));
    (server, worker)
}

fn arrived(worker: &mut Started) -> Vec<usize> {
    std::iter::from_fn(|| worker.batches.try_recv().ok()).collect()
}

const THREE: &str = r#"{"rows": [{"x": 1}, {"x": 2}, {"x": 3}]}"#;

#[tokio::test]
async fn rows_run_one_by_one_and_come_back_as_one_answer() {
    let (server, mut worker) = start(true).await;
    let answer = server.predict("m", THREE).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"rows":[{"y":101},{"y":102},{"y":103}]}"#)
    );
    assert_eq!(arrived(&mut worker), [1, 1, 1]);
    let record = server.record().await;
    assert_eq!(
        (record.rows, record.batch_rows, record.status),
        (3, 1, 200),
        "one request is one record"
    );
    assert!(server.gateway.records().pop().is_none());
    let tensors =
        r#"{"inputs": [{"name": "x", "shape": [3], "datatype": "INT64", "data": [4, 5, 6]}]}"#;
    let length = tensors.len();
    let request = format!(
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{tensors}"
    );
    let answer = server.send(&request).await;
    assert!(
        answer.body.contains(r#"{"name":"y","datatype":"INT64","shape":[3],"data":[104,105,106]}"#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_row_that_fails_is_named_and_fails_its_request() {
    let (server, mut worker) = start(true).await;
    let answer = server
        .predict("m", &format!(r#"{{"rows": [{{"x": 1}}, {{"x": {RAISES}}}, {{"x": 3}}]}}"#))
        .await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.body.contains("ValueError: negative") && answer.body.contains("row 1 of 3"),
        "{}",
        answer.body
    );
    assert_eq!(arrived(&mut worker), [1, 1]);
}

#[tokio::test]
async fn rows_of_a_caller_who_has_gone_do_not_run() {
    let (server, mut worker) = start(false).await;
    let hangs_up = server.open(&server.predict_text("m", THREE, "")).await;
    assert_eq!(worker.batches.recv().await, Some(1));
    drop(hangs_up);
    assert_eq!(server.record().await.status, domain::record::ABANDONED);
    worker.gate.add_permits(1);
    let mut too_long =
        server.open(&server.predict_text("m", THREE, "Decalog-Timeout-Ms: 1000\r\n")).await;
    assert_eq!(worker.batches.recv().await, Some(1));
    let answer = read_answer(&mut too_long).await;
    assert_eq!(answer.status, 504, "{}", answer.body);
    worker.gate.add_permits(1_000);
    assert_eq!(server.predict("m", r#"{"x": 7}"#).await.body, r#"{"y":107}"#);
    assert_eq!(arrived(&mut worker), [1], "the last caller's only");
}

#[tokio::test]
async fn more_rows_than_can_run_one_by_one_are_refused() {
    let (server, mut worker) = start(true).await;
    let rows = vec![r#"{"x": 1}"#; protocol::limits::ROW_BY_ROW_MAX + 1].join(",");
    let answer = server.predict("m", &format!(r#"{{"rows": [{rows}]}}"#)).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body.contains("bad_shape") && answer.body.contains("send at most 4096 rows"),
        "{}",
        answer.body
    );
    assert!(arrived(&mut worker).is_empty());
}

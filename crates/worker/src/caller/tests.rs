//! The client against sockets that answer as scripted.

use super::*;
use crate::probe::{ProbeAs, probe};
use domain::route::Address;
use domain::{Code, Column, Datatype};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// Answers each connection's requests with these texts, then closes it.
async fn scripted(answers: Vec<Vec<String>>) -> (tempfile::TempDir, Address) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("w.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        for connection in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in connection {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (directory, Address::unix(&socket))
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn schema() -> Schema {
    Schema {
        inputs: vec![Column::scalar("x", Datatype::Int64)],
        batches: true,
        ..Schema::default()
    }
}

const SECOND: Duration = Duration::from_secs(5);

#[tokio::test]
async fn predicts_and_reconnects() {
    let answer =
        ok(r#"{"outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [7]}]}"#);
    let (_keep, socket) = scripted(vec![vec![answer.clone()], vec![answer]]).await;
    let mut caller = Caller::new(socket, "m", WorkerProtocol::Json, schema());
    for _ in 0..2 {
        assert_eq!(
            caller.predict(&[json!({"x": 1})], SECOND).await.unwrap(),
            vec![json!({"y": 7})]
        );
        // The server closes after each answer: wait until the client can see it.
        while !caller.connection.as_ref().is_some_and(Connection::is_stale) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn errors_of_the_model() {
    let body = r#"{"error": "ValueError: no", "code": "model_raised", "details": ["File \"model.py\", line 3"]}"#;
    let raised = format!("HTTP/1.1 500 Oh\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let (_keep, socket) =
        scripted(vec![vec![raised, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".into()]])
            .await;
    let mut caller = Caller::new(socket, "m", WorkerProtocol::Binary, schema());
    let problem = caller.predict(&[json!({"x": 1})], SECOND).await.unwrap_err();
    assert_eq!((problem.code.as_str(), problem.details.len()), ("model_raised", 1));
    assert_eq!(
        caller.predict(&[json!({"x": 1})], SECOND).await.unwrap_err().code,
        Code::WorkerDied
    );
}

#[tokio::test]
async fn streams() {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer =
        format!("{head}{}{}0\r\n\r\n", chunk("data: {\"a\": 1}\n\n"), chunk("data: 2\n\n"));
    let (_keep, socket) = scripted(vec![vec![answer]]).await;
    let mut caller =
        Caller::new(socket, "m", WorkerProtocol::Binary, Schema { streams: true, ..schema() });
    assert_eq!(
        caller.predict(&[json!({"x": 1})], SECOND).await.unwrap(),
        vec![json!([{"a": 1}, 2])]
    );
}

#[tokio::test]
async fn a_stream_without_end_is_answered_but_is_no_case() {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let begun = format!("{head}9\r\ndata: 1\n\n\r\n");
    // The connections stay open: the script waits for a second request that never comes.
    let (_keep, socket) =
        scripted(vec![vec![begun.clone(), String::new()], vec![begun, String::new()]]).await;
    let mut caller =
        Caller::new(socket, "m", WorkerProtocol::Binary, Schema { streams: true, ..schema() });
    let moment = Duration::from_millis(50);
    caller.ask(&json!({"x": 1}), SECOND, moment).await.unwrap();
    assert_eq!(
        caller.predict(&[json!({"x": 1})], moment).await.unwrap_err().code,
        Code::PredictTimeout
    );
}

#[tokio::test]
async fn a_standard_server_is_probed() {
    let metadata = r#"{"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs": []}"#;
    let (_keep, socket) = scripted(vec![vec![ok("{}"), ok(metadata)]]).await;
    let info = probe(&socket, "m", &ProbeAs::OpenInference).await.unwrap();
    assert_eq!(info.schema.unwrap().inputs[0].shape, Some(vec![4]));
    assert_eq!(info.protocol, WorkerProtocol::Json);
    assert!(
        probe(&Address::Unix("/nonexistent".into()), "m", &ProbeAs::OpenInference).await.is_err()
    );
}

#[tokio::test]
async fn a_sum_over_rows_is_no_answer_to_each() {
    let metadata = r#"{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [4]}]}"#;
    let (_keep, socket) = scripted(vec![vec![ok("{}"), ok(metadata)]]).await;
    let schema = probe(&socket, "m", &ProbeAs::OpenInference).await.unwrap().schema.unwrap();
    assert_eq!((schema.batches, schema.inputs[0].shape.as_deref()), (false, Some(&[-1, 4][..])));
}

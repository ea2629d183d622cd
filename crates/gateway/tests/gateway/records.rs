//! What is left of requests for those who judge a version: also of those whose callers did not
//! wait.

use crate::support::*;
use domain::{Code, Problem};

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_a_record() {
    let server = start_gateway().await;
    let mut worker = start_worker(server.directory.path(), "r1", 100, false);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let running = server.begin(1).await;
    assert_eq!(worker.batches.recv().await, Some(1));
    let waiting = server.begin(2).await;
    server.until_queued(1).await;
    until("both are old enough to see", || {
        server.gateway.unfinished(&placement(1)).above_us(1_000) == 2
    })
    .await;
    drop(waiting);
    let record = server.record().await;
    assert_eq!((record.status, record.code, record.rows), (499, "abandoned", 1));
    assert!(record.total_us >= 1_000, "{}", record.total_us);
    drop(running);
    assert_eq!(server.record().await.status, 499, "one that runs, too");
    worker.gate.add_permits(10);
    until("nothing is left", || server.gateway.unfinished(&placement(1)).count() == 0).await;
}

#[tokio::test]
async fn a_stream_is_recorded_at_its_end() {
    let server = start_gateway().await;
    let (socket, _) = start_streamer(server.directory.path(), "r1");
    server.gateway.apply(table(1, 1, vec![streaming(1, &[&socket])]));
    let text =
        |x: i64| server.predict_text("m", &format!("{{\"x\": {x}}}"), "Connection: close\r\n");
    for (x, status, code) in [(3, 200, ""), (RAISES, 500, "model_raised")] {
        assert!(until_closed(&mut server.open(&text(x)).await).await.starts_with("HTTP/1.1 200"));
        let record = server.record().await;
        assert_eq!((record.status, record.code), (status, code), "{x}");
    }
    let left = server.open(&text(HANGS)).await;
    left.readable().await.unwrap();
    assert!(server.gateway.records().is_empty(), "it has not ended");
    let first = tokio::time::Instant::now();
    until("it hangs", || first.elapsed().as_millis() >= 20).await;
    drop(left);
    let record = server.record().await;
    assert_eq!(record.status, 499);
    assert!(record.total_us >= 10_000, "the wait for the next piece counts: {}", record.total_us);
}

#[tokio::test]
async fn a_start_that_fails_tells_those_who_wait_for_it() {
    let server = start_gateway().await;
    let mut asleep = route(1, &[]);
    asleep.asleep = true;
    server.gateway.apply(table(1, 1, vec![asleep.clone()]));
    let mut waiting = server.begin(1).await;
    server.until_queued(1).await;
    let problem = Problem::new(Code::LoadFailed, "ImportError: no module named torch")
        .help("add it to requirements.txt");
    let failed = domain::route::PlacementRoute { failed: Some(problem), ..asleep };
    server.gateway.apply(table(2, 1, vec![failed]));
    let answer = read_answer(&mut waiting).await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("load_failed") && answer.body.contains("ImportError"),
        "{}",
        answer.body
    );
    let next = server.predict("m", r#"{"x": 2}"#).await;
    assert!(
        next.status == 503 && next.body.contains("ImportError"),
        "until a start succeeds: {}",
        next.body
    );
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(3, 1, vec![route(1, &[&worker.socket])]));
    assert_eq!(server.predict("m", r#"{"x": 2}"#).await.body, r#"{"y":102}"#);
}

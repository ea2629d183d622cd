//! What is left over from one answer never becomes the next.

use super::*;

/// A connection, and the worker's end of it.
fn pair() -> (Connection, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Connection::over(ours), theirs)
}

fn request() -> WorkerRequest {
    WorkerRequest { json: b"{}".to_vec(), blobs: vec![], trace: None }
}

/// Answers one request with these bytes, all at once.
async fn ask(
    connection: &mut Connection,
    worker: &mut UnixStream,
    answer: &str,
    form: Form,
) -> Result<RawAnswer, ConnectionError> {
    let request = request();
    let answers = async {
        let mut buffer = [0; 1024];
        worker.read(&mut buffer).await.unwrap();
        worker.write_all(answer.as_bytes()).await.unwrap();
    };
    tokio::join!(connection.post("/", &request, form), answers).0
}

const ONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";

#[tokio::test]
async fn two_answers_to_one_request_end_the_connection() {
    let (mut connection, mut worker) = pair();
    let answer = ask(&mut connection, &mut worker, ONE, Form::Whole).await.unwrap();
    assert_eq!(&answer.body[..], b"one");
    assert!(!connection.is_stale());
    let twice = format!("{ONE}{}", ONE.replace("one", "two"));
    assert_eq!(
        &ask(&mut connection, &mut worker, &twice, Form::Whole).await.unwrap().body[..],
        b"one"
    );
    assert!(connection.is_stale());
}

#[tokio::test]
async fn what_comes_after_an_answer_is_seen_before_the_next_request() {
    let (mut connection, mut worker) = pair();
    ask(&mut connection, &mut worker, ONE, Form::Whole).await.unwrap();
    worker.write_all(ONE.as_bytes()).await.unwrap();
    assert!(connection.is_stale());
}

#[tokio::test]
async fn a_body_longer_than_its_length_ends_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\none",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\nx",
        "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\none",
    ] {
        let (mut connection, mut worker) = pair();
        ask(&mut connection, &mut worker, answer, Form::Whole).await.unwrap();
        assert!(connection.is_stale(), "{answer}");
    }
    let (mut connection, mut worker) = pair();
    let longer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\none\r\n0\r\n\r\n";
    let refused = ask(&mut connection, &mut worker, longer, Form::Whole).await.unwrap_err();
    assert!(refused.to_string().contains("longer than it says"), "{refused}");
}

#[tokio::test]
async fn a_stream_is_only_taken_where_one_is_expected() {
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\na: b\r\n\r\n";
    let (mut connection, mut worker) = pair();
    let refused = ask(&mut connection, &mut worker, events, Form::Whole).await.unwrap_err();
    assert!(matches!(refused, ConnectionError::Protocol(_)));
    assert!(connection.is_stale());

    let (mut connection, mut worker) = pair();
    assert!(ask(&mut connection, &mut worker, events, Form::Events).await.unwrap().streams);
    assert_eq!(connection.next_piece().await.unwrap().as_deref(), Some(&b"ab"[..]));
    assert!(connection.is_stale());
    assert_eq!(connection.next_piece().await.unwrap(), None);
    assert!(!connection.is_stale());
    assert!(ask(&mut connection, &mut worker, ONE, Form::Events).await.is_err());
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let (mut connection, mut worker) = pair();
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let answer =
        ask(&mut connection, &mut worker, &format!("{interim}{ONE}"), Form::Whole).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"one"[..]));
    assert!(!connection.is_stale());
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM_MAX + 1);
    assert!(ask(&mut connection, &mut worker, &endless, Form::Whole).await.is_err());
}

#[tokio::test]
async fn a_worker_that_speaks_unasked_is_not_understood() {
    let (mut connection, mut worker) = pair();
    worker.write_all(ONE.as_bytes()).await.unwrap();
    assert!(matches!(
        connection.post("/", &request(), Form::Whole).await,
        Err(ConnectionError::Protocol(_))
    ));
}

#[tokio::test]
async fn a_worker_that_is_gone_before_anything_is_asked_has_closed_the_connection() {
    let (mut connection, worker) = pair();
    drop(worker);
    assert!(matches!(connection.get("/").await, Err(ConnectionError::Closed(_))));
}

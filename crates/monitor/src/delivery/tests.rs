//! Receivers that fail, refuse, ask to wait, send elsewhere and do not answer, over real sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use domain::alarm::Severity;

use super::*;
use crate::alarms::tests::{finding, key, receiver};

/// The longest wait for what must come, in seconds.
const WAIT_S: u64 = 60;

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

/// A request as a receiver sees it.
#[derive(Debug)]
struct Request {
    path: String,
    id: String,
    body: serde_json::Value,
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut path, mut id, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if path.is_empty() {
            path = line.split(' ').nth(1)?.into();
        } else if line.is_empty() {
            break;
        } else if let Some((name, value)) = line.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => id = value.into(),
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { path, id, body: serde_json::from_slice(&body).ok()? })
}

/// Answers each request with the next of these, and the last for ever; an empty one is none at all.
fn serve(answers: &'static [&'static str]) -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook?secret=1", listener.local_addr().unwrap());
    let (seen, requests): (Sender<Request>, _) = channel();
    std::thread::spawn(move || {
        let mut next = 0;
        let mut open = vec![];
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let Some(request) = read(&mut stream) else { continue };
            let answer = answers[next.min(answers.len() - 1)];
            next += 1;
            if seen.send(request).is_err() {
                return;
            }
            match answer {
                "" => open.push(stream),
                answer => {
                    let text = format!(
                        "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    );
                    let _ = stream.get_mut().write_all(text.as_bytes());
                }
            }
        }
    });
    (address, requests)
}

struct Told {
    desk: Arc<Desk>,
    receivers: Arc<Mutex<Vec<AlertReceiver>>>,
    _directory: tempfile::TempDir,
}

fn start(receivers: Vec<(AlertReceiver, String)>) -> Told {
    let directory = tempfile::tempdir().unwrap();
    let (desk, _) = Desk::open(&directory.path().join("alarms.sqlite")).unwrap();
    let known: Vec<AlertReceiver> = receivers.iter().map(|(it, _)| it.clone()).collect();
    known.iter().for_each(|receiver| desk.add_receiver(receiver));
    let known = Arc::new(Mutex::new(known));
    let listed = known.clone();
    let config = DeliveryConfig {
        now_ms,
        receivers: Box::new(move || listed.lock().clone()),
        secret: Box::new(move |receiver| {
            let found = receivers.iter().find(|(it, _)| it.name == receiver.name);
            let address = found.map(|(_, address)| address.clone()).unwrap_or_default();
            Ok(ReceiverSecret { address, key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into() })
        }),
        authorities: vec![],
    };
    Delivery::start(desk.clone(), Objectives::new(), config).unwrap();
    Told { desk, receivers: known, _directory: directory }
}

fn next(requests: &Receiver<Request>) -> Request {
    requests.recv_timeout(Duration::from_secs(WAIT_S)).expect("no request came")
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < WAIT_S, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_change_comes_in_order_however_often_it_fails_and_one_delays_no_other() {
    let (address, requests) =
        serve(&["500 No", "302 Found\r\nlocation: http://127.0.0.1:1/elsewhere", "204 No Content"]);
    let (hanging, _kept) = serve(&[""]);
    let webhook = receiver("ops", ReceiverKind::Webhook, Severity::Notice);
    let slow = receiver("slow", ReceiverKind::Webhook, Severity::Notice);
    let told = start(vec![(slow.clone(), hanging), (webhook.clone(), address)]);
    told.desk.raise(&key("churn"), finding(Severity::Warning, 0.1), now_ms());
    told.desk.raise(&key("churn"), finding(Severity::Alert, 0.5), now_ms());
    told.desk.close(&key("churn"), now_ms());
    let first: Vec<Request> = (0..3).map(|_| next(&requests)).collect();
    assert!(first.iter().all(|request| request.path == "/hook?secret=1"), "{first:?}");
    // The same id each time: by it a receiver knows a repeat.
    assert!(first.iter().all(|request| request.id == first[0].id), "{first:?}");
    let rest: Vec<Request> = (0..2).map(|_| next(&requests)).collect();
    let types: Vec<&str> = std::iter::once(&first[0])
        .chain(&rest)
        .map(|request| request.body["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["alarm.opened", "alarm.updated", "alarm.resolved"]);
    assert!(rest[0].id != rest[1].id && rest[0].id != first[0].id);
    until("it was told all", || told.desk.receiver(&webhook).delivered == 3);
    let status = told.desk.receiver(&webhook);
    assert_eq!((status.waiting, status.lost, status.error), (0, 0, None));
    until("the other one failed", || told.desk.receiver(&slow).error.is_some());
    let status = told.desk.receiver(&slow);
    assert_eq!((status.waiting, status.delivered), (3, 0));
    assert_eq!(status.error.unwrap(), "it did not answer within 10 s");
    // Whoever is no receiver any more is not told, and not waited for.
    told.receivers.lock().clear();
    until("it is gone", || told.desk.receiver(&webhook).delivered == 0);
    told.desk.raise(&key("fraud"), finding(Severity::Alert, 0.5), now_ms());
    assert!(requests.recv_timeout(Duration::from_millis(1_500)).is_err());
}

#[test]
fn a_receiver_that_asks_to_wait_is_waited_for() {
    let (address, requests) = serve(&["429 Slow\r\nretry-after: 3", "200 OK"]);
    let slack = receiver("team", ReceiverKind::Slack, Severity::Notice);
    let told = start(vec![(slack.clone(), address)]);
    told.desk.raise(&key("churn"), finding(Severity::Alert, 0.5), now_ms());
    next(&requests);
    let asked = Instant::now();
    // What comes meanwhile waits too, and comes with it.
    told.desk.close(&key("churn"), now_ms());
    let request = next(&requests);
    assert!(asked.elapsed() >= Duration::from_millis(2_900), "{:?}", asked.elapsed());
    let text = request.body["text"].as_str().unwrap();
    assert!(text.contains("*alert*") && text.contains("*resolved*"), "{text}");
    until("it was told all", || told.desk.receiver(&slack).delivered == 2);
}

#[test]
fn a_message_that_is_refused_does_not_hold_up_the_next_for_ever() {
    let (address, requests) =
        serve(&["400 Bad", "400 Bad", "400 Bad", "400 Bad", "413 Large", "200 OK"]);
    let webhook = receiver("ops", ReceiverKind::Webhook, Severity::Notice);
    let told = start(vec![(webhook.clone(), address)]);
    told.desk.raise(&key("churn"), finding(Severity::Alert, 0.5), now_ms());
    told.desk.close(&key("churn"), now_ms());
    for _ in 0..REFUSALS_MAX {
        assert_eq!(next(&requests).body["type"], "alarm.opened");
    }
    assert_eq!(next(&requests).body["type"], "alarm.resolved");
    until("it was told", || told.desk.receiver(&webhook).delivered == 1);
    assert_eq!(told.desk.receiver(&webhook).lost, 1);
}

#[test]
fn a_process_that_pauses_tells_nobody_until_it_goes_on() {
    let (address, requests) = serve(&["200 OK"]);
    let webhook = receiver("ops", ReceiverKind::Webhook, Severity::Notice);
    let told = start(vec![(webhook.clone(), address)]);
    told.desk.raise(&key("churn"), finding(Severity::Alert, 0.5), now_ms());
    next(&requests);
    until("it was told", || told.desk.receiver(&webhook).delivered == 1);
    told.desk.pause(now_ms());
    told.desk.raise(&key("fraud"), finding(Severity::Alert, 0.5), now_ms());
    assert!(requests.recv_timeout(Duration::from_millis(1_500)).is_err());
    told.desk.resume();
    told.desk.raise(&key("fraud"), finding(Severity::Alert, 0.5), now_ms());
    assert_eq!(next(&requests).body["data"]["alarm"]["model"], "default/fraud");
}

//! Whatever bytes come over the supervisor's sockets.

use domain::Digest;
use domain::launch::{Launch, Origin, ProcessId, Role, Temperature, ZygoteKey};
use serde::Serialize;
use testing::Corpus;

use super::*;
use crate::control::Word;
use crate::protocol::{Call, Message, Process, Readiness, Reply, Request};

fn line(value: impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(&value).unwrap();
    line.push(b'\n');
    line
}

fn launch() -> Launch {
    let zygote = ZygoteKey {
        project: "default".parse().unwrap(),
        lock: Digest::of(b"lock"),
        sandbox: String::new(),
    };
    Launch {
        walls: None,
        id: ProcessId("r1-1".into()),
        role: Role::Zygote(zygote),
        origin: Origin::Program(vec!["python3".into(), "-c".into(), "pass".into()]),
        variables: [("A".to_string(), "ü".to_string())].into(),
        secrets: ["A".to_string()].into(),
        directory: "/tmp".into(),
        socket: Some("/tmp/r1.sock".into()),
        plain_path: None,
        log: "/tmp/log".into(),
        limits: Default::default(),
        temperature: Temperature::Cold,
        colder_because: Some("no".into()),
    }
}

fn process() -> Process {
    let ready = Readiness { threads: 1, can_fork: true, reason: String::new(), elapsed_ms: 7 };
    Process {
        sandbox: None,
        id: ProcessId("r1-1".into()),
        role: launch().role,
        pid: 7,
        socket: None,
        plain_path: None,
        temperature: Temperature::Cold,
        colder_because: None,
        ancestors: vec![ProcessId("p1".into())],
        ready: Some(ready),
        used_at_ms: 7,
        masked: Some(1),
        known: Some("{}".into()),
        ended: None,
    }
}

fn calls() -> Vec<Vec<u8>> {
    let id = || ProcessId("r1-1".into());
    let requests = [
        Request::Hello,
        Request::Spawn(Box::new(launch())),
        Request::Signal { id: id(), kill: true },
        Request::Remember { id: id(), known: "\"{}\u{0}".into() },
        Request::List,
        Request::Forget { id: id() },
        Request::Shutdown { drain_ms_max: u64::MAX },
    ];
    requests.into_iter().zip(1..).map(|(request, id)| line(Call { id, request })).collect()
}

fn messages() -> Vec<Vec<u8>> {
    let replies = [
        Ok(Reply::Done),
        Ok(Reply::Version(3)),
        Ok(Reply::Processes(vec![process(), process()])),
        Ok(Reply::Unused(vec![ProcessId("p1".into())])),
        Ok(Reply::Local("no".into())),
        Err("no".to_string()),
    ];
    let replies =
        replies.into_iter().zip(1..).map(|(result, id)| line(Message::Reply { id, result }));
    replies
        .chain([
            line(Message::Changed(Box::new(process()))),
            line(Message::Forgotten(ProcessId("p1".into()))),
        ])
        .collect()
}

/// The longest line here, in bytes.
const BYTES_MAX: usize = 16 * 1024;

/// The lines that come out of some bytes, until the first that is too long.
fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut lines = Lines::new(bytes, BYTES_MAX);
        let mut found = vec![];
        while let Ok(Some(line)) = lines.next().await {
            assert!(line.len() <= BYTES_MAX);
            found.push(line);
        }
        found
    })
}

#[test]
fn whatever_comes_is_understood_or_refused() {
    let words: Vec<Vec<u8>> = [
        r#"{"ready": {"threads": 2, "can_fork": false, "reason": "2 threads run", "elapsed_ms": 812}}"#,
        r#"{"forked": {"id": "r3-7", "pid": 1234}}"#,
        r#"{"refused": {"id": "r3-7", "reason": "no"}}"#,
    ]
    .map(|text| format!("{text}\n").into_bytes())
    .into();
    let call = |line: &[u8]| serde_json::from_slice::<Call<serde_json::Value>>(line);
    let request = |line: &[u8]| {
        call(line).is_ok_and(|call| serde_json::from_value::<Request>(call.request).is_ok())
    };
    let message = |line: &[u8]| serde_json::from_slice::<Message>(line).is_ok();
    let word = |line: &[u8]| serde_json::from_slice::<Word>(line).is_ok();
    assert!(
        read(&calls().concat()).iter().all(|line| request(line))
            && read(&calls().concat()).len() == calls().len()
    );
    assert!(
        read(&messages().concat()).iter().all(|line| message(line))
            && words.iter().all(|line| word(line))
    );
    let inputs = [calls(), messages(), words, vec![calls().concat(), messages().concat()]].concat();
    Corpus::of("lines of the supervisor", inputs).check(|bytes| {
        for line in read(bytes) {
            let _ = (request(&line), message(&line), word(&line));
        }
    });
}

#[tokio::test]
async fn a_line_without_end_is_not_kept() {
    let endless = tokio::io::repeat(b'x');
    let mut lines = Lines::new(endless, BYTES_MAX);
    assert_eq!(lines.next().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(lines.line.len() == BYTES_MAX + 1);
    let (mut ours, theirs) = tokio::io::duplex(64);
    let mut lines = Lines::new(theirs, 8);
    // What was waited for in vain is not lost.
    tokio::io::AsyncWriteExt::write_all(&mut ours, b"1234").await.unwrap();
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), lines.next()).await.is_err());
    tokio::io::AsyncWriteExt::write_all(&mut ours, b"5678\nab").await.unwrap();
    drop(ours);
    assert_eq!(lines.next().await.unwrap().unwrap(), b"12345678");
    assert_eq!(lines.next().await.unwrap().unwrap(), b"ab");
    assert_eq!(lines.next().await.unwrap(), None);
}

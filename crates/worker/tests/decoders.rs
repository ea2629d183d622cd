//! Whatever bytes a caller, a worker or the disk gives: each decoder answers or refuses, within limits of time and memory.
//! Inputs are those of `decoders/corpus`, each of them spoilt in many ways by seed. `DECODERS_SECONDS=60` goes on for so long
//! with each decoder; an input that was found to trip one over belongs into the corpus.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::{Column, Datatype, Event, Schema};
use protocol::limits::FILLED_BYTES_MAX;
use protocol::worker_wire::WorkerRequest;
use protocol::{Payload, oip, simple, worker_wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use worker::{Connection, Form};

/// Spoilt inputs of each decoder in a short run.
const INPUTS: usize = 4_000;
/// The longest that a short run of one decoder takes.
const SECONDS: u64 = 3;
/// The longest that one input may take: a thousand times what it takes, as the machine may be busy.
const INPUT_SECONDS_MAX: u64 = 5;
/// The longest input, in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// Memory that one input may take, beside four times its length and what stands in for missing values, in bytes.
const MEMORY_BYTES: usize = 4 << 20;

/// Counts what each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Pieces that decoders are sensitive to.
const PIECES: &[&str] = &[
    "0",
    "-1",
    "18446744073709551615",
    "9223372036854775808",
    "1e999",
    "null",
    "[]",
    "{}",
    "[[",
    "]]",
    "\"",
    "\\u0000",
    "\\ud83d",
    ",",
    ":",
    "{\"rows\":",
    "\r\n",
    "\r\n\r\n",
    "0\r\n",
    "ffffffffffffffff",
    "Content-Length: 9\r\n",
    "Transfer-Encoding: chunked\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "\u{0}",
    "é",
    "\"shape\":[4611686018427387904,0]",
    "\"parameters\":{\"binary_data_size\":4}",
    "@v1",
    "%2F",
    "../",
    "/",
];

/// Spoils an input in one to eight places.
fn spoil(random: &mut fastrand::Rng, input: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..random.usize(1..=8) {
        let at = random.usize(0..=input.len());
        let end = (at + random.usize(0..16)).min(input.len());
        match random.u8(0..8) {
            0 if !input.is_empty() => {
                let at = at.min(input.len() - 1);
                input[at] = random.u8(..);
            }
            1 => drop(input.drain(at..end)),
            2 => drop(input.splice(at..end, PIECES[random.usize(..PIECES.len())].bytes())),
            3 => drop(input.splice(at..at, PIECES[random.usize(..PIECES.len())].bytes())),
            4 => {
                let part = input[at..end].repeat(random.usize(1..200));
                drop(input.splice(at..at, part));
            }
            5 => {
                let other = &others[random.usize(..others.len())];
                let from = random.usize(0..=other.len());
                let part = other[from..(from + 64).min(other.len())].to_vec();
                drop(input.splice(at..end, part));
            }
            6 => input.truncate(at),
            _ => input.extend_from_slice(PIECES[random.usize(..PIECES.len())].as_bytes()),
        }
        input.truncate(BYTES_MAX);
    }
}

/// Runs a decoder over its corpus, as it is and spoilt.
fn check(decoder: &str, mut decode: impl FnMut(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decoders/corpus").join(decoder);
    let mut paths: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!corpus.is_empty(), "{decoder} has no corpus");
    for input in &corpus {
        within_limits(decoder, input, &mut decode);
    }
    let long = std::env::var("DECODERS_SECONDS").ok().map(|text| text.parse::<u64>().unwrap());
    let (begin, seconds) = (Instant::now(), long.unwrap_or(SECONDS));
    for seed in 0.. {
        if begin.elapsed() > Duration::from_secs(seconds) || (long.is_none() && seed >= INPUTS) {
            break;
        }
        let mut random = fastrand::Rng::with_seed(seed as u64);
        let mut input = corpus[random.usize(..corpus.len())].clone();
        spoil(&mut random, &mut input, &corpus);
        within_limits(decoder, &input, &mut decode);
    }
}

fn within_limits(decoder: &str, input: &[u8], decode: &mut impl FnMut(&[u8])) {
    let (begin, before) = (Instant::now(), HELD.get());
    PEAK.set(before);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| decode(input)));
    let (seconds, bytes) = (begin.elapsed().as_secs(), (PEAK.get() - before) as usize);
    let is_ok = ended.is_ok() && seconds <= INPUT_SECONDS_MAX && bytes <= 4 * input.len() + 2 * FILLED_BYTES_MAX + MEMORY_BYTES;
    assert!(is_ok, "{decoder} took {seconds} s and {bytes} bytes, panicked: {}, at {}", ended.is_err(), input.escape_ascii());
}

fn schema() -> Schema {
    let mut city = Column::scalar("city", Datatype::Bytes);
    city.categories = vec!["Utrecht".into(), "Delft".into()];
    let mut income = Column::scalar("income", Datatype::Fp64);
    income.nullable = true;
    let array = Column { shape: Some(vec![2, -1]), ..Column::scalar("x", Datatype::Fp32) };
    let free = Column { shape: None, nullable: true, ..Column::scalar("free", Datatype::Int8) };
    let json = Column { nullable: true, ..Column::scalar("json", Datatype::Json) };
    let at = Column { nullable: true, ..Column::scalar("at", Datatype::Timestamp) };
    let inputs = vec![city, income, array, free, json, at];
    Schema { outputs: inputs.clone(), inputs, batches: true, ..Schema::default() }
}

/// What was read can be sent to a worker of any kind, and read there.
fn can_be_sent(payload: &Payload, schema: &Schema) {
    assert!(payload.rows > 0);
    let sent = worker_wire::encode_batch(&[payload, payload], &Default::default(), &[], schema);
    let mut body = sent.json.clone();
    sent.blobs.iter().for_each(|blob| body.extend_from_slice(blob));
    let read = oip::decode_request(Bytes::from(body), Some(sent.json.len())).expect("what is sent can be read");
    let read = Payload::from_tensors(read.inputs, schema).expect("what is sent fits");
    assert_eq!(read.rows, 2 * payload.rows);
    for protocol in [WorkerProtocol::Json, WorkerProtocol::Plain("/".into())] {
        worker_wire::encode(&protocol, &[payload, payload], &Default::default(), &[], schema).expect("what was read can be sent");
    }
}

#[test]
fn simple_json() {
    let schema = schema();
    check("simple", |input| {
        if let Ok((payload, _)) = simple::decode(input, &schema) {
            can_be_sent(&payload, &schema);
        }
    });
}

#[test]
fn open_inference() {
    let schema = schema();
    check("open", |input| {
        for header_bytes in [None, Some(input.len().saturating_sub(8))] {
            if let Ok(request) = oip::decode_request(Bytes::copy_from_slice(input), header_bytes)
                && let Ok(payload) = Payload::from_tensors(request.inputs, &schema)
            {
                can_be_sent(&payload, &schema);
            }
        }
    });
}

#[test]
fn answers_of_workers() {
    let declared = schema();
    let free = Schema { outputs: vec![], ..schema() };
    check("answer", |input| {
        for (protocol, schema) in [
            (WorkerProtocol::Binary, &declared),
            (WorkerProtocol::Json, &free),
            (WorkerProtocol::Plain("/".into()), &declared),
            (WorkerProtocol::Plain("/".into()), &free),
        ] {
            for header_bytes in [None, Some(input.len().saturating_sub(8))] {
                let bytes = Bytes::copy_from_slice(input);
                if let Ok(answer) = worker_wire::decode(&protocol, bytes, header_bytes, 2, &[], schema) {
                    let mut out = vec![];
                    answer.write_simple(0..2, false, &mut out);
                    serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("an answer is JSON");
                    let tensors = answer.to_tensors(0..1).unwrap_or_default();
                    tensors.iter().for_each(|tensor| tensor.check().expect("rows of an answer are whole"));
                    assert!(answer.agrees(0..2, &answer, 0..2, 0.0) || out.windows(4).any(|part| part == b"null"));
                }
            }
        }
    });
}

#[test]
fn what_a_worker_writes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = WorkerRequest { json: b"{}".to_vec(), blobs: vec![] };
    for (corpus, form) in [("http", Form::Whole), ("http", Form::Events)] {
        check(corpus, |input| {
            runtime.block_on(async {
                let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
                let mut connection = Connection::over(ours);
                let writes = async {
                    let _ = theirs.read(&mut [0; 1024]).await;
                    let _ = theirs.write_all(input).await;
                    let _ = theirs.shutdown().await;
                };
                let reads = async {
                    let answer = connection.post("/", &request, form).await;
                    if answer.is_ok_and(|answer| answer.streams) {
                        while connection.next_piece().await.is_ok_and(|piece| piece.is_some()) {}
                    }
                };
                tokio::join!(writes, reads);
            });
        });
    }
}

#[test]
fn words_of_a_worker() {
    check("answer", |input| {
        for status in [400, 500] {
            let answer = worker::RawAnswer { status, header_bytes: None, body: Bytes::copy_from_slice(input), streams: false };
            assert!(worker::refusal::problem_of(&answer).to_string().len() < 300_000);
        }
        worker::refusal::problem_of_event(&String::from_utf8_lossy(input));
    });
}

#[test]
fn what_the_disk_holds() {
    check("disk", |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(manifest) = domain::Manifest::parse(&text) {
            let _ = (manifest.model_digest(), manifest.configuration());
        }
        let _ = serde_json::from_slice::<domain::Tree>(input);
        let _ = serde_json::from_slice::<Schema>(input).map(|schema| (schema.to_string(), simple::synthetic_row(&schema)));
        let (kind, body) = text.split_once('\n').unwrap_or((&text, ""));
        let _ = Event::from_parts(kind, 1, body.as_bytes());
        let _ = kind.parse::<domain::Reference>().map(|reference| reference.to_string());
        let _ = kind.parse::<domain::Digest>();
    });
}

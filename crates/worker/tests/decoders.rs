//! Whatever bytes a caller, a worker or the disk gives: each decoder answers or refuses, within
//! limits of time and memory. Inputs are those of `decoders/corpus`, each of them spoilt in many
//! ways by seed.

use std::path::Path;

use bytes::Bytes;
use domain::route::WorkerProtocol;
use domain::{Column, Datatype, Event, Schema};
use protocol::limits::FILLED_BYTES_MAX;
use protocol::worker_wire::WorkerRequest;
use protocol::{Payload, oip, simple, worker_wire};
use testing::Corpus;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use worker::{Connection, Form};

/// Runs a decoder over its corpus, as it is and spoilt.
fn check(decoder: &str, decode: impl FnMut(&[u8])) {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decoders/corpus").join(decoder);
    // What stands in for missing values.
    Corpus::read(directory).allowing(2 * FILLED_BYTES_MAX).check(decode);
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
    let read = oip::decode_request(Bytes::from(body), Some(sent.json.len()))
        .expect("what is sent can be read");
    let read = Payload::from_tensors(read.inputs, schema).expect("what is sent fits");
    assert_eq!(read.rows, 2 * payload.rows);
    for protocol in [WorkerProtocol::Json, WorkerProtocol::Plain("/".into())] {
        worker_wire::encode(&protocol, &[payload, payload], &Default::default(), &[], schema)
            .expect("what was read can be sent");
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
                if let Ok(answer) =
                    worker_wire::decode(&protocol, bytes, header_bytes, 2, &[], schema)
                {
                    let mut out = vec![];
                    answer.write_simple(0..2, false, &mut out);
                    serde_json::from_slice::<serde::de::IgnoredAny>(&out)
                        .expect("an answer is JSON");
                    let tensors = answer.to_tensors(0..1).unwrap_or_default();
                    tensors
                        .iter()
                        .for_each(|tensor| tensor.check().expect("rows of an answer are whole"));
                    assert!(
                        answer.agrees(0..2, &answer, 0..2, 0.0)
                            || out.windows(4).any(|part| part == b"null")
                    );
                }
            }
        }
    });
}

#[test]
fn what_a_worker_writes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = WorkerRequest { json: b"{}".to_vec(), blobs: vec![], trace: None };
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
            let answer = worker::RawAnswer {
                status,
                header_bytes: None,
                body: Bytes::copy_from_slice(input),
                streams: false,
            };
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
        let _ = serde_json::from_slice::<Schema>(input)
            .map(|schema| (schema.to_string(), simple::synthetic_row(&schema)));
        let (kind, body) = text.split_once('\n').unwrap_or((&text, ""));
        let _ = Event::from_parts(kind, 1, body.as_bytes());
        let _ = kind.parse::<domain::Reference>().map(|reference| reference.to_string());
        let _ = kind.parse::<domain::Digest>();
    });
}

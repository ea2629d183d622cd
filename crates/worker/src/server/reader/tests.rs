//! Whatever bytes somebody sends to a worker's socket.

use std::io::Write;
use std::path::Path;

use testing::Corpus;

use super::*;

/// The requests that come out of some bytes, until the first that is none.
fn requests(bytes: &[u8]) -> Vec<Request> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let writing = bytes.to_vec();
    let writer = std::thread::spawn(move || theirs.write_all(&writing));
    let mut reader = Reader::new();
    let mut requests = vec![];
    while reader.wait(&ours)
        && let Ok(request) = reader.request(&ours, || Ok(()))
    {
        requests.push(request);
    }
    drop(ours);
    // It may have been refused before all was written.
    let _ = writer.join().unwrap();
    requests
}

#[test]
fn whatever_is_sent_is_a_request_or_refused() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decoders/corpus/requests");
    // A body is announced before it comes: the room for it is asked for, but not touched.
    Corpus::read(directory).allowing(BODY_BYTES_MAX).check(|bytes| {
        let requests = requests(bytes);
        assert!(requests.iter().map(|request| request.body.len()).sum::<usize>() <= bytes.len());
        for request in requests {
            if request.body.len() > SMALL_BYTES_MAX
                && let Some(header_bytes) =
                    request.header_bytes.filter(|bytes| *bytes <= request.body.len())
            {
                assert_eq!(
                    (request.body.as_ptr() as usize + header_bytes) % ALIGNMENT,
                    0,
                    "its tensors can be used in place"
                );
            }
            let _ = protocol::oip::decode_request(request.body, request.header_bytes);
        }
    });
}

#[test]
fn requests_behind_each_other_are_told_apart() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decoders/corpus/requests");
    let read = |name: &str| std::fs::read(corpus.join(name)).unwrap();
    let all = [read("large"), read("get"), read("binary"), read("large")].concat();
    let bodies: Vec<usize> = requests(&all).iter().map(|request| request.body.len()).collect();
    let of = |name: &str| requests(&read(name))[0].body.len();
    assert_eq!(bodies, [of("large"), 0, of("binary"), of("large")]);
    assert!(of("large") > SMALL_BYTES_MAX);
}

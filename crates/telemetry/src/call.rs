//! One request to the collector, and what came of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use monitor::delivery::{agent, retry_after_ms, why};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use crate::endpoint::Endpoint;

/// As much of an answer is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// As much of what a collector says is told, in characters.
const SAID_CHARS_MAX: usize = 200;
/// The shortest time for a call, in milliseconds.
const CALL_MS_MIN: u64 = 50;

/// What a request has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The collector has it.
    Taken,
    /// It has it, but for so many spans or points.
    Partly(u64, String),
    /// It does not want this, and would not later.
    Refused(String),
    /// It takes nothing now.
    Failed {
        /// Why.
        why: String,
        /// When it asks to be asked again, in milliseconds.
        retry_after_ms: Option<u64>,
    },
}

/// Calls the collector.
pub struct Client {
    agent: ureq::Agent,
    traces: String,
    metrics: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Trusts these authorities, in DER.
    pub fn new(
        endpoint: &Endpoint,
        headers: &[(String, String)],
        authorities: &[Vec<u8>],
    ) -> Client {
        Client {
            agent: agent(authorities),
            traces: endpoint.target("traces"),
            metrics: endpoint.target("metrics"),
            headers: headers.to_vec(),
        }
    }

    /// Sends a body; within a time, if there is a limit beside the ordinary one.
    pub fn send(&self, signal: Signal, body: &[u8], limit: Option<Duration>) -> Outcome {
        let target = match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        };
        let mut request = self.agent.post(target).content_type("application/x-protobuf");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(limit) = limit {
            let limit = limit.max(Duration::from_millis(CALL_MS_MIN));
            request = request.config().timeout_global(Some(limit)).build();
        }
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(error) => return Outcome::Failed { why: why(&error), retry_after_ms: None },
        };
        let status = response.status().as_u16();
        let asked = response.headers().get("retry-after");
        let retry_after_ms = asked
            .and_then(|text| text.to_str().ok())
            .and_then(|text| retry_after_ms(text, now_ms()));
        let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        match status {
            200..300 => taken(signal, &answer.unwrap_or_default()),
            429 | 502..=504 => {
                Outcome::Failed { why: format!("it answered {status}"), retry_after_ms }
            }
            300..400 => Outcome::Refused(format!(
                "it sends elsewhere ({status}), and redirects are not followed"
            )),
            _ => Outcome::Refused(format!("it refuses what was sent ({status})")),
        }
    }
}

/// Reads what a collector says when it takes something. An answer that is not understood is one that
/// says no more than that.
fn taken(signal: Signal, answer: &[u8]) -> Outcome {
    let (rejected, said) = match signal {
        Signal::Traces => ExportTraceServiceResponse::decode(answer)
            .ok()
            .and_then(|answer| answer.partial_success)
            .map(|partly| (partly.rejected_spans, partly.error_message)),
        Signal::Metrics => ExportMetricsServiceResponse::decode(answer)
            .ok()
            .and_then(|answer| answer.partial_success)
            .map(|partly| (partly.rejected_data_points, partly.error_message)),
    }
    .unwrap_or_default();
    if rejected <= 0 && said.is_empty() {
        return Outcome::Taken;
    }
    let said: String = said.chars().take(SAID_CHARS_MAX).collect();
    Outcome::Partly(rejected.try_into().unwrap_or(0), format!("it says {said:?}"))
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    /// A collector that answers once; what it was sent.
    fn answered(answer: Vec<u8>) -> (Outcome, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut got = vec![];
            while !got.ends_with(b"BODY") {
                let mut piece = [0; 1_024];
                let count = stream.read(&mut piece).unwrap();
                got.extend_from_slice(&piece[..count]);
            }
            stream.write_all(&answer).unwrap();
            got
        });
        let headers = vec![("api-key".to_string(), "k".to_string())];
        let client = Client::new(&url.parse().unwrap(), &headers, &[]);
        let outcome = client.send(Signal::Traces, b"BODY", None);
        (outcome, serving.join().unwrap())
    }

    fn http(status: &str, more: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    #[test]
    fn answers_mean_what_the_protocol_says() {
        let (outcome, got) = answered(http("200 OK", "", b""));
        assert_eq!(outcome, Outcome::Taken);
        let got = String::from_utf8(got).unwrap().to_lowercase();
        for part in ["post /base/v1/traces ", "content-type: application/x-protobuf", "api-key: k"]
        {
            assert!(got.contains(part), "{got}");
        }
        let partial_success =
            Some(ExportTracePartialSuccess { rejected_spans: 3, error_message: "old\n".into() });
        let partly = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        let (outcome, _) = answered(http("200 OK", "", &partly));
        assert_eq!(outcome, Outcome::Partly(3, "it says \"old\\n\"".into()));
        let (outcome, _) = answered(http("200 OK", "", b"\xff\xff"));
        assert_eq!(outcome, Outcome::Taken);
        let (outcome, _) = answered(http("503 Busy", "Retry-After: 7\r\n", b""));
        let why = "it answered 503".to_string();
        assert_eq!(outcome, Outcome::Failed { why, retry_after_ms: Some(7_000) });
        for status in ["400 Bad", "413 Large", "307 There", "404 None", "500 Bug"] {
            let (outcome, _) = answered(http(status, "Location: /\r\n", b""));
            assert!(matches!(outcome, Outcome::Refused(_)), "{status}: {outcome:?}");
        }
        let (outcome, _) = answered(b"no HTTP at all".to_vec());
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    }

    #[test]
    fn one_that_does_not_listen_fails_and_is_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::new(&url.parse().unwrap(), &[], &[]);
        let outcome = client.send(Signal::Metrics, b"", Some(Duration::ZERO));
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    }
}

//! What a worker says when it does not answer: its words, bounded, and whose mistake it is.

use domain::{Code, Problem};
use protocol::fault::{shorten, words};
use serde_json::Value;

use crate::client::RawAnswer;

/// The longest error that is read as JSON, in bytes; of a longer one, the beginning is shown as
/// text.
const READ_BYTES_MAX: usize = 256 * 1024;
/// What is kept of an answer that is no error as we know it, in characters.
const BODY_CHARS_MAX: usize = 500;

/// The problem that a worker's answer other than 200 carries. With 400 and 422 a worker refuses its
/// input: that is the caller's mistake, `bad_input`. Anything else is the worker's.
pub fn problem_of(answer: &RawAnswer) -> Problem {
    let said =
        words(&answer.body).unwrap_or_else(|| Problem::new(Code::ModelRaised, text_of(answer)));
    let code = match answer.status {
        400 | 422 => Code::BadInput,
        _ if said.code == Code::BadOutput => Code::BadOutput,
        _ => Code::ModelRaised,
    };
    Problem { code, ..said }
}

/// The problem in an event of a stream.
pub fn problem_of_event(line: &str) -> Problem {
    words(line.as_bytes())
        .unwrap_or_else(|| Problem::new(Code::ModelRaised, shorten(line, BODY_CHARS_MAX)))
}

/// What an answer says that is no error of ours.
fn text_of(answer: &RawAnswer) -> String {
    if answer.body.len() <= READ_BYTES_MAX {
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // As other frameworks call it.
        if let Some(text) =
            ["error", "message", "detail"].into_iter().find_map(|key| value.get(key))
        {
            let text = text.as_str().map_or_else(|| text.to_string(), String::from);
            return shorten(&text, BODY_CHARS_MAX);
        }
    }
    let beginning = &answer.body[..answer.body.len().min(4 * BODY_CHARS_MAX)];
    let body = shorten(&String::from_utf8_lossy(beginning), BODY_CHARS_MAX);
    format!("the worker answered {}: {body}", answer.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, body: &str) -> Problem {
        problem_of(&RawAnswer {
            status,
            header_bytes: None,
            body: body.to_string().into(),
            streams: false,
        })
    }

    #[test]
    fn a_refusal_is_the_callers_and_a_failure_the_workers() {
        let refused = problem(422, r#"{"error": "age must be positive", "code": "bad_input"}"#);
        assert_eq!(
            (refused.code.as_str(), refused.message.as_str()),
            ("bad_input", "age must be positive")
        );
        assert_eq!(problem(400, r#"{"detail": "no such city"}"#).message, "no such city");
        assert_eq!(problem(422, r#"{"detail": [{"msg": "x"}]}"#).code, Code::BadInput);
        for (status, body) in [
            (500, r#"{"error": "ValueError", "code": "model_raised"}"#),
            (500, r#"{"error": "no", "code": "bad_input"}"#),
            (503, "overloaded"),
            (404, ""),
            (429, "{}"),
            (200, r#"{"error": "x", "code": "schema_mismatch"}"#),
        ] {
            assert_eq!(problem(status, body).code, Code::ModelRaised, "{status} {body}");
        }
        assert_eq!(problem(500, r#"{"error": "no", "code": "bad_output"}"#).code, Code::BadOutput);
    }

    #[test]
    fn a_workers_words_are_bounded() {
        let long = "a".repeat(50_000);
        let body = serde_json::json!({ "error": long, "code": "model_raised", "details": vec!["line"; 1_000], "help": long });
        let problem_shown = problem(500, &body.to_string());
        assert_eq!(problem_shown.details.len(), 61);
        assert!(problem_shown.to_string().len() < 6_000);
        assert!(problem(500, &"é".repeat(READ_BYTES_MAX)).message.len() < 3 * BODY_CHARS_MAX);
        assert!(problem_of_event(&long).message.len() < 2 * BODY_CHARS_MAX);
    }
}

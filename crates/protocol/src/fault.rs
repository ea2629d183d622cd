//! What is wrong with bytes, and whose mistake it is. A decoder that both directions use says what
//! is wrong (a [`Flaw`]); the direction says whose it is: a caller's becomes a [`Problem`] with a
//! 4xx, a worker's a [`WorkerFault`], which can only become a 5xx.

use std::fmt;

use domain::{Code, Problem};

/// Something wrong with a tensor or a message, before it is known whose mistake it is.
#[derive(Clone, PartialEq, Debug)]
pub struct Flaw {
    /// The code that a caller gets for it.
    code: Code,
    message: String,
    help: &'static str,
}

impl Flaw {
    /// Of a code that means a 4xx where a caller made it.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Flaw {
        Flaw { code, message: message.into(), help: "" }
    }

    /// With what a caller can do.
    pub(crate) fn help(self, help: &'static str) -> Flaw {
        Flaw { help, ..self }
    }
}

impl From<Flaw> for Problem {
    fn from(flaw: Flaw) -> Problem {
        Problem::new(flaw.code, flaw.message).help(flaw.help)
    }
}

/// What is wrong with a worker's answer. It becomes `bad_output` or `bad_worker`, a 500: never the
/// caller's mistake. There is no way from a [`Problem`] to it, nor from it to another code.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkerFault(Problem);

impl WorkerFault {
    /// The answer is understood, but is not what the model declares: wrong type, shape, number of
    /// rows, a missing output.
    pub fn output(message: impl Into<String>) -> WorkerFault {
        WorkerFault(
            Problem::new(Code::BadOutput, message)
                .help("a model must give one output row for each input row, as its schema says"),
        )
    }

    /// The answer is not understood: wrong HTTP, JSON, length.
    pub fn malformed(message: impl Into<String>) -> WorkerFault {
        WorkerFault(
            Problem::new(Code::BadWorker, message).help(
                "the worker must answer as docs/protocols.md says; see its log: decalog logs",
            ),
        )
    }

    /// With lines of detail.
    pub fn details(self, details: impl IntoIterator<Item = String>) -> WorkerFault {
        WorkerFault(self.0.details(details))
    }

    /// With what to do.
    pub fn help(self, help: impl Into<String>) -> WorkerFault {
        WorkerFault(self.0.help(help))
    }

    /// The code: `bad_output` or `bad_worker`.
    pub fn code(&self) -> &Code {
        &self.0.code
    }
}

impl From<Flaw> for WorkerFault {
    fn from(flaw: Flaw) -> WorkerFault {
        WorkerFault::output(format!("the worker's answer is wrong: {}", flaw.message))
    }
}

impl From<WorkerFault> for Problem {
    fn from(fault: WorkerFault) -> Problem {
        fault.0
    }
}

impl fmt::Display for WorkerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest error of a worker that is read as JSON, in bytes.
const WORDS_BYTES_MAX: usize = 256 * 1024;
/// What is kept of a worker's sentence, in characters.
const SENTENCE_CHARS_MAX: usize = 2_000;
/// What is kept of one line of detail, in characters.
const DETAIL_CHARS_MAX: usize = 500;
/// The most lines of detail that are kept: a traceback.
const DETAILS_MAX: usize = 60;

/// What a worker says is wrong, bounded and under a code that a worker may use: `bad_input` is its
/// refusal of a row, which is the caller's mistake; `bad_output` and `model_raised` are its own.
/// `None` if that is not what it says.
pub fn words(json: &[u8]) -> Option<Problem> {
    if json.len() > WORDS_BYTES_MAX {
        return None;
    }
    let said: Problem = serde_json::from_slice(json).ok()?;
    let code = match said.code {
        Code::BadInput | Code::BadRequest => Code::BadInput,
        Code::BadOutput => Code::BadOutput,
        _ => Code::ModelRaised,
    };
    let mut details: Vec<String> =
        said.details.iter().take(DETAILS_MAX).map(|line| shorten(line, DETAIL_CHARS_MAX)).collect();
    if said.details.len() > details.len() {
        details.push(format!("… {} more lines", said.details.len() - details.len()));
    }
    let help = shorten(&said.help, SENTENCE_CHARS_MAX);
    let message = shorten(&said.message, SENTENCE_CHARS_MAX);
    Some(Problem { details, help, ..Problem::new(code, message) })
}

/// The beginning of a text, with its lines as they are.
pub fn shorten(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

//! An error as a user sees it: a stable code, one sentence that says what is wrong, details, and
//! what to do.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::code::Code;

/// What went wrong with which input, and what to do about it. In JSON the sentence is called
/// `error`, as the Open Inference Protocol has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Stable: programs may rely on it.
    pub code: Code,
    /// One sentence.
    #[serde(rename = "error")]
    pub message: String,
    /// One line each: fields, a traceback, differences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// When to try again, in seconds, where that is known better than by the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem without details or help.
    pub fn new(code: Code, message: impl Into<String>) -> Problem {
        Problem {
            code,
            message: message.into(),
            details: vec![],
            help: String::new(),
            retry_after_s: None,
        }
    }

    /// With what to do.
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = help.into();
        self
    }

    /// With lines of detail.
    pub fn details(mut self, details: impl IntoIterator<Item = String>) -> Problem {
        self.details.extend(details);
        self
    }
}

/// The most of an input that an error repeats, in characters.
pub const EXCERPT_CHARS_MAX: usize = 200;

/// As much of an input as an error repeats.
pub fn excerpt(input: &str) -> Cow<'_, str> {
    match input.char_indices().nth(EXCERPT_CHARS_MAX) {
        None => Cow::Borrowed(input),
        Some((end, _)) => Cow::Owned(format!("{}… ({} bytes)", &input[..end], input.len())),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for line in &self.details {
            write!(f, "\n  {line}")?;
        }
        if !self.help.is_empty() {
            write!(f, "\nhelp: {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_repeats_a_part_of_a_long_input() {
        assert_eq!(excerpt("short"), "short");
        let long = "ä".repeat(1 << 20);
        assert_eq!(
            excerpt(&long).chars().count(),
            EXCERPT_CHARS_MAX + "… (2097152 bytes)".chars().count()
        );
    }
}

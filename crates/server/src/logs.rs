//! What the processes of a model printed.

use axum::extract::State;
use domain::VersionNumber;
use domain::reference::{Reference, Selector};
use engine::LogLine;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Name, Path, Query};
use crate::path::{ModelPath, VersionText};
use crate::{Api, ApiError};

/// Lines of a log if the caller does not say.
const LINES: usize = 200;
/// The most lines of a log that one answer has.
const LINES_MAX: usize = 100_000;
/// How far into a line its level is looked for, in bytes.
const LEVEL_BYTES_MAX: usize = 80;

#[derive(Deserialize, JsonSchema)]
pub struct LogsQuery {
    /// Of which version, as `v3`; of all if unsaid.
    #[schemars(with = "Option<VersionText>")]
    version: Option<Name<VersionNumber>>,
    /// How many lines; 200 if unsaid, and at most 100,000.
    lines: Option<usize>,
    /// Whether each line is JSON with its time, version, process and level, in place of its text
    /// alone.
    #[serde(default)]
    detailed: bool,
}

/// A line that a process of a model printed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Printed {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// As `v3`.
    pub version: String,
    /// A replica, or a parent that replicas are forked from.
    pub process: String,
    /// How bad it is, if the line says so.
    pub level: Option<Level>,
    /// What it printed.
    pub text: String,
}

/// How bad a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something may.
    Warning,
    /// Nothing is wrong.
    Info,
    /// For whoever looks for a mistake.
    Debug,
}

/// As programs write it: by a word in capitals near the begin of the line.
fn level_of(text: &str) -> Option<Level> {
    let mut end = text.len().min(LEVEL_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut words = text[..end].split(|c: char| !c.is_ascii_alphanumeric());
    let by_word = words.find_map(|word| match word {
        "ERROR" | "CRITICAL" | "FATAL" | "PANIC" => Some(Level::Error),
        "WARN" | "WARNING" => Some(Level::Warning),
        "INFO" => Some(Level::Info),
        "DEBUG" | "TRACE" => Some(Level::Debug),
        _ => None,
    });
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    by_word.or_else(|| {
        begins(&["Traceback (", "panic:", "[decalog: killed", "[decalog: exited with status"])
            .then_some(Level::Error)
            .filter(|_| text != "[decalog: exited with status 0]")
    })
}

impl From<LogLine> for Printed {
    fn from(line: LogLine) -> Printed {
        Printed {
            at_ms: line.at_ms,
            version: line.version.to_string(),
            process: line.process.0,
            level: level_of(&line.text),
            text: line.text,
        }
    }
}

pub async fn logs(
    State(api): State<Api>,
    Path(path): Path<ModelPath>,
    Query(query): Query<LogsQuery>,
) -> Result<String, ApiError> {
    let key = path.key();
    let number = query.version.map(Name::get).transpose()?;
    let state = api.control.state();
    let model = state.model(&key)?;
    let versions = match number {
        None => model.versions.keys().copied().collect(),
        Some(number) => {
            let selector = Some(Selector::Number(number));
            vec![state.resolve(&Reference { selector, ..Reference::live(key.clone()) })?]
        }
    };
    let lines = query.lines.unwrap_or(LINES).min(LINES_MAX);
    let lines = api.control.engine().log(&key, &versions, lines).await.into_iter();
    let written = |line: LogLine| match query.detailed {
        true => serde_json::to_string(&Printed::from(line)).unwrap_or_default() + "\n",
        false => line.text + "\n",
    };
    Ok(lines.map(written).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_from_lines() {
        for (text, level) in [
            ("WARNING:m:careful", Some(Level::Warning)),
            ("2026-11-28 09:00:00,123 - m - ERROR - no", Some(Level::Error)),
            ("[2026-11-28T09:00:00Z INFO  m] hello", Some(Level::Info)),
            ("Traceback (most recent call last):", Some(Level::Error)),
            ("[decalog: killed by signal 9 (SIGKILL)]", Some(Level::Error)),
            ("[decalog: exited with status 7]", Some(Level::Error)),
            ("[decalog: exited with status 0]", None),
            ("asked 1", None),
            ("INFORMATION about ERRORS", None),
            (&"é".repeat(100), None),
        ] {
            assert_eq!(level_of(text), level, "{text}");
        }
    }
}

//! Test cases: files under `tests/` in a model directory, with input rows and what they must give.

use std::time::Duration;

use artifacts::{ArtifactError, Store};
use domain::{Code, Problem, Tree, TreeFile};
use serde::Deserialize;
use serde_json::Value;
use worker::{Caller, canonical_bytes};

use crate::aside;

/// The most cases of one version.
const CASES_MAX: usize = 1_000;
/// The largest file of a case.
const CASE_BYTES_MAX: u64 = 64 << 20;
/// Differences that one error lists.
const DETAILS_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    rows: Option<Vec<Value>>,
    expected: Value,
    #[serde(default)]
    tolerance: Option<f64>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its file, as `tests/young.json`.
    pub name: String,
    /// Input rows.
    pub rows: Vec<Value>,
    /// One answer for each row.
    pub expected: Vec<Value>,
    /// By how much a number may differ: absolute, or relative to the expected value, whichever is
    /// larger.
    pub tolerance: f64,
}

fn bad_case(name: &str, problem: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadCase, format!("the test case {name} cannot be used: {problem}")).help(
        "write {\"input\": {column: value}, \"expected\": {output: value}, \"tolerance\": 0.001}",
    )
}

/// Reads all cases of a tree, by name.
pub async fn read(store: &Store, tree: &Tree, tolerance: f64) -> Result<Vec<Case>, Problem> {
    let is_case = |file: &&TreeFile| {
        let name = file.path.strip_prefix("tests/");
        name.is_some_and(|name| !name.contains('/') && name.ends_with(".json"))
    };
    let files: Vec<&TreeFile> = tree.files().iter().filter(is_case).collect();
    if files.len() > CASES_MAX {
        return Err(Problem::new(
            Code::BadCase,
            format!("there are {} test cases; at most {CASES_MAX} are allowed", files.len()),
        ));
    }
    let mut cases = vec![];
    for TreeFile { path, digest, size, .. } in files {
        if *size > CASE_BYTES_MAX {
            return Err(bad_case(path, format!("it has {size} bytes")));
        }
        let text = store.get(digest, CASE_BYTES_MAX as usize).await;
        let (name, text) = (path.clone(), text.map_err(ArtifactError::problem)?);
        cases.push(aside(move || parse(name, &text, tolerance)).await??);
    }
    Ok(cases)
}

fn parse(name: String, text: &[u8], tolerance: f64) -> Result<Case, Problem> {
    let file: CaseFile = serde_json::from_slice(text).map_err(|error| bad_case(&name, error))?;
    let (rows, expected) = match (file.input, file.rows, file.expected) {
        (Some(input), None, expected) => (vec![input], vec![expected]),
        (None, Some(rows), Value::Array(expected))
            if rows.len() == expected.len() && !rows.is_empty() =>
        {
            (rows, expected)
        }
        _ => {
            return Err(bad_case(
                &name,
                "it needs `input` and `expected`, or `rows` and as many in `expected`",
            ));
        }
    };
    Ok(Case { name, rows, expected, tolerance: file.tolerance.unwrap_or(tolerance) })
}

/// Runs all cases. Fails with every difference, up to a limit.
pub async fn run(cases: &[Case], caller: &mut Caller, limit: Duration) -> Result<(), Problem> {
    let mut details = vec![];
    let mut wrong = vec![];
    for case in cases {
        let answers = match caller.predict(&case.rows, limit).await {
            Ok(answers) => answers,
            Err(problem) => {
                let text = format!("the test case {} fails: {}", case.name, problem.message);
                return Err(Problem { code: Code::TestFailed, message: text, ..problem });
            }
        };
        let before = details.len();
        for (at, (expected, got)) in case.expected.iter().zip(&answers).enumerate() {
            let place = if case.rows.len() > 1 { format!("row {at}: ") } else { String::new() };
            compare(&place, expected, got, case.tolerance, &mut details);
        }
        if details.len() > before {
            wrong.push(case.name.as_str());
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    details.truncate(DETAILS_MAX);
    let message = match wrong.as_slice() {
        [one] => format!("case {one} gives another answer"),
        many => format!(
            "{} of {} cases give another answer: {}",
            many.len(),
            cases.len(),
            many.join(", ")
        ),
    };
    Err(Problem::new(Code::TestFailed, message)
        .details(details)
        .help("if the new answer is right, change `expected` in the case"))
}

/// The first place in which an answer is not what was expected.
pub(crate) fn difference(expected: &Value, got: &Value, tolerance: f64) -> Option<String> {
    let mut details = vec![];
    compare("", expected, got, tolerance, &mut details);
    details.into_iter().next()
}

/// A number without a fraction, as it was written.
fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
}

/// Lists where an answer is not what was expected. Outputs that the case does not name are not
/// compared.
fn compare(place: &str, expected: &Value, got: &Value, tolerance: f64, details: &mut Vec<String>) {
    let bytes = |value: &Value| canonical_bytes(value).unwrap_or_else(|| value.clone());
    match (expected, got) {
        // Bytes may be written in several ways: in base64 also where they are text.
        (Value::Object(_), _) if canonical_bytes(expected).is_some() => {
            if bytes(expected) != bytes(got) {
                details.push(format!("{place} expected {expected}, got {got}"));
            }
        }
        // Whole numbers are the same or they are not: rounding changes none.
        (Value::Number(wanted), Value::Number(found))
            if whole(wanted).is_some() && whole(found).is_some() =>
        {
            let distance = whole(wanted).zip(whole(found)).map_or(0, |(a, b)| a.abs_diff(b));
            if distance as f64 > tolerance {
                let within =
                    if tolerance < 1.0 { String::new() } else { format!(" ± {tolerance}") };
                details.push(format!("{place} expected {wanted}{within}, got {found}"));
            }
        }
        (Value::Number(wanted), Value::Number(found)) => {
            let (a, b) = (wanted.as_f64().unwrap_or(f64::NAN), found.as_f64().unwrap_or(f64::NAN));
            let close = (a - b).abs() <= tolerance.max(tolerance * a.abs());
            if wanted != found && !close {
                details.push(format!("{place} expected {wanted} ± {tolerance}, got {found}"));
            }
        }
        (Value::Object(wanted), Value::Object(found)) => {
            for (name, value) in wanted {
                match found.get(name) {
                    Some(other) => {
                        compare(&format!("{place}{name} "), value, other, tolerance, details)
                    }
                    None => details.push(format!("{place}{name}  is missing in the answer")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (at, (value, other)) in wanted.iter().zip(found).enumerate() {
                compare(&format!("{}[{at}] ", place.trim_end()), value, other, tolerance, details);
            }
        }
        _ if expected == got => {}
        _ => details.push(format!("{place} expected {expected}, got {got}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(expected: Value, got: Value, tolerance: f64) -> Vec<String> {
        let mut details = vec![];
        compare("", &expected, &got, tolerance, &mut details);
        details
    }

    #[test]
    fn numbers_within_tolerance() {
        assert!(differences(json!({"a": 0.127}), json!({"a": 0.1275, "b": 1}), 0.001).is_empty());
        assert!(differences(json!(1000), json!(1000.9), 0.001).is_empty());
        assert!(differences(json!(1), json!(1.0), 0.0).is_empty());
        let near = differences(
            json!({"n": 9007199254740993_u64}),
            json!({"n": 9007199254740992_u64}),
            1e-6,
        );
        assert_eq!(near, ["n  expected 9007199254740993, got 9007199254740992"]);
        assert_eq!(differences(json!(10_000_000), json!(10_000_001), 1e-6).len(), 1);
        assert!(
            differences(json!(100), json!(102), 2.0).is_empty(),
            "a tolerance of whole numbers"
        );
        let wrong = differences(json!({"leave": 0.127}), json!({"leave": 0.871}), 0.001);
        assert_eq!(wrong, ["leave  expected 0.127 ± 0.001, got 0.871"]);
        assert_eq!(differences(json!([1, 2]), json!([1, 3]), 0.0).len(), 1);
        assert_eq!(differences(json!([1, 2]), json!([1]), 0.0).len(), 1);
        assert_eq!(differences(json!({"a": "x"}), json!({}), 0.0), ["a  is missing in the answer"]);
        assert_eq!(differences(json!(null), json!(0), 0.1).len(), 1);
        let bytes = |text: &str| json!({ "b64": text });
        assert!(differences(bytes("/w"), bytes("/w=="), 0.0).is_empty());
        assert!(differences(bytes("aGk="), json!("hi"), 0.0).is_empty());
        assert_eq!(differences(bytes("/w=="), bytes("/g=="), 0.0).len(), 1);
    }

    #[tokio::test]
    async fn files() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("file:{}", directory.path().join("store").display());
        let store = Store::open(&url, &directory.path().join("uploads")).unwrap();
        let read_all = async |files: &[(&str, &str)]| {
            let mut listed = vec![];
            for (path, text) in files {
                let digest = store.put(text.to_string().into()).await.unwrap();
                let (path, size) = (path.to_string(), text.len() as u64);
                listed.push(TreeFile { path, digest, size, executable: false });
            }
            read(&store, &Tree::new(listed).unwrap(), 0.1).await
        };
        assert!(read_all(&[("model.py", "")]).await.unwrap().is_empty());
        let rows = r#"{"rows": [{"x": 1}], "expected": [{"y": 1}], "tolerance": 0.5}"#;
        let good = [
            ("tests/b.json", rows),
            ("tests/a.json", r#"{"input": {"x": 1}, "expected": {"y": 1}}"#),
            ("tests/deeper/c.json", "no case"),
            ("tests/readme", "no case"),
        ];
        let cases = read_all(&good).await.unwrap();
        assert_eq!(
            (cases[0].name.as_str(), cases[0].tolerance, cases[1].tolerance, cases.len()),
            ("tests/a.json", 0.1, 0.5, 2)
        );
        let bad = ("tests/c.json", r#"{"rows": [{"x": 1}], "expected": {"y": 1}}"#);
        assert!(read_all(&[bad]).await.unwrap_err().message.contains("tests/c.json"));
    }
}

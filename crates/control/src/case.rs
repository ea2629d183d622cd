//! Test cases: files under `tests/` in a model directory, with input rows and what they must give.

use std::time::{Duration, Instant};

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
/// Rows of a case that failed which are asked alone.
const ALONE_MAX: usize = 1_000;
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

/// What a version made of a case.
#[derive(Clone, Debug)]
pub struct Tried {
    /// What it was asked.
    pub case: Case,
    /// One answer for each row.
    pub answers: Result<Vec<Value>, Failed>,
    /// Where they are not what was expected, a line each.
    pub differences: Vec<String>,
    /// How long the call took.
    pub elapsed: Duration,
}

/// Why a case has no answer.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Which row fails by itself, too, if one does.
    pub row: Option<usize>,
    /// As a caller would be told.
    pub problem: Problem,
}

impl Tried {
    /// Whether the answers are what was expected.
    pub fn passes(&self) -> bool {
        self.answers.is_ok() && self.differences.is_empty()
    }
}

/// Asks all cases, one after the other. What fails over one of them is asked no more once the model
/// does not answer at all.
pub async fn run(cases: Vec<Case>, caller: &mut Caller, limit: Duration) -> Vec<Tried> {
    let mut all = vec![];
    for case in cases {
        let tried = run_one(case, caller, limit).await;
        let goes_on =
            tried.answers.as_ref().err().is_none_or(|failed| is_of_rows(&failed.problem.code));
        all.push(tried);
        if !goes_on {
            break;
        }
    }
    all
}

/// Whether other rows may well be answered: the replica is there, and answers in time.
fn is_of_rows(code: &Code) -> bool {
    !matches!(
        code,
        Code::WorkerDied | Code::BadWorker | Code::PredictTimeout | Code::Deadline | Code::NotReady
    )
}

async fn run_one(case: Case, caller: &mut Caller, limit: Duration) -> Tried {
    let begin = Instant::now();
    let answers = caller.predict(&case.rows, limit).await;
    let elapsed = begin.elapsed();
    let (answers, differences) = match answers {
        Ok(answers) => {
            let mut differences = vec![];
            for (at, (expected, got)) in case.expected.iter().zip(&answers).enumerate() {
                let place = if case.rows.len() > 1 { format!("row {at}: ") } else { String::new() };
                compare(&place, expected, got, case.tolerance, &mut differences);
            }
            (Ok(answers), differences)
        }
        Err(problem) => (Err(failing_row(&case.rows, problem, caller, limit).await), vec![]),
    };
    Tried { case, answers, differences, elapsed }
}

/// Which of the rows of a call that failed is the one.
async fn failing_row(
    rows: &[Value],
    problem: Problem,
    caller: &mut Caller,
    limit: Duration,
) -> Failed {
    if rows.len() == 1 {
        return Failed { row: Some(0), problem };
    }
    if is_of_rows(&problem.code) {
        for (at, row) in rows.iter().enumerate().take(ALONE_MAX) {
            if let Err(problem) = caller.predict(std::slice::from_ref(row), limit).await {
                return Failed { row: Some(at), problem };
            }
        }
    }
    Failed { row: None, problem }
}

/// Whether all cases passed; else every difference, up to a limit.
pub fn judge(tried: &[Tried], cases: usize) -> Result<(), Problem> {
    for Tried { case, answers, .. } in tried {
        let Err(Failed { row, problem }) = answers else { continue };
        let message = format!("the test case {} fails: {}", case.name, problem.message);
        let row = row.map(|row| format!("at the row {}", excerpt_of(&case.rows[row])));
        let details = problem.details.iter().cloned().chain(row).collect();
        return Err(Problem { code: Code::TestFailed, message, details, ..problem.clone() });
    }
    let wrong: Vec<&Tried> = tried.iter().filter(|tried| !tried.passes()).collect();
    let message = match wrong.as_slice() {
        [] => return Ok(()),
        [one] => format!("case {} gives another answer", one.case.name),
        many => {
            let names: Vec<&str> = many.iter().map(|one| one.case.name.as_str()).collect();
            format!("{} of {cases} cases give another answer: {}", many.len(), names.join(", "))
        }
    };
    let details = wrong.iter().flat_map(|one| one.differences.iter().cloned()).take(DETAILS_MAX);
    Err(Problem::new(Code::TestFailed, message).details(details.collect::<Vec<_>>()).help(format!(
        "if the new answer is right, in its directory: decalog test --accept {}",
        short_name(&wrong[0].case.name)
    )))
}

/// `tests/young.json` as people call it.
pub fn short_name(name: &str) -> &str {
    let name = name.strip_prefix("tests/").unwrap_or(name);
    name.strip_suffix(".json").unwrap_or(name)
}

/// A row as an error shows it.
fn excerpt_of(row: &Value) -> String {
    domain::problem::excerpt(&row.to_string()).to_string()
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

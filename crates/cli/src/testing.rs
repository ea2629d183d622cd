//! `decalog test`: the test cases of a model directory, run on the server without deploying it; and
//! new answers that are right written down in them.

use std::path::{Path, PathBuf};

use control::short_name;
use domain::problem::excerpt;
use domain::{Code, Problem};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use server::{TestReport, TestedCase, TestedRow};

use crate::Failure;
use crate::args::{SourceOptions, TestOptions};
use crate::client::Client;
use crate::deploy::Prepared;
use crate::following::{spinner, step};
use crate::terminal::print_json;

/// Lines of one case that are shown.
const LINES_MAX: usize = 12;

/// The file of a case, in the order in which people read it.
#[derive(Serialize, Deserialize)]
struct CaseText {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<Value>,
    expected: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance: Option<Value>,
}

/// Runs the verb.
pub fn run(client: &Client, options: &TestOptions, as_json: bool) -> Result<(), Failure> {
    let prepared = Prepared::read(&options.source, &options.env)?;
    let pushed = prepared.push(client)?;
    let waiting = spinner("test     ");
    let request = json!({ "version": pushed.version, "environment": prepared.environment });
    let report: Result<TestReport, Failure> =
        client.post(&format!("{}/test", prepared.path()), &request);
    waiting.finish_and_clear();
    let report = report?;
    step(
        "start",
        &format!("a replica of {} beside the traffic", report.version),
        Some(report.start_ms),
    );
    let accepted = accept(&prepared.directory.path, &report, &options.accept)?;
    if as_json {
        print_json(&report);
    } else {
        let is_open = |case: &&TestedCase| !accepted.contains(&case.name);
        report.cases.iter().filter(is_open).for_each(show);
        report.made_up.iter().for_each(show_made_up);
    }
    let typed = typed(options);
    verdict(&report, &accepted, &typed)?;
    let next = match (accepted.is_empty(), report.count) {
        (false, _) => format!("decalog deploy{typed} pushes what was accepted, too"),
        (true, 0) => format!("decalog test{typed} --accept NAME makes one of this row"),
        (true, _) => format!("decalog deploy{typed} takes {} live", report.version),
    };
    step("passed", &format!("{}; {next}", counted(report.count.max(accepted.len()))), None);
    Ok(())
}

/// What was typed behind the verb, so that the next command means the same model.
fn typed(options: &TestOptions) -> String {
    let SourceOptions { path, name, project } = &options.source;
    let mut typed = String::new();
    if path != Path::new(".") {
        typed += &format!(" {}", path.display());
    }
    typed += &name.as_ref().map_or(String::new(), |name| format!(" --name {name}"));
    for (option, value, usual) in
        [("project", project, "default"), ("env", &options.env, "production")]
    {
        if value != usual {
            typed += &format!(" --{option} {value}");
        }
    }
    typed
}

fn counted(cases: usize) -> String {
    match cases {
        0 => "no case".into(),
        1 => "1 case".into(),
        many => format!("{many} cases"),
    }
}

fn show(case: &TestedCase) {
    let (name, ms) = (short_name(&case.name), case.ms.round() as u64);
    let Some(failure) = &case.failure else {
        let said = if case.passes() { "as expected" } else { "another answer" };
        step(name, said, Some(ms));
        case.differences.iter().take(LINES_MAX).for_each(|line| step("", line, None));
        left_out(case.differences.len());
        return;
    };
    step(name, &failure.error, Some(ms));
    if let Some(row) = failure.row.and_then(|row| case.rows.get(row)) {
        let at = if case.rows.len() > 1 {
            format!("row {}: ", failure.row.unwrap_or(0))
        } else {
            String::new()
        };
        step("", &format!("{at}{}", excerpt(&row.to_string())), None);
    }
    failure.details.iter().take(LINES_MAX).for_each(|line| step("", line, None));
    left_out(failure.details.len());
}

fn left_out(lines: usize) {
    if lines > LINES_MAX {
        step("", &format!("and {} more; decalog test --json has them", lines - LINES_MAX), None);
    }
}

fn show_made_up(made_up: &TestedRow) {
    step("made up", &excerpt(&made_up.row.to_string()), None);
    match (&made_up.answer, &made_up.failure) {
        (Some(answer), _) => step("answer", &excerpt(&answer.to_string()), None),
        (None, Some(failure)) => {
            step("", &failure.error, None);
            failure.details.iter().take(LINES_MAX).for_each(|line| step("", line, None));
        }
        (None, None) => {}
    }
}

/// Whether all passed, of what was not accepted.
fn verdict(report: &TestReport, accepted: &[String], typed: &str) -> Result<(), Problem> {
    let refused =
        |message: String, help: String| Err(Problem::new(Code::TestFailed, message).help(help));
    if let Some(failure) = report.made_up.as_ref().and_then(|row| row.failure.as_ref()) {
        return refused(
            format!("it has no case, and does not answer a made-up row: {}", failure.error),
            "correct the model, or add a row that it takes with what it gives as tests/NAME.json"
                .into(),
        );
    }
    let is_open = |case: &&TestedCase| !case.passes() && !accepted.contains(&case.name);
    let wrong: Vec<&TestedCase> = report.cases.iter().filter(is_open).collect();
    let names: Vec<&str> = wrong.iter().map(|case| short_name(&case.name)).collect();
    let missing = report.count - report.cases.len();
    let unasked = match missing {
        0 => String::new(),
        _ => format!("; {missing} were not asked, as the model no longer answers"),
    };
    if wrong.is_empty() && missing == 0 {
        return Ok(());
    }
    let differs = wrong.iter().find(|case| case.failure.is_none());
    let help = match differs {
        Some(case) => {
            let name = short_name(&case.name);
            format!("if the new answer is right: decalog test{typed} --accept {name}")
        }
        None => "correct the model, or the rows of the case".into(),
    };
    let of = counted(report.count);
    refused(format!("{} of {of} failed: {}{unasked}", wrong.len(), names.join(", ")), help)
}

/// Writes down what was answered, in the cases of these names. Gives their files, as
/// `tests/young.json`.
fn accept(path: &Path, report: &TestReport, names: &[String]) -> Result<Vec<String>, Problem> {
    let mut accepted = vec![];
    for name in names {
        let name = short_name(name);
        let case = report.cases.iter().find(|case| short_name(&case.name) == name);
        let (file, text) = match (case, &report.made_up) {
            (Some(case), _) => (case.name.clone(), rewritten(path, case)?),
            (None, Some(made_up)) => (format!("tests/{name}.json"), first(name, made_up)?),
            (None, None) => {
                let known: Vec<&str> =
                    report.cases.iter().map(|case| short_name(&case.name)).collect();
                let text = format!("there is no case `{}`", excerpt(name));
                return Err(Problem::new(Code::BadOption, text)
                    .help(format!("name one of these: {}", known.join(", "))));
            }
        };
        write(&path.join(&file), &text)?;
        step("accepted", &file, None);
        accepted.push(file);
    }
    Ok(accepted)
}

/// The text of a case, with the answers in the place of what was expected.
fn rewritten(path: &Path, case: &TestedCase) -> Result<String, Problem> {
    let Some(answers) = &case.answers else {
        let text = format!("{} got no answer that could be accepted", case.name);
        return Err(Problem::new(Code::TestFailed, text).help("correct the model first"));
    };
    let file = path.join(&case.name);
    let text = std::fs::read_to_string(&file).map_err(|error| unusable(&file, error))?;
    let mut written: CaseText =
        serde_json::from_str(&text).map_err(|error| unusable(&file, error))?;
    let right: Vec<Value> = case
        .expected
        .iter()
        .zip(answers)
        .map(|(expected, answer)| of_the_same_names(expected, answer))
        .collect();
    written.expected = match written.input {
        Some(_) => right.into_iter().next().unwrap_or_default(),
        None => Value::Array(right),
    };
    Ok(pretty(&written))
}

/// Of an answer, the outputs that a case names; all of them, if the answer lacks one.
fn of_the_same_names(expected: &Value, answer: &Value) -> Value {
    match (expected, answer) {
        (Value::Object(wanted), Value::Object(found))
            if wanted.keys().all(|name| found.contains_key(name)) =>
        {
            let named = found.iter().filter(|(name, _)| wanted.contains_key(*name));
            named.map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        _ => answer.clone(),
    }
}

/// The text of a case of the row that was made up.
fn first(name: &str, made_up: &TestedRow) -> Result<String, Problem> {
    let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    if !is_name {
        let text = format!("`{}` is no name of a case", excerpt(name));
        return Err(Problem::new(Code::BadOption, text).help("use letters, digits, - and _"));
    }
    let Some(answer) = &made_up.answer else {
        let text = "the made-up row got no answer that could be accepted";
        return Err(Problem::new(Code::TestFailed, text).help("correct the model first"));
    };
    let (input, expected) = (Some(made_up.row.clone()), answer.clone());
    Ok(pretty(&CaseText { input, rows: None, expected, tolerance: None }))
}

fn pretty(value: &impl Serialize) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap_or_default())
}

/// Whole or not at all.
fn write(file: &Path, text: &str) -> Result<(), Problem> {
    let partial: PathBuf = file.with_extension("json.partial");
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&partial, text))
        .and_then(|()| std::fs::rename(&partial, file))
        .map_err(|error| unusable(file, error))
}

fn unusable(file: &Path, error: impl std::fmt::Display) -> Problem {
    let text = format!("{} cannot be rewritten: {error}", file.display());
    Problem::new(Code::BadCase, text).help("see that it can be written, and is a case")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_keeps_the_outputs_that_it_names() {
        let answer = json!({ "leave": 0.8, "why": "age" });
        assert_eq!(of_the_same_names(&json!({ "leave": 0.1 }), &answer), json!({ "leave": 0.8 }));
        assert_eq!(of_the_same_names(&json!({ "stay": 0.1 }), &answer), answer);
        assert_eq!(of_the_same_names(&json!(1), &json!(2)), json!(2));
    }
}

//! `decalog check`: what Decalog infers, before anything is sent.

use std::path::Path;

use domain::{Code, Problem};
use engine::runtime::Description;
use serde_json::json;

use crate::Failure;
use crate::directory::ModelDirectory;
use crate::packages::{self, Judged};
use crate::terminal::{bytes, one_line};

/// One line on what a directory holds.
pub fn line(directory: &ModelDirectory, description: Option<&Description>) -> String {
    let schema = description.and_then(|description| description.schema.as_ref());
    let python =
        description.map(|description| format!(" {}", description.python)).unwrap_or_default();
    let what = match (schema, &directory.file) {
        (Some(schema), _) => schema.to_string(),
        (None, Some(file)) => format!("{file}; its columns are known when it is loaded"),
        (None, None) => directory.manifest.model.command.join(" "),
    };
    format!("{}{python} · {what}", directory.runtime)
}

/// Prints what is inferred, or what is wrong. `fix` writes packages that are missing into
/// requirements.txt.
pub fn run(path: &Path, fix: bool, as_json: bool) -> Result<(), Failure> {
    let directory = ModelDirectory::read(path)?;
    packages::check_python(&directory)?;
    let description = directory.describe()?;
    let needs = description.as_ref().map(|description| description.needs.as_slice());
    let needs = needs.unwrap_or_default();
    let mut judged = packages::judge(&directory, needs)?;
    let mut added = vec![];
    if fix && !judged.missing.is_empty() {
        added = judged.fix(&directory.path)?;
        judged = packages::judge(&directory, needs)?;
    }
    let data = crate::training::names(&directory)?;
    let kept_here = crate::training::kept_here(&directory)?;
    let walked = artifacts::walk_without(&directory.path, kept_here)
        .map_err(|error| Problem::new(Code::BadTree, error.to_string()))?;
    let cases = walked
        .tree
        .files()
        .iter()
        .filter(|file| file.path.starts_with("tests/") && file.path.ends_with(".json"))
        .count();
    let environment = judged.file;
    let left_out = packages::left_out(&walked);
    let name = directory.name(None)?;
    let schema = description.as_ref().and_then(|description| description.schema.as_ref());
    if let Some(misfits) = schema.map(|schema| directory.manifest.records.misfits(schema))
        && !misfits.is_empty()
    {
        let problem = Problem::new(Code::BadManifest, "[records] does not fit the model's columns");
        return Err(problem.details(misfits).help("correct decalog.toml").into());
    }
    if as_json {
        let value = json!({
            "name": name,
            "runtime": directory.runtime,
            "file": directory.file,
            "schema": description.as_ref().and_then(|description| description.schema.clone()),
            "form": description.as_ref().map(|description| description.form.clone()),
            "notes": notes(description.as_ref(), &judged),
            "environment": environment,
            "missing": judged.missing,
            "added": added,
            "left_out": left_out,
            "files": walked.tree.files().len(),
            "bytes": walked.tree.size(),
            "tests": cases,
            "data": data,
            "manifest": directory.manifest,
        });
        crate::terminal::print_json(&value);
        return judged.problem().map_or(Ok(()), |problem| Err(problem.into()));
    }
    println!("  name         {name}");
    println!("  model        {}", line(&directory, description.as_ref()));
    println!("  files        {}, {}", walked.tree.files().len(), bytes(walked.tree.size()));
    println!("  environment  {}", environment.unwrap_or("no packages"));
    let records = &directory.manifest.records;
    if !records.is_empty() {
        println!("  records      {records}");
    }
    if !data.is_empty() {
        println!("  data         {}", one_line(&data.join(", ")));
    }
    println!("  tests        {cases} {}", if cases == 1 { "case" } else { "cases" });
    for line in left_out {
        println!("  left out     {line}");
    }
    for note in notes(description.as_ref(), &judged) {
        println!("  note         {note}");
    }
    for line in added {
        println!("  added        {line}");
    }
    judged.problem().map_or(Ok(()), |problem| Err(problem.into()))
}

/// What could not be told of the model, and what is to be said of its packages.
fn notes(description: Option<&Description>, judged: &Judged) -> Vec<String> {
    let of_model = description.iter().flat_map(|description| description.notes.clone());
    of_model.chain(judged.notes.clone()).chain(judged.doubts()).collect()
}

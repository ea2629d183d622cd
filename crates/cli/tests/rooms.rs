//! The structure of the code is a test: which crate may use which, and what every file owes its reader.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each room may use, as docs/architecture.md has it.
const ARROWS: &[(&str, &[&str])] = &[
    ("testing", &[]),
    ("domain", &[]),
    ("policy", &["domain"]),
    ("protocol", &["domain"]),
    ("ledger", &["domain"]),
    ("artifacts", &["domain"]),
    ("worker", &["domain", "protocol"]),
    ("onnx", &["domain", "protocol", "worker"]),
    ("supervisor", &["domain"]),
    ("engine", &["domain", "artifacts", "supervisor", "worker"]),
    ("gateway", &["domain", "policy", "protocol", "worker"]),
    ("monitor", &["domain", "policy", "protocol", "artifacts"]),
    ("control", &["domain", "policy", "ledger", "artifacts", "engine", "worker"]),
    ("server", &["domain", "control", "gateway", "monitor", "artifacts", "engine", "ledger"]),
];
/// Lines that a source file may have; tests may have more.
const LINES_MAX: usize = 450;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[test]
fn arrows_only_point_down() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = vec![];
    for package in packages {
        let name = package["name"].as_str().unwrap();
        if name == "cli" {
            continue;
        }
        let may_use = allowed.get(name).unwrap_or_else(|| panic!("{name} is a room without a line in ARROWS"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let target = dependency["name"].as_str().unwrap();
            if dependency["kind"].is_null() && names.contains(target) && !may_use.contains(&target) {
                wrong.push(format!("{name} → {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows: {}", wrong.join(", "));
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut files = vec![];
    sources(&root().join("crates"), &mut files);
    let mut wrong = vec![];
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        if !text.starts_with("//!") {
            wrong.push(format!("{name} does not open with //!"));
        }
        let is_test = name.contains("/tests/") || name.ends_with("tests.rs");
        let lines = text.lines().count();
        if lines > LINES_MAX && !is_test {
            wrong.push(format!("{name} has {lines} lines; at most {LINES_MAX} fit in a head"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Pages that describe the code stay in step with it: crates and arrows, files that are named,
//! links between pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines of the block of code that is marked with this word.
fn block(text: &str, mark: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != format!("```{mark}")).skip(1);
    let block: Vec<String> = lines.take_while(|line| *line != "```").map(str::to_string).collect();
    assert!(!block.is_empty(), "docs/architecture.md has no block ```{mark}");
    block
}

/// Each crate, and the crates of this workspace that it uses outside its tests.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_string();
    let names: BTreeSet<String> = packages.iter().map(name).collect();
    let uses = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let own = dependencies.filter(|dependency| dependency["kind"].is_null()).map(name);
        own.filter(|target| names.contains(target)).collect::<BTreeSet<_>>()
    };
    packages.iter().map(|package| (name(package), uses(package))).collect()
}

#[test]
fn the_table_of_crates_lists_exactly_those_crates_and_arrows() {
    let text = page("docs/architecture.md");
    let table =
        text.lines().skip_while(|line| *line != "| crate | what it is for | uses |").skip(2);
    let mut listed = BTreeMap::new();
    for line in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let uses = cells[2]
            .split(',')
            .map(|target| target.trim().to_string())
            .filter(|target| !target.is_empty());
        listed.insert(cells[0].replace('`', ""), uses.collect::<BTreeSet<_>>());
    }
    assert_eq!(
        listed,
        crates(),
        "left: the table of crates in docs/architecture.md; right: what cargo says"
    );
}

#[test]
fn arrows_point_down_in_the_picture_of_crates() {
    let (crates, text) = (crates(), page("docs/architecture.md"));
    let mut row_of = BTreeMap::new();
    for (row, line) in block(&text, "crates").iter().enumerate() {
        // Names stand apart from each other, and from what a row is, by two spaces.
        for name in line.split("  ").map(str::trim).filter(|part| crates.contains_key(*part)) {
            assert!(
                row_of.insert(name.to_string(), row).is_none(),
                "{name} stands twice in the picture"
            );
        }
    }
    for (name, uses) in crates.iter().filter(|(name, _)| *name != "testing") {
        let row = row_of
            .get(name)
            .unwrap_or_else(|| panic!("the picture in docs/architecture.md lacks {name}"));
        for target in uses {
            assert!(
                row < &row_of[target],
                "{name} uses {target}, which the picture does not show below it"
            );
        }
    }
}

#[test]
fn the_path_of_a_request_names_files_of_the_gateway() {
    let picture = block(&page("docs/architecture.md"), "request").join(" ");
    let files: Vec<&str> =
        picture.split_whitespace().filter(|word| word.ends_with(".rs")).collect();
    assert!(files.len() >= 6, "the picture of a request names no files");
    for file in files {
        assert!(
            root().join("crates/gateway/src").join(file).is_file(),
            "crates/gateway/src has no {file}: docs/architecture.md"
        );
    }
}

#[test]
fn files_that_contributors_are_sent_to_exist() {
    let text = page("CONTRIBUTING.md");
    let mut named = 0;
    for (number, line) in text.lines().enumerate() {
        for (index, path) in line.split('`').enumerate().skip(1).step_by(2) {
            let is_path = ["crates/", "sdk/", "tests/", "docs/", "tools/"]
                .iter()
                .any(|top| path.starts_with(top))
                && !path.contains([' ', '*']);
            let is_new = line
                .split('`')
                .nth(index - 1)
                .is_some_and(|before| before.ends_with("new ") || before.ends_with("new crate "));
            if is_path && !is_new {
                named += 1;
                assert!(
                    root().join(path).exists(),
                    "CONTRIBUTING.md, line {}: {path} is no longer there",
                    number + 1
                );
            }
        }
    }
    assert!(named > 50, "CONTRIBUTING.md names only {named} files");
}

/// A heading as a link names it: small letters, digits, hyphens.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().to_string();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut all = vec![];
    pages(&root(), &mut all);
    let mut wrong = vec![];
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let has_heading = || {
                let there = std::fs::read_to_string(&file).unwrap_or_default();
                there
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line) == heading)
            };
            if !file.exists() || !heading.is_empty() && !has_heading() {
                wrong.push(format!("{}: {target}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

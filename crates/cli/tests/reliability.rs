//! docs/reliability.md names limits and tests: each must be what the code has.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The cells of all table rows whose first or last cell is code.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect::<Vec<_>>()
    };
    text.lines().filter(|line| line.starts_with('|') && line.contains('`')).map(cells).collect()
}

#[test]
fn limits_are_those_of_the_code() {
    let text = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let limits: Vec<_> =
        rows(&text).into_iter().filter(|row| row.len() == 4 && row[2].ends_with(".rs")).collect();
    assert!(limits.len() > 20, "the table is not found");
    for row in limits {
        let (name, value, file) = (&row[0], &row[1], &row[2]);
        let source = std::fs::read_to_string(root().join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = source.lines().find(|line| line.contains(&format!("const {name}: ")));
        let line = line.unwrap_or_else(|| panic!("{file} has no {name}"));
        assert!(
            line.ends_with(&format!("= {value};")),
            "{name} is {value} in docs/reliability.md, but {file} says: {line}"
        );
    }
}

#[test]
fn tests_that_are_named_exist() {
    let text = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let named: Vec<_> =
        rows(&text).into_iter().filter(|row| row.len() == 3 && row[2].contains("::")).collect();
    assert!(named.len() > 10, "the table is not found");
    for row in named {
        let (file, test) = row[2].split_once("::").unwrap();
        let source = std::fs::read_to_string(root().join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("def {test}(")), "{file} has no {test}");
    }
}

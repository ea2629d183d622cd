//! The structure of the code is a test: which files may lean on each other, and what every file
//! owes its reader. Which crate may use which stands in docs/architecture.md, and is checked in
//! `architecture.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Lines that a source file may have; tests may have more.
const LINES_MAX: usize = 500;

/// Files of a crate that use each other in a circle, each with a reason.
const CIRCLES: &[(&str, &[&str], &str)] = &[(
    "protocol",
    &["cells", "payload"],
    "a payload is made of cells that are read one by one, and its columns are what the cells become",
)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
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

/// The files of a crate by their paths as modules (`queue`, `wire/simple`), each with those of the
/// same crate that it names.
fn uses_of(crate_source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut files = vec![];
    sources(crate_source, &mut files);
    let module = |file: &Path| {
        let path =
            file.strip_prefix(crate_source).unwrap().with_extension("").display().to_string();
        path.strip_suffix("/mod").map_or(path.clone(), String::from)
    };
    let texts: BTreeMap<String, String> = files
        .iter()
        .map(|file| (module(file), std::fs::read_to_string(file).unwrap()))
        .filter(|(name, _)| !name.ends_with("tests") && name != "lib" && name != "main")
        .collect();
    let uses = |name: &str, text: &str| {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let named = paths_after(text, "crate::", "").chain(paths_after(
            text,
            "super::",
            name.rsplit_once('/').map_or("", |(above, _)| above),
        ));
        let known = named.filter_map(|path| {
            let parent = path.rsplit_once('/').map(|(parent, _)| parent.to_string());
            [Some(path), parent].into_iter().flatten().find(|path| texts.contains_key(path))
        });
        known.filter(|used| used != name).collect::<BTreeSet<_>>()
    };
    texts.iter().map(|(name, text)| (name.clone(), uses(name, text))).collect()
}

/// What stands after `crate::` or `super::`: `a::b` as `a/b`, `{a, b::c}` as both; below `base`.
fn paths_after<'a>(
    text: &'a str,
    prefix: &'a str,
    base: &'a str,
) -> impl Iterator<Item = String> + 'a {
    text.match_indices(prefix).flat_map(move |(at, _)| {
        let rest = &text[at + prefix.len()..];
        let group = rest.strip_prefix('{').and_then(|rest| rest.split('}').next());
        let items: Vec<&str> =
            group.map_or(vec![rest], |group| group.split(',').map(str::trim).collect());
        items
            .into_iter()
            .map(|item| {
                let words = item.split("::").map(|word| {
                    word.split(|c: char| c != '_' && !c.is_ascii_alphanumeric())
                        .next()
                        .unwrap_or("")
                });
                let path: Vec<&str> = words
                    .take(2)
                    .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                    .collect();
                if base.is_empty() { path.join("/") } else { format!("{base}/{}", path.join("/")) }
            })
            .collect::<Vec<_>>()
    })
}

/// All that a file leads to.
fn reached(from: &str, uses: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = uses[from].iter().collect();
    while let Some(name) = next.pop() {
        if found.insert(name.clone()) {
            next.extend(&uses[name]);
        }
    }
    found
}

#[test]
fn files_of_a_crate_use_each_other_in_one_direction() {
    let allowed: BTreeSet<(String, String)> = CIRCLES
        .iter()
        .flat_map(|(name, files, _)| files.iter().map(|file| (name.to_string(), file.to_string())))
        .collect();
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let entry = entry.unwrap();
        let uses = uses_of(&entry.path().join("src"));
        let circular = uses.keys().filter(|name| reached(name, &uses).contains(*name));
        found.extend(circular.map(|file| (entry.file_name().display().to_string(), file.clone())));
    }
    assert_eq!(
        found, allowed,
        "left: files that lie on a circle of imports; right: those with a reason in CIRCLES"
    );
}

//! pyproject.toml: which of its tables say what to install, and that no path in it leaves the
//! directory.

use std::path::Path;

use domain::{Code, Problem};
use toml::Table;

use super::paths;
use super::requirements::is_archive;

/// Its name.
pub const FILE: &str = "pyproject.toml";

/// The whole file, if there is one.
pub fn read(tree: &Path) -> Result<Option<Table>, Problem> {
    let Ok(text) = std::fs::read_to_string(tree.join(FILE)) else { return Ok(None) };
    text.parse().map(Some).map_err(|error: toml::de::Error| {
        Problem::new(Code::LockFailed, format!("{FILE} cannot be read: {error}")).help("correct it")
    })
}

/// Whether it has a table `[project]`.
pub fn is_project(file: &Table) -> bool {
    file.get("project").is_some_and(toml::Value::is_table)
}

/// Whether only a build tells what it needs.
pub fn is_dynamic(file: &Table) -> bool {
    let dynamic = file.get("project").and_then(|project| project.get("dynamic"));
    let names = dynamic.and_then(toml::Value::as_array);
    names.is_some_and(|names| names.iter().any(|name| name.as_str() == Some("dependencies")))
}

/// The lines of its dependencies.
pub fn dependencies(file: &Table) -> Vec<String> {
    let lines = file.get("project").and_then(|project| project.get("dependencies"));
    let lines = lines.and_then(toml::Value::as_array).into_iter().flatten();
    lines.filter_map(|line| line.as_str().map(String::from)).collect()
}

fn uv(file: &Table) -> Option<&toml::Value> {
    file.get("tool")?.get("uv")
}

/// The paths that its sources for uv name.
fn sources(file: &Table) -> Vec<&str> {
    let table = uv(file).and_then(|uv| uv.get("sources")).and_then(toml::Value::as_table);
    let sources = table.into_iter().flat_map(|table| table.values());
    sources.filter_map(|source| source.get("path")).filter_map(toml::Value::as_str).collect()
}

/// The archives of the directory that its sources for uv name.
pub fn archives(file: &Table) -> Vec<String> {
    let paths = sources(file).into_iter().filter(|path| is_archive(path));
    paths.filter_map(|path| paths::within("", path)).collect()
}

/// Refuses sources of uv, and places to find packages, that lie outside the directory.
pub fn check(file: &Table) -> Result<(), Problem> {
    for line in dependencies(file) {
        if line.contains("file:") {
            return Err(paths::refusal(FILE, &line));
        }
    }
    let links = uv(file).and_then(|uv| uv.get("find-links")).and_then(toml::Value::as_array);
    let links = links.into_iter().flatten().filter_map(toml::Value::as_str);
    let links = links.filter(|link| !paths::is_address(link));
    for path in sources(file).into_iter().chain(links) {
        paths::within("", path).ok_or_else(|| paths::refusal(FILE, path))?;
    }
    Ok(())
}

//! `[tool.poetry]` of pyproject.toml: its dependencies in the words of pip, in the versions of
//! poetry.lock if it is there.

use std::path::Path;

use domain::{Code, Problem};
use toml::{Table, Value};

use super::paths;
use super::project::FILE;

/// The name of its lock.
pub const LOCK: &str = "poetry.lock";

fn refuse(what: String) -> Problem {
    Problem::new(Code::LockFailed, format!("{FILE}: {what}"))
        .help("write it otherwise, or write a requirements.txt (poetry export), which is then read in its place")
}

fn dependencies(file: &Table) -> Option<&Table> {
    file.get("tool")?.get("poetry")?.get("dependencies")?.as_table()
}

/// Whether it says what to install.
pub fn is_there(file: &Table) -> bool {
    dependencies(file).is_some()
}

/// What it asks of Python, as a specifier.
pub fn python(file: &Table) -> Result<Option<String>, Problem> {
    let said = dependencies(file).and_then(|table| table.get("python")).and_then(Value::as_str);
    said.map(|said| {
        specifiers(said).ok_or_else(|| refuse(format!("python = \"{said}\" cannot be read")))
    })
    .transpose()
}

/// The lines of a requirements.txt that say the same.
pub fn lines(file: &Table) -> Result<Vec<String>, Problem> {
    let mut lines = vec![];
    for (name, value) in
        dependencies(file).into_iter().flatten().filter(|(name, _)| *name != "python")
    {
        // Several, each for other versions of Python.
        let several = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        for value in several {
            lines.extend(line(name, value)?);
        }
    }
    Ok(lines)
}

fn line(name: &str, value: &Value) -> Result<Option<String>, Problem> {
    let said = |value: &str| {
        specifiers(value)
            .ok_or_else(|| refuse(format!("{name} = \"{value}\" cannot be said to pip")))
    };
    let table = match value {
        Value::String(version) => return Ok(Some(format!("{name}{}", said(version)?))),
        Value::Table(table) => table,
        _ => return Err(refuse(format!("{name} cannot be read"))),
    };
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    if table.get("optional").and_then(Value::as_bool) == Some(true) {
        return Ok(None);
    }
    let extras: Vec<&str> = table
        .get("extras")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let mut markers: Vec<String> =
        text("markers").map(|marker| format!("({marker})")).into_iter().collect();
    if let Some(python) = text("python") {
        markers.extend(marker_of_python(&said(python)?));
    }
    let marker =
        if markers.is_empty() { String::new() } else { format!(" ; {}", markers.join(" and ")) };
    let line = if let Some(address) = text("git") {
        let at = ["rev", "tag", "branch"].iter().find_map(|key| text(key));
        format!(
            "{name}{extras} @ git+{address}{}",
            at.map(|at| format!("@{at}")).unwrap_or_default()
        )
    } else if let Some(address) = text("url") {
        format!("{name}{extras} @ {address}")
    } else if let Some(path) = text("path").or(text("file")) {
        let path = paths::within("", path).ok_or_else(|| paths::refusal(FILE, path))?;
        format!("./{path}{extras}")
    } else {
        format!("{name}{extras}{}", said(text("version").unwrap_or("*"))?)
    };
    Ok(Some(line + &marker))
}

/// `>=3.8,<3.9` as parts of a marker.
fn marker_of_python(specifiers: &str) -> Vec<String> {
    let clauses = specifiers.split(',').filter(|clause| !clause.is_empty());
    clauses
        .filter_map(|clause| {
            let end = clause.find(|c: char| c.is_ascii_digit())?;
            Some(format!("python_full_version {} '{}'", &clause[..end], &clause[end..]))
        })
        .collect()
}

/// Versions in the words of Poetry (`^1.2`, `~1.2`, `1.*`, `>=1,<2`) in those of pip; `None` if it
/// has no words for them.
pub fn specifiers(text: &str) -> Option<String> {
    if text.contains("||") || text.contains('|') {
        return None;
    }
    let mut clauses = vec![];
    for clause in text.split(',').flat_map(split_at_blanks) {
        let version =
            |prefix: &str| clause[prefix.len()..].trim().trim_start_matches('v').to_string();
        let plain = |version: &str| {
            version.starts_with(|c: char| c.is_ascii_digit())
                && version
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '!'))
        };
        let made = if clause == "*" {
            continue;
        } else if clause.starts_with('^') {
            let version = version("^");
            plain(&version).then(|| format!(">={version},<{}", caret(&version)))
        } else if clause.starts_with("~=")
            || clause.starts_with("!=")
            || clause.starts_with("==")
            || clause.starts_with(">=")
            || clause.starts_with("<=")
        {
            plain(version(&clause[..2]).trim_end_matches(".*"))
                .then(|| format!("{}{}", &clause[..2], version(&clause[..2])))
        } else if clause.starts_with('~') {
            let version = version("~");
            plain(&version).then(|| format!(">={version},<{}", tilde(&version)))
        } else if clause.starts_with(['<', '>']) {
            plain(&version(&clause[..1]))
                .then(|| format!("{}{}", &clause[..1], version(&clause[..1])))
        } else {
            let version = version(if clause.starts_with('=') { "=" } else { "" });
            plain(version.trim_end_matches(".*")).then(|| format!("=={version}"))
        };
        clauses.push(made?);
    }
    Some(clauses.join(","))
}

/// Clauses may be parted by blanks, and have a blank behind their sign.
fn split_at_blanks(text: &str) -> Vec<String> {
    let mut clauses: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match clauses.last_mut() {
            Some(last) if last.chars().all(|c| "<>=!~^".contains(c)) => last.push_str(word),
            _ => clauses.push(word.into()),
        }
    }
    clauses
}

fn numbers(version: &str) -> Vec<u64> {
    let end = version.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(version.len());
    version[..end].split('.').filter_map(|part| part.parse().ok()).collect()
}

/// The first version that `^` excludes: the next of the first number that is not zero.
fn caret(version: &str) -> String {
    let mut parts = numbers(version);
    let at = parts.iter().position(|part| *part != 0).unwrap_or(parts.len().saturating_sub(1));
    parts.truncate(at + 1);
    parts.last_mut().into_iter().for_each(|part| *part += 1);
    parts.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// The first version that `~` excludes: the next minor one, or major if there is no more.
fn tilde(version: &str) -> String {
    let mut parts = numbers(version);
    parts.truncate(2);
    parts.last_mut().into_iter().for_each(|part| *part += 1);
    parts.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// What poetry.lock has decided, as constraints.
pub fn constraints(tree: &Path) -> Result<Vec<String>, Problem> {
    let Ok(text) = std::fs::read_to_string(tree.join(LOCK)) else { return Ok(vec![]) };
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        Problem::new(Code::LockFailed, format!("{LOCK} cannot be read: {error}"))
            .help("poetry lock writes it anew")
    })?;
    let packages = table.get("package").and_then(Value::as_array).into_iter().flatten();
    // One that has a source does not come from an index by its version.
    let packages = packages.filter(|package| package.get("source").is_none());
    let mut found: Vec<(&str, &str)> = packages
        .filter_map(|package| {
            Some((package.get("name")?.as_str()?, package.get("version")?.as_str()?))
        })
        .collect();
    // Of which there are several, the versions of Python decide.
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    found.retain(|(name, _)| names.iter().filter(|other| *other == name).count() == 1);
    Ok(found.into_iter().map(|(name, version)| format!("{name}=={version}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_those_of_pip() {
        for (said, expected) in [
            ("^1.2.3", ">=1.2.3,<2"),
            ("^0.2.3", ">=0.2.3,<0.3"),
            ("^0.0.3", ">=0.0.3,<0.0.4"),
            ("^0", ">=0,<1"),
            ("^3.9", ">=3.9,<4"),
            ("~1.2.3", ">=1.2.3,<1.3"),
            ("~1", ">=1,<2"),
            ("~=1.4", "~=1.4"),
            ("1.2.*", "==1.2.*"),
            ("1.2.3", "==1.2.3"),
            (">= 1.0, < 2", ">=1.0,<2"),
            (">=1.0 <2", ">=1.0,<2"),
            ("*", ""),
        ] {
            assert_eq!(specifiers(said).as_deref(), Some(expected), "{said}");
        }
        for none in ["^1 || ^2", "latest", ">=; touch x"] {
            assert_eq!(specifiers(none), None, "{none}");
        }
    }

    #[test]
    fn dependencies_become_lines() {
        let text = "[tool.poetry.dependencies]\npython = \"^3.9\"\nsix = \"^1.15\"\nrequests = { version = \"^2\", extras = [\"socks\"] }\n\
                    a = { git = \"https://x/y.git\", rev = \"abc\" }\nb = { path = \"wheels/b-1-py3-none-any.whl\" }\nc = { version = \"*\", optional = true }\n\
                    d = [{ version = \"1\", python = \"<3.10\" }, { version = \"2\", python = \">=3.10\" }]\n";
        let file: Table = text.parse().unwrap();
        let mut found = lines(&file).unwrap();
        found.sort();
        let expected = [
            "./wheels/b-1-py3-none-any.whl",
            "a @ git+https://x/y.git@abc",
            "d==1 ; python_full_version < '3.10'",
            "d==2 ; python_full_version >= '3.10'",
            "requests[socks]>=2,<3",
            "six>=1.15,<2",
        ];
        assert_eq!(found, expected);
        assert_eq!(python(&file).unwrap().as_deref(), Some(">=3.9,<4"));
        let bad: Table = "[tool.poetry.dependencies]\nx = { path = \"../x\" }\n".parse().unwrap();
        assert!(lines(&bad).unwrap_err().message.contains("../x"));
    }
}

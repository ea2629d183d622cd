//! Pipfile and Pipfile.lock of Pipenv.

use std::path::Path;

use domain::{Code, Problem};
use serde_json::Value;
use toml::Table;

use super::paths;

/// Its name.
pub const FILE: &str = "Pipfile";
/// The name of its lock.
pub const LOCK: &str = "Pipfile.lock";

fn refuse(file: &str, what: String) -> Problem {
    Problem::new(Code::LockFailed, format!("{file} {what}"))
        .help("correct it, or write a requirements.txt (pipenv requirements), which is then read in its place")
}

fn pipfile(tree: &Path) -> Result<Option<Table>, Problem> {
    let Ok(text) = std::fs::read_to_string(tree.join(FILE)) else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|error: toml::de::Error| refuse(FILE, format!("cannot be read: {error}")))
}

/// What it asks of Python, as a specifier.
pub fn python(tree: &Path) -> Result<Option<String>, Problem> {
    let table = pipfile(tree)?;
    let requires = table.as_ref().and_then(|table| table.get("requires"));
    let said =
        |key: &str| requires.and_then(|requires| requires.get(key)).and_then(toml::Value::as_str);
    let full = said("python_full_version").map(|version| format!("=={version}"));
    Ok(full.or_else(|| said("python_version").map(|version| format!("=={version}.*"))))
}

/// The lines of a requirements.txt that say the same as Pipfile.lock, if it is there, or Pipfile.
pub fn lines(tree: &Path) -> Result<Option<(&'static str, Vec<String>)>, Problem> {
    if let Ok(text) = std::fs::read_to_string(tree.join(LOCK)) {
        let lock: Value = serde_json::from_str(&text)
            .map_err(|error| refuse(LOCK, format!("cannot be read: {error}")))?;
        let packages = lock["default"].as_object().into_iter().flatten();
        let mut lines = indexes(LOCK, lock["_meta"]["sources"].as_array().map(Vec::as_slice))?;
        for (name, value) in packages {
            lines.push(line(LOCK, name, value)?);
        }
        return Ok(Some((LOCK, lines)));
    }
    let Some(table) = pipfile(tree)? else { return Ok(None) };
    let table = serde_json::to_value(table).unwrap_or_default();
    let mut lines = indexes(FILE, table["source"].as_array().map(Vec::as_slice))?;
    for (name, value) in table["packages"].as_object().into_iter().flatten() {
        lines.push(line(FILE, name, value)?);
    }
    Ok(Some((FILE, lines)))
}

/// Sources beside the usual one, which is what the operator says.
fn indexes(file: &str, sources: Option<&[Value]>) -> Result<Vec<String>, Problem> {
    let urls = sources.into_iter().flatten().filter_map(|source| source["url"].as_str());
    let others = urls.filter(|url| !url.trim_end_matches('/').ends_with("://pypi.org/simple"));
    others
        .map(|url| match paths::is_address(url) && !url.contains('$') {
            true => Ok(format!("--extra-index-url {url}")),
            false => Err(refuse(
                file,
                format!("has the source `{url}`, which is no address of an index"),
            )),
        })
        .collect()
}

fn line(file: &str, name: &str, value: &Value) -> Result<String, Problem> {
    let version = |text: &str| if text == "*" { String::new() } else { text.to_string() };
    if let Some(text) = value.as_str() {
        return Ok(format!("{name}{}", version(text)));
    }
    let text = |key: &str| value[key].as_str();
    let words = |key: &str| -> Vec<String> {
        value[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(String::from))
            .collect()
    };
    let extras = words("extras");
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let hashes: String = words("hashes").iter().map(|hash| format!(" --hash={hash}")).collect();
    let marker = text("markers").map(|marker| format!(" ; {marker}")).unwrap_or_default();
    let what = if let Some(address) = text("git") {
        let at = text("ref").map(|at| format!("@{at}")).unwrap_or_default();
        format!("{name}{extras} @ git+{address}{at}")
    } else if let Some(path) = text("path").or(text("file")) {
        match paths::is_address(path) {
            true => format!("{name}{extras} @ {path}"),
            false => {
                let path = paths::within("", path).ok_or_else(|| paths::refusal(file, path))?;
                format!("./{path}{extras}")
            }
        }
    } else {
        format!("{name}{extras}{}", version(text("version").unwrap_or("*")))
    };
    Ok(format!("{what}{marker}{hashes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<String>, Problem> {
        let tree = tempfile::tempdir().unwrap();
        std::fs::write(tree.path().join(name), text).unwrap();
        lines(tree.path()).map(|found| found.unwrap().1)
    }

    #[test]
    fn both_become_lines() {
        let text = "[[source]]\nurl = \"https://pypi.org/simple\"\n[[source]]\nurl = \"https://index.example/simple\"\n[packages]\nsix = \"*\"\nnumpy = \"<3\"\nx = { version = \"==1\", extras = [\"a\"], markers = \"os_name == 'posix'\" }\n[dev-packages]\npytest = \"*\"\n";
        let expected = [
            "--extra-index-url https://index.example/simple",
            "numpy<3",
            "six",
            "x[a]==1 ; os_name == 'posix'",
        ];
        let mut found = read(FILE, text).unwrap();
        found.sort();
        assert_eq!(found, expected);
        let lock = r#"{"_meta": {}, "default": {"six": {"hashes": ["sha256:aa"], "version": "==1.15.0"}}, "develop": {"pytest": {"version": "==8"}}}"#;
        assert_eq!(read(LOCK, lock).unwrap(), ["six==1.15.0 --hash=sha256:aa"]);
        assert!(read(FILE, "[packages]\nx = { path = \"../x\" }\n").is_err());
        assert!(read(FILE, "[[source]]\nurl = \"file:///etc\"\n").is_err());
    }
}

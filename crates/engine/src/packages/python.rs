//! Which Python a directory asks for, in whichever file it says so.

use std::path::Path;
use std::str::FromStr;

use domain::Problem;
use pep440_rs::VersionSpecifiers;

use super::{conda, pipfile, poetry, project, setup_cfg};

/// What is asked for, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// As in `>=3.9`.
    pub text: String,
    /// Of which file.
    pub file: &'static str,
    /// Of which key in it; empty if it says nothing else.
    pub key: &'static str,
}

impl Said {
    /// As in `change …`.
    pub fn place(&self) -> String {
        match self.key {
            "" => self.file.into(),
            key => format!("{key} in {}", self.file),
        }
    }
}

/// What a directory asks for.
#[derive(Debug)]
pub struct Asked {
    /// As written.
    pub said: Option<Said>,
    /// Which versions fit, the best way first; none if what is written cannot be read, and any
    /// version if nothing is.
    pub ways: Vec<Option<VersionSpecifiers>>,
}

/// What a directory asks for.
pub fn asked(tree: &Path) -> Result<Asked, Problem> {
    let (declared, pinned) = (declared(tree)?, pinned(tree));
    let parse = |said: &Said| VersionSpecifiers::from_str(&said.text).ok();
    let ways = match (&declared, &pinned) {
        (None, None) => vec![None],
        (None, Some((_, pinned))) => pinned.clone().map(Some).into_iter().collect(),
        (Some(declared), pinned) => {
            let declared = parse(declared);
            let pinned = pinned.as_ref().and_then(|(_, pinned)| pinned.clone());
            let both = declared.clone().zip(pinned).map(|(declared, pinned)| {
                declared.iter().chain(pinned.iter()).cloned().collect::<VersionSpecifiers>()
            });
            [both, declared].into_iter().flatten().map(Some).collect()
        }
    };
    Ok(Asked { said: declared.or(pinned.map(|(said, _)| said)), ways })
}

/// What the project's own files say, the first that does.
fn declared(tree: &Path) -> Result<Option<Said>, Problem> {
    let said = |file, key| move |text| Said { text, file, key };
    if let Some(project) = project::read(tree)? {
        let table = project.get("project").and_then(|project| project.get("requires-python"));
        if let Some(text) = table.and_then(toml::Value::as_str) {
            return Ok(Some(said(project::FILE, "requires-python")(text.into())));
        }
        if let Some(text) = poetry::python(&project)? {
            return Ok(Some(said(project::FILE, "tool.poetry.dependencies.python")(text)));
        }
    }
    if let Some(text) = pipfile::python(tree)? {
        return Ok(Some(said(pipfile::FILE, "[requires] python_version")(text)));
    }
    if let Some((file, text)) = conda::python(tree)? {
        return Ok(Some(said(file, "python")(text)));
    }
    Ok(setup_cfg::python(tree).map(said(setup_cfg::FILE, "python_requires")))
}

/// The first line of .python-version that names a version, and which versions that are; `None` in
/// place of them if it names none.
fn pinned(tree: &Path) -> Option<(Said, Option<VersionSpecifiers>)> {
    let text = std::fs::read_to_string(tree.join(".python-version")).ok()?;
    let line =
        text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    if line == "system" {
        return None;
    }
    let said = Said { text: line.into(), file: ".python-version", key: "" };
    let version = ["cpython@", "cpython-", "python-", "python"]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
        .unwrap_or(line);
    let parts: Vec<&str> = version.trim_end_matches("-dev").split('.').collect();
    let is_version = parts.iter().all(|part| part.parse::<u64>().is_ok());
    let specifiers = match (is_version, parts.len()) {
        (true, 1 | 2) => format!("=={}.*", parts.join(".")),
        (true, 3) => format!("=={}", parts.join(".")),
        // As uv takes it: `>=3.9`.
        _ => version.into(),
    };
    Some((said, VersionSpecifiers::from_str(&specifiers).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(files: &[(&str, &str)], version: &str) -> bool {
        let tree = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(tree.path().join(name), text).unwrap();
        }
        let asked = asked(tree.path()).unwrap();
        let version = pep440_rs::Version::from_str(version).unwrap();
        asked
            .ways
            .first()
            .is_some_and(|way| way.as_ref().is_none_or(|specifiers| specifiers.contains(&version)))
    }

    #[test]
    fn each_file_asks_in_its_own_words() {
        let project = "[project]\nname = \"x\"\nrequires-python = \">=3.9,<3.12\"\n";
        let poetry = "[tool.poetry.dependencies]\npython = \"^3.9\"\n";
        for (files, good, bad) in [
            (vec![], "3.11.1", ""),
            (vec![("pyproject.toml", project)], "3.11.7", "3.12.0"),
            (vec![("pyproject.toml", poetry)], "3.14.1", "3.8.18"),
            (vec![("Pipfile", "[requires]\npython_version = \"3.9\"\n")], "3.9.18", "3.10.1"),
            (vec![("environment.yml", "dependencies:\n  - python=3.10\n")], "3.10.4", "3.1.0"),
            (
                vec![("environment.yml", "dependencies: ['python >=3.9,<3.11']\n")],
                "3.10.4",
                "3.11.0",
            ),
            (vec![("setup.cfg", "[options]\npython_requires = >=3.10\n")], "3.10.0", "3.9.18"),
            (vec![(".python-version", "3.10\n")], "3.10.13", "3.11.7"),
            (vec![(".python-version", "3.10.13\n3.9.18\n")], "3.10.13", "3.10.12"),
            (vec![(".python-version", "cpython-3.12\n")], "3.12.1", "3.11.7"),
            (vec![(".python-version", "system\n")], "3.12.1", ""),
            (vec![("pyproject.toml", project), (".python-version", "3.10")], "3.10.1", "3.11.7"),
        ] {
            assert!(fits(&files, good), "{files:?} {good}");
            assert!(bad.is_empty() || !fits(&files, bad), "{files:?} {bad}");
        }
        assert!(!fits(&[(".python-version", "my-environment\n")], "3.11.7"), "no version");
    }
}

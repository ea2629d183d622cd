//! What a model directory says of packages, looked at before anything is sent: which file is read,
//! which modules nothing brings, and how they are written down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use artifacts::{Walked, Why};
use domain::manifest::Runtime;
use domain::{Code, Problem};
use engine::distributions::{self, normal};
use engine::interpreter::{self, Places};
use engine::packages::pickled::{self, Need};
use engine::packages::{self, Wanted, requirements};
use serde::Deserialize;

use crate::directory::ModelDirectory;

/// A package that is installed where the user works.
#[derive(Deserialize)]
pub struct Installed {
    version: String,
    modules: Vec<String>,
    requires: Vec<String>,
}

/// What is installed, by the normal names of packages.
type Packages = BTreeMap<String, Installed>;

/// What was found out.
pub struct Judged {
    /// The file that says which packages, if one does.
    pub file: Option<&'static str>,
    /// What people should know.
    pub notes: Vec<String>,
    /// Modules that nothing brings.
    pub missing: Vec<Need>,
    /// Whether that is certain.
    pub is_certain: bool,
    wanted: Option<Wanted>,
    installed: Packages,
}

/// Where interpreters are looked for on the user's machine.
fn places() -> Places {
    Places::of_user(&std::env::var("PATH").unwrap_or_default())
}

/// Looks at a directory; `needs` is what its model imports.
pub fn judge(directory: &ModelDirectory, needs: &[Need]) -> Result<Judged, Problem> {
    let mut judged = Judged {
        file: None,
        notes: vec![],
        missing: vec![],
        is_certain: true,
        wanted: None,
        installed: Packages::new(),
    };
    let is_python = directory.runtime == Runtime::Python;
    if !is_python && !packages::is_of_python(&directory.path) {
        if let Some((file, _)) = packages::conda::find(&directory.path) {
            let runtime = directory.runtime;
            judged
                .notes
                .push(format!("{file} is not read: it is no model of Python, but {runtime}"));
        }
        return Ok(judged);
    }
    judged.wanted = packages::read(&directory.path)?;
    if let Some(wanted) = &judged.wanted {
        judged.file = Some(wanted.file);
        judged.notes = wanted.notes.clone();
    }
    let file = directory.file.as_deref().unwrap_or_default();
    if judged.wanted.is_none() && !file.ends_with(".py") {
        // Its packages follow from the file.
        if !needs.is_empty() {
            pickled::lines(file, needs)?;
        }
        return Ok(judged);
    }
    let mut missing = judged.unbrought(needs);
    if !missing.is_empty() {
        // What is installed tells what packages bring that are not known here.
        judged.installed = installed(&directory.path);
        missing = judged.unbrought(needs);
    }
    judged.missing = missing;
    Ok(judged)
}

impl Judged {
    /// The needs that no package brings which is asked for, as far as that is known.
    fn unbrought(&mut self, needs: &[Need]) -> Vec<Need> {
        let none = BTreeSet::new();
        let wanted = self.wanted.as_ref();
        let names = wanted.map_or(&none, |wanted| &wanted.requirements.names);
        let (mut brought, mut is_whole) = distributions::with_brought(names);
        let mut modules = BTreeSet::new();
        let mut left: Vec<String> = brought.iter().cloned().collect();
        while let Some(name) = left.pop() {
            let Some(found) = self.installed.get(&name) else { continue };
            modules.extend(found.modules.iter().cloned());
            let others = found.requires.iter().map(|name| normal(name));
            left.extend(others.filter(|other| brought.insert(other.clone())));
        }
        let is_told = |name: &String| {
            self.installed.contains_key(name)
                || distributions::with_brought(&[name.clone()].into()).1
        };
        is_whole |= names.iter().all(is_told);
        self.is_certain = is_whole && !wanted.is_some_and(|wanted| wanted.requirements.has_unnamed);
        let is_missing = |need: &&Need| {
            let top = need.module.split('.').next().unwrap_or_default();
            let packages = need.packages();
            let is_brought = packages.iter().any(|package| brought.contains(*package))
                || (packages.is_empty() && brought.contains(&normal(&need.module)))
                || modules.contains(top);
            !need.lazy && !is_brought
        };
        needs.iter().filter(is_missing).cloned().collect()
    }

    /// The package that brings what is missing, in the version that is installed here or that a
    /// pickle tells; `None` if none is known.
    fn proposal(&self, need: &Need) -> Option<String> {
        let top = need.module.split('.').next().unwrap_or_default();
        let packages = need.packages();
        let version_of = |name: &str| self.installed.get(name).map(|found| found.version.as_str());
        let Some(first) = packages.first() else {
            let brings = |found: &Installed| found.modules.iter().any(|module| module == top);
            let (name, found) = self.installed.iter().find(|(_, found)| brings(found))?;
            return Some(format!("{name}=={}", public(&found.version)));
        };
        if let Some(told) = need.proposal().filter(|told| told.contains("==")) {
            return Some(told);
        }
        // Packages that bring the same module have the same versions.
        let version = packages.iter().find_map(|package| version_of(package));
        Some(version.map_or(first.to_string(), |version| format!("{first}=={}", public(version))))
    }

    /// What is missing, a line each.
    fn lines(&self) -> Vec<String> {
        self.missing.iter().map(Need::line).collect()
    }

    /// The problem of what is missing.
    pub fn problem(&self) -> Option<Problem> {
        if self.missing.is_empty() || !self.is_certain {
            return None;
        }
        let text = match self.file {
            Some(file) => format!("the model imports modules that no package of {file} brings"),
            None => "the model imports modules, and nothing says which packages bring them".into(),
        };
        let help = match self.file {
            None | Some(requirements::FILE) => {
                "decalog check --fix writes them into requirements.txt".into()
            }
            Some(file) => format!("add the packages to {file}"),
        };
        Some(Problem::new(Code::MissingPackages, text).details(self.lines()).help(help))
    }

    /// What may be missing, where it is not certain.
    pub fn doubts(&self) -> Vec<String> {
        if self.missing.is_empty() || self.is_certain {
            return vec![];
        }
        let file = self.file.unwrap_or_default();
        let lines = self.lines().into_iter();
        lines
            .map(|line| format!("{line}: not in {file}, unless another package brings it"))
            .collect()
    }

    /// Writes what is missing into requirements.txt. Gives the lines that were added.
    pub fn fix(&self, directory: &Path) -> Result<Vec<String>, Problem> {
        let (mut lines, mut unknown) = (BTreeSet::new(), vec![]);
        for need in &self.missing {
            match self.proposal(need) {
                Some(line) => drop(lines.insert(line)),
                None => unknown.push(need.line()),
            }
        }
        let refuse = |text: String, details: Vec<String>, help: &str| {
            Err(Problem::new(Code::MissingPackages, text).details(details).help(help))
        };
        if let Some(file) =
            self.file.filter(|file| *file != requirements::FILE && !lines.is_empty())
        {
            let text = format!("packages are named in {file}, which is not rewritten");
            return refuse(text, lines.into_iter().collect(), "add these there");
        }
        let has_pins =
            self.wanted.as_ref().is_some_and(|wanted| !wanted.requirements.pins.is_empty());
        if has_pins && !lines.is_empty() {
            let text = "requirements.txt has hashes, which these need too".to_string();
            let help = "add them where it is made from, and make it anew with --generate-hashes";
            return refuse(text, lines.into_iter().collect(), help);
        }
        if !lines.is_empty() {
            write(directory, &lines)?;
        }
        if !unknown.is_empty() {
            let text = "no package is known for some modules".to_string();
            return refuse(
                text,
                unknown,
                "add their packages to requirements.txt, or put the modules beside the model",
            );
        }
        Ok(lines.into_iter().collect())
    }
}

/// A version without what only a build of one's own has, as in `2.1.0+cpu`.
fn public(version: &str) -> &str {
    version.split('+').next().unwrap_or(version)
}

fn write(directory: &Path, lines: &BTreeSet<String>) -> Result<(), Problem> {
    let path = directory.join(requirements::FILE);
    let mut text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(unwritable(&error)),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    lines.iter().for_each(|line| {
        text += line;
        text.push('\n');
    });
    std::fs::write(&path, text).map_err(|error| unwritable(&error))
}

fn unwritable(error: &std::io::Error) -> Problem {
    Problem::new(Code::Failed, format!("requirements.txt cannot be written: {error}"))
        .help("make it a text file that you may write")
}

/// What is installed where the user works: in the directory's own virtual environment, in the one
/// that is activated, else beside the usual Python.
fn installed(directory: &Path) -> Packages {
    let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let own = [directory.join(".venv"), directory.join("venv")].into_iter().chain(active);
    let python = own.map(|place| place.join("bin/python")).find(|python| python.exists());
    let python = python.or_else(|| places().usual().map(|usual| usual.path));
    let Some(text) = python.and_then(|python| interpreter::installed_of(&python)) else {
        return Packages::new();
    };
    let found: Packages = serde_json::from_str(&text).unwrap_or_default();
    found.into_iter().map(|(name, of)| (normal(&name), of)).collect()
}

/// Which Python the directory asks for is here; it need not be if none is.
pub fn check_python(directory: &ModelDirectory) -> Result<(), Problem> {
    match directory.runtime {
        Runtime::Python => places().choose_if_any(&directory.path).map(|_| ()),
        _ => Ok(()),
    }
}

/// What stays on this machine without the user having said so, a line each.
pub fn left_out(walked: &Walked) -> Vec<String> {
    let mut lines = vec![];
    for why in [Why::Secret, Why::PrivateKey, Why::Installed] {
        let of = walked.left_out.iter().filter(|left| left.why == why);
        let paths: Vec<&str> = of.map(|left| left.path.as_str()).collect();
        let Some(first) = paths.first() else { continue };
        let shown = match paths.len() {
            0..=5 => paths.join(", "),
            many => format!("{} and {} others", paths[..4].join(", "), many - 4),
        };
        lines.push(format!("{shown}: {why}; a line `!{first}` in .decalogignore includes it"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, ModelDirectory) {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(place.path().join(name), text).unwrap();
        }
        let directory = ModelDirectory::read(place.path()).unwrap();
        (place, directory)
    }

    fn need(module: &str) -> Need {
        Need { module: module.into(), place: "model.py:1".into(), ..Need::default() }
    }

    #[test]
    fn what_nothing_brings_is_missing() {
        let model = ("model.py", "def predict(x: int) -> int:\n    return x\n");
        let needs = ["numpy", "cv2", "of_ours_alone"].map(need);
        let missing = |requirements: &str| {
            let (_place, directory) = directory(&[model, ("requirements.txt", requirements)]);
            let judged = judge(&directory, &needs).unwrap();
            let names: Vec<String> =
                judged.missing.iter().map(|need| need.module.clone()).collect();
            (names.join(" "), judged.is_certain)
        };
        assert_eq!(
            missing("scikit-learn\n"),
            ("cv2 of_ours_alone".into(), true),
            "numpy comes along"
        );
        assert_eq!(missing("opencv-python\n"), ("of_ours_alone".into(), true));
        assert_eq!(missing("numpy\nunheard-of-package\n"), ("cv2 of_ours_alone".into(), false));
        assert_eq!(missing("numpy\nof-ours-alone\nopencv-python\n").0, "");
    }

    #[test]
    fn a_fix_adds_lines_and_leaves_what_is_there() {
        let model = ("model.py", "def predict(x: int) -> int:\n    return x\n");
        let (place, directory) = directory(&[model, ("requirements.txt", "six==1.16.0")]);
        let judged = judge(&directory, &[need("cv2"), need("of_ours_alone")]).unwrap();
        let problem = judged.fix(&directory.path).unwrap_err();
        assert!(problem.details[0].contains("of_ours_alone"), "{problem:?}");
        let text = std::fs::read_to_string(place.path().join("requirements.txt")).unwrap();
        assert!(text.starts_with("six==1.16.0\nopencv-python-headless"), "{text}");
        let again = judge(&directory, &[need("cv2")]).unwrap();
        assert!(again.missing.is_empty() && again.problem().is_none());
    }
}

//! The Python that a model runs in: one that fits what its directory asks for, among those on PATH,
//! of pyenv and of uv. Nothing is downloaded.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use domain::{Code, Problem};
use pep440_rs::{Version, VersionSpecifiers};

use crate::packages::python::{self, Asked};
use crate::shim;

/// The oldest minor version of Python 3 that models run in.
pub const MINOR_MIN: u64 = 8;
/// The newest that is looked for by name.
const MINOR_MAX: u64 = 14;
/// Where systems keep programs, whatever PATH says.
const SYSTEM: [&str; 2] = ["/usr/local/bin", "/usr/bin"];
/// Where pyenv keeps programs that choose one of its installations.
const SHIMS: &str = "shims";
/// Tells the version of an interpreter, and where it really is: a shim of pyenv is none itself.
const SAYS: &str = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.executable)";

/// An interpreter of CPython.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program.
    pub path: PathBuf,
    /// As in `3.11.7`.
    pub version: String,
}

/// Where interpreters are looked for.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// As the variable.
    pub path: String,
    /// Folders of programs that are looked in after those.
    pub system: Vec<PathBuf>,
    /// Folders with one installation in each, named by its version.
    pub installations: Vec<PathBuf>,
}

impl Places {
    /// Of this process's user, with another PATH.
    pub fn of_user(path: &str) -> Places {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        let home = |below: &str| variable("HOME").map(|home| home.join(below));
        let data = variable("XDG_DATA_HOME").or_else(|| home(".local/share"));
        let pyenv = variable("PYENV_ROOT").or_else(|| home(".pyenv"));
        let uv = variable("UV_PYTHON_INSTALL_DIR").or_else(|| data.map(|at| at.join("uv/python")));
        let installations = [pyenv.map(|root| root.join("versions")), uv];
        Places {
            path: path.into(),
            system: SYSTEM.iter().map(PathBuf::from).collect(),
            installations: installations.into_iter().flatten().collect(),
        }
    }

    /// The one that is taken where nothing is asked for.
    pub fn usual(&self) -> Option<Interpreter> {
        let mut folders = std::env::split_paths(&self.path);
        folders.find_map(|folder| says(&folder.join("python3")))
    }

    /// All others, the newest first; by their names where those tell the version.
    fn others(&self) -> Vec<Interpreter> {
        let mut found = vec![];
        for folder in &self.installations {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            found.extend(entries.filter_map(|entry| installed(&entry.path())));
        }
        let folders = std::env::split_paths(&self.path).chain(self.system.iter().cloned());
        // The shims of pyenv lead to its installations, slowly.
        let folders: Vec<PathBuf> = folders.filter(|folder| !folder.ends_with(SHIMS)).collect();
        for minor in (MINOR_MIN..=MINOR_MAX).rev() {
            let name = format!("python3.{minor}");
            found.extend(folders.iter().find_map(|folder| says(&folder.join(&name))));
        }
        found.extend(folders.iter().find_map(|folder| says(&folder.join("python3"))));
        let version = |one: &Interpreter| Version::from_str(&one.version).ok();
        found.sort_by_key(|one| std::cmp::Reverse(version(one)));
        found.dedup_by(|a, b| a.version == b.version);
        found
    }

    /// The interpreter of exactly this version.
    pub fn exactly(&self, version: &str) -> Option<Interpreter> {
        let is_it = |one: &Interpreter| one.version == version;
        self.usual()
            .filter(is_it)
            .or_else(|| self.others().into_iter().find(|one| is_it(one) && runs(one)))
    }

    /// The interpreter for a directory: the usual one if it fits what is asked for there, else the
    /// newest that does.
    pub fn choose(&self, tree: &Path) -> Result<Interpreter, Problem> {
        let asked = python::asked(tree)?;
        self.pick(&asked)?.ok_or_else(|| refusal(&asked, &[]))
    }

    /// The same; `None` where there is no interpreter at all.
    pub fn choose_if_any(&self, tree: &Path) -> Result<Option<Interpreter>, Problem> {
        self.pick(&python::asked(tree)?)
    }

    fn pick(&self, asked: &Asked) -> Result<Option<Interpreter>, Problem> {
        let usual = self.usual();
        let is_good = |one: &Interpreter, way: usize| fits(&one.version, asked.ways[way].as_ref());
        let mut others: Option<Vec<Interpreter>> = None;
        for way in 0..asked.ways.len() {
            if let Some(usual) = usual.clone().filter(|one| is_good(one, way)) {
                return Ok(Some(usual));
            }
            let others = others.get_or_insert_with(|| self.others());
            if let Some(other) = others.iter().find(|one| is_good(one, way) && runs(one)) {
                return Ok(Some(other.clone()));
            }
        }
        let others = others.unwrap_or_else(|| self.others());
        let all: Vec<Interpreter> = usual.into_iter().chain(others).collect();
        if all.is_empty() { Ok(None) } else { Err(refusal(asked, &all)) }
    }
}

/// The problem of a machine on which none fits, with all that it has.
fn refusal(asked: &Asked, all: &[Interpreter]) -> Problem {
    let mut versions: Vec<&str> = vec![];
    for one in all {
        if !versions.contains(&one.version.as_str()) {
            versions.push(&one.version);
        }
    }
    let found = match versions.is_empty() {
        true => "there is none on PATH, of pyenv or of uv".into(),
        false => format!("there are: {}", versions.join(", ")),
    };
    let problem = |wanted: String, help: String| {
        Problem::new(Code::NoPython, format!("no Python{wanted} is on this machine"))
            .details([found])
            .help(help)
    };
    let Some(said) = &asked.said else {
        return problem(String::new(), "install python3".into());
    };
    let help = format!(
        "install one (pyenv install, uv python install), or change {}; models run in Python 3.{MINOR_MIN} and later",
        said.place()
    );
    problem(format!(" that fits `{}`", said.text), help)
}

/// Whether a version is one that is asked for, and can run a worker.
fn fits(version: &str, specifiers: Option<&VersionSpecifiers>) -> bool {
    let Ok(version) = Version::from_str(version) else { return false };
    let release = version.release();
    let is_served = release.first() == Some(&3) && release.get(1) >= Some(&MINOR_MIN);
    is_served && specifiers.is_none_or(|specifiers| specifiers.contains(&version))
}

/// Which packages an interpreter has, as JSON; `None` if it does not tell.
pub fn installed_of(python: &Path) -> Option<String> {
    let place = tempfile::tempdir().ok()?;
    let program = shim::put(place.path()).ok()?;
    let mut command = Command::new(python);
    command.args(["-I", "-B"]).arg(program).arg("--installed");
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok().filter(|_| output.status.success())
}

/// What a program says of itself; `None` if it is no Python that runs.
fn says(program: &Path) -> Option<Interpreter> {
    if !program.exists() {
        return None;
    }
    let mut command = Command::new(program);
    command.args(["-I", "-c", SAYS]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (version, path) = text.trim().split_once(' ')?;
    Some(Interpreter { path: path.into(), version: version.into() })
}

fn runs(interpreter: &Interpreter) -> bool {
    says(&interpreter.path).is_some_and(|said| said.version == interpreter.version)
}

/// What lies in a folder of pyenv (`3.11.7`) or uv (`cpython-3.11.7-linux-x86_64-gnu`).
fn installed(folder: &Path) -> Option<Interpreter> {
    let name = folder.file_name()?.to_str()?;
    let name = name.strip_prefix("cpython-").unwrap_or(name);
    let version = name.split(['-', '+']).next()?;
    let is_version = version.split('.').count() == 3
        && version.split('.').all(|part| part.parse::<u64>().is_ok());
    let path = folder.join("bin/python3");
    (is_version && path.exists()).then(|| Interpreter { path, version: version.into() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(root: &Path, name: &str, version: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\necho {version} {}\n", path.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_usual_one_if_it_fits_else_the_newest_that_does() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path();
        place(at, "bin/python3", "3.11.7");
        for version in ["2.7.18", "3.7.16", "3.8.18", "3.10.13"] {
            place(at, &format!("pyenv/{version}/bin/python3"), version);
        }
        place(at, "uv/cpython-3.13.1-linux-x86_64-gnu/bin/python3", "3.13.1");
        std::fs::create_dir_all(at.join("pyenv/3.12.9/bin")).unwrap();
        let places = Places {
            path: at.join("bin").display().to_string(),
            system: vec![],
            installations: vec![at.join("pyenv"), at.join("uv"), at.join("gone")],
        };
        let tree = at.join("tree");
        std::fs::create_dir_all(&tree).unwrap();
        let choose = |wanted: &str| {
            let text = format!("[project]\nname = \"x\"\nrequires-python = \"{wanted}\"\n");
            std::fs::write(tree.join("pyproject.toml"), text).unwrap();
            places.choose(&tree).map(|one| one.version)
        };
        assert_eq!(choose(">=3.8").unwrap(), "3.11.7");
        assert_eq!(choose("<3.11").unwrap(), "3.10.13");
        assert_eq!(choose("~=3.8.0").unwrap(), "3.8.18");
        assert_eq!(choose("==3.13.*").unwrap(), "3.13.1");
        for none in ["==3.7.*", "<3", ">=3.99", "3.11; touch x"] {
            let problem = choose(none).unwrap_err();
            assert_eq!(problem.code, Code::NoPython, "{none}");
            assert!(problem.message.contains(none) && problem.details[0].contains("3.8.18"));
            assert!(problem.help.contains("requires-python"));
        }
        assert_eq!(places.exactly("3.8.18").unwrap().path, at.join("pyenv/3.8.18/bin/python3"));
        assert_eq!(places.exactly("3.12.9"), None);
    }
}

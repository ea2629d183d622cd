//! From what a directory asks for to a lock: asks the resolver, in a copy of the directory where it
//! may have to build something, and compares what the model imports with what it decided.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use domain::{Code, Problem};
use supervisor::Files;

use crate::interpreter::Interpreter;
use crate::packages::pickled::{self, Need};
use crate::packages::{Given, Wanted, locked};
use crate::runtime::native;
use crate::tools::Tools;
use crate::{EngineError, shim};

/// Lines that stand for a file, in a copy of the directory.
const LINES_FILE: &str = ".decalog-requirements.txt";
/// Constraints on them.
const CONSTRAINTS_FILE: &str = ".decalog-constraints.txt";
/// A longer file is linked to and not copied, in bytes: no build writes into it.
const COPIED_BYTES_MAX: u64 = 1 << 20;

/// Whether a file is a model that Python saved, by its name.
pub fn is_pickle(file: &str) -> bool {
    [".joblib", ".pkl", ".pickle"].iter().any(|suffix| file.ends_with(suffix))
}

/// Whether a model file tells which packages it needs.
pub fn tells_packages(tree: &Path, file: &str) -> bool {
    is_pickle(file) || native::is_native(&tree.join(file))
}

/// The program of the interpreter that a lock is for. What is not here any more is left to uv to
/// find.
pub async fn interpreter_of(tools: &Tools, version: &str) -> Result<PathBuf, EngineError> {
    let (places, exact) = (tools.places(), version.to_string());
    let found = aside(move || places.exactly(&exact)).await?;
    Ok(found.map_or_else(|| version.into(), |found| found.path))
}

/// Resolves one directory.
pub struct Resolver<'a> {
    tools: &'a Tools,
    files: &'a Files,
    tree: &'a Path,
    uv: PathBuf,
    /// What it is resolved for.
    pub python: Interpreter,
}

impl<'a> Resolver<'a> {
    /// With the interpreter that the directory asks for.
    pub async fn new(
        tools: &'a Tools,
        files: &'a Files,
        tree: &'a Path,
    ) -> Result<Resolver<'a>, EngineError> {
        let uv = tools.uv(&|_| {}).await?;
        let (places, directory) = (tools.places(), tree.to_path_buf());
        let python = aside(move || places.choose(&directory)).await?.map_err(EngineError::User)?;
        Ok(Resolver { tools, files, tree, uv, python })
    }

    /// The lock of what the directory's files ask for.
    pub async fn of_wanted(&self, wanted: &Wanted) -> Result<String, EngineError> {
        let export =
            ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--quiet"];
        let text = match &wanted.given {
            Given::Lock => self.run(self.tree, export.map(Into::into).into(), wanted.file).await?,
            Given::File => {
                self.compile(self.tree, Path::new(wanted.file), &[], wanted.file).await?
            }
            Given::Project => {
                let copy = self.copy().await?;
                self.compile(copy.path(), Path::new(wanted.file), &[], wanted.file).await?
            }
            Given::Lines(lines, constraints) => {
                let copy = self.copy().await?;
                let write = |name: &str, lines: &[String]| {
                    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
                    std::fs::write(copy.path().join(name), text)
                        .map_err(EngineError::io("writing a list of packages"))
                };
                write(LINES_FILE, lines)?;
                write(CONSTRAINTS_FILE, constraints)?;
                let limits = ["--constraints".into(), CONSTRAINTS_FILE.into()];
                self.compile(copy.path(), Path::new(LINES_FILE), &limits, wanted.file).await?
            }
        };
        locked::settle(self.tree, wanted, &text).map_err(EngineError::User)
    }

    /// The lock of what a model's file tells by itself.
    pub async fn of_file(&self, file: &str) -> Result<String, EngineError> {
        let lines = match is_pickle(file) {
            true => self.lines_of_pickle(file).await?,
            false => self.lines_of_native(file).await?,
        };
        let list = tempfile::NamedTempFile::new().and_then(|place| {
            std::fs::write(place.path(), lines.join("\n") + "\n").map(|()| place)
        });
        let list = list.map_err(EngineError::io("writing a list of packages"))?;
        self.compile(self.tree, list.path(), &[], file).await
    }

    /// Refuses a model that imports what the lock does not bring.
    pub async fn check_needs(
        &self,
        file: &str,
        source: &str,
        text: &str,
    ) -> Result<(), EngineError> {
        let needs = self.needs(file).await?.unwrap_or_default();
        let missing = pickled::missing(&needs, &locked::names(text));
        match missing.as_slice() {
            [] => Ok(()),
            missing => Err(EngineError::User(pickled::refusal(source, missing))),
        }
    }

    /// What the model's text and its pickles need; `None` if that cannot be told.
    async fn needs(&self, file: &str) -> Result<Option<Vec<Need>>, EngineError> {
        let output = self.worker(&["--needs".as_ref(), self.tree, file.as_ref()]).await?;
        Ok(serde_json::from_str(&output).ok())
    }

    async fn worker(&self, arguments: &[&Path]) -> Result<String, EngineError> {
        let shim = shim::put(&self.files.data.shim())?;
        let mut all: Vec<OsString> = vec!["-I".into(), shim.into()];
        all.extend(arguments.iter().map(|argument| argument.as_os_str().into()));
        let output = self.tools.run(&self.python.path, all, Path::new("/"), &|_| {}).await?;
        Ok(output.stdout)
    }

    async fn lines_of_pickle(&self, file: &str) -> Result<Vec<String>, EngineError> {
        let untold = || {
            let text = format!("{file} does not tell which packages it needs");
            let help = "add a requirements.txt with the versions that it was trained with";
            EngineError::User(Problem::new(Code::LockFailed, text).help(help))
        };
        let needs = self.needs(file).await?.ok_or_else(untold)?;
        if needs.is_empty() {
            return Err(untold());
        }
        pickled::lines(file, &needs).map_err(EngineError::User)
    }

    /// The packages that read a file which its library saved, as its format tells.
    async fn lines_of_native(&self, file: &str) -> Result<Vec<String>, EngineError> {
        let path = self.tree.join(file);
        let output = self.worker(&["--packages".as_ref(), &path]).await?;
        let lines: Vec<String> = serde_json::from_str(output.trim()).unwrap_or_default();
        if !lines.is_empty() {
            return Ok(lines);
        }
        let text = format!("{file} does not tell which packages it needs");
        Err(EngineError::User(
            Problem::new(Code::LockFailed, text)
                .help("add a requirements.txt with the library that saved it"),
        ))
    }

    async fn compile(
        &self,
        directory: &Path,
        source: &Path,
        more: &[OsString],
        name: &str,
    ) -> Result<String, EngineError> {
        let fixed =
            ["pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"];
        let mut arguments: Vec<OsString> = fixed.map(Into::into).into();
        arguments.extend(["--python".into(), self.python.path.clone().into(), source.into()]);
        arguments.extend(more.iter().cloned());
        arguments.extend(self.tools.index());
        self.run(directory, arguments, name).await
    }

    async fn run(
        &self,
        directory: &Path,
        arguments: Vec<OsString>,
        name: &str,
    ) -> Result<String, EngineError> {
        let output = self.tools.run(&self.uv, arguments, directory, &|_| {}).await?;
        if output.ok {
            return Ok(output.stdout);
        }
        let copy = format!("{}/", directory.display());
        let lines = output.last_lines().into_iter();
        let lines = lines.map(|line| line.replace(&copy, "").replace(LINES_FILE, name));
        let problem =
            Problem::new(Code::LockFailed, format!("the packages of {name} do not resolve"));
        Err(EngineError::User(
            problem
                .details(lines)
                .help(format!("correct {name}; uv pip compile {name} shows the same")),
        ))
    }

    /// A copy of the directory that a build may write into.
    async fn copy(&self) -> Result<tempfile::TempDir, EngineError> {
        let (from, beside) = (self.tree.to_path_buf(), self.files.data.environments());
        let copied = aside(move || {
            let place = tempfile::Builder::new().prefix("copy-").tempdir_in(beside)?;
            copy(&from, place.path()).map(|()| place)
        });
        copied.await?.map_err(EngineError::io("copying a directory for its build"))
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (metadata, target) = (entry.metadata()?, to.join(entry.file_name()));
        if metadata.is_dir() {
            copy(&entry.path(), &target)?;
        } else if metadata.len() > COPIED_BYTES_MAX {
            std::os::unix::fs::symlink(entry.path(), target)?;
        } else {
            // Its content, and not that nobody may write it.
            std::fs::write(target, std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// Runs what blocks (files, other programs) on a thread for that.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(std::io::Error::other).map_err(EngineError::io("waiting for a thread"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_can_be_written_into() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(from.path().join("src")).unwrap();
        std::fs::write(from.path().join("src/a.py"), "x = 1").unwrap();
        std::fs::write(from.path().join("large.bin"), vec![0; COPIED_BYTES_MAX as usize + 1])
            .unwrap();
        copy(from.path(), to.path()).unwrap();
        std::fs::write(to.path().join("src/a.py"), "x = 2").unwrap();
        assert_eq!(std::fs::read_to_string(from.path().join("src/a.py")).unwrap(), "x = 1");
        assert!(to.path().join("large.bin").symlink_metadata().unwrap().is_symlink());
        assert!(is_pickle("a.joblib") && !is_pickle("a.py"));
    }
}

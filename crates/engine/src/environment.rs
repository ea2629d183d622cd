//! Python environments: resolved to a lock before a version exists, built once per lock, never
//! changed.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use domain::digest::Hasher;
use domain::event::Lock;
use domain::{Code, Digest, Problem};
use supervisor::Files;
use tokio::sync::Mutex;

use crate::interpreter::Interpreter;
use crate::packages::{self, locked};
use crate::resolving::{self, Resolver};
use crate::tools::Tools;
use crate::{EngineError, installed};

/// Files that a lock is resolved from, wherever they are.
const INPUTS: &[&str] = &["requirements.txt", "pyproject.toml", "uv.lock", ".python-version"];

/// A built environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Whether it had been there already.
    pub cached: bool,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// Builds environments.
pub struct Environments {
    files: Files,
    building: Mutex<()>,
    /// Those that this process has looked at.
    sound: parking_lot::Mutex<HashSet<Digest>>,
}

/// Of everything that a resolution depends on.
pub fn lock_inputs(tree: &Path, file: Option<&str>, index_url: Option<&str>) -> Digest {
    let mut hasher = Hasher::new();
    let mut field = |name: &str| {
        hasher.field(&std::fs::read(tree.join(name)).unwrap_or_default());
    };
    INPUTS.iter().for_each(|name| field(name));
    match packages::read(tree) {
        Ok(Some(wanted)) => {
            let more = wanted.inputs(tree);
            more.iter()
                .filter(|name| !INPUTS.contains(&name.as_str()))
                .for_each(|name| field(name));
        }
        // Then the packages follow from the model file itself.
        Ok(None) => {
            file.filter(|file| resolving::tells_packages(tree, file)).into_iter().for_each(field)
        }
        Err(_) => {}
    }
    hasher.field(index_url.unwrap_or_default().as_bytes());
    hasher.finish()
}

impl Environments {
    /// Below this data directory.
    pub fn new(files: Files) -> Environments {
        Environments { files, building: Mutex::new(()), sound: parking_lot::Mutex::default() }
    }

    /// The exact packages that a tree needs, and the lock's text; `None` if Decalog has nothing to
    /// install for it.
    pub async fn resolve(
        &self,
        tools: &Tools,
        tree: &Path,
        has_environment: bool,
        file: Option<&str>,
        index_url: Option<&str>,
    ) -> Result<Option<(Lock, String)>, EngineError> {
        if !has_environment {
            return Ok(None);
        }
        let resolver = Resolver::new(tools, &self.files, tree).await?;
        let (text, source) = match packages::read(tree).map_err(EngineError::User)? {
            Some(wanted) => (resolver.of_wanted(&wanted).await?, wanted.file.to_string()),
            None => match file.filter(|file| resolving::tells_packages(tree, file)) {
                Some(file) => (resolver.of_file(file).await?, file.to_string()),
                None => (String::new(), "requirements.txt".into()),
            },
        };
        if let Some(file) = file {
            resolver.check_needs(file, &source, &text).await?;
        }
        let Interpreter { version, .. } = resolver.python;
        let digest = Digest::of(format!("python {version}\n{text}").as_bytes());
        let (packages, inputs) = (locked::packages(&text), lock_inputs(tree, file, index_url));
        Ok(Some((Lock { digest, inputs, python: version, packages }, text)))
    }

    /// Installs a lock, unless it is installed. `archives` is a folder with those that it names.
    pub async fn build(
        &self,
        tools: &Tools,
        lock: &Lock,
        text: &str,
        archives: Option<&Path>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Built, EngineError> {
        let begin = Instant::now();
        let directory = self.files.data.environment(&lock.digest);
        let done = |cached| Built { cached, elapsed_ms: begin.elapsed().as_millis() as u64 };
        if self.is_built(lock).await {
            return Ok(done(true));
        }
        // One at a time: two builds would compete for the same cores and the same cache.
        let _building = self.building.lock().await;
        if self.is_built(lock).await {
            return Ok(done(true));
        }
        let left = directory.clone();
        let cleared = blocking(move || {
            let _ = std::fs::remove_file(installed::marker(&left));
            if left.exists() { artifacts::remove_tree(&left).map(|_| ()) } else { Ok(()) }
        });
        cleared.await.map_err(EngineError::io("removing a half-built environment"))?;
        let uv = tools.uv(progress).await?;
        let python = resolving::interpreter_of(tools, &lock.python).await?;
        let made = [
            "venv".as_ref(),
            "--quiet".as_ref(),
            "--no-project".as_ref(),
            "--python".as_ref(),
            python.as_os_str(),
            directory.as_os_str(),
        ];
        self.step(tools, &uv, made.map(Into::into).into(), progress).await?;
        if !lock.packages.is_empty() {
            let list = directory.join("lock.txt");
            std::fs::write(&list, text).map_err(EngineError::io("writing the lock"))?;
            // Links would let a write reach the cache of whoever runs this, and all other
            // environments. Where the disk can, copies share its blocks.
            let mut arguments: Vec<std::ffi::OsString> =
                ["pip", "sync", "--link-mode", "copy"].map(Into::into).into();
            if locked::is_hashed(text) {
                arguments.push("--require-hashes".into());
            }
            if let Some(archives) = archives {
                arguments.extend(["--find-links".into(), archives.into()]);
            }
            arguments.extend(["--python".into(), directory.join("bin/python").into(), list.into()]);
            arguments.extend(tools.index());
            self.step(tools, &uv, arguments, progress).await?;
        }
        let built = directory.clone();
        blocking(move || installed::finish(&built))
            .await
            .map_err(EngineError::io("finishing the environment"))?;
        self.sound.lock().insert(lock.digest);
        Ok(done(false))
    }

    /// Whether a lock is installed, and nobody has touched what is.
    pub async fn is_built(&self, lock: &Lock) -> bool {
        let directory = self.files.data.environment(&lock.digest);
        let is_known = self.sound.lock().contains(&lock.digest);
        let looked = blocking(move || {
            let finished = installed::marker(&directory).exists() && directory.exists();
            Ok(finished && (is_known || installed::is_sound(&directory)))
        });
        let sound = looked.await.unwrap_or(false);
        let mut known = self.sound.lock();
        if sound {
            known.insert(lock.digest)
        } else {
            known.remove(&lock.digest)
        };
        sound
    }

    async fn step(
        &self,
        tools: &Tools,
        uv: &Path,
        arguments: Vec<std::ffi::OsString>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<(), EngineError> {
        let output = tools.run(uv, arguments, Path::new("/"), progress).await?;
        if output.ok {
            return Ok(());
        }
        let lines = output.last_lines();
        if lines
            .iter()
            .any(|line| line.contains("No space left on device") || line.contains("os error 28"))
        {
            return Err(EngineError::NoSpace("building the environment".into()));
        }
        let is_mismatch = lines.iter().any(|line| line.contains("Hash mismatch"));
        let problem =
            Problem::new(Code::BuildFailed, "the environment could not be built").details(lines);
        Err(EngineError::User(problem.help(match is_mismatch {
            true => {
                "the index gave another file than was pinned: do not install it before you know why"
            }
            false => "correct the requirements, or the index that decalog up was started with",
        })))
    }
}

/// Runs file work off the async runtime.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

//! Python environments: resolved to a lock before a version exists, built once per lock, never
//! changed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use domain::digest::Hasher;
use domain::event::Lock;
use domain::{Code, Digest, Problem};
use supervisor::Files;
use tokio::sync::Mutex;

use crate::runtime::native;
use crate::tools::Tools;
use crate::{EngineError, include, installed, shim};

/// Files that a lock is resolved from.
const INPUTS: &[&str] = &["requirements.txt", "pyproject.toml", "uv.lock", ".python-version"];
/// Finds in a pickle, without loading it, which scikit-learn wrote it and whether it needs pandas.
const INSPECT: &str = r#"
import re, sys, zlib, gzip
data = open(sys.argv[1], "rb").read()
for unpack in (zlib.decompress, gzip.decompress):
    try:
        data = unpack(data)
        break
    except Exception:
        pass
version = re.search(rb"_sklearn_version.{1,8}?(\d+\.\d+(?:\.\w+)*)", data, re.S)
print(version.group(1).decode() if version else "")
print("pandas" if b"ColumnTransformer" in data or b"feature_names_in_" in data else "")
"#;

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
    for name in INPUTS {
        hasher.field(&std::fs::read(tree.join(name)).unwrap_or_default());
    }
    if !has_requirements(tree)
        && let Some(file) = file.filter(|file| tells_packages(tree, file))
    {
        // Then the packages follow from the model file itself.
        hasher.field(&std::fs::read(tree.join(file)).unwrap_or_default());
    }
    hasher.field(index_url.unwrap_or_default().as_bytes());
    hasher.finish()
}

/// Whether a tree says which packages it needs.
pub fn has_requirements(tree: &Path) -> bool {
    ["requirements.txt", "pyproject.toml"].iter().any(|name| tree.join(name).exists())
}

/// Whether a file is a model that Python saved, by its name.
pub fn is_pickle(file: &str) -> bool {
    [".joblib", ".pkl", ".pickle"].iter().any(|suffix| file.ends_with(suffix))
}

/// Whether a model file tells which packages it needs.
fn tells_packages(tree: &Path, file: &str) -> bool {
    is_pickle(file) || native::is_native(&tree.join(file))
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
        let uv = tools.uv(&|_| {}).await?;
        let python = self.interpreter(tools, &uv, tree).await?;
        let version = python_version(tools, &python).await?;
        let text = if tree.join("uv.lock").exists() {
            let arguments =
                ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-header", "--quiet"];
            self.compiled(tools, &uv, tree, arguments.map(Into::into).into(), "uv.lock").await?
        } else if let Some(source) =
            ["requirements.txt", "pyproject.toml"].into_iter().find(|name| tree.join(name).exists())
        {
            if source == "requirements.txt" {
                include::check(tree, source).map_err(EngineError::User)?;
            }
            self.compile(tools, &uv, tree, Path::new(source), &python, source).await?
        } else if let Some(file) = file.filter(|file| tells_packages(tree, file)) {
            let path = tree.join(file);
            let list = match is_pickle(file) {
                true => self.packages_of_pickle(tools, &python, &path).await?,
                false => self.packages_of_native(tools, &python, &path).await?,
            };
            let temporary = self
                .files
                .data
                .environments()
                .join(format!("{}.in", Digest::of(list.as_bytes()).short()));
            std::fs::write(&temporary, &list)
                .map_err(EngineError::io("writing a list of packages"))?;
            let text = self.compile(tools, &uv, tree, &temporary, &python, file).await;
            let _ = std::fs::remove_file(&temporary);
            text?
        } else {
            String::new()
        };
        let digest = Digest::of(format!("python {version}\n{text}").as_bytes());
        let mut packages: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with([' ', '#']))
            .filter_map(|line| line.split([' ', ';', '\\']).next())
            .filter(|name| !name.is_empty())
            .map(String::from)
            .collect();
        packages.sort();
        let inputs = lock_inputs(tree, file, index_url);
        Ok(Some((Lock { digest, inputs, python: version, packages }, text)))
    }

    async fn interpreter(
        &self,
        tools: &Tools,
        uv: &Path,
        tree: &Path,
    ) -> Result<PathBuf, EngineError> {
        let mut arguments = vec!["python".to_string(), "find".into(), "--no-project".into()];
        arguments.extend(wanted_python(tree)?);
        let found = tools.run(uv, &arguments, tree, &|_| {}).await?;
        let path = found.stdout.trim();
        if !found.ok || path.is_empty() {
            let wanted = wanted_python(tree)?
                .map(|wanted| format!(" that fits `{wanted}`"))
                .unwrap_or_default();
            let problem =
                Problem::new(Code::NoPython, format!("no Python{wanted} is on this machine"));
            return Err(EngineError::User(
                problem
                    .details(found.last_lines())
                    .help("install it, or change requires-python in pyproject.toml"),
            ));
        }
        Ok(PathBuf::from(path))
    }

    async fn compile(
        &self,
        tools: &Tools,
        uv: &Path,
        tree: &Path,
        source: &Path,
        python: &Path,
        name: &str,
    ) -> Result<String, EngineError> {
        let mut arguments: Vec<std::ffi::OsString> = [
            "pip",
            "compile",
            "--generate-hashes",
            "--no-header",
            "--no-annotate",
            "--quiet",
            "--python",
        ]
        .map(Into::into)
        .into();
        arguments.extend([python.into(), source.into()]);
        arguments.extend(tools.index());
        self.compiled(tools, uv, tree, arguments, name).await
    }

    async fn compiled(
        &self,
        tools: &Tools,
        uv: &Path,
        tree: &Path,
        arguments: Vec<std::ffi::OsString>,
        name: &str,
    ) -> Result<String, EngineError> {
        let output = tools.run(uv, arguments, tree, &|_| {}).await?;
        if output.ok {
            return Ok(output.stdout);
        }
        let problem =
            Problem::new(Code::LockFailed, format!("the packages of {name} do not resolve"));
        Err(EngineError::User(
            problem
                .details(output.last_lines())
                .help(format!("correct {name}; uv pip compile {name} shows the same")),
        ))
    }

    async fn packages_of_pickle(
        &self,
        tools: &Tools,
        python: &Path,
        file: &Path,
    ) -> Result<String, EngineError> {
        let arguments = ["-I".as_ref(), "-c".as_ref(), INSPECT.as_ref(), file.as_os_str()];
        let output = tools.run(python, arguments, Path::new("/"), &|_| {}).await?;
        let mut lines = output.stdout.lines();
        let version = lines.next().unwrap_or_default();
        if !output.ok || version.is_empty() {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let problem = Problem::new(
                Code::LockFailed,
                format!("{name} does not tell which packages it needs"),
            );
            return Err(EngineError::User(
                problem.help("add a requirements.txt with the versions that it was trained with"),
            ));
        }
        let pandas = lines.next().unwrap_or_default();
        Ok(format!("scikit-learn=={version}\njoblib\n{pandas}\n"))
    }

    /// The packages that read a file which its library saved, as its format tells.
    async fn packages_of_native(
        &self,
        tools: &Tools,
        python: &Path,
        file: &Path,
    ) -> Result<String, EngineError> {
        let shim = shim::put(&self.files.data.shim())?;
        let arguments = ["-I".as_ref(), shim.as_os_str(), "--packages".as_ref(), file.as_os_str()];
        let output = tools.run(python, arguments, Path::new("/"), &|_| {}).await?;
        let lines: Vec<String> = serde_json::from_str(output.stdout.trim()).unwrap_or_default();
        if !output.ok || lines.is_empty() {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let text = format!("{name} does not tell which packages it needs");
            return Err(EngineError::User(
                Problem::new(Code::LockFailed, text)
                    .help("add a requirements.txt with the library that saved it"),
            ));
        }
        Ok(lines.join("\n") + "\n")
    }

    /// Installs a lock, unless it is installed.
    pub async fn build(
        &self,
        tools: &Tools,
        lock: &Lock,
        text: &str,
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
        let made = [
            "venv".as_ref(),
            "--quiet".as_ref(),
            "--no-project".as_ref(),
            "--python".as_ref(),
            lock.python.as_ref(),
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
            if text.contains("--hash=") {
                arguments.push("--require-hashes".into());
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
        let problem =
            Problem::new(Code::BuildFailed, "the environment could not be built").details(lines);
        Err(EngineError::User(
            problem.help("correct the requirements, or the index that decalog up was started with"),
        ))
    }
}

/// Runs file work off the async runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

/// What pyproject.toml or .python-version ask for.
fn wanted_python(tree: &Path) -> Result<Option<String>, EngineError> {
    if let Ok(text) = std::fs::read_to_string(tree.join("pyproject.toml")) {
        let value: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            EngineError::User(
                Problem::new(Code::LockFailed, format!("pyproject.toml cannot be read: {error}"))
                    .help("correct it"),
            )
        })?;
        let wanted = value
            .get("project")
            .and_then(|project| project.get("requires-python"))
            .and_then(toml::Value::as_str);
        if let Some(wanted) = wanted {
            return Ok(Some(wanted.to_string()));
        }
    }
    let file = std::fs::read_to_string(tree.join(".python-version")).ok();
    Ok(file.map(|text| text.trim().to_string()).filter(|text| !text.is_empty()))
}

async fn python_version(tools: &Tools, python: &Path) -> Result<String, EngineError> {
    let script = "import sys; print('%d.%d.%d' % sys.version_info[:3])";
    let output = tools.run(python, ["-I", "-c", script], Path::new("/"), &|_| {}).await?;
    let version = output.stdout.trim().to_string();
    if output.ok && !version.is_empty() {
        return Ok(version);
    }
    Err(EngineError::User(
        Problem::new(Code::NoPython, format!("{} does not run", python.display()))
            .details(output.last_lines()),
    ))
}

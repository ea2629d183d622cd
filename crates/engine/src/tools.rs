//! Tools that the engine needs and brings along itself where they are missing: uv, and the ONNX
//! Runtime library.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use domain::{Code, Problem};
use supervisor::Files;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::interpreter::Places;
use crate::{EngineConfig, EngineError};

/// What is fetched where no library is given.
const ONNXRUNTIME: &str = "onnxruntime>=1.24,<2";
/// Lines of a tool's output that an error carries.
const LINES_MAX: usize = 30;

/// Finds tools, or installs them once.
pub struct Tools {
    config: EngineConfig,
    files: Files,
    installing: Mutex<()>,
}

/// A finished tool.
pub struct Output {
    /// Whether it succeeded.
    pub ok: bool,
    /// What it gave.
    pub stdout: String,
    /// What it said.
    pub stderr: Vec<String>,
}

impl Output {
    /// The last lines it said.
    pub fn last_lines(&self) -> Vec<String> {
        self.stderr.iter().rev().take(LINES_MAX).rev().cloned().collect()
    }
}

impl Tools {
    /// For this data directory.
    pub fn new(config: EngineConfig, files: Files) -> Tools {
        Tools { config, files, installing: Mutex::new(()) }
    }

    /// Runs a tool, with the operator's variables for proxies and certificates.
    pub async fn run<S: AsRef<OsStr>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
        directory: &Path,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Output, EngineError> {
        let what = || format!("running {}", program.display());
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(&self.config.tool_variables)
            .env("PATH", &self.config.path)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(EngineError::io(what()))?;
        let stderr = child.stderr.take();
        let said = async {
            let mut lines = vec![];
            if let Some(stderr) = stderr {
                let mut reader = BufReader::new(stderr).lines();
                while let Some(line) = reader.next_line().await? {
                    progress(&line);
                    lines.push(line);
                }
            }
            std::io::Result::Ok(lines)
        };
        // Both at once: a tool that fills one pipe would wait for ever.
        let (lines, output) = tokio::join!(said, child.wait_with_output());
        let (lines, output) =
            (lines.map_err(EngineError::io(what()))?, output.map_err(EngineError::io(what()))?);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Output { ok: output.status.success(), stdout, stderr: lines })
    }

    /// uv: the one configured, on PATH, or of Decalog's own.
    pub async fn uv(&self, progress: &(dyn Fn(&str) + Sync)) -> Result<PathBuf, EngineError> {
        let own = self.files.data.uv();
        if let Some(uv) = self
            .config
            .uv
            .clone()
            .or_else(|| find("uv", &self.config.path))
            .or_else(|| own.exists().then(|| own.clone()))
        {
            return Ok(uv);
        }
        let _installing = self.installing.lock().await;
        if own.exists() {
            return Ok(own);
        }
        progress("installing uv");
        let missing = |lines: Vec<String>| {
            let problem = Problem::new(
                Code::NoUv,
                "uv, which builds Python environments, is missing and could not be installed",
            );
            EngineError::User(
                problem.details(lines).help("pip install uv, or install python3 with its venv module; decalog doctor tells more"),
            )
        };
        let python = find("python3", &self.config.path)
            .ok_or_else(|| missing(vec!["python3 is missing too".into()]))?;
        let directory = self.files.data.tools().join("uv.partial");
        let made = self
            .run(
                &python,
                ["-m".as_ref(), "venv".as_ref(), directory.as_os_str()],
                Path::new("/"),
                progress,
            )
            .await?;
        if !made.ok {
            return Err(missing(made.last_lines()));
        }
        let installed = self
            .run(
                &directory.join("bin/python"),
                ["-m", "pip", "install", "-q", "uv"],
                Path::new("/"),
                progress,
            )
            .await?;
        if installed.ok && self.keep(&directory, "uv")? && own.exists() {
            Ok(own)
        } else {
            Err(missing(installed.last_lines()))
        }
    }

    /// The ONNX Runtime library: the one configured, or of Decalog's own.
    pub async fn onnxruntime(
        &self,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<PathBuf, EngineError> {
        if let Some(library) = &self.config.onnxruntime {
            return Ok(library.clone());
        }
        let directory = self.files.data.onnxruntime();
        if let Some(library) = library_in(&directory) {
            return Ok(library);
        }
        let uv = self.uv(progress).await?;
        let _installing = self.installing.lock().await;
        progress("fetching ONNX Runtime");
        let partial = self.files.data.tools().join("onnxruntime.partial");
        let target = partial.as_os_str().to_os_string();
        let mut arguments: Vec<std::ffi::OsString> =
            ["pip", "install", "--no-deps", "--link-mode", "copy", "--target"]
                .map(Into::into)
                .into();
        arguments.extend([target, ONNXRUNTIME.into()]);
        arguments.extend(self.index());
        let output = self.run(&uv, arguments, Path::new("/"), progress).await?;
        let kept = output.ok && self.keep(&partial, "onnxruntime")?;
        library_in(&directory).filter(|_| kept).ok_or_else(|| {
            let problem = Problem::new(
                Code::NoOnnxruntime,
                "the ONNX Runtime library is missing and could not be fetched",
            );
            EngineError::User(
                problem
                    .details(output.last_lines())
                    .help("set ORT_DYLIB_PATH to libonnxruntime.so, or check the package index"),
            )
        })
    }

    /// Gives a tool that was installed its name, once all of it is on disk: what a kill or a power
    /// cut leaves is not taken for it.
    fn keep(&self, partial: &Path, name: &str) -> Result<bool, EngineError> {
        let place = self.files.data.tools().join(name);
        let kept = || {
            nix::unistd::syncfs(std::fs::File::open(partial)?)?;
            if place.exists() {
                std::fs::remove_dir_all(&place)?;
            }
            std::fs::rename(partial, &place)?;
            Ok(true)
        };
        kept().map_err(EngineError::io(format!("keeping {name}")))
    }

    /// Where interpreters are looked for.
    pub fn places(&self) -> Places {
        Places::of_user(&self.config.path)
    }

    /// Arguments that name the operator's package index.
    pub fn index(&self) -> Vec<std::ffi::OsString> {
        self.config.index_url.iter().flat_map(|url| ["--index-url".into(), url.into()]).collect()
    }
}

/// The program of this name on a PATH.
pub fn find(name: &str, path: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(|program| nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).is_ok())
}

fn library_in(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory.join("onnxruntime/capi")).ok()?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so"))
    });
    found.into_iter().max()
}

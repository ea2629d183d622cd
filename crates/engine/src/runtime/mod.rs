//! The runtimes: what each is recognised by, what it needs, how it starts, and what it is shown
//! with. To add one, write a file here, name it in [`of`], and give it a name in [`Runtime`].

mod command;
mod foreign;
pub mod native;
mod onnx;
mod python;

use std::collections::BTreeMap;
use std::path::Path;

use domain::launch::Temperature;
use domain::manifest::{ModelSection, Runtime, SchemaSection};
use domain::{Code, Problem, Schema};
use serde::{Deserialize, Serialize};
use supervisor::Files;

use crate::packages::pickled::Need;
use crate::replica::ReplicaSpec;
use crate::{EngineConfig, EngineError};

/// All that is particular about a runtime.
pub fn of(runtime: Runtime) -> &'static dyn RuntimeKind {
    match runtime {
        Runtime::Python => &python::Python,
        Runtime::Onnx => &onnx::Onnx,
        Runtime::Command => &command::Command,
    }
}

/// A runtime.
pub trait RuntimeKind: Sync {
    /// Whether a manifest means this runtime without naming it.
    fn is_meant(&self, _model: &ModelSection) -> bool {
        false
    }

    /// Whether the model is in a file of its own.
    fn has_file(&self) -> bool {
        true
    }

    /// The file of a directory that holds its model beyond doubt, whatever else is there.
    fn certain(&self, _directory: &Path) -> Option<String> {
        None
    }

    /// Whether a file of a directory is one of its models, by its name and how it begins.
    fn owns(&self, directory: &Path, file: &str) -> bool;

    /// What a directory must have, as in `it needs …`.
    fn needs(&self) -> &'static str;

    /// What the text of a model tells without being run; `None` if it tells nothing, or nobody here
    /// can read it.
    fn describe(
        &self,
        _: &Path,
        _: &str,
        _: &SchemaSection,
    ) -> Result<Option<Description>, Problem> {
        Ok(None)
    }

    /// Whether packages are installed for a tree.
    fn has_environment(&self, tree: &Path) -> bool;

    /// Whether it needs the library of ONNX Runtime.
    fn needs_onnxruntime(&self) -> bool {
        false
    }

    /// The warmest that replicas can be started, and why not warmer. All colder levels are there as
    /// well.
    fn warmest(&self) -> (Temperature, Option<&'static str>);

    /// Whether rows that are asked for together must be compared with rows that are asked for
    /// alone: the worker gets them at once, and nothing tells whether it keeps them apart.
    fn is_asked_in_company(&self) -> bool;

    /// Variables that are set for every process of it.
    fn surroundings(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Program and arguments of a process of its own, and the variables that only it needs.
    fn program(
        &self,
        start: &Start,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<Vec<String>, EngineError>;

    /// The files of a small model that deploys as it is, with what is in them.
    fn template(&self) -> &'static [(&'static str, &'static [u8])];
}

/// What a program is started with.
pub struct Start<'a> {
    /// What is to run.
    pub spec: &'a ReplicaSpec,
    /// Of the platform.
    pub config: &'a EngineConfig,
    /// Where things lie.
    pub files: &'a Files,
    /// The library of ONNX Runtime, if it is needed.
    pub onnxruntime: Option<&'a Path>,
}

/// What the text of a model tells without being run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Description {
    /// The columns, if the text tells them.
    pub schema: Option<Schema>,
    /// `row`, `batch`, `stream`, …
    pub form: String,
    /// Of the interpreter that looked.
    pub python: String,
    /// What could not be told, and why.
    pub notes: Vec<String>,
    /// Modules of libraries that it imports, or that its pickles name.
    pub needs: Vec<Need>,
}

fn bad(message: String, help: impl Into<String>) -> Problem {
    Problem::new(Code::BadModel, message).help(help)
}

/// Which runtime a directory is for, and the file that holds its model.
pub fn recognise(
    directory: &Path,
    model: &ModelSection,
) -> Result<(Runtime, Option<String>), Problem> {
    let said = model
        .runtime
        .or_else(|| Runtime::ALL.into_iter().find(|runtime| of(*runtime).is_meant(model)));
    if let Some(said) = said.filter(|said| !of(*said).has_file()) {
        return Ok((said, None));
    }
    if let Some(file) = &model.file {
        if !directory.join(file).is_file() {
            return Err(bad(
                format!("[model] file names {file}, which is not there"),
                "correct decalog.toml",
            ));
        }
        let by_name =
            || Runtime::ALL.into_iter().find(|runtime| of(*runtime).owns(directory, file));
        return Ok((said.or_else(by_name).unwrap_or(Runtime::Python), Some(file.clone())));
    }
    let asked = said.map_or(Runtime::ALL.to_vec(), |said| vec![said]);
    if let Some(found) =
        asked.iter().find_map(|runtime| Some((*runtime, of(*runtime).certain(directory)?)))
    {
        return Ok((found.0, Some(found.1)));
    }
    let names = names(directory);
    if let Some(problem) = foreign::program(directory, &names).filter(|_| said.is_none()) {
        return Err(problem);
    }
    let owned = |runtime: &Runtime| {
        names
            .iter()
            .filter(|name| of(*runtime).owns(directory, name))
            .map(|name| (*runtime, name))
            .collect::<Vec<_>>()
    };
    let found: Vec<(Runtime, &String)> = asked.iter().flat_map(owned).collect();
    match (found.as_slice(), said) {
        ([(runtime, file)], _) => Ok((*runtime, Some(file.to_string()))),
        ([], Some(said)) => {
            let text = format!(
                "runtime is {said}, but there is no model for it in {}",
                directory.display()
            );
            Err(bad(text, format!("it needs {}", of(said).needs())))
        }
        ([], None) => {
            if let Some(problem) = foreign::file(directory, &names) {
                return Err(problem);
            }
            let mut needs: Vec<&str> =
                Runtime::ALL.iter().map(|runtime| of(*runtime).needs()).collect();
            let last = needs.pop().unwrap_or_default();
            let help =
                format!("it needs {}, or {last}; decalog new NAME shows how", needs.join(", "));
            Err(bad(format!("there is no model in {}", directory.display()), help))
        }
        (many, _) => {
            let many: Vec<&str> = many.iter().map(|(_, file)| file.as_str()).collect();
            let text = format!("there are several models: {}", many.join(", "));
            Err(bad(text, "say which one with [model] file in decalog.toml"))
        }
    }
}

/// The names in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// A path in an argument or a variable.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A port of the loopback interface that nobody listens on at this moment.
fn free_port() -> Result<u16, EngineError> {
    let listener =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(EngineError::io("finding a free port"))
}

#[cfg(test)]
mod tests;

//! Python: functions or a class in `model.py`, or a model that scikit-learn saved. Its processes
//! are forked from one another.

use std::process::Stdio;

use super::*;
use crate::interpreter::Places;
use crate::{resolving, shim};

/// Runs the worker of `sdk/python` in an environment of the version's own packages.
pub struct Python;

/// Keeps allocators and telemetry of common wheels (pyarrow, polars, onnxruntime) from starting a
/// thread with their import.
const WITHOUT_THREADS: [(&str, &str); 3] = [
    ("JE_ARROW_MALLOC_CONF", "background_thread:false"),
    ("_RJEM_MALLOC_CONF", "background_thread:false"),
    ("ORT_DISABLE_TELEMETRY", "1"),
];

const TEMPLATE: &[(&str, &[u8])] = &[
    (
        "model.py",
        b"# The hints are the schema: `decalog check` prints it.\n\n\ndef predict(name: str, times: int = 1) -> str:\n    return \" \".join([f\"Hello, {name}!\"] * times)\n",
    ),
    ("tests/world.json", b"{\"input\": {\"name\": \"world\"}, \"expected\": {\"output\": \"Hello, world!\"}}\n"),
];

impl RuntimeKind for Python {
    fn certain(&self, directory: &Path) -> Option<String> {
        let mlflow =
            || directory.join(native::MLFLOW_FILE).is_file().then(|| native::MLFLOW_FILE.into());
        native::code_file(directory).or_else(mlflow)
    }

    fn owns(&self, directory: &Path, file: &str) -> bool {
        resolving::is_pickle(file) || native::is_native(&directory.join(file))
    }

    fn needs(&self) -> &'static str {
        "model.py with a function predict, a .joblib, .skops, .cbm, .ubj file or another that a library saved"
    }

    fn describe(
        &self,
        tree: &Path,
        file: &str,
        schema: &SchemaSection,
    ) -> Result<Option<Description>, Problem> {
        // The worker that would serve the model also tells what its text says. Without a place for
        // it, the server does.
        let Ok(place) = tempfile::tempdir() else { return Ok(None) };
        let Ok(program) = shim::put(place.path()) else { return Ok(None) };
        // Where none here fits, that of the server may.
        let places = Places::of_user(&std::env::var("PATH").unwrap_or_default());
        let Ok(python) = places.choose(tree) else { return Ok(None) };
        let mut command = std::process::Command::new(python.path);
        command.args(["-I", "-B"]).arg(program).arg("--describe").arg(tree).args(["--file", file]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        if *schema != Default::default() {
            command.env("DECALOG_SCHEMA", serde_json::to_string(schema).unwrap_or_default());
        }
        let Ok(output) = command.output() else { return Ok(None) };
        if output.status.success() {
            return Ok(serde_json::from_slice(&output.stdout).ok());
        }
        // Without a clear word from the describer, the server finds out.
        serde_json::from_slice::<Problem>(&output.stdout).map_or(Ok(None), Err)
    }

    fn has_environment(&self, _: &Path) -> bool {
        true
    }

    fn warmest(&self) -> (Temperature, Option<&'static str>) {
        (Temperature::Warm, None)
    }

    /// Its worker calls a function that takes one row once for each.
    fn is_asked_in_company(&self) -> bool {
        false
    }

    fn surroundings(&self) -> &'static [(&'static str, &'static str)] {
        &WITHOUT_THREADS
    }

    fn program(
        &self,
        start: &Start,
        _: &mut BTreeMap<String, String>,
    ) -> Result<Vec<String>, EngineError> {
        let environment = start.spec.lock.map(|lock| start.files.data.environment(&lock));
        let environment = environment.ok_or_else(|| {
            EngineError::Supervisor("a Python version without an environment".into())
        })?;
        let worker = shim::put(&start.files.data.shim())?;
        Ok(vec![text(&environment.join("bin/python")), "-u".into(), text(&worker)])
    }

    fn template(&self) -> &'static [(&'static str, &'static [u8])] {
        TEMPLATE
    }
}

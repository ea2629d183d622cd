//! The ONNX runtime as a worker: loads a graph with ONNX Runtime's shared library and serves it.
//! It reads no environment: all that it needs is in [`OnnxConfig`].
//!
//! What a graph becomes:
//! - An input or output is a column of the same name and datatype. Its first dimension is the rows
//!   if it is free in all inputs; the others are the shape of one row. A row of the shape `[1]` is a
//!   scalar, as nobody writes `[42]` for an age.
//! - If the first dimension of all inputs and outputs is fixed at 1, rows are run one after the
//!   other. Any other graph (inputs without a dimension, a fixed batch of 8, first dimensions with
//!   different names) takes one whole request at a time (`schema.batches` is false), in exactly the
//!   shapes that it declares.
//! - A sequence of maps, as converted scikit-learn classifiers give their probabilities (ZipMap),
//!   becomes a `json` column with one object for each row, such as
//!   `{"setosa": 0.97, "virginica": 0.03}`. Converting with `options={"zipmap": False}` gives a plain
//!   FP32 column instead, which is faster.
//! - Other outputs that are no tensors are left out, with a line in the log; other inputs are
//!   refused.

use std::path::{Path, PathBuf};

use domain::{Code, Problem};
use worker::server::{Server, ServerConfig, Termination};

mod failure;
mod graph;
mod input;
mod output;
mod signature;

pub use graph::{Graph, Settings, environment};

/// What `decalog worker onnx` is told.
#[derive(Clone, Debug)]
pub struct OnnxConfig {
    /// The Unix socket to serve.
    pub socket: PathBuf,
    /// The model's name.
    pub model: String,
    /// The graph, relative to the working directory.
    pub file: PathBuf,
    /// Threads within one run; 0 leaves it to ONNX Runtime.
    pub threads: usize,
    /// Runs at the same time, each with a session of its own.
    pub concurrency: u32,
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// Where the text for the user goes if the graph does not load.
    pub failure: PathBuf,
    /// The `[schema]` section of the manifest as JSON, if it has columns: they replace those of the
    /// same name.
    pub schema: Option<String>,
}

/// Loads the graph and serves it until told to end. Gives the exit code. Must be called before any
/// other thread exists.
pub fn run(config: OnnxConfig) -> i32 {
    match serve(&config) {
        Ok(()) => 0,
        Err(problem) => {
            eprintln!("{problem}");
            if let Err(error) = std::fs::write(&config.failure, problem.to_string()) {
                eprintln!("{} cannot be written: {error}", config.failure.display());
            }
            1
        }
    }
}

fn serve(config: &OnnxConfig) -> Result<(), Problem> {
    let system = |error: std::io::Error| {
        Problem::new(Code::LoadFailed, format!("the worker cannot run: {error}"))
    };
    let termination = Termination::install().map_err(system)?;
    let environment = environment(&config.library)?;
    let settings = Settings { threads: config.threads, concurrency: config.concurrency };
    let graph =
        Graph::load(&environment, Path::new(&config.file), settings, config.schema.as_deref())?;
    let server_config = ServerConfig {
        socket: config.socket.clone(),
        model: config.model.clone(),
        platform: "onnx_onnxruntime".into(),
        schema: graph.schema().clone(),
        concurrency: config.concurrency,
        prefetch: true,
    };
    termination.loaded();
    let server = Server::start(server_config, move |slot, request| graph.infer(slot, request))
        .map_err(system)?;
    server.run_until(&termination);
    Ok(())
}

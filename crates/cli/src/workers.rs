//! The processes that this binary can be beside the platform: runtimes, which read their settings from variables
//! what to do.

use std::path::PathBuf;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// `decalog worker onnx`
pub fn onnx() -> i32 {
    onnx::run(onnx::OnnxConfig {
        socket: PathBuf::from(variable("DECALOG_SOCKET")),
        model: variable("DECALOG_MODEL"),
        file: PathBuf::from(variable("DECALOG_FILE")),
        threads: variable("DECALOG_THREADS").parse().unwrap_or(1),
        concurrency: variable("DECALOG_CONCURRENCY").parse().unwrap_or(1),
        library: PathBuf::from(variable("ORT_DYLIB_PATH")),
        failure: PathBuf::from(variable("DECALOG_FAILURE")),
        schema: std::env::var("DECALOG_SCHEMA").ok(),
    })
}

/// `decalog worker bridge -- PROGRAM …`
pub fn bridge(argv: Vec<String>) -> i32 {
    worker::bridge::run(worker::bridge::BridgeConfig {
        argv,
        socket: PathBuf::from(variable("DECALOG_SOCKET")),
        port: variable("PORT").parse().unwrap_or(0),
        failure: std::env::var("DECALOG_FAILURE").ok().map(PathBuf::from),
    })
}

//! The worker as a process: it serves, ends when told, and explains why it does not load.

mod support;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use domain::route::Address;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use onnx::OnnxConfig;
use serde_json::json;
use support::*;
use worker::{Caller, ProbeAs, probe};

const WAIT: Duration = Duration::from_secs(20);

/// Not a test: the process that the tests start.
#[test]
#[ignore = "started by the other tests"]
fn worker_process() {
    let variable = |name: &str| std::env::var(name).unwrap();
    std::process::exit(onnx::run(OnnxConfig {
        socket: variable("DECALOG_SOCKET").into(),
        model: "m".into(),
        file: variable("DECALOG_FILE").into(),
        threads: 1,
        concurrency: 2,
        library: variable("LIBRARY").into(),
        failure: variable("DECALOG_FAILURE").into(),
        schema: None,
    }));
}

struct Worker {
    process: Child,
    directory: tempfile::TempDir,
}

impl Worker {
    fn start(file: &Path, library: &Path) -> Worker {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "worker_process", "--ignored", "--nocapture"])
            .env("DECALOG_SOCKET", directory.path().join("w.sock"))
            .env("DECALOG_FAILURE", directory.path().join("failure"))
            .env("DECALOG_FILE", file)
            .env("LIBRARY", library)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // The harness has threads before the worker runs, and they would take the signal.
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let mut signals = SigSet::empty();
                signals.add(Signal::SIGTERM);
                Ok(signals.thread_block()?)
            });
        }
        Worker { process: command.spawn().unwrap(), directory }
    }

    fn address(&self) -> Address {
        Address::unix(&self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("w.sock")
    }

    fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < WAIT, "the worker does not end");
            std::thread::yield_now();
        }
    }

    fn failure(&mut self) -> String {
        assert_eq!(self.ended().code(), Some(1));
        std::fs::read_to_string(self.directory.path().join("failure")).unwrap()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn serves_until_told_to_end() {
    let mut worker = Worker::start(&file("columns.onnx"), &library());
    let start = Instant::now();
    let info = loop {
        match probe(&worker.address(), "m", &ProbeAs::OpenInference).await {
            Ok(info) => break info,
            Err(error) => assert!(start.elapsed() < WAIT, "{error}"),
        }
    };
    assert!(info.prefetch);
    assert_eq!(info.concurrency, Some(2));
    let mut caller = Caller::new(worker.address(), "m", info.protocol, info.schema.unwrap());
    let rows = [json!({"city": "Utrecht", "age": 20.0}), json!({"city": "Delft", "age": 30.0})];
    let answer = caller.predict(&rows, WAIT).await.unwrap();
    assert_eq!(answer[0]["label"], 0);
    assert!((answer[1]["probabilities"][0].as_f64().unwrap() - 0.6103591).abs() < 1e-5);
    // The caller's connection is idle and open: it must not keep the worker.
    kill(Pid::from_raw(worker.process.id() as i32), Signal::SIGTERM).unwrap();
    let status = worker.ended();
    assert!(status.success(), "{status}");
    assert!(!worker.socket().exists());
}

#[test]
fn explains_what_is_missing() {
    let mut no_file = Worker::start(Path::new("/nowhere/model.onnx"), &library());
    assert_eq!(
        no_file.failure(),
        "there is no file /nowhere/model.onnx\nhelp: there is no *.onnx file next to it"
    );
    let mut no_library =
        Worker::start(&file("affine.onnx"), Path::new("/nowhere/libonnxruntime.so"));
    let text = no_library.failure();
    assert!(
        text.starts_with("ONNX Runtime is not at /nowhere/libonnxruntime.so")
            && text.contains("decalog doctor"),
        "{text}"
    );
    let mut no_elf = Worker::start(&file("affine.onnx"), &file("make.py"));
    let text = no_elf.failure();
    assert!(
        text.starts_with("ONNX Runtime cannot be loaded from") && text.contains("ORT_DYLIB_PATH"),
        "{text}"
    );
}

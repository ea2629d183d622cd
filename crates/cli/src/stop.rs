//! `decalog stop`: ends the platform that runs on this machine, as SIGTERM does, and waits until it
//! has ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::{Code, Problem};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::Failure;
use crate::client::Client;
use crate::following::spinner;
use crate::terminal::print_json;
use crate::upgrade::{running_at, running_on};

/// How long a platform may take to end: requests in flight have half of it, in milliseconds.
const STOP_MS_MAX: u64 = 60_000;
/// How often it is looked whether it has ended, in milliseconds.
const LOOK_MS: u64 = 20;

/// Runs the verb.
pub fn run(client: &Client, data: Option<PathBuf>, as_json: bool) -> Result<(), Failure> {
    let (data, running) = match data {
        Some(data) => running_on(data)?,
        None => running_at(client)?,
    };
    let begin = Instant::now();
    let pid = Pid::from_raw(running.pid as i32);
    match kill(pid, Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => {
            let text = format!("process {pid} cannot be told to stop: {error}");
            return Err(Problem::new(Code::Failed, text)
                .help("run decalog stop as the user who started it")
                .into());
        }
    }
    let waiting = spinner("stop      requests in flight finish first");
    while runs(running.pid) {
        if begin.elapsed() > Duration::from_millis(STOP_MS_MAX) {
            let text = format!("process {pid} still runs after {} s", STOP_MS_MAX / 1_000);
            return Err(Problem::new(Code::Failed, text)
                .help(format!("to end it at once, with requests lost: kill -9 {pid}"))
                .into());
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
    waiting.finish_and_clear();
    let elapsed_ms = begin.elapsed().as_millis() as u64;
    if as_json {
        print_json(&json!({ "stopped": running, "elapsed_ms": elapsed_ms }));
    } else {
        eprintln!(
            "decalog {} (process {pid}) at {} has ended, after {elapsed_ms} ms; its data stay in {}",
            running.version,
            running.url,
            data.display()
        );
    }
    Ok(())
}

/// Whether a process is there that has not ended yet.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    // What follows the name, in brackets, is its state; one that has ended waits to be seen by its
    // parent.
    let state =
        stat.ok().and_then(|stat| stat.rsplit(')').next().map(|rest| rest.trim().to_string()));
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

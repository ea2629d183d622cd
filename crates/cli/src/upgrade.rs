//! `decalog upgrade`: starts another binary on the data directory of a running `up`, which hands
//! over to it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use domain::{Code, DataDirectory, Problem};

use crate::client::Client;
use crate::data::data_directory;
use crate::handover::{self, Description};
use crate::{Failure, terminal};

/// How long the new process has, in milliseconds.
const UPGRADE_MS_MAX: u64 = 60_000;
/// Lines of its log that tell why it failed.
const LAST_LINES: usize = 10;

fn problem(text: String) -> Problem {
    Problem::new(Code::Upgrade, text)
}

/// Runs the verb.
pub fn run(
    client: &Client,
    binary: Option<PathBuf>,
    data: Option<PathBuf>,
    as_json: bool,
) -> Result<(), Failure> {
    let (data, old) = match data {
        Some(data) => running_on(data)?,
        None => running_at(client)?,
    };
    let binary = match binary {
        Some(binary) => std::path::absolute(binary),
        None => std::env::current_exe(),
    };
    let binary = binary.map_err(|error| problem(format!("the binary cannot be found: {error}")))?;
    check_program(&binary)?;
    let log = data.up_log();
    let begin = Instant::now();
    let mut child = start(&binary, &old, &log)?;
    let new = wait(&mut child, &data, &old, &log, begin)?;
    let elapsed_ms = begin.elapsed().as_millis() as u64;
    if as_json {
        terminal::print_json(
            &serde_json::json!({ "old": old, "new": new, "elapsed_ms": elapsed_ms }),
        );
    } else {
        eprintln!(
            "decalog {} (process {}) → {} (process {}) at {}, after {elapsed_ms} ms",
            old.version, old.pid, new.version, new.pid, new.url
        );
        eprintln!(
            "it is no child of a terminal any more: what it prints goes to {}",
            log.display()
        );
    }
    Ok(())
}

/// The process that serves a data directory.
pub fn running_on(data: PathBuf) -> Result<(DataDirectory, Description), Failure> {
    let data = data_directory(Some(data))?;
    // To ask makes what it asks by, but not where nothing ever ran.
    let is_there = data.root().is_dir();
    let old = if is_there { handover::describe(&data)? } else { None };
    let old = old.ok_or_else(|| {
        problem(format!("no decalog runs on {}", data.display()))
            .help("start one with decalog up; --data names its data directory")
    })?;
    Ok((data, old))
}

/// The process that serves an address, if it is one of this machine.
pub fn running_at(client: &Client) -> Result<(DataDirectory, Description), Failure> {
    let data = client.data().map_err(|failure| match failure {
        Failure::Unreachable(problem) => Failure::Unreachable(problem.help(
            "start it with decalog up, name another with --url, or name its data directory with --data",
        )),
        failure => failure,
    })?;
    let url = client.url();
    let Some(data) = data else {
        let text = format!("the server at {url} is not on this machine, or not yours");
        return Err(problem(text)
            .help("run this on its machine, as its user; --data names its data directory")
            .into());
    };
    running_on(data.root().to_path_buf())
}

/// Refuses what cannot be started, before anything is made for it.
fn check_program(binary: &Path) -> Result<(), Problem> {
    let metadata = std::fs::metadata(binary)
        .map_err(|error| problem(format!("{} cannot be started: {error}", binary.display())))?;
    let is_program = metadata.is_file() && metadata.permissions().mode() & 0o111 != 0;
    match is_program {
        true => Ok(()),
        false => Err(problem(format!("{} is no program", binary.display()))
            .help(format!("chmod +x {}, if it is one", binary.display()))),
    }
}

/// Starts the new binary with the words and the variables of the running process.
fn start(binary: &Path, old: &Description, log: &Path) -> Result<Child, Problem> {
    let of_old = |name: &str| {
        std::fs::read(format!("/proc/{}/{name}", old.pid))
            .map_err(|error| problem(format!("process {} cannot be looked at: {error}", old.pid)))
    };
    let strings = |bytes: Vec<u8>| -> Vec<String> {
        bytes
            .split(|byte| *byte == 0)
            .filter(|part| !part.is_empty())
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect()
    };
    let mut words = strings(of_old("cmdline")?).split_off(1);
    if !words.iter().any(|word| word == "--takeover") {
        words.push("--takeover".into());
    }
    let variables = strings(of_old("environ")?).into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.to_string(), value.to_string()))
    });
    let directory =
        std::fs::read_link(format!("/proc/{}/cwd", old.pid)).unwrap_or_else(|_| "/".into());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    let file =
        file.map_err(|error| problem(format!("{} cannot be written: {error}", log.display())))?;
    let errors = file.try_clone().map_err(|error| problem(error.to_string()))?;
    let mut command = Command::new(binary);
    command
        .args(words)
        .env_clear()
        .envs(variables)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors);
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            nix::unistd::setsid()?;
            Ok(())
        });
    }
    command
        .spawn()
        .map_err(|error| problem(format!("{} cannot be started: {error}", binary.display())))
}

/// Waits until the new process serves; if it fails, the old one has gone on.
fn wait(
    child: &mut Child,
    data: &DataDirectory,
    old: &Description,
    log: &Path,
    begin: Instant,
) -> Result<Description, Problem> {
    let kept = |text: String| {
        let written = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<String> = written.lines().map(String::from).collect();
        problem(text).details(lines[lines.len().saturating_sub(LAST_LINES)..].iter().cloned()).help(
            format!(
                "process {} keeps serving; all of the new one's output: {}",
                old.pid,
                log.display()
            ),
        )
    };
    while begin.elapsed() < Duration::from_millis(UPGRADE_MS_MAX) {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(kept(format!("the new process ended: {status}")));
        }
        if let Ok(Some(new)) = handover::describe(data)
            && new.pid == child.id()
        {
            return Ok(new);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    Err(kept(format!("the new process did not serve within {} s", UPGRADE_MS_MAX / 1_000)))
}

//! The control group of one process and its children.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::launch::Limits;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Controller, Version, settle};

/// The period within which processor time is given out, in microseconds: short, so that a replica
/// that has used up its part does not stand still for long.
const PERIOD_US: u64 = 20_000;
/// How long killed processes may take to leave their group, in milliseconds.
const EMPTY_MS_MAX: u64 = 2_000;
const MIB: u64 = 1 << 20;

/// A group, in one directory for each controller (version 1) or in one for all.
#[derive(Debug)]
pub struct Group {
    limits: Limits,
    places: Vec<(Controller, Version, PathBuf)>,
}

/// How a process that used too much memory is spoken of.
pub fn out_of_memory(used_mb: f64, limit_mb: u64) -> String {
    format!("out of memory: it used {used_mb:.0} of {limit_mb} MB ([resources] memory_mb_max)")
}

impl Group {
    /// Without any controller.
    pub fn new(limits: Limits) -> Group {
        Group { limits, places: vec![] }
    }

    /// Whether nothing is enforced.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Makes the directory of a controller and sets its limit; leaves it out if that fails.
    pub fn add(&mut self, controller: Controller, version: Version, directory: PathBuf) {
        let made = directory.is_dir() || fs::create_dir(&directory).is_ok();
        if made && set(controller, version, &directory, &self.limits).is_ok() {
            self.places.push((controller, version, directory));
        } else if made && !self.places.iter().any(|(_, _, place)| *place == directory) {
            let _ = fs::remove_dir(directory);
        }
    }

    /// Whether this group sees to a limit.
    pub fn enforces(&self, controller: Controller) -> bool {
        self.places.iter().any(|(place, _, _)| *place == controller)
    }

    fn directories(&self) -> Vec<&Path> {
        let mut directories: Vec<&Path> =
            self.places.iter().map(|(_, _, directory)| directory.as_path()).collect();
        directories.dedup();
        directories
    }

    /// Files into which a process writes `0` to enter.
    pub fn doors(&self) -> Vec<File> {
        let open = |directory: &Path| {
            File::options().write(true).open(directory.join("cgroup.procs")).ok()
        };
        self.directories().into_iter().filter_map(open).collect()
    }

    /// Moves a process in, with those that it has started meanwhile.
    pub fn attach(&self, leader: u32) {
        for directory in self.directories() {
            let door = directory.join("cgroup.procs");
            let _ = fs::write(&door, leader.to_string());
            let inside = members(directory);
            let outside = crate::process::table()
                .into_iter()
                .filter(|line| line.group == leader && !inside.contains(&line.pid));
            outside.for_each(|line| drop(fs::write(&door, line.pid.to_string())));
        }
    }

    /// Ends all that are in it but members of these process groups.
    pub fn kill(&self, spared: &[u32]) {
        self.directories().into_iter().for_each(|directory| kill_all(directory, spared));
    }

    /// What is said if the kernel ended a process of the group for its memory.
    pub fn out_of_memory(&self) -> Option<String> {
        let limit = self.limits.memory_mb_max?;
        let (_, version, directory) =
            self.places.iter().find(|(controller, _, _)| *controller == Controller::Memory)?;
        let (events, peaks) = match version {
            Version::V1 => ("memory.oom_control", ["memory.max_usage_in_bytes"].as_slice()),
            Version::V2 => ("memory.events", ["memory.peak", "memory.current"].as_slice()),
        };
        let events = fs::read_to_string(directory.join(events)).ok()?;
        let killed = events
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok());
        if killed.unwrap_or(0) == 0 {
            return None;
        }
        let peak = peaks.iter().find_map(|name| {
            fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok()
        });
        Some(out_of_memory(peak.unwrap_or(limit * MIB) as f64 / MIB as f64, limit))
    }

    /// Removes it, with all that are in it but members of these process groups. Blocks until they
    /// are gone.
    pub fn remove(&self, spared: &[u32]) {
        self.directories().into_iter().for_each(|directory| remove(directory, spared));
    }
}

/// Sets the limit of one controller.
fn set(
    controller: Controller,
    version: Version,
    directory: &Path,
    limits: &Limits,
) -> std::io::Result<()> {
    let write = |name: &str, value: String| fs::write(directory.join(name), value);
    match (controller, version) {
        (Controller::Memory, version) => {
            let bytes = (limits.memory_mb_max.unwrap_or(0) * MIB).to_string();
            if version == Version::V1 {
                write("memory.limit_in_bytes", bytes.clone())?;
                // Not there without accounting of swap.
                let _ = write("memory.memsw.limit_in_bytes", bytes);
            } else {
                write("memory.max", bytes)?;
                let _ = write("memory.swap.max", "0".into());
                let _ = write("memory.oom.group", "1".into());
            }
            Ok(())
        }
        (Controller::Cpu, version) => {
            let quota_us =
                (limits.cpu_max.unwrap_or(1.0) * PERIOD_US as f64).round().max(1_000.0) as u64;
            if version == Version::V1 {
                write("cpu.cfs_period_us", PERIOD_US.to_string())?;
                write("cpu.cfs_quota_us", quota_us.to_string())
            } else {
                write("cpu.max", format!("{quota_us} {PERIOD_US}"))
            }
        }
        (Controller::Processes, _) => {
            write("pids.max", limits.processes_max.unwrap_or(u32::MAX).to_string())
        }
    }
}

fn members(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn kill_all(directory: &Path, spared: &[u32]) {
    let own = std::process::id();
    let is_spared = |pid: u32| {
        pid == own
            || (!spared.is_empty()
                && crate::process::line(pid).is_some_and(|line| spared.contains(&line.group)))
    };
    for pid in members(directory).into_iter().filter(|pid| !is_spared(*pid)) {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
}

fn remove(directory: &Path, spared: &[u32]) {
    let begin = Instant::now();
    while fs::remove_dir(directory).is_err() && directory.is_dir() {
        if begin.elapsed() > Duration::from_millis(EMPTY_MS_MAX) {
            eprintln!("supervise: the group {} cannot be removed", directory.display());
            return;
        }
        kill_all(directory, spared);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ends and removes the groups below one, as far as this process is not in them.
pub fn remove_left_overs(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    let groups =
        entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups
        .filter(|entry| entry.file_name() != settle::OWN)
        .for_each(|entry| remove(&entry.path(), &[]));
}

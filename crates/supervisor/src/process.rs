//! What the kernel says of processes and of process groups.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

const MIB: f64 = (1 << 20) as f64;

/// A line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The process.
    pub pid: u32,
    /// Its parent.
    pub parent: u32,
    /// Its group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Threads of the process.
    pub threads: u32,
    /// Pages in memory.
    pub resident_pages: u64,
    /// When it was started, in the kernel's ticks since the machine was: with the number it names
    /// one process only.
    pub started_ticks: u64,
}

/// The processes of this moment; those that end meanwhile are left out.
pub fn table() -> Vec<Line> {
    let Ok(entries) = fs::read_dir("/proc") else { return vec![] };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(line).collect()
}

/// One process.
pub fn line(pid: u32) -> Option<Line> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it are state, parent, group,
    // session, …
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    Some(Line {
        pid,
        parent: field(1)? as u32,
        group: field(2)? as u32,
        session: field(3)? as u32,
        threads: field(17)? as u32,
        resident_pages: field(21)?,
        started_ticks: field(19)?,
    })
}

/// Whether a process has a file, pipe or socket open, by its number in the kernel; also true of one
/// that has ended, which has nothing open any more.
pub fn has_open(pid: u32, inode: u64) -> bool {
    let is_it = |entry: &fs::DirEntry| fs::metadata(entry.path()).is_ok_and(|of| of.ino() == inode);
    let look = || {
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let entries: Vec<fs::DirEntry> = entries.flatten().collect();
        entries.is_empty() || entries.iter().any(is_it)
    };
    // It may be moved to another number, where it was not when that was looked at.
    look() || look()
}

/// Memory of all processes of each group, in MiB: a page that several processes share counts in
/// part at each (PSS), so that the sum over all processes is what they use together. Groups without
/// processes are left out. The kernel counts all pages of each process for it: milliseconds where
/// there are many.
pub fn memory_mb_of_groups(groups: &[u32]) -> HashMap<u32, f64> {
    let mut memory = HashMap::new();
    let groups: HashSet<u32> = groups.iter().copied().filter(|group| *group > 0).collect();
    if groups.is_empty() {
        return memory;
    }
    for line in table().into_iter().filter(|line| groups.contains(&line.group)) {
        *memory.entry(line.group).or_insert(0.0) += proportional_mb(&line);
    }
    memory
}

/// The proportional set size of a process; its resident memory where the kernel does not tell.
fn proportional_mb(line: &Line) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", line.pid)).unwrap_or_default();
    let kilobytes = rollup.lines().find_map(|line| {
        line.strip_prefix("Pss:")?.split_ascii_whitespace().next()?.parse::<f64>().ok()
    });
    kilobytes.map_or_else(
        || line.resident_pages as f64 * page_bytes() / MIB,
        |kilobytes| kilobytes / 1_024.0,
    )
}

fn page_bytes() -> f64 {
    // SAFETY: sysconf only reads.
    let bytes = unsafe { nix::libc::sysconf(nix::libc::_SC_PAGESIZE) };
    if bytes > 0 { bytes as f64 } else { 4_096.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_moved_from_number_to_number_is_open_all_the_time() {
        use std::os::fd::AsRawFd;
        let (reader, writer) = std::io::pipe().unwrap();
        let inode = nix::sys::stat::fstat(&writer).unwrap().st_ino;
        let own = std::process::id();
        assert!(has_open(own, inode) && !has_open(own, u64::MAX));
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let begin = std::time::Instant::now();
        while !has_open(ended.id(), inode) {
            assert!(begin.elapsed() < std::time::Duration::from_secs(60));
            std::thread::yield_now();
        }
        ended.wait().unwrap();
        drop((reader, writer));
        // To a lower number and away from the higher, as a forked process does with its log.
        for _ in 0..2_000 {
            let low = std::fs::File::open("/dev/null").unwrap();
            let (_reader, high) = std::io::pipe().unwrap();
            let inode = nix::sys::stat::fstat(&high).unwrap().st_ino;
            std::thread::scope(|scope| {
                let seen = scope.spawn(move || has_open(own, inode));
                // SAFETY: both numbers are this test's own.
                let moved = unsafe { nix::libc::dup2(high.as_raw_fd(), low.as_raw_fd()) };
                assert!(moved >= 0);
                drop(high);
                assert!(seen.join().unwrap());
            });
        }
    }

    #[test]
    fn this_process_has_a_line_and_memory() {
        let own = line(std::process::id()).unwrap();
        assert_eq!(own.group, nix::unistd::getpgrp().as_raw() as u32);
        assert_eq!(own.parent, nix::unistd::getppid().as_raw() as u32);
        assert!(own.threads >= 1 && table().iter().any(|line| line.pid == own.pid));
        let memory = memory_mb_of_groups(&[own.group]);
        assert!(memory.len() == 1 && memory[&own.group] > 0.5, "{memory:?}");
        assert!(memory_mb_of_groups(&[u32::MAX]).is_empty());
    }
}

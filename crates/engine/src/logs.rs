//! What processes of versions wrote, as people read it: the lines of all of them, in the order in
//! which they came.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use domain::VersionNumber;
use domain::launch::ProcessId;

/// How much of logs is looked at for their last lines, in bytes; of the newest first.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// A line that a process wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When, in milliseconds since 1970; of a log without times, when that began.
    pub at_ms: u64,
    /// Of which version.
    pub version: VersionNumber,
    /// Which process: a replica, or a parent that replicas are forked from.
    pub process: ProcessId,
    /// Without its end.
    pub text: String,
}

/// The last lines of all logs in some directories.
pub fn last_lines(logs: &[(VersionNumber, PathBuf)], lines_max: usize) -> Vec<LogLine> {
    let files = logs.iter().flat_map(|(version, directory)| {
        newest_last(directory).into_iter().map(move |path| (changed_ms(&path), *version, path))
    });
    let mut files: Vec<(u64, VersionNumber, PathBuf)> = files.collect();
    files.sort_by_key(|(changed_ms, ..)| std::cmp::Reverse(*changed_ms));
    let (mut lines, mut left) = (vec![], LOG_BYTES_MAX);
    for (_, version, path) in files {
        let Ok((offset, bytes)) = end_of(&path, left) else { continue };
        left = left.saturating_sub(bytes.len() as u64);
        lines.extend(lines_of(&path, version, offset, &bytes));
        if left == 0 {
            break;
        }
    }
    // Those of one process stay in their order.
    lines.sort_by_key(|line| line.at_ms);
    lines.split_off(lines.len().saturating_sub(lines_max))
}

/// The `*.log` files of a directory by the time of their last line.
pub(crate) fn newest_last(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let logs = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let mut dated: Vec<_> = logs
        .map(|path| (path.metadata().and_then(|metadata| metadata.modified()).ok(), path))
        .collect();
    dated.sort();
    dated.into_iter().map(|(_, path)| path).collect()
}

fn changed_ms(path: &Path) -> u64 {
    milliseconds(path.metadata().and_then(|metadata| metadata.modified()).ok())
}

fn milliseconds(at: Option<SystemTime>) -> u64 {
    let since = at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The end of a file, and where in it that begins.
fn end_of(path: &Path, bytes_max: u64) -> std::io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(path)?;
    let offset = file.metadata()?.len().saturating_sub(bytes_max);
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = vec![];
    // A model that writes meanwhile makes it no longer.
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok((offset, bytes))
}

fn lines_of(path: &Path, version: VersionNumber, begin: u64, bytes: &[u8]) -> Vec<LogLine> {
    let times = times(path);
    let process = ProcessId(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    // Of a log without times all lines are of its begin, which does not change.
    let made_ms = milliseconds(path.metadata().and_then(|metadata| metadata.created()).ok());
    let mut offset = begin;
    let mut lines: Vec<LogLine> = vec![];
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        // The time of its last piece at its begin, which is the first of the line.
        let next = times.partition_point(|(at, _)| *at <= offset);
        let at_ms = next.checked_sub(1).map_or(made_ms, |last| times[last].1);
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        // The clock of the machine may have been set back.
        let at_ms = lines.last().map_or(at_ms, |before| at_ms.max(before.at_ms));
        lines.push(LogLine { at_ms, version, process: process.clone(), text: text.into_owned() });
        offset += line.len() as u64;
    }
    lines
}

/// When the pieces of a log came, by where they begin; none if that was not kept.
fn times(log: &Path) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(log.with_extension("times")).unwrap_or_default();
    let read = |line: &str| {
        let (offset, ms) = line.split_once(' ')?;
        Some((offset.parse().ok()?, ms.parse().ok()?))
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_processes_are_in_the_order_in_which_they_came() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("v1"), directory.path().join("v2"));
        for made in [&one, &two] {
            std::fs::create_dir(made).unwrap();
        }
        std::fs::write(one.join("r1.log"), "loads\nasked 1\n  more\nlast").unwrap();
        std::fs::write(one.join("r1.times"), "0 1000\n6 3000\n21 9000\n").unwrap();
        std::fs::write(two.join("p2.log"), "loads\nready\n").unwrap();
        std::fs::write(two.join("p2.times"), "0 2000\nnonsense\n6 4000\n").unwrap();
        let logs = [(VersionNumber(1), one), (VersionNumber(2), two)];
        let shown = |lines_max| -> Vec<String> {
            let lines = last_lines(&logs, lines_max).into_iter();
            lines
                .map(|it| format!("{} {} {} {}", it.at_ms, it.version, it.process.0, it.text))
                .collect()
        };
        let all = [
            "1000 v1 r1 loads",
            "2000 v2 p2 loads",
            "3000 v1 r1 asked 1",
            "3000 v1 r1   more",
            "4000 v2 p2 ready",
            "9000 v1 r1 last",
        ];
        assert_eq!(shown(100), all);
        assert_eq!(shown(2), all[4..]);
    }

    #[test]
    fn of_a_long_log_only_the_end_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("r1.log");
        std::fs::write(&path, "x".repeat(LOG_BYTES_MAX as usize) + "\nthe last line\n").unwrap();
        let lines = last_lines(&[(VersionNumber(1), directory.path().into())], 100);
        assert_eq!(lines.last().unwrap().text, "the last line");
        let bytes: usize = lines.iter().map(|line| line.text.len() + 1).sum();
        assert_eq!(bytes as u64, LOG_BYTES_MAX);
    }
}

//! The process, under the names that all programs with metrics use.

use std::fs;

use monitor::exposition::{Family, Kind, Value};

/// Of times in `/proc`, in a second: the kernel's interface has been so on all machines since 2.6.
const TICKS_PER_S: f64 = 100.0;

/// What there is to say of this process; what the system does not tell is left out.
pub fn families(started_at_ms: u64) -> Vec<Family> {
    let started = Family::new(
        Kind::Gauge,
        "process_start_time_seconds",
        "seconds",
        "When the process started, in seconds since 1970.",
    );
    let mut families = vec![started.of(Value::Number(started_at_ms as f64 / 1e3))];
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&stat) {
        let name = "process_cpu_seconds";
        let help = "Time of processors that the process took.";
        let cpu = Family::new(Kind::Counter, name, "seconds", help);
        families.push(cpu.of(Value::Number(seconds)));
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        let name = "process_resident_memory_bytes";
        let memory = Family::new(Kind::Gauge, name, "bytes", "Memory of the process.");
        families.push(memory.of(Value::Count(bytes, None)));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let help = "Files and connections that the process has open.";
        let files = Family::new(Kind::Gauge, "process_open_fds", "", help);
        families.push(files.of(Value::Count(open.count() as u64, None)));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = files_max(&limits) {
        let help = "The most files and connections that it may have open.";
        let files = Family::new(Kind::Gauge, "process_max_fds", "", help);
        families.push(files.of(Value::Count(most, None)));
    }
    families
}

/// The 14th and the 15th field; the second is a name in parentheses, which may have any character.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().ok());
    let ticks: Option<u64> = ticks.sum();
    Some(ticks? as f64 / TICKS_PER_S)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

fn files_max(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 5 6 7";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(resident_bytes("VmPeak: 9 kB\nVmRSS:\t  12 kB\n"), Some(12 << 10));
        assert_eq!(files_max("Max open files            1024   4096   files\n"), Some(1024));
        assert_eq!((cpu_seconds(""), resident_bytes("VmRSS:"), files_max("")), (None, None, None));
        let names: Vec<_> = families(0).iter().map(|family| family.name).collect();
        assert_eq!(names.len(), 5, "{names:?}");
    }
}

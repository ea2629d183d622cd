//! Groups against the kernel where it has them, and against a directory that looks like one.

use std::fs;

use domain::launch::{Limits, ProcessId};

use super::*;

fn limits() -> Limits {
    Limits { memory_mb_max: Some(64), cpu_max: Some(0.5), processes_max: Some(7) }
}

/// The files of a hierarchy of version 2, without a kernel behind them.
fn fake(directory: &Path, version: Version) -> Groups {
    let place = (version, directory.to_path_buf());
    Groups {
        places: Arc::new(
            Controller::ALL.into_iter().map(|controller| (controller, place.clone())).collect(),
        ),
    }
}

#[test]
fn version_2_is_written_as_the_kernel_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let group =
        fake(directory.path(), Version::V2).create(&ProcessId("r1-1".into()), &limits()).unwrap();
    let at = directory.path().join("r1-1");
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    assert_eq!(read("memory.max"), (64 << 20).to_string());
    assert_eq!(read("memory.oom.group"), "1");
    assert_eq!(read("cpu.max"), "10000 20000");
    assert_eq!(read("pids.max"), "7");
    assert!(group.enforces(Controller::Cpu) && group.out_of_memory().is_none());
    fs::write(
        at.join("memory.events"),
        "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\noom_group_kill 0\n",
    )
    .unwrap();
    assert!(group.out_of_memory().is_none());
    fs::write(
        at.join("memory.events"),
        "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n",
    )
    .unwrap();
    fs::write(at.join("memory.peak"), "67108864\n").unwrap();
    assert_eq!(
        group.out_of_memory().unwrap(),
        "out of memory: it used 64 of 64 MB ([resources] memory_mb_max)"
    );
}

#[test]
fn version_1_is_written_as_the_kernel_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let group =
        fake(directory.path(), Version::V1).create(&ProcessId("r1-1".into()), &limits()).unwrap();
    let at = directory.path().join("r1-1");
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    assert_eq!(
        (read("cpu.cfs_quota_us").as_str(), read("cpu.cfs_period_us").as_str()),
        ("10000", "20000")
    );
    assert_eq!(read("memory.limit_in_bytes"), (64 << 20).to_string());
    fs::write(at.join("memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
        .unwrap();
    fs::write(at.join("memory.max_usage_in_bytes"), "66060288\n").unwrap();
    assert_eq!(
        group.out_of_memory().unwrap(),
        "out of memory: it used 63 of 64 MB ([resources] memory_mb_max)"
    );
}

#[test]
fn only_what_is_limited_has_a_group() {
    let directory = tempfile::tempdir().unwrap();
    let groups = fake(directory.path(), Version::V1);
    assert!(groups.create(&ProcessId("a".into()), &Limits::default()).is_none());
    let cpu = Limits { cpu_max: Some(2.0), ..Limits::default() };
    let group = groups.create(&ProcessId("b".into()), &cpu).unwrap();
    assert!(group.enforces(Controller::Cpu) && !group.enforces(Controller::Memory));
    assert!(Groups::default().create(&ProcessId("c".into()), &limits()).is_none());
}

#[test]
fn the_kernel_takes_the_limits_where_it_has_groups() {
    let data = tempfile::tempdir().unwrap();
    let groups = Groups::open(data.path());
    if groups.places.is_empty() {
        eprintln!("this machine offers no control groups: not tested");
        return;
    }
    let group = groups.create(&ProcessId("t".into()), &limits()).unwrap();
    assert_eq!(
        group.doors().len(),
        groups
            .places
            .values()
            .map(|(_, base)| base)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    );
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    group.attach(child.id());
    let status = fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    assert!(status.contains(&name_of(data.path())), "{status}");
    group.kill(&[std::process::id()]);
    assert!(!child.wait().unwrap().success());
    group.remove(&[]);
    groups.close();
    assert!(
        groups.places.values().all(|(version, base)| *version == Version::V2 || !base.exists())
    );
}

#[test]
fn names_do_not_collide() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_ne!(name_of(one.path()), name_of(other.path()));
    assert_eq!(name_of(one.path()), name_of(&one.path().join(".")));
}

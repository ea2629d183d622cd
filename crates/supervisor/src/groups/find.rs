//! Finds the control groups that this process is in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Controller, Version};

/// The group of this process for each controller that the host offers.
pub type Found = BTreeMap<Controller, (Version, PathBuf)>;

/// As the kernel tells now.
pub fn find() -> Found {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let controllers = |group: &Path| {
        std::fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default()
    };
    find_in(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), controllers)
}

/// A mounted hierarchy.
struct Mount {
    root: PathBuf,
    point: PathBuf,
    is_v2: bool,
    options: Vec<String>,
}

/// `ID PARENT DEVICE ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`, as `man 5 proc` says.
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let mut right = right.split(' ');
    let kind = right.next()?;
    if kind != "cgroup" && kind != "cgroup2" {
        return None;
    }
    let options = right.nth(1).unwrap_or_default().split(',').map(String::from).collect();
    let path = |at: usize| left.get(at).map(|path| PathBuf::from(path.replace("\\040", " ")));
    Some(Mount { root: path(3)?, point: path(4)?, is_v2: kind == "cgroup2", options })
}

/// From the text of `/proc/self/mountinfo` and `/proc/self/cgroup`, and the controllers that a
/// group of version 2 has.
fn find_in(mounts: &str, groups: &str, controllers: impl Fn(&Path) -> String) -> Found {
    let mounts: Vec<Mount> = mounts.lines().filter_map(mount).collect();
    let mut found = Found::new();
    for line in groups.lines() {
        // `NUMBER:CONTROLLERS:PATH`; version 2 is number 0 and names none.
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        for mount in &mounts {
            // In a container the mount may begin at the container's own group.
            let Ok(below) = Path::new(path).strip_prefix(&mount.root) else { continue };
            let group = mount.point.join(below);
            if names.is_empty() && mount.is_v2 {
                let offered = controllers(&group);
                for controller in Controller::ALL {
                    if offered.split_whitespace().any(|name| name == controller.name()) {
                        found.insert(controller, (Version::V2, group.clone()));
                    }
                }
            }
            for controller in Controller::ALL {
                let is_mounted =
                    !mount.is_v2 && mount.options.iter().any(|option| option == controller.name());
                if is_mounted && names.split(',').any(|name| name == controller.name()) {
                    found.entry(controller).or_insert((Version::V1, group.clone()));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_version_2() {
        let mounts = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let groups = "0::/user.slice/user-1000.slice/session-3.scope\n";
        let found = find_in(mounts, groups, |group| {
            assert_eq!(
                group,
                Path::new("/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope")
            );
            "cpuset cpu io memory pids\n".into()
        });
        assert_eq!(found.len(), 3);
        assert!(found.values().all(|(version, _)| *version == Version::V2));
    }

    #[test]
    fn a_host_with_both() {
        let mounts = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let groups = "8:pids:/\n4:memory:/jobs/a b\n1:cpu,cpuacct:/\n0::/\n";
        let found = find_in(mounts, groups, |_| "hugetlb\n".into());
        assert_eq!(
            found.get(&Controller::Memory),
            Some(&(Version::V1, PathBuf::from("/sys/fs/cgroup/memory/jobs/a b")))
        );
        assert_eq!(
            found.get(&Controller::Cpu),
            Some(&(Version::V1, PathBuf::from("/sys/fs/cgroup/cpu/")))
        );
        assert_eq!(found.get(&Controller::Processes), None);
    }

    #[test]
    fn a_container_that_sees_only_its_own_group() {
        let mounts = "9 8 0:7 /docker/12ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let found = find_in(mounts, "4:memory:/docker/12ab\n", |_| String::new());
        assert_eq!(found[&Controller::Memory].1, Path::new("/sys/fs/cgroup/memory/"));
        assert!(find_in(mounts, "4:memory:/docker/other\n", |_| String::new()).is_empty());
        assert!(find_in("", "", |_| String::new()).is_empty());
    }
}

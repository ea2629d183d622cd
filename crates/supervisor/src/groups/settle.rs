//! Makes the group that holds those of all processes of one data directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::find::Found;
use super::{Controller, Version};

/// Where the supervisor itself goes in version 2: a group whose children have controllers may hold
/// no processes.
pub const OWN: &str = "supervisor";

/// For each controller the group below which others can be made.
pub fn settle(found: &Found, name: &str) -> BTreeMap<Controller, (Version, PathBuf)> {
    let mut places = BTreeMap::new();
    for (controller, (version, own)) in found {
        let base = own.join(name);
        if *version == Version::V1 && (base.is_dir() || fs::create_dir(&base).is_ok()) {
            places.insert(*controller, (Version::V1, base));
        }
    }
    if let Some((_, own)) = found.values().find(|(version, _)| *version == Version::V2) {
        let (base, controllers) = settle_v2(own, name);
        places.extend(
            controllers.into_iter().map(|controller| (controller, (Version::V2, base.clone()))),
        );
    }
    places
}

/// Below the own group, which must then hold nobody else, or else beside it.
fn settle_v2(own: &Path, name: &str) -> (PathBuf, Vec<Controller>) {
    let above = own.parent().filter(|parent| parent.join("cgroup.subtree_control").exists());
    for home in [Some(own), above].into_iter().flatten() {
        let base = home.join(name);
        let leaf = base.join(OWN);
        // That this process may go there shows that it may move others there.
        if (leaf.is_dir() || fs::create_dir_all(&leaf).is_ok()) && enter(&leaf) {
            if home == own {
                offer(own);
            }
            let controllers = offer(&base);
            if !controllers.is_empty() {
                return (base, controllers);
            }
            // Others live in the own group: back to them.
            enter(own);
        }
        let _ = fs::remove_dir(&leaf);
        let _ = fs::remove_dir(&base);
    }
    (PathBuf::new(), vec![])
}

/// Moves this process.
fn enter(group: &Path) -> bool {
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).is_ok()
}

/// Lets the children of a group have its controllers. Gives those that they have.
fn offer(group: &Path) -> Vec<Controller> {
    let file = group.join("cgroup.subtree_control");
    for controller in Controller::ALL {
        // Those that cannot be had are not offered; the others still are.
        let _ = fs::write(&file, format!("+{}", controller.name()));
    }
    let offered = fs::read_to_string(&file).unwrap_or_default();
    let is_offered = |controller: &Controller| {
        offered.split_whitespace().any(|name| name.trim_start_matches('+') == controller.name())
    };
    Controller::ALL.into_iter().filter(is_offered).collect()
}

/// Which controllers could be used, without changing anything for good.
pub fn usable(found: &Found) -> BTreeMap<Controller, Version> {
    let mut usable = BTreeMap::new();
    for (controller, (version, own)) in found {
        let probe = own.join(format!("decalog-probe-{}", std::process::id()));
        if fs::create_dir(&probe).is_ok() {
            let _ = fs::remove_dir(&probe);
            usable.insert(*controller, *version);
        }
    }
    usable
}

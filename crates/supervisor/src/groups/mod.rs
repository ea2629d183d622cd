//! Control groups: how the limits of a replica with all its processes are enforced. Version 2 where
//! the host offers its controllers, version 1 where it does not, nothing where neither can be had;
//! found out once, at run time.

mod find;
mod group;
mod settle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::Digest;
use domain::launch::{Limits, ProcessId};

pub use group::{Group, out_of_memory};

/// What a group can limit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Controller {
    /// Memory.
    Memory,
    /// Processor time.
    Cpu,
    /// Processes and threads.
    Processes,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Processes];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::Processes => "pids",
        }
    }
}

/// Of the kernel's interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One for all.
    V2,
}

/// Where groups for one data directory can be made.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    places: Arc<BTreeMap<Controller, (Version, PathBuf)>>,
}

/// The name of a data directory's groups, which no other one has.
fn name_of(data: &Path) -> String {
    let data = data.canonicalize().unwrap_or_else(|_| data.into());
    format!("decalog-{}", Digest::of(data.as_os_str().as_encoded_bytes()).short())
}

impl Groups {
    /// Makes a group for a data directory below this process's own, and ends what a killed
    /// supervisor left in it.
    pub fn open(data: &Path) -> Groups {
        let places = settle::settle(&find::find(), &name_of(data));
        for (_, base) in places.values() {
            group::remove_left_overs(base);
        }
        Groups { places: Arc::new(places) }
    }

    /// A group for one process, with its limits; `None` if nothing here can enforce any of them.
    pub fn create(&self, id: &ProcessId, limits: &Limits) -> Option<Group> {
        let wanted = |controller: &Controller| match controller {
            Controller::Memory => limits.memory_mb_max.is_some(),
            Controller::Cpu => limits.cpu_max.is_some(),
            Controller::Processes => limits.processes_max.is_some(),
        };
        let mut group = Group::new(*limits);
        for (controller, (version, base)) in
            self.places.iter().filter(|(controller, _)| wanted(controller))
        {
            group.add(*controller, *version, base.join(&id.0));
        }
        (!group.is_empty()).then_some(group)
    }

    /// Removes what is left of the groups.
    pub fn close(&self) {
        for (_, base) in self.places.values() {
            group::remove_left_overs(base);
            let _ = std::fs::remove_dir(base);
        }
    }
}

/// What enforces limits on this machine, in words; an error says what is not enforced.
pub fn survey() -> Result<String, String> {
    let found = find::find();
    let usable = settle::usable(&found);
    let names = |controllers: &[Controller]| {
        let names = Controller::ALL.iter().filter(|controller| controllers.contains(controller));
        names
            .map(
                |controller| {
                    if *controller == Controller::Processes {
                        "processes"
                    } else {
                        controller.name()
                    }
                },
            )
            .collect::<Vec<_>>()
            .join(", ")
    };
    let of = |version| {
        usable
            .iter()
            .filter(|(_, found)| **found == version)
            .map(|(controller, _)| *controller)
            .collect::<Vec<_>>()
    };
    let (first, second) = (of(Version::V1), of(Version::V2));
    let missing: Vec<Controller> =
        Controller::ALL.into_iter().filter(|controller| !usable.contains_key(controller)).collect();
    let mut parts = vec![];
    for (version, controllers) in [("version 2", second), ("version 1", first)] {
        if !controllers.is_empty() {
            parts.push(format!("{version}: {}", names(&controllers)));
        }
    }
    for controller in &missing {
        parts.push(match controller {
            Controller::Memory => "memory is watched once a second by Decalog itself".to_string(),
            Controller::Processes => {
                "processes are counted once a second by Decalog itself".to_string()
            }
            Controller::Cpu => "[resources] cpu_max is not enforced".to_string(),
        });
    }
    let text = parts.join("; ");
    if missing.is_empty() { Ok(text) } else { Err(text) }
}

#[cfg(test)]
mod tests;

//! Rules of Landlock: which files, which ports, whom a process may signal.
//!
//! Where a process has a file system of its own (level full) they only keep it from other processes;
//! where it has none they are what keeps it from files.

use std::io;
use std::os::fd::OwnedFd;

use domain::launch::{Sandbox, Walls};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

use super::system;

/// The newest rules that are asked for; a kernel that knows fewer enforces those.
const NEWEST: ABI = ABI::V6;

/// Rules for a process with these walls; `None` where the kernel has none.
pub fn ruleset(walls: &Walls) -> io::Result<Option<OwnedFd>> {
    Ok(created(walls).map_err(io::Error::other)?.into())
}

/// Binds this process, and what comes of it, to its rules.
pub fn obey(walls: &Walls) -> io::Result<()> {
    created(walls).and_then(RulesetCreated::restrict_self).map(|_| ()).map_err(io::Error::other)
}

fn created(walls: &Walls) -> Result<RulesetCreated, RulesetError> {
    let scoped = Ruleset::default().scope(Scope::from_all(NEWEST))?;
    if walls.level == Sandbox::Full {
        return scoped.create();
    }
    let (read, all) = (AccessFs::from_read(NEWEST), AccessFs::from_all(NEWEST));
    let terminal: BitFlags<AccessFs> = AccessFs::IoctlDev.into();
    let ports = AccessNet::from_all(NEWEST);
    let mut rules = scoped
        .handle_access(all)?
        .handle_access(ports)?
        .create()?
        .add_rules(path_beneath_rules(system::readable(), read))?
        .add_rules(path_beneath_rules(["/proc"], read))?
        .add_rules(path_beneath_rules(system::devices(), all))?
        .add_rules(path_beneath_rules(["/dev/shm"], all & !terminal))?
        .add_rules(path_beneath_rules(&walls.read, read))?
        .add_rules(path_beneath_rules(walls.write.iter().chain([&walls.own]), all & !terminal))?;
    if let Some(port) = walls.port {
        rules = rules.add_rule(NetPort::new(port, ports))?;
    }
    Ok(rules)
}

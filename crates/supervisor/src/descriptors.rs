//! How many descriptors a process may have open: as many as the system allows where connections and
//! workers are held, and what was inherited for the workers, of which some close or look at every
//! number that there could be.

use std::os::fd::AsRawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors of `up` that connections of callers must leave to everything else: the ledger,
/// artifacts, workers, logs.
pub const DESCRIPTORS_RESERVED: u64 = 256;
/// Descriptors of the supervisor that new processes must leave to it: to take calls, and to tell
/// how processes end.
const SUPERVISOR_RESERVED: u64 = 32;

/// The limits of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptors {
    /// What it was started with: workers get it back.
    pub inherited: u64,
    /// What it may have open itself.
    pub limit: u64,
}

impl Descriptors {
    /// Raises what this process may have open to all that the system allows it.
    pub fn raise() -> Descriptors {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1_024, 1_024));
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        Descriptors { inherited: soft, limit: if raised { hard } else { soft } }
    }

    /// The most connections that callers may have open, of a process that has much else to do.
    pub fn for_connections(&self) -> u64 {
        self.limit.saturating_sub(DESCRIPTORS_RESERVED).max(self.limit / 2)
    }

    /// Gives a process what this one was started with. Between fork and exec.
    pub fn give_back(&self) -> std::io::Result<()> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(setrlimit(Resource::RLIMIT_NOFILE, self.inherited.min(hard), hard)?)
    }

    /// Whether a descriptor that was just opened is one of those that the supervisor keeps for
    /// itself: the kernel gives the lowest that is free.
    pub fn is_reserved(&self, newest: &impl AsRawFd) -> bool {
        newest.as_raw_fd() as u64
            >= self.limit.saturating_sub(SUPERVISOR_RESERVED).max(self.limit / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_everything_else() {
        let of = |limit| Descriptors { inherited: 256, limit }.for_connections();
        assert_eq!([0, 100, 1_024, 1 << 20].map(of), [0, 50, 768, (1 << 20) - 256]);
    }

    #[test]
    fn raised_to_what_the_system_allows() {
        let descriptors = Descriptors::raise();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, descriptors.limit);
        assert!(descriptors.inherited <= descriptors.limit);
        assert!(!descriptors.is_reserved(&std::fs::File::open("/dev/null").unwrap()));
    }
}

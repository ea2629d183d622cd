//! What a model may reach: the entries of its `[egress] allow`.

use std::net::IpAddr;

use domain::{Code, problem::Problem};
use serde::{Deserialize, Serialize};

use crate::address::kind;
use crate::destination::{Destination, Host};
use crate::entry::Entry;
pub use crate::entry::Reach;

/// The most entries that a policy may have.
pub const ENTRIES_MAX: usize = 256;

/// What a model may reach; by default nothing. In JSON and TOML it is the list of its entries.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Policy {
    entries: Vec<Entry>,
}

impl Policy {
    /// Reads entries.
    ///
    /// # Errors
    ///
    /// `bad_manifest`, with what is wrong with the first wrong entry.
    pub fn new<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Policy, Problem> {
        let entries: Result<Vec<Entry>, Problem> =
            entries.into_iter().map(|entry| entry.as_ref().parse()).collect();
        let entries = entries?;
        if entries.len() > ENTRIES_MAX {
            let message = format!("`[egress] allow` has {} entries", entries.len());
            let help =
                format!("name at most {ENTRIES_MAX}; `*.example.com:443` names many at once");
            return Err(Problem::new(Code::BadManifest, message).help(help));
        }
        Ok(Policy { entries })
    }

    /// The entries, in their order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How far the destination may be reached, before its name is resolved; `None` if no entry
    /// names it. Addresses and networks name only what is asked for as an address, so that no name
    /// is ever resolved that the policy does not have.
    pub fn allows_name(&self, destination: &Destination) -> Option<Reach> {
        self.entries.iter().filter_map(|entry| entry.reach(destination)).max()
    }

    /// Whether the destination may be reached at the address that its name was resolved to.
    pub fn allows_address(&self, destination: &Destination, address: IpAddr) -> bool {
        let is_asked = match &destination.host {
            Host::Name(_) => true,
            Host::Address(asked) => *asked == address.to_canonical(),
        };
        let reach = self.allows_name(destination);
        is_asked && reach.is_some_and(|reach| reach.covers(kind(address)))
    }
}

impl TryFrom<Vec<String>> for Policy {
    type Error = Problem;

    fn try_from(entries: Vec<String>) -> Result<Policy, Problem> {
        Policy::new(entries)
    }
}

impl From<Policy> for Vec<String> {
    fn from(policy: Policy) -> Vec<String> {
        policy.entries.iter().map(Entry::to_string).collect()
    }
}

#[cfg(test)]
mod tests;

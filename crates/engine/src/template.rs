//! What is known of each parent and zygote.

use domain::launch::{ProcessId, Role, Site, Temperature};
use domain::{Placement, ReplicaId};
use supervisor::now_ms;
use supervisor::protocol::Readiness;
use tokio::sync::watch;

/// How a parent or zygote is.
#[derive(Clone, Debug, PartialEq)]
pub enum TemplateState {
    /// It loads or imports.
    Starting,
    /// It can be asked to fork or to serve.
    Ready {
        /// Whether it can be forked from.
        can_fork: bool,
        /// Why not, as `2 threads run: python, jemalloc_bg_thd`; else empty.
        reason: String,
        /// How long it took, by its own clock.
        elapsed_ms: u64,
    },
    /// Its process is gone. It is in no list any more.
    Ended {
        /// How, in a few words.
        reason: String,
        /// What it said last.
        details: Vec<String>,
        /// This machine could not start it, which says nothing of the version.
        local: bool,
    },
}

/// A parent or zygote as the engine knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateStatus {
    /// The process.
    pub id: ProcessId,
    /// A parent of a placement, or a zygote of a key.
    pub role: Role,
    /// Where its process is.
    pub site: Site,
    /// How it is.
    pub state: TemplateState,
    /// How it was started itself.
    pub temperature: Temperature,
    /// When something was last forked from it, or else when it was started, in milliseconds since
    /// 1970.
    pub used_at_ms: u64,
}

/// What the engine keeps of a parent or zygote.
pub(crate) struct Template {
    pub role: Role,
    pub pid: u32,
    pub temperature: Temperature,
    pub colder_because: Option<String>,
    pub used_at_ms: u64,
    /// The replica that it becomes.
    pub taken_by: Option<ReplicaId>,
    pub state: watch::Sender<TemplateState>,
}

impl From<&Readiness> for TemplateState {
    fn from(ready: &Readiness) -> TemplateState {
        TemplateState::Ready {
            can_fork: ready.can_fork,
            reason: ready.reason.clone(),
            elapsed_ms: ready.elapsed_ms,
        }
    }
}

impl Template {
    /// As others see it.
    pub fn status(&self, id: &ProcessId) -> TemplateStatus {
        TemplateStatus {
            id: id.clone(),
            role: self.role.clone(),
            site: Site { pid: self.pid },
            state: self.state.borrow().clone(),
            temperature: self.temperature,
            used_at_ms: self.used_at_ms,
        }
    }

    /// Whether it holds the model of a placement.
    pub fn is_parent_of(&self, placement: &Placement) -> bool {
        matches!(&self.role, Role::Parent(of) if of == placement)
    }

    /// One that was just started, or is about to be.
    pub fn starting(role: Role) -> Template {
        Template {
            role,
            pid: 0,
            temperature: Temperature::Cold,
            colder_because: None,
            used_at_ms: now_ms(),
            taken_by: None,
            state: watch::channel(TemplateState::Starting).0,
        }
    }
}

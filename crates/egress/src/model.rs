//! A model in its sandbox, as the proxy sees it, and one connection that it made.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::activity::{Activity, Direction};
use crate::book::{Ended, Verdict};
use crate::destination::Destination;
use crate::limits::Limits;
use crate::log::Log;
use crate::policy::Policy;
use crate::resolve::Resolve;

/// Stands in the log for what a connection did not come to ask for.
pub const NOTHING_ASKED: &str = "-";

/// How many connections of one model are told at once that there are too many.
const TOLD_MAX: usize = 32;

/// What all replicas of a model share.
pub struct Places {
    /// One for each connection.
    pub connections: Arc<Semaphore>,
    /// One for each that is told that there are too many.
    pub told: Arc<Semaphore>,
}

impl Places {
    /// None taken.
    pub fn new(limits: &Limits) -> Places {
        Places {
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            told: Arc::new(Semaphore::new(TOLD_MAX)),
        }
    }
}

/// A sandbox with a model in it.
pub struct Model {
    /// Of the sandbox.
    pub id: String,
    /// Of the model.
    pub name: String,
    /// What it may reach now.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// What it shares with other replicas.
    pub places: Arc<Places>,
    /// What resolves the names that it asks for.
    pub resolver: Arc<dyn Resolve>,
    /// How much it may ask.
    pub limits: Arc<Limits>,
    /// Where that is written.
    pub log: Arc<Log>,
}

impl Model {
    /// What it may reach now.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.borrow().clone()
    }

    /// Returns once the policy no longer lets the destination be reached at the address.
    pub async fn forbids(&self, destination: &Destination, address: IpAddr) {
        let mut policy = self.policy.clone();
        let forbidden = |policy: &Arc<Policy>| !policy.allows_address(destination, address);
        if policy.wait_for(forbidden).await.is_err() {
            // The sandbox is being closed, and its connections with it.
            std::future::pending::<()>().await;
        }
    }
}

/// One connection; it is logged when it is dropped.
pub struct Visit<'a> {
    /// What it carries.
    pub activity: Activity,
    model: &'a Model,
    destination: String,
    verdict: Verdict,
    address: Option<IpAddr>,
    why: String,
    is_counted: bool,
}

impl<'a> Visit<'a> {
    /// One that has just come.
    pub fn new(model: &'a Model) -> Visit<'a> {
        Visit {
            activity: Activity::new(),
            model,
            destination: NOTHING_ASKED.into(),
            verdict: Verdict::Failed,
            address: None,
            why: String::new(),
            is_counted: false,
        }
    }

    /// It is known where to.
    pub fn asks_for(&mut self, destination: &Destination) {
        self.destination = destination.to_string();
    }

    /// It is known what becomes of it.
    pub fn decided(&mut self, verdict: Verdict, address: Option<IpAddr>, why: impl Into<String>) {
        (self.verdict, self.address, self.why) = (verdict, address, why.into());
        self.model.log.count(&self.model.name, &self.destination, verdict);
        self.is_counted = true;
    }

    /// It ended otherwise than by itself.
    pub fn ended(&mut self, why: impl Into<String>) {
        self.why = why.into();
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if !self.is_counted {
            self.decided(Verdict::Failed, None, "the sandbox was closed, or the model gave up");
        } else if self.why.is_empty() && self.model.policy.has_changed().is_err() {
            self.why = "the sandbox was closed".into();
        }
        self.model.log.note(&Ended {
            model: self.model.name.clone(),
            id: self.model.id.clone(),
            destination: std::mem::take(&mut self.destination),
            address: self.address,
            verdict: self.verdict,
            why: std::mem::take(&mut self.why),
            up_bytes: self.activity.bytes(Direction::Up),
            down_bytes: self.activity.bytes(Direction::Down),
            duration_ms: self.activity.elapsed_ms(),
        });
    }
}

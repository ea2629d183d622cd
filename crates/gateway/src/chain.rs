//! Requests that pass several models: all of them see the routes of one epoch, from the first to the last.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::{Code, Problem};
use http::HeaderMap;

use crate::Gateway;
use crate::heavy::Cost;
use crate::predict::{Question, Reply};
use crate::route::Snapshot;

/// The routes of one epoch. What they lead to stays in use until this is dropped.
pub struct Pinned<'g> {
    gateway: &'g Gateway,
    snapshot: Arc<Snapshot>,
    arrived_at: Instant,
}

impl Gateway {
    /// Pins the routes of this moment.
    pub fn pin(&self) -> Pinned<'_> {
        Pinned { gateway: self, snapshot: self.snapshot.load_full(), arrived_at: Instant::now() }
    }
}

impl Pinned<'_> {
    /// Of the routes.
    pub fn epoch(&self) -> u64 {
        self.snapshot.epoch
    }

    /// One step: simple JSON in, simple JSON out. The deadline counts from the pinning.
    pub async fn predict(&self, reference: &str, body: &Bytes, headers: &HeaderMap) -> Result<Vec<u8>, Problem> {
        let question = Question::Simple(body.clone());
        let asked = self.gateway.ask(Some(&self.snapshot), reference, headers, self.arrived_at, question, None);
        let done = asked.await.map_err(|failed| failed.problem)?;
        match done.reply {
            Reply::Rows(rows) => self.gateway.heavy.run(Cost::Text(rows.bytes), move || rows.write_simple(done.form)).await,
            _ => Err(Problem::new(Code::Streams, format!("`{reference}` streams; a step must give one answer"))),
        }
    }
}

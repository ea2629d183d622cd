//! Requests that pass several models: all of them see the routes of one epoch, from the first to the last.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use domain::Problem;
use http::HeaderMap;

use crate::Gateway;
use crate::predict::{self, Reply};
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
        let mut form = protocol::simple::Form::Row;
        let asked = self.gateway.ask(Some(&self.snapshot), reference, headers, self.arrived_at, |lane| {
            let (ask, read) = predict::decode_simple(body, lane)?;
            form = read;
            Ok(ask)
        });
        let done = asked.await.map_err(|failed| failed.problem)?;
        match done.reply {
            Reply::Rows(answer, first_row) => {
                let mut out = vec![];
                answer.write_simple(first_row..first_row + done.rows, form == protocol::simple::Form::Row, &mut out);
                Ok(out)
            }
            Reply::Pieces(_) => Err(Problem::new("streams", format!("`{reference}` streams; a step must give one answer"))),
        }
    }
}

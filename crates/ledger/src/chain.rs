//! Rows as they are stored, whatever the store, and the hash that chains them.

use domain::Digest;
use domain::digest::Hasher;
use domain::event::{Entry, Event, UnknownEvent};

/// One stored entry without its own hash.
pub struct Row {
    /// From 1, without gaps.
    pub seq: u64,
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// Who.
    pub actor: String,
    /// What it concerns.
    pub subject: String,
    /// Among its subject's entries, from 1.
    pub subject_seq: u64,
    /// Which writer wrote it.
    pub writer_epoch: u64,
    /// What kind of event.
    pub kind: String,
    /// Of the body's shape.
    pub body_version: u32,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// Of the entry before.
    pub previous_hash: Digest,
}

impl Row {
    /// SHA-256 over all fields, each with its length before it.
    pub fn hash(&self) -> Digest {
        let mut hasher = Hasher::new();
        for number in
            [self.seq, self.at_ms, self.subject_seq, self.writer_epoch, self.body_version.into()]
        {
            hasher.field(&number.to_le_bytes());
        }
        for text in [&self.actor, &self.subject, &self.kind] {
            hasher.field(text.as_bytes());
        }
        hasher.field(&self.body);
        hasher.field(&self.previous_hash.0);
        hasher.finish()
    }

    /// The entry with its event read.
    pub fn into_entry(self, hash: Digest) -> Result<Entry, UnknownEvent> {
        let event = Event::from_parts(&self.kind, self.body_version, &self.body)?;
        Ok(Entry {
            seq: self.seq,
            at_ms: self.at_ms,
            actor: self.actor,
            subject: self.subject,
            subject_seq: self.subject_seq,
            writer_epoch: self.writer_epoch,
            hash,
            event,
        })
    }
}

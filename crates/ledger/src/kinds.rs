//! Kinds of events: a ledger with one that this program does not know is not written, because what
//! it means is not known.

use domain::event::{BODY_VERSION, Event, UnknownEvent};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::LedgerError;

/// The index that gives all kinds without reading all entries.
pub const INDEX: &str = "CREATE INDEX IF NOT EXISTS entries_kind ON entries (kind, body_version);";

/// Fails if some entry is of a kind or shape that this program does not know. Takes a look-up for
/// each, however many entries there are.
pub fn check(connection: &Connection) -> Result<(), LedgerError> {
    // Two statements: a comparison of both columns at once would walk through all entries of a
    // kind.
    let newer = "SELECT kind, body_version FROM entries WHERE kind = ?1 AND body_version > ?2 ORDER BY body_version LIMIT 1";
    let next = "SELECT kind, body_version FROM entries WHERE kind > ?1 ORDER BY kind, body_version LIMIT 1";
    let (mut newer, mut next) = (connection.prepare(newer)?, connection.prepare(next)?);
    let read = |row: &Row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?));
    let mut last = (String::new(), 0);
    loop {
        let found = match newer.query_row(params![last.0, last.1], read).optional()? {
            Some(found) => Some(found),
            None => next.query_row([&last.0], read).optional()?,
        };
        let Some((kind, version)) = found else { return Ok(()) };
        if version != BODY_VERSION || !Event::KINDS.contains(&kind.as_str()) {
            let reason = "it was written by a newer program; upgrade this one".into();
            return Err(UnknownEvent { kind, version, reason }.into());
        }
        last = (kind, version);
    }
}

//! Kinds of events: a ledger with one that this program does not know is not written, because what it means is not known.

use domain::event::{BODY_VERSION, Event, UnknownEvent};
use rusqlite::{Connection, OptionalExtension, params};

use crate::LedgerError;

/// The index that gives all kinds without reading all entries.
pub const INDEX: &str = "CREATE INDEX IF NOT EXISTS entries_kind ON entries (kind, body_version);";

/// Fails if some entry is of a kind or shape that this program does not know. Takes a look-up a kind, however many entries.
pub fn check(connection: &Connection) -> Result<(), LedgerError> {
    let sql = "SELECT kind, body_version FROM entries WHERE (kind, body_version) > (?1, ?2)
               ORDER BY kind, body_version LIMIT 1";
    let mut statement = connection.prepare(sql)?;
    let mut last = (String::new(), 0);
    while let Some((kind, version)) =
        statement.query_row(params![last.0, last.1], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))).optional()?
    {
        if version != BODY_VERSION || !Event::KINDS.contains(&kind.as_str()) {
            let reason = "it was written by a newer program; upgrade this one".into();
            return Err(UnknownEvent { kind, version, reason }.into());
        }
        last = (kind, version);
    }
    Ok(())
}

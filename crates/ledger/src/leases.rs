//! Of the rows that a token may ask a day: how many were given out, so that a process that is killed
//! takes no count along. They are given out in blocks, as leases; what a process had not used of
//! its last ones is lost with it, never gained. Several processes may have the file open while one
//! takes over from another. If it is lost, the day begins anew.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{LedgerError, sqlite};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS leases (
    token TEXT PRIMARY KEY,
    day INTEGER NOT NULL,
    rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

/// The open file.
pub struct Leases {
    connection: Option<Connection>,
    /// Of the days that this process knows of: it goes on where the disk takes no writes.
    given: HashMap<String, Given>,
}

/// What was given out of a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Given {
    /// In days since 1970.
    day: u64,
    rows: u64,
}

impl Given {
    /// Of another day nothing was; one that is over does not come again.
    fn on(self, day: u64) -> Given {
        if day > self.day { Given { day, rows: 0 } } else { self }
    }

    /// What is given out with so many more, and how many these are.
    fn lend(self, rows: &RangeInclusive<u64>, rows_max: u64) -> (Given, u64) {
        let left = rows_max.saturating_sub(self.rows);
        let granted = if left < *rows.start() { 0 } else { left.min(*rows.end()) };
        (Given { rows: self.rows + granted, ..self }, granted)
    }
}

impl Leases {
    /// Opens or makes it. One that cannot be read is begun anew; where that fails, too, nothing
    /// outlives the process. Why is the second value then.
    pub fn open(path: &Path) -> (Leases, Option<LedgerError>) {
        let open = || -> Result<Connection, LedgerError> {
            // What a killed process wrote is there; after a power loss, the last may be missing.
            let connection = sqlite::open(path, "NORMAL")?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let (connection, error) = match open() {
            Ok(connection) => (Some(connection), None),
            Err(error @ LedgerError::Corrupt(_)) => {
                sqlite::remove(path);
                (open().ok(), Some(error))
            }
            Err(error) => (None, Some(error)),
        };
        (Leases { connection, given: HashMap::new() }, error)
    }

    /// Gives out rows of a day, in days since 1970, of which a token may ask `rows_max` in all: as
    /// many of those that are wanted as there are, and none if that is not the least of them. The
    /// error says why they are counted in memory only.
    pub fn lease(
        &mut self,
        token: &str,
        day: u64,
        rows: RangeInclusive<u64>,
        rows_max: u64,
    ) -> (u64, Option<LedgerError>) {
        let here = self.given.get(token).copied().unwrap_or(Given { day, rows: 0 }).on(day);
        if here.lend(&rows, rows_max).1 == 0 {
            // Of what was given out nothing comes back.
            return (0, None);
        }
        let (lent, error) = match self.write(token, here, &rows, rows_max) {
            Ok(lent) => (lent, None),
            Err(error) => (here.lend(&rows, rows_max), Some(error)),
        };
        self.given.insert(token.to_string(), lent.0);
        (lent.1, error)
    }

    fn write(
        &mut self,
        token: &str,
        here: Given,
        rows: &RangeInclusive<u64>,
        rows_max: u64,
    ) -> Result<(Given, u64), LedgerError> {
        let Some(connection) = &mut self.connection else {
            return Ok(here.lend(rows, rows_max));
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let read = "SELECT day, rows FROM leases WHERE token = ?1";
        let stored = transaction
            .query_row(read, [token], |row| Ok(Given { day: row.get(0)?, rows: row.get(1)? }))
            .optional()?;
        // Of both, whoever knows more: another process may have given out some, or the disk was
        // full for a time.
        let known = match stored.map(|stored| stored.on(here.day)) {
            Some(stored) if (stored.day, stored.rows) > (here.day, here.rows) => stored,
            _ => here,
        };
        let (given, granted) = known.lend(rows, rows_max);
        transaction.execute(
            "INSERT INTO leases (token, day, rows) VALUES (?1, ?2, ?3)
             ON CONFLICT (token) DO UPDATE SET day = excluded.day, rows = excluded.rows",
            params![token, given.day, given.rows],
        )?;
        // Tokens come and go.
        transaction.execute("DELETE FROM leases WHERE day + 1 < ?1", [given.day])?;
        transaction.commit()?;
        Ok((given, granted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_together_give_out_no_more_than_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leases.sqlite");
        let (mut one, error) = Leases::open(&path);
        assert!(error.is_none());
        let (mut two, _) = Leases::open(&path);
        let lease = |leases: &mut Leases, token, day, rows| leases.lease(token, day, rows, 100).0;
        assert_eq!(lease(&mut one, "a", 100, 1..=60), 60);
        assert_eq!(lease(&mut two, "a", 100, 1..=30), 30);
        assert_eq!(lease(&mut one, "a", 100, 11..=30), 0, "too few are left, and stay");
        assert_eq!(lease(&mut one, "a", 100, 1..=30), 10);
        assert_eq!(lease(&mut one, "a", 100, 1..=1) + lease(&mut two, "a", 100, 1..=1), 0);
        assert_eq!(lease(&mut two, "b", 100, 1..=5), 5);
        drop((one, two));
        let (mut next, _) = Leases::open(&path);
        assert_eq!(lease(&mut next, "a", 100, 1..=1), 0);
        assert_eq!(lease(&mut next, "a", 101, 1..=1), 1, "another day");
        let back = lease(&mut next, "a", 100, 1..=100);
        assert_eq!(back, 99, "a clock that goes back gives no day again");
    }

    #[test]
    fn without_a_file_it_is_counted_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let (mut leases, error) = Leases::open(&directory.path().join("nowhere/leases.sqlite"));
        assert!(error.is_some());
        let mut lease = |rows| leases.lease("a", 1, rows, 100).0;
        assert_eq!((lease(1..=60), lease(1..=60), lease(1..=1)), (60, 40, 0));
        let path = directory.path().join("leases.sqlite");
        std::fs::write(&path, "no database ".repeat(1_000)).unwrap();
        let (mut leases, error) = Leases::open(&path);
        assert!(error.is_some());
        assert_eq!(leases.lease("a", 1, 1..=60, 100).0, 60);
    }
}

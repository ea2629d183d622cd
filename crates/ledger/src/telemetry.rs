//! What load and processes do by themselves, in a file of its own beside the ledger: it is kept for
//! a time, so that it does not grow with use. No decision of anybody is in here; if it is lost,
//! models start as if they had had no request yet. Whatever the ledger's store, it is an SQLite file in
//! the data directory.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use domain::event::{BODY_VERSION, Event, PLATFORM};
use domain::happened::{After, Happened};
use rusqlite::{Connection, OptionalExtension, params};

use crate::scan::{Reach, Scan, Selection};
use crate::{LedgerError, Location, sqlite};

/// The most rows that are kept, about a kilobyte each.
pub const ROWS_MAX: u64 = 200_000;
/// The most rows that are kept of one model, so that one that fails all day long displaces nothing
/// of the others.
pub const ROWS_OF_SUBJECT_MAX: u64 = 10_000;
/// The longest that a row is kept, in days.
pub const DAYS_MAX: u64 = 90;
/// Rows that are added before the oldest are dropped again.
const ROWS_BETWEEN: usize = 256;

const DAY_MS: u64 = 86_400_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS happened (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    after INTEGER NOT NULL,
    at INTEGER NOT NULL,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    body_version INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS happened_after ON happened (after);
CREATE INDEX IF NOT EXISTS happened_at ON happened (at);
CREATE INDEX IF NOT EXISTS happened_subject ON happened (subject);
CREATE TABLE IF NOT EXISTS targets (
    version TEXT PRIMARY KEY,
    target INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct Limits {
    rows_max: u64,
    rows_of_subject_max: u64,
    age_ms_max: u64,
}

/// The open file.
pub struct Telemetry {
    connection: Connection,
    limits: Limits,
    /// Subjects of the rows that were added since the oldest were dropped.
    fresh: HashSet<String>,
    count: usize,
}

/// What is to be kept.
pub struct Observed<'a> {
    /// The last entry of the ledger at this moment.
    pub after: u64,
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// What it concerns.
    pub subject: &'a str,
    /// What happened.
    pub event: &'a Event,
}

impl Telemetry {
    /// Opens or makes it. One that cannot be read is begun anew; why is the second value then.
    pub fn open(ledger: &Location) -> Result<(Telemetry, Option<LedgerError>), LedgerError> {
        let path = ledger.telemetry();
        match Telemetry::open_existing(&path) {
            Err(error @ LedgerError::Corrupt(_)) => {
                sqlite::remove(&path);
                Ok((Telemetry::open_existing(&path)?, Some(error)))
            }
            opened => opened.map(|telemetry| (telemetry, None)),
        }
    }

    fn open_existing(path: &Path) -> Result<Telemetry, LedgerError> {
        // After a power loss, the last seconds may be missing.
        let connection = sqlite::open(path, "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        let limits = Limits {
            rows_max: ROWS_MAX,
            rows_of_subject_max: ROWS_OF_SUBJECT_MAX,
            age_ms_max: DAYS_MAX * DAY_MS,
        };
        Ok(Telemetry { connection, limits, fresh: HashSet::new(), count: 0 })
    }

    /// Adds a row, and drops the oldest if it is time to.
    pub fn add(&mut self, new: Observed) -> Result<(), LedgerError> {
        let sql = "INSERT INTO happened (after, at, subject, kind, body_version, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.connection.prepare_cached(sql)?.execute(params![
            new.after,
            new.at_ms,
            new.subject,
            new.event.kind(),
            BODY_VERSION,
            new.event.body()
        ])?;
        if !self.fresh.contains(new.subject) {
            self.fresh.insert(new.subject.to_string());
        }
        self.count += 1;
        if self.count >= ROWS_BETWEEN {
            self.drop_oldest(new.at_ms)?;
        }
        Ok(())
    }

    fn drop_oldest(&mut self, now_ms: u64) -> Result<(), LedgerError> {
        let Limits { rows_max, rows_of_subject_max, age_ms_max } = self.limits;
        let transaction = self.connection.transaction()?;
        transaction
            .execute("DELETE FROM happened WHERE at < ?1", [now_ms.saturating_sub(age_ms_max)])?;
        for subject in self.fresh.drain() {
            let oldest =
                "SELECT id FROM happened WHERE subject = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";
            let oldest: Option<u64> = transaction
                .query_row(oldest, params![subject, rows_of_subject_max], |row| row.get(0))
                .optional()?;
            if let Some(oldest) = oldest {
                transaction.execute(
                    "DELETE FROM happened WHERE subject = ?1 AND id <= ?2",
                    params![subject, oldest],
                )?;
            }
        }
        let rows: u64 =
            transaction.query_row("SELECT count(*) FROM happened", [], |row| row.get(0))?;
        let excess = rows.saturating_sub(rows_max);
        transaction.execute(
            "DELETE FROM happened WHERE id IN (SELECT id FROM happened ORDER BY id LIMIT ?1)",
            [excess],
        )?;
        transaction.commit()?;
        self.count = 0;
        Ok(())
    }

    /// Keeps how many replicas are wanted of versions; `None` of one that is not to be known any
    /// more.
    pub fn set_targets(&mut self, targets: &[(String, Option<u32>)]) -> Result<(), LedgerError> {
        let transaction = self.connection.transaction()?;
        for (version, target) in targets {
            match target {
                Some(target) => transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO targets (version, target) VALUES (?1, ?2)",
                    )?
                    .execute(params![version, target])?,
                None => transaction
                    .prepare_cached("DELETE FROM targets WHERE version = ?1")?
                    .execute([version])?,
            };
        }
        Ok(transaction.commit()?)
    }

    /// How many replicas were wanted last, by version.
    pub fn targets(&self) -> Result<HashMap<String, u32>, LedgerError> {
        let mut statement = self.connection.prepare("SELECT version, target FROM targets")?;
        let targets = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(targets.collect::<Result<_, _>>()?)
    }

    /// Looks at the rows after a place.
    pub fn scan(
        &self,
        after: After,
        selection: &Selection,
        reach: Reach,
    ) -> Result<Scan, LedgerError> {
        let from = match after.telemetry {
            Some(id) => id,
            None => {
                let first = "SELECT id FROM happened WHERE after >= ?1 ORDER BY after, id LIMIT 1";
                let first: Option<u64> =
                    self.connection.query_row(first, [after.seq], |row| row.get(0)).optional()?;
                let Some(first) = first else { return Ok(Scan::default()) };
                first - 1
            }
        };
        let scans = selection
            .parts()
            .into_iter()
            .map(|subject| self.scan_part(from, subject, selection, reach));
        Ok(Scan::joined(scans.collect::<Result<Vec<Scan>, LedgerError>>()?))
    }

    fn scan_part(
        &self,
        from: u64,
        subject: Option<&str>,
        selection: &Selection,
        reach: Reach,
    ) -> Result<Scan, LedgerError> {
        let of = if subject.is_some() { "subject = ?1" } else { "?1 IS NULL" };
        let sql = format!(
            "SELECT id, after, at, subject, kind, body_version, body FROM happened WHERE {of} AND id > ?2 ORDER BY id LIMIT ?3"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![subject, from, reach.rows_max as i64])?;
        let mut scan = Scan::default();
        while let Some(row) = rows.next()? {
            let place = After { seq: row.get(1)?, telemetry: Some(row.get(0)?) };
            let kind: String = row.get(4)?;
            let (version, body): (u32, Vec<u8>) = (row.get(5)?, row.get(6)?);
            // What a newer program wrote is left out.
            let event =
                Event::from_parts(&kind, version, &body).ok().filter(|_| selection.takes(&kind));
            let (at_ms, subject, actor) = (row.get(2)?, row.get(3)?, PLATFORM.to_string());
            let happened = event.map(|event| Happened {
                place,
                at_ms,
                actor,
                principal: None,
                about: None,
                subject,
                entry: None,
                event,
            });
            if scan.take(place, happened, reach) {
                break;
            }
        }
        Ok(scan)
    }

    /// Writes a consistent copy to a new file.
    pub fn backup_to(&self, path: &Path) -> Result<(), LedgerError> {
        sqlite::copy_to(&self.connection, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::kinds_of;
    use domain::{DataDirectory, Digest, Placement, ReplicaId, VersionNumber};

    fn ready(number: u64) -> Event {
        let placement = Placement {
            model: domain::state::default_model("m").unwrap(),
            environment: "production".parse().unwrap(),
            version: VersionNumber(1),
            digest: Digest::ZERO,
            revision: 0,
        };
        Event::ReplicaReady {
            replica: ReplicaId(format!("r1-{number}")),
            placement,
            elapsed_ms: number,
            sandbox: None,
        }
    }

    fn add(telemetry: &mut Telemetry, after: u64, at_ms: u64, subject: &str) {
        telemetry.add(Observed { after, at_ms, subject, event: &ready(at_ms) }).unwrap();
    }

    fn at(telemetry: &Telemetry, after: &str, subject: Option<&str>) -> Vec<u64> {
        let selection =
            Selection { subjects: subject.into_iter().map(String::from).collect(), kinds: None };
        let scan = telemetry
            .scan(
                after.parse().unwrap(),
                &selection,
                Reach { rows_max: 1_000_000, found_max: 1_000_000 },
            )
            .unwrap();
        scan.rows.into_iter().map(|(_, found)| found.unwrap().at_ms).collect()
    }

    #[test]
    fn use_does_not_grow_it_beyond_its_limits() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Location::of(&DataDirectory::new(directory.path()));
        let (mut telemetry, _) = Telemetry::open(&ledger).unwrap();
        telemetry.limits = Limits { rows_max: 500, rows_of_subject_max: 300, age_ms_max: 100_000 };
        add(&mut telemetry, 1, 0, "quiet");
        for at_ms in 1..=5_000 {
            add(&mut telemetry, 1, at_ms, "default/noisy");
        }
        assert_eq!(
            at(&telemetry, "0", Some("quiet")),
            [0],
            "who is noisy displaces nothing of the others"
        );
        let noisy = at(&telemetry, "0", Some("default/noisy"));
        assert!(
            noisy.len() <= 300 + ROWS_BETWEEN && noisy.last() == Some(&5_000),
            "{}",
            noisy.len()
        );
        for number in 0..2_000 {
            add(&mut telemetry, 1, 5_000, &format!("default/m{number}"));
        }
        assert!(at(&telemetry, "0", None).len() <= 500 + ROWS_BETWEEN);
        for _ in 0..ROWS_BETWEEN {
            add(&mut telemetry, 1, 200_000, "late");
        }
        assert_eq!(at(&telemetry, "0", None), [200_000; ROWS_BETWEEN], "what is too old is gone");
    }

    #[test]
    fn it_is_read_from_a_place_on_and_outlives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Location::of(&DataDirectory::new(directory.path()));
        let (mut telemetry, _) = Telemetry::open(&ledger).unwrap();
        for (after, at_ms, subject) in [(3, 10, "a"), (3, 20, "b"), (5, 30, "a"), (9, 40, "b")] {
            add(&mut telemetry, after, at_ms, subject);
        }
        telemetry.set_targets(&[("a v1".into(), Some(3)), ("b v1".into(), Some(0))]).unwrap();
        telemetry.set_targets(&[("b v1".into(), None)]).unwrap();
        drop(telemetry);
        let (telemetry, made_anew) = Telemetry::open(&ledger).unwrap();
        assert!(made_anew.is_none());
        assert_eq!(telemetry.targets().unwrap(), [("a v1".to_string(), 3)].into());
        assert_eq!(at(&telemetry, "0", None), [10, 20, 30, 40]);
        assert_eq!(at(&telemetry, "4", None), [30, 40]);
        assert_eq!(
            at(&telemetry, "5", Some("a")),
            [30],
            "what came after entry 5 and before the next"
        );
        assert_eq!(at(&telemetry, "3.1", None), [20, 30, 40]);
        assert!(at(&telemetry, "9.4", None).is_empty() && at(&telemetry, "10", None).is_empty());
        let kinds = Some(kinds_of("scale").map(String::from).collect());
        let scan = telemetry
            .scan(
                After::default(),
                &Selection { kinds, subjects: vec![] },
                Reach { rows_max: 3, found_max: 9 },
            )
            .unwrap();
        let page = scan.page(After::default(), 100);
        assert!(page.events.is_empty() && page.more && page.next.to_string() == "0.3", "{page:?}");
        let copy = directory.path().join("copy.sqlite");
        telemetry.backup_to(&copy).unwrap();
        drop(telemetry);
        std::fs::write(ledger.telemetry(), "no database, but long enough to be one ".repeat(200))
            .unwrap();
        let (telemetry, made_anew) = Telemetry::open(&ledger).unwrap();
        assert!(made_anew.is_some() && at(&telemetry, "0", None).is_empty());
    }
}

//! What the catalogue knows of erasures: each until it is over, so that one that was interrupted is
//! completed, and then only how much it was. What is erased is never written down: only what it is
//! known by, under a salt, and that goes when all is done.

use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use domain::{ModelName, ProjectName};

use super::{Catalogue, insert_file, insert_gap};
use crate::{Gap, RecordFile};

/// How far an erasure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Files may have what is to be erased.
    Begun,
    /// None of those that there were has.
    Swept,
    /// Nor has any that was on its way.
    Done,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Begun => "begun",
            Stage::Swept => "swept",
            Stage::Done => "done",
        }
    }
}

/// What is looked for, without saying what it is: each text as its MAC under a salt.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sought {
    /// 64 hexadecimal digits.
    pub salt: String,
    /// Keys.
    pub keys: Vec<String>,
    /// Names of columns …
    pub names: Vec<String>,
    /// … with these values.
    pub values: Vec<String>,
}

/// An erasure, and how much it was so far.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Erased {
    /// Counts them.
    #[serde(skip)]
    pub id: u64,
    /// Where.
    pub project: ProjectName,
    /// Of this model only.
    pub model: Option<ModelName>,
    /// Of requests answered until then, in milliseconds since 1970.
    pub until_ms: u64,
    /// Who wanted it, as whoever asked names them.
    pub by: String,
    /// What stands for the key in the ledger.
    pub mark: String,
    /// Requests of which at least one row is gone.
    pub records: u64,
    /// Rows that are gone.
    pub rows: u64,
    /// Files that had some.
    pub files: u64,
    /// Files that could not be read: they are as they were.
    pub unread: u64,
    /// What is looked for; nothing once all is done.
    pub sought: Sought,
}

/// What takes the place of a file.
pub struct Swap<'s> {
    /// The file that goes.
    pub old: &'s RecordFile,
    /// What is left of it; `None` if nothing is.
    pub new: Option<&'s RecordFile>,
}

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS erasures (
        id INTEGER PRIMARY KEY AUTOINCREMENT, stage TEXT NOT NULL, told INTEGER NOT NULL,
        body TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS replaced (path TEXT PRIMARY KEY) WITHOUT ROWID;
";

fn body_of(erased: &Erased) -> String {
    serde_json::to_string(erased).unwrap_or_default()
}

fn keep(transaction: &Transaction<'_>, erased: &Erased) -> rusqlite::Result<()> {
    let sql = "UPDATE erasures SET body = ?2 WHERE id = ?1";
    transaction.execute(sql, params![erased.id as i64, body_of(erased)]).map(drop)
}

impl Catalogue {
    /// Notes an erasure before anything is erased. Gives its number.
    pub fn begin_erasure(&self, erased: &Erased) -> rusqlite::Result<u64> {
        let connection = self.connection.lock();
        let sql = "INSERT INTO erasures (stage, told, body) VALUES (?1, 0, ?2)";
        connection.execute(sql, params![Stage::Begun.name(), body_of(erased)])?;
        Ok(connection.last_insert_rowid() as u64)
    }

    fn erasures(&self, condition: &str) -> rusqlite::Result<Vec<Erased>> {
        let connection = self.connection.lock();
        let sql = format!("SELECT id, body FROM erasures WHERE {condition} ORDER BY id");
        let mut statement = connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| {
            let (id, text): (i64, String) = (row.get(0)?, row.get(1)?);
            let erased = serde_json::from_str::<Erased>(&text).ok();
            Ok(erased.map(|erased| Erased { id: id as u64, ..erased }))
        })?;
        rows.filter_map(Result::transpose).collect()
    }

    /// Those at a stage.
    pub fn erasures_at(&self, stage: Stage) -> rusqlite::Result<Vec<Erased>> {
        self.erasures(&format!("stage = '{}'", stage.name()))
    }

    /// Those that were swept and that the ledger does not have yet.
    pub fn untold(&self) -> rusqlite::Result<Vec<Erased>> {
        self.erasures("told = 0 AND stage != 'begun'")
    }

    /// The ledger has it.
    pub fn tell(&self, id: u64) -> rusqlite::Result<()> {
        let connection = self.connection.lock();
        connection.execute("UPDATE erasures SET told = 1 WHERE id = ?1", [id as i64]).map(drop)
    }

    /// Puts what is left of a file in its place, with what is missing as a gap, all or nothing.
    /// `false` if the file is not there any more, and all stays as it is.
    pub fn swap(&self, swap: &Swap<'_>, erased: &Erased, gap: &Gap) -> rusqlite::Result<bool> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        if transaction.execute("DELETE FROM files WHERE path = ?1", [&swap.old.path])? == 0 {
            return Ok(false);
        }
        if let Some(new) = swap.new {
            insert_file(&transaction, new)?;
        }
        if gap.records > 0 {
            insert_gap(&transaction, gap)?;
        }
        let sql = "INSERT OR IGNORE INTO replaced VALUES (?1)";
        transaction.execute(sql, [&swap.old.path])?;
        keep(&transaction, erased)?;
        transaction.commit().map(|()| true)
    }

    /// Notes how far an erasure is.
    pub fn advance(&self, erased: &Erased, stage: Stage) -> rusqlite::Result<()> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        keep(&transaction, erased)?;
        let sql = "UPDATE erasures SET stage = ?2 WHERE id = ?1";
        transaction.execute(sql, params![erased.id as i64, stage.name()])?;
        transaction.commit()
    }

    /// Files that others took the place of, and that may still be there.
    pub fn replaced(&self) -> rusqlite::Result<Vec<String>> {
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached("SELECT path FROM replaced")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    }

    /// A replaced file is gone.
    pub fn forget_replaced(&self, path: &str) -> rusqlite::Result<()> {
        let connection = self.connection.lock();
        connection.execute("DELETE FROM replaced WHERE path = ?1", [path]).map(drop)
    }

    /// Brings all that was committed to the disk, and what was deleted off it.
    pub fn checkpoint(&self) -> rusqlite::Result<()> {
        let connection = self.connection.lock();
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.query_row(sql, [], |_| Ok(())).optional().map(drop)
    }
}

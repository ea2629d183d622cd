//! Snapshots: the state after some entry, part by part, in a file of its own. It is derived from the
//! ledger and can be made again at any time, so that whatever is not as it was written is thrown
//! away; and it never holds up those who append. Whatever the ledger's store, it is an SQLite file in
//! the data directory: each machine that reads a ledger keeps its own.

use std::path::Path;
use std::sync::mpsc::{self, TrySendError};
use std::thread;

use domain::digest::Hasher;
use domain::{Digest, State};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{LedgerError, Location, sqlite};

/// Parts that go from one thread to another at a time.
const BATCH_PARTS: usize = 32;
/// Batches that wait for the other thread at most.
const BATCHES_WAITING_MAX: usize = 8;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS parts (
    key TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS parts_hash ON parts (key, hash);
CREATE TABLE IF NOT EXISTS head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL,
    entry_hash BLOB NOT NULL,
    parts_hash BLOB NOT NULL
) STRICT;";

/// What the last snapshot says of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    /// Its state's last entry.
    seq: u64,
    /// Of that entry.
    entry_hash: Digest,
    /// Over all parts.
    parts_hash: Digest,
}

/// The snapshot of a ledger, as of when this process last read or wrote it.
pub struct Snapshot {
    connection: Connection,
    state: State,
    head: Option<Head>,
    made_anew: Option<LedgerError>,
}

impl Snapshot {
    /// Opens or makes the snapshot of a ledger. One whose content cannot be used is made anew; one
    /// that only cannot be reached now (another process holds it, the disk takes no writes, this
    /// process has no descriptor left) stays, as it may be whole.
    pub fn open(ledger: &Location) -> Result<Snapshot, LedgerError> {
        // Those of earlier programs, which folded in another way.
        ledger.old_snapshots().for_each(|path| sqlite::remove(&path));
        let path = ledger.snapshot();
        match Snapshot::open_existing(&path) {
            Err(error) if sqlite::is_about_content(&error) => {
                // This start reads the whole history.
                sqlite::remove(&path);
                Ok(Snapshot { made_anew: Some(error), ..Snapshot::open_existing(&path)? })
            }
            opened => opened,
        }
    }

    fn open_existing(path: &Path) -> Result<Snapshot, LedgerError> {
        let connection = sqlite::open(path, "NORMAL")?;
        connection.execute_batch(SCHEMA)?;
        let (state, head) = load(&connection)?;
        Ok(Snapshot { connection, state, head, made_anew: None })
    }

    /// Why what was there could not be used, if it could not.
    pub fn made_anew(&self) -> Option<&LedgerError> {
        self.made_anew.as_ref()
    }

    /// Its state; empty if there was none.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Writes what has changed since the last time.
    pub fn save(&mut self, state: &State) -> Result<(), LedgerError> {
        let transaction = self.connection.transaction()?;
        if read_head(&transaction)? != self.head {
            // Another process wrote it since.
            transaction.execute_batch("DELETE FROM parts; DELETE FROM head;")?;
            self.state = State::default();
        }
        let mut put = transaction
            .prepare("INSERT OR REPLACE INTO parts (key, hash, body) VALUES (?1, ?2, ?3)")?;
        let mut drop_part = transaction.prepare("DELETE FROM parts WHERE key = ?1")?;
        for part in state.parts_changed_since(&self.state) {
            match part.body {
                Some(body) => {
                    put.execute(params![part.key, hash_of(&part.key, &body).0.as_slice(), body])?
                }
                None => drop_part.execute([part.key])?,
            };
        }
        drop((put, drop_part));
        let head =
            Head { seq: state.seq, entry_hash: state.hash, parts_hash: parts_hash(&transaction)? };
        transaction.execute(
            "INSERT OR REPLACE INTO head (one, seq, entry_hash, parts_hash) VALUES (1, ?1, ?2, ?3)",
            params![head.seq, head.entry_hash.0.as_slice(), head.parts_hash.0.as_slice()],
        )?;
        transaction.commit()?;
        (self.state, self.head) = (state.clone(), Some(head));
        Ok(())
    }
}

/// The state of a ledger's snapshot, if there is one, for who only reads; fails if it is not as it
/// was written.
pub fn read(ledger: &Location) -> Result<State, LedgerError> {
    let path = ledger.snapshot();
    if !path.exists() {
        return Ok(State::default());
    }
    Ok(load(&sqlite::open_read_only(&path)?)?.0)
}

fn digest(bytes: Vec<u8>) -> Result<Digest, LedgerError> {
    bytes
        .try_into()
        .map(Digest)
        .map_err(|_| LedgerError::Corrupt("the snapshot has a hash of a wrong length".into()))
}

fn read_head(connection: &Connection) -> Result<Option<Head>, LedgerError> {
    let sql = "SELECT seq, entry_hash, parts_hash FROM head";
    let row = connection
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((seq, entry_hash, parts_hash)) = row else { return Ok(None) };
    Ok(Some(Head { seq, entry_hash: digest(entry_hash)?, parts_hash: digest(parts_hash)? }))
}

fn hash_of(key: &str, body: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.field(key.as_bytes());
    hasher.field(body);
    hasher.finish()
}

/// Over the hashes of all parts, in order.
fn parts_hash(connection: &Connection) -> Result<Digest, LedgerError> {
    let mut hasher = Hasher::new();
    let mut statement =
        connection.prepare("SELECT hash FROM parts INDEXED BY parts_hash ORDER BY key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        hasher.field(row.get_ref(0)?.as_blob().unwrap_or_default());
    }
    Ok(hasher.finish())
}

/// Reads all parts. Another thread takes in what it can, as that takes longer than reading them;
/// this one does the rest.
fn load(connection: &Connection) -> Result<(State, Option<Head>), LedgerError> {
    let Some(head) = read_head(connection)? else { return Ok((State::default(), None)) };
    let (hand_over, handed_over) = mpsc::sync_channel::<Batch>(BATCHES_WAITING_MAX);
    let (mine, others) = thread::scope(|scope| {
        let other = scope.spawn(move || {
            let mut taken = Taken::default();
            handed_over.iter().try_for_each(|batch| taken.take(batch)).map(|()| taken)
        });
        let mut mine = Taken::default();
        let read = read_batches(connection, |batch| match hand_over.try_send(batch) {
            Ok(()) => Ok(()),
            // It has enough to do, or has failed and says why at the end.
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => mine.take(batch),
        });
        drop(hand_over);
        let others = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        read.map(|()| (mine, others))
    })?;
    let mut hashes: Vec<(usize, Digest)> = mine.hashes.into_iter().chain(others.hashes).collect();
    hashes.sort_unstable_by_key(|(number, _)| *number);
    let mut hasher = Hasher::new();
    hashes.iter().for_each(|(_, hash)| hasher.field(&hash.0));
    if hasher.finish() != head.parts_hash {
        return Err(LedgerError::Corrupt("the snapshot was changed after it was written".into()));
    }
    let mut state = State { seq: head.seq, hash: head.entry_hash, ..mine.state };
    state.take_parts_of(others.state);
    Ok((state, Some(head)))
}

/// Some parts that follow each other.
struct Batch {
    /// The number of the first, in the order of their keys.
    first: usize,
    /// Key and value.
    parts: Vec<(String, Vec<u8>)>,
}

/// What one thread has taken in.
#[derive(Default)]
struct Taken {
    state: State,
    /// The number of each part with its hash.
    hashes: Vec<(usize, Digest)>,
}

impl Taken {
    fn take(&mut self, batch: Batch) -> Result<(), LedgerError> {
        for (number, (key, body)) in (batch.first..).zip(batch.parts) {
            self.hashes.push((number, hash_of(&key, &body)));
            self.state.take_part(&key, &body).map_err(|error| {
                LedgerError::Corrupt(format!("the snapshot's part `{key}` cannot be read: {error}"))
            })?;
        }
        Ok(())
    }
}

fn read_batches(
    connection: &Connection,
    mut take: impl FnMut(Batch) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    let mut statement = connection.prepare("SELECT key, body FROM parts ORDER BY key")?;
    let mut rows = statement.query([])?;
    let mut batch = Batch { first: 0, parts: Vec::new() };
    while let Some(row) = rows.next()? {
        batch.parts.push((row.get(0)?, row.get(1)?));
        if batch.parts.len() == BATCH_PARTS {
            let next = Batch { first: batch.first + BATCH_PARTS, parts: Vec::new() };
            take(std::mem::replace(&mut batch, next))?;
        }
    }
    take(batch)
}

//! Which hours of predictions have to be looked at again, because truth came: marked in the same
//! transaction as the truth, so that none is forgotten.

use domain::ModelKey;
use rusqlite::{Transaction, params};

use super::{TruthError, Truths};
use crate::catalogue::HOUR_MS;

/// An hour of a model's predictions that truth came for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dirty {
    /// The begin of the hour, in milliseconds since 1970.
    pub hour_ms: u64,
    /// Grows with each truth that comes.
    pub mark: u64,
}

/// A key of a model that truth came for: its predictions may be in any hour before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirtyKey {
    /// The key.
    pub key: String,
    /// The truth holds for predictions before this time, in milliseconds since 1970.
    pub until_ms: u64,
    /// Grows with each.
    pub mark: u64,
}

/// Marks hours.
pub fn mark(
    transaction: &Transaction<'_>,
    number: i64,
    hours: impl Iterator<Item = u64>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE marks SET last = last + 1 RETURNING last";
    let last: i64 = transaction.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let sql = "INSERT INTO dirty VALUES (?1, ?2, ?3) \
               ON CONFLICT DO UPDATE SET mark = excluded.mark";
    let mut insert = transaction.prepare_cached(sql)?;
    for hour_ms in hours {
        insert.execute(params![number, hour_ms as i64, last])?;
    }
    Ok(())
}

impl Truths {
    /// Hours of a model that have to be looked at again, those marked first before others.
    pub fn dirty(&self, model: &ModelKey, hours_max: usize) -> Result<Vec<Dirty>, TruthError> {
        let connection = self.connection.lock();
        let Some(number) = super::found::number(&connection, model)? else { return Ok(vec![]) };
        let sql = "SELECT hour_ms, mark FROM dirty WHERE model = ?1 ORDER BY mark LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![number, hours_max as i64], |row| {
            let (hour_ms, mark): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Dirty { hour_ms: hour_ms as u64, mark: mark as u64 })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes marks off; an hour that was marked again meanwhile stays marked.
    pub fn looked_at(&self, model: &ModelKey, hours: &[Dirty]) -> Result<(), TruthError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        if let Some(number) = super::found::number(&transaction, model)? {
            for Dirty { hour_ms, mark } in hours {
                let sql = "DELETE FROM dirty WHERE model = ?1 AND hour_ms = ?2 AND mark <= ?3";
                transaction.execute(sql, params![number, *hour_ms as i64, *mark as i64])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Keys of a model that truth came for, the first ones first.
    pub fn dirty_keys(
        &self,
        model: &ModelKey,
        keys_max: usize,
    ) -> Result<Vec<DirtyKey>, TruthError> {
        let connection = self.connection.lock();
        let Some(number) = super::found::number(&connection, model)? else { return Ok(vec![]) };
        let sql = "SELECT key, until_ms, mark FROM dirty_keys WHERE model = ?1 \
                   ORDER BY mark LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![number, keys_max as i64], |row| {
            let (until_ms, mark): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok(DirtyKey { key: row.get(0)?, until_ms: until_ms as u64, mark: mark as u64 })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Marks the hours that have such keys, and forgets the keys up to a mark.
    pub fn spread(&self, model: &ModelKey, hours: &[u64], mark: u64) -> Result<(), TruthError> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction()?;
        if let Some(number) = super::found::number(&transaction, model)? {
            let hours = hours.iter().map(|hour_ms| hour_ms / HOUR_MS * HOUR_MS);
            super::marks::mark(&transaction, number, hours)?;
            let sql = "DELETE FROM dirty_keys WHERE model = ?1 AND mark <= ?2";
            transaction.execute(sql, params![number, mark as i64])?;
        }
        Ok(transaction.commit()?)
    }
}

//! The truth of predictions, as it is looked up to be joined with them.

use std::collections::HashMap;

use domain::ModelKey;
use domain::outcome::Outcome;
use rusqlite::{Connection, OptionalExtension, params};

use super::{TruthError, Truths, outcome};

/// What is true of a prediction.
#[derive(Clone, PartialEq, Debug)]
pub struct Found {
    /// What is true.
    pub truth: Outcome,
    /// When it became so, or came, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What was said of a key.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyTruth {
    /// Whether it says when it became true; else `from_ms` and `until_ms` say when it first and last
    /// came.
    pub is_dated: bool,
    /// In milliseconds since 1970.
    pub from_ms: u64,
    /// The same, if it is dated.
    pub until_ms: u64,
    /// What is true.
    pub truth: Outcome,
}

/// Which of the things said of a key holds for a prediction: of those that are dated the first after
/// it; else the last that came. Neither is waited for longer than `truth_ms_max`.
pub fn of_prediction(said: &[KeyTruth], time_ms: u64, truth_ms_max: u64) -> Option<Found> {
    let last_ms = time_ms.saturating_add(truth_ms_max);
    let holds = |said: &&KeyTruth| said.until_ms >= time_ms && said.from_ms <= last_ms;
    let dated = said.iter().filter(|said| said.is_dated).filter(holds);
    let undated = said.iter().filter(|said| !said.is_dated).filter(holds);
    let found = dated
        .min_by_key(|said| said.from_ms)
        .or_else(|| undated.max_by_key(|said| said.from_ms))?;
    Some(Found { truth: found.truth.clone(), at_ms: found.from_ms.max(time_ms) })
}

/// The number of a model, if there is any truth of it.
pub fn number(connection: &Connection, model: &ModelKey) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT number FROM models WHERE project = ?1 AND model = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let names = [model.project.as_str(), model.model.as_str()];
    statement.query_row(names, |row| row.get(0)).optional()
}

impl Truths {
    /// What is true of requests from one id to another, by id and row.
    pub fn of_requests(
        &self,
        model: &ModelKey,
        first: &[u8; 16],
        last: &[u8; 16],
    ) -> Result<HashMap<([u8; 16], u32), Found>, TruthError> {
        let connection = self.connection.lock();
        let Some(number) = number(&connection, model)? else { return Ok(HashMap::new()) };
        let sql = "SELECT id, row, value, at_ms FROM requests \
                   WHERE model = ?1 AND id BETWEEN ?2 AND ?3";
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![number, first, last], |row| {
            let found =
                Found { truth: outcome(row.get_ref(2)?), at_ms: row.get::<_, i64>(3)? as u64 };
            Ok(((row.get(0)?, row.get(1)?), found))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What was said of keys; those of which nothing was are left out.
    pub fn of_keys<'a>(
        &self,
        model: &ModelKey,
        keys: impl Iterator<Item = &'a str>,
    ) -> Result<HashMap<&'a str, Vec<KeyTruth>>, TruthError> {
        let connection = self.connection.lock();
        let mut found = HashMap::new();
        let Some(number) = number(&connection, model)? else { return Ok(found) };
        let sql = "SELECT is_dated, from_ms, until_ms, value FROM keys \
                   WHERE model = ?1 AND key = ?2 ORDER BY from_ms";
        let mut statement = connection.prepare_cached(sql)?;
        for key in keys {
            let said = statement.query_map(params![number, key], |row| {
                Ok(KeyTruth {
                    is_dated: row.get(0)?,
                    from_ms: row.get::<_, i64>(1)? as u64,
                    until_ms: row.get::<_, i64>(2)? as u64,
                    truth: outcome(row.get_ref(3)?),
                })
            })?;
            let said = said.collect::<Result<Vec<_>, _>>()?;
            if !said.is_empty() {
                found.insert(key, said);
            }
        }
        Ok(found)
    }

    /// Whether anything was said of any key of a model.
    pub fn has_keys(&self, model: &ModelKey) -> Result<bool, TruthError> {
        let connection = self.connection.lock();
        let Some(number) = number(&connection, model)? else { return Ok(false) };
        let sql = "SELECT EXISTS (SELECT 1 FROM keys WHERE model = ?1)";
        Ok(connection.query_row(sql, [number], |row| row.get(0))?)
    }
}

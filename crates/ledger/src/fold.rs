//! The fold of a ledger: a state, and the entries after it, each checked against the one before.

use domain::{Digest, State};

use crate::{Ledger, LedgerError, Location, Row, head, kinds};

/// Whether a ledger that is not as it was written is read all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// It is an error.
    Refused,
    /// An option says explicitly that it is to be used as it is.
    Accepted,
}

/// The state after all entries: `from`, if it was folded from this ledger, and what came after it.
pub fn fold(ledger: &Ledger, from: State, damage: Damage) -> Result<State, LedgerError> {
    let entries = ledger.log.entries();
    if !entries.has_any()? {
        return fold_nothing(&ledger.location, damage);
    }
    let mut state = if stems_from(ledger, &from)? { from } else { State::default() };
    if state.seq > 0 {
        // What is not read again may hold what only a newer program knows.
        kinds::check(entries)?;
    }
    let mut previous = state.hash;
    entries.read_after(state.seq, usize::MAX, |row, hash| {
        if damage == Damage::Refused {
            check(&row, hash, state.seq, previous)?;
        }
        previous = hash;
        // Entry by entry: the event of a large tree takes megabytes.
        state.apply(&row.into_entry(hash)?);
        Ok(())
    })?;
    if damage == Damage::Refused {
        check_end(ledger, &state)?;
    }
    Ok(state)
}

/// The state of a ledger that does not exist; fails if there was one.
pub fn fold_nothing(location: &Location, damage: Damage) -> Result<State, LedgerError> {
    match head::read(&location.head()) {
        Some((seq, _)) if damage == Damage::Refused => Err(LedgerError::CutOff { seq, last: 0 }),
        _ => Ok(State::default()),
    }
}

/// Whether the last entry of a state is in this ledger, so that the state is of its history.
fn stems_from(ledger: &Ledger, state: &State) -> Result<bool, LedgerError> {
    Ok(state.seq == 0 || ledger.log.entries().hash_of(state.seq)? == Some(state.hash))
}

fn check(row: &Row, hash: Digest, last: u64, previous: Digest) -> Result<(), LedgerError> {
    let wrong = if row.seq != last + 1 {
        format!("entry {} is missing", last + 1)
    } else if row.previous_hash != previous {
        format!("entry {} does not follow from the one before", row.seq)
    } else if row.hash() != hash {
        format!("entry {} was changed after it was written", row.seq)
    } else {
        return Ok(());
    };
    Err(LedgerError::Corrupt(wrong))
}

/// Fails if the marker beside the ledger tells of an entry that is not there.
fn check_end(ledger: &Ledger, state: &State) -> Result<(), LedgerError> {
    let Some((seq, hash)) = head::read(&ledger.location.head()) else { return Ok(()) };
    match ledger.log.entries().hash_of(seq)? == Some(hash) {
        true => Ok(()),
        false => Err(LedgerError::CutOff { seq, last: state.seq }),
    }
}

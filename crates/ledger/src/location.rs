//! Where a ledger is: in which store, and in which data directory lies what is kept beside it (the
//! head marker, snapshots, telemetry). The one place that knows which stores there are.

use std::fmt;
use std::path::PathBuf;

use domain::DataDirectory;
use domain::state::FOLD_VERSION;

use crate::LedgerError;
use crate::log::Log;
use crate::sqlite::Sqlite;

/// Where a ledger is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    store: Store,
    data: DataDirectory,
}

/// Each store with what leads to it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Store {
    /// A file.
    Sqlite(PathBuf),
}

/// Why a text is no location. What follows the scheme is not repeated: it may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LocationError {
    /// Of a store that this program does not have.
    #[error("a ledger cannot be kept in `{0}:`; write sqlite:/PATH, or a path")]
    UnknownScheme(String),
    /// SQLite's scheme, and no place.
    #[error("`sqlite:` needs an absolute path: write sqlite:/PATH")]
    NotAbsolute,
    /// Nothing at all.
    #[error("a ledger needs a place: write sqlite:/PATH, or a path")]
    Empty,
}

/// What a store is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To read it, beside a running writer or without one; it must be there.
    Read,
    /// To append to it; it is made if it is not there.
    Write,
}

impl Location {
    /// The ledger of a data directory that says nothing else: a file in it.
    pub fn of(data: &DataDirectory) -> Location {
        Location { store: Store::Sqlite(data.ledger()), data: data.clone() }
    }

    /// A path, or a URL (`sqlite:/PATH`). What is kept beside the ledger lies in the data directory,
    /// wherever the ledger is.
    pub fn parse(text: &str, data: &DataDirectory) -> Result<Location, LocationError> {
        let path = match scheme(text) {
            Some(("sqlite", path)) if path.starts_with('/') => path,
            Some(("sqlite", _)) => return Err(LocationError::NotAbsolute),
            Some((other, _)) => return Err(LocationError::UnknownScheme(other.into())),
            None if text.is_empty() => return Err(LocationError::Empty),
            None => text,
        };
        Ok(Location { store: Store::Sqlite(path.into()), data: data.clone() })
    }

    /// Opens its store.
    pub fn open(&self, access: Access) -> Result<Box<dyn Log>, LedgerError> {
        match (&self.store, access) {
            (Store::Sqlite(path), Access::Read) => Ok(Box::new(Sqlite::open_read_only(path)?)),
            (Store::Sqlite(path), Access::Write) => Ok(Box::new(Sqlite::open(path)?)),
        }
    }

    /// Whether there is a store, be it empty.
    pub fn exists(&self) -> bool {
        match &self.store {
            Store::Sqlite(path) => path.exists(),
        }
    }

    /// Whether nothing was ever written to it: it is not there, or was only about to be made.
    pub fn is_blank(&self) -> bool {
        match &self.store {
            Store::Sqlite(path) => !path.metadata().is_ok_and(|metadata| metadata.len() > 0),
        }
    }

    /// The data directory of what is kept beside it.
    pub fn data(&self) -> &DataDirectory {
        &self.data
    }

    /// Its head marker.
    pub fn head(&self) -> PathBuf {
        self.data.ledger_head()
    }

    /// The snapshot of its state. Programs that fold in another way have another file.
    pub fn snapshot(&self) -> PathBuf {
        self.data.ledger_snapshot(FOLD_VERSION)
    }

    /// Its telemetry.
    pub fn telemetry(&self) -> PathBuf {
        self.data.telemetry()
    }

    /// The snapshots of earlier programs, which folded in another way.
    pub fn old_snapshots(&self) -> impl Iterator<Item = PathBuf> + '_ {
        (0..FOLD_VERSION).map(|version| self.data.ledger_snapshot(version))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match &self.store {
            Store::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
        }
    }
}

/// The scheme of a URL and what follows it; `None` if the text is a path.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some((scheme, rest))
}

#[cfg(test)]
mod tests;

//! The names of people, services and jobs, beside the ledger: entries hold ids only, so that a name
//! can be erased and every proof about the ledger stays as it is. What is erased is overwritten in
//! the file, too.

use std::path::Path;

use domain::Principal;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{LedgerError, sqlite};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS names (
    principal TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE IF NOT EXISTS identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    principal TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;
CREATE INDEX IF NOT EXISTS identities_principal ON identities (principal);";

/// The table of names.
pub struct Names {
    connection: Connection,
}

impl Names {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Result<Names, LedgerError> {
        let connection = sqlite::open(path, "FULL")?;
        connection.execute_batch("PRAGMA secure_delete = ON;")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Names { connection })
    }

    /// All of them.
    pub fn all(&self) -> Result<Vec<(Principal, String)>, LedgerError> {
        let mut rows = self.connection.prepare("SELECT principal, name FROM names")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut names = vec![];
        for row in rows {
            let (principal, name): (String, String) = row?;
            if let Ok(principal) = principal.parse() {
                names.push((principal, name));
            }
        }
        Ok(names)
    }

    /// Gives somebody a name; it is on disk when this returns.
    pub fn put(&mut self, principal: &Principal, name: &str) -> Result<(), LedgerError> {
        self.connection.execute(
            "INSERT INTO names (principal, name) VALUES (?1, ?2)
             ON CONFLICT (principal) DO UPDATE SET name = excluded.name",
            params![principal.to_string(), name],
        )?;
        Ok(())
    }

    /// Whom an identity provider means by a subject.
    pub fn identity(&self, issuer: &str, subject: &str) -> Result<Option<Principal>, LedgerError> {
        let found: Option<String> = self
            .connection
            .query_row(
                "SELECT principal FROM identities WHERE issuer = ?1 AND subject = ?2",
                [issuer, subject],
                |row| row.get(0),
            )
            .optional()?;
        Ok(found.and_then(|principal| principal.parse().ok()))
    }

    /// Whether an identity provider means this somebody by any subject.
    pub fn has_identity(&self, issuer: &str, principal: &Principal) -> Result<bool, LedgerError> {
        let mut found = self
            .connection
            .prepare("SELECT 1 FROM identities WHERE issuer = ?1 AND principal = ?2")?;
        Ok(found.exists([issuer, &principal.to_string()])?)
    }

    /// Remembers whom an identity provider means by a subject.
    pub fn put_identity(
        &mut self,
        issuer: &str,
        subject: &str,
        principal: &Principal,
    ) -> Result<(), LedgerError> {
        self.connection.execute(
            "INSERT OR REPLACE INTO identities (issuer, subject, principal) VALUES (?1, ?2, ?3)",
            [issuer, subject, &principal.to_string()],
        )?;
        Ok(())
    }

    /// Erases all that is known of somebody, in the file and in what is beside it.
    pub fn erase(&mut self, principal: &Principal) -> Result<(), LedgerError> {
        let transaction = self.connection.transaction()?;
        transaction.execute("DELETE FROM names WHERE principal = ?1", [principal.to_string()])?;
        transaction
            .execute("DELETE FROM identities WHERE principal = ?1", [principal.to_string()])?;
        transaction.commit()?;
        // What was written before lies in the log until it is taken over and cut.
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Writes a consistent copy to a new file.
    pub fn backup_to(&self, path: &Path) -> Result<(), LedgerError> {
        sqlite::copy_to(&self.connection, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_is_not_in_the_file_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("names.sqlite");
        let person: Principal = "person:1f0c9a2b33d4e5f6".parse().unwrap();
        let other: Principal = "person:2f0c9a2b33d4e5f6".parse().unwrap();
        let mut names = Names::open(&path).unwrap();
        names.put(&person, "Annabel Quaint").unwrap();
        names.put_identity("https://id.example", "quaint-subject", &person).unwrap();
        names.put(&other, "Bob").unwrap();
        assert!(names.put(&other, "Annabel Quaint").is_err(), "a name is one person's");
        assert_eq!(names.identity("https://id.example", "quaint-subject").unwrap(), Some(person));
        names.erase(&person).unwrap();
        assert_eq!(names.all().unwrap(), [(other, "Bob".to_string())]);
        assert_eq!(names.identity("https://id.example", "quaint-subject").unwrap(), None);
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for text in ["Quaint", "quaint"] {
                assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()));
            }
        }
    }
}

//! Erasures of records, as far as the ledger has them: who may, and that it was done; never what.

use domain::{Action, Caller, Digest, Event, Object, Principal, Problem, ProjectName, State};

use crate::Control;

/// Before a key, so that its mark in the ledger is not what stands for it in a record.
const MARK: &[u8] = b"decalog erasure\n";

impl Control {
    /// Refuses who may not erase records of a project.
    pub fn may_erase(&self, caller: &Caller, project: &ProjectName) -> Result<(), Problem> {
        self.permit(caller, Action::Administer, &Object::Project(project.clone()))?;
        self.refusal().map_or(Ok(()), Err)
    }

    /// What stands for a key in the ledger: whoever has the project's key can tell whether it was
    /// this one. Reads and writes a file.
    pub fn mark_of_key(&self, project: &ProjectName, key: &str) -> Result<Digest, Problem> {
        let pseudonyms = self.pseudonym_keys.get_or_make(project)?;
        Ok(Digest(pseudonyms.mac(&[MARK, key.as_bytes()].concat())))
    }

    /// Notes in the ledger that records were erased.
    pub async fn records_erased(
        &self,
        by: &Principal,
        project: &ProjectName,
        event: Event,
    ) -> Result<(), Problem> {
        let decide = move |_: &State| Ok(event);
        self.state_store.append(by, project.as_str(), decide).await.map(drop)
    }
}

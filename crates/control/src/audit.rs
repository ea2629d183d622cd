//! What somebody outside can check: checkpoints of the ledger, signed each minute in which entries
//! came and on demand, and the proofs that lead to them. Only the ledger's writer signs; the key
//! lies encrypted in the data directory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use domain::{Code, Digest, Problem};
use ledger::proof::{Receipt, SignatureType, SignerKey, VerifierKey};
use ledger::{ExportedEntry, KeptCheckpoint, Ledger};

use crate::Control;
use crate::random::random;
use crate::secret::Secrets;
use crate::state_store::ledger_problem;

/// Entries that came are under a checkpoint after so long, in milliseconds.
const CHECKPOINT_MS: u64 = 60_000;
/// The most entries that are read at a time for an export.
const EXPORT_ROWS_MAX: usize = 1_000;
/// What their bodies may have together, in bytes; one that is longer comes alone.
const EXPORT_BYTES_MAX: usize = 4 << 20;

/// How the key that signs is called among the secrets: no variable can have such a name.
const SCOPE: &str = "decalog";
const NAME: &str = "the key that signs checkpoints";

/// The file of the key that signs, among those of the secrets.
pub(crate) fn key_file() -> Digest {
    crate::secret::by_name(SCOPE, NAME)
}

/// The key that signs checkpoints.
#[derive(Clone)]
pub(crate) struct Signer {
    secrets: Secrets,
    /// Once it was read or made.
    key: Arc<OnceLock<SignerKey>>,
}

fn key_problem(text: impl Into<String>) -> Problem {
    Problem::new(Code::Secrets, text).help(format!(
        "put the right keys back into DATA/keys; to go on with a new one, remove DATA/secrets/{} and \
         start again: whoever checks receipts, and every witness, must then learn the new one",
        key_file()
    ))
}

impl Signer {
    /// That keeps its key among these secrets.
    pub fn new(secrets: Secrets) -> Signer {
        Signer { secrets, key: Arc::default() }
    }

    /// The key of this ledger; made the first time. Whoever asks writes the ledger, so that no two
    /// processes make one.
    fn key(&self, ledger: &Ledger) -> Result<SignerKey, Problem> {
        let origin = ledger.origin().map_err(ledger_problem)?;
        let origin = origin
            .ok_or_else(|| key_problem("the ledger has no first entry, after which it is named"))?;
        let key = match self.key.get() {
            Some(key) => key.clone(),
            None => self.read_or_make(&origin)?,
        };
        if key.public().name() != origin {
            let text = format!(
                "the key that signs checkpoints is of the ledger {}, and this is {origin}",
                key.public().name()
            );
            return Err(key_problem(text));
        }
        Ok(self.key.get_or_init(|| key).clone())
    }

    fn read_or_make(&self, origin: &str) -> Result<SignerKey, Problem> {
        let unusable = |error: &dyn std::fmt::Display| {
            key_problem(format!("the key that signs checkpoints cannot be used: {error}"))
        };
        if self.secrets.has_by_name(SCOPE, NAME) {
            let text = self.secrets.get(SCOPE, NAME, None).map_err(|error| unusable(&error))?;
            return text.parse().map_err(|error| unusable(&error));
        }
        let key = SignerKey::new(origin, SignatureType::Note, &random()?);
        let key = key.map_err(|error| unusable(&error))?;
        self.secrets.put_by_name(SCOPE, NAME, &key.reveal())?;
        Ok(key)
    }
}

impl Control {
    /// The newest checkpoint; a new one if entries came since the last.
    pub async fn checkpoint(&self) -> Result<KeptCheckpoint, Problem> {
        let (signer, at_ms) = (self.signer.clone(), self.clock.now_ms());
        self.state_store
            .write(move |ledger, damage| {
                let key = signer.key(ledger)?;
                ledger.checkpoint(&key, at_ms, damage).map_err(ledger_problem)
            })
            .await
    }

    /// Checkpoints after a number, in order, at most `limit`.
    pub async fn checkpoints(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<KeptCheckpoint>, Problem> {
        self.state_store.read(move |ledger| ledger.checkpoints(after, limit)).await
    }

    /// The key that checks this ledger's checkpoints.
    pub async fn verifier_key(&self) -> Result<VerifierKey, Problem> {
        if let Some(key) = self.signer.key.get() {
            return Ok(key.public().clone());
        }
        let signer = self.signer.clone();
        self.state_store.write(move |ledger, _| Ok(signer.key(ledger)?.public().clone())).await
    }

    /// That an entry is in the ledger, as the newest checkpoint says.
    pub async fn receipt(&self, seq: u64) -> Result<Receipt, Problem> {
        let checkpoint = self.checkpoint().await?;
        check_entry(seq, checkpoint.size)?;
        self.state_store.read(move |ledger| ledger.receipt(seq, &checkpoint)).await
    }

    /// That the ledger of `to` entries is the one of `from` entries with others added.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, Problem> {
        if from > to {
            let text = format!("a ledger of {from} entries does not become one of {to}");
            return Err(Problem::new(Code::BadRequest, text).help("from is the smaller number"));
        }
        let (last, _) = self.head().await?;
        if to > 0 {
            check_entry(to, last)?;
        }
        self.state_store.read(move |ledger| ledger.consistency(from, to)).await
    }

    /// Some entries after one, as they are stored; none if there are no more.
    pub async fn export(&self, after: u64) -> Result<Vec<ExportedEntry>, Problem> {
        self.state_store
            .read(move |ledger| ledger.export(after, EXPORT_ROWS_MAX, EXPORT_BYTES_MAX))
            .await
    }

    /// The last checkpoint of a process that ends, or of this minute. What is not signed now is
    /// signed with what comes next.
    pub(crate) async fn sign(&self) {
        match self.checkpoint().await {
            Ok(_) => {}
            // Another process writes, and signs.
            Err(problem) if problem.code == Code::Fenced => {}
            Err(problem) => tracing::error!("no checkpoint of the ledger is signed: {problem}"),
        }
    }

    /// Signs each minute in which entries came.
    pub(crate) async fn sign_forever(self: Arc<Control>) {
        let mut appended = self.state_store.appended();
        // Nobody knows whether those of the process before are signed for.
        appended.mark_changed();
        while appended.changed().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(CHECKPOINT_MS)).await;
            self.is_active().await;
            appended.borrow_and_update();
            self.sign().await;
        }
    }
}

fn check_entry(seq: u64, last: u64) -> Result<(), Problem> {
    match (1..=last).contains(&seq) {
        true => Ok(()),
        false => {
            let text = format!("the ledger has the entries 1 to {last}, and no entry {seq}");
            Err(Problem::new(Code::NoSuchEntry, text)
                .help("decalog events --json shows their numbers"))
        }
    }
}

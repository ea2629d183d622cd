//! Backups: one tar file with a consistent ledger, telemetry, all blobs that the ledger refers to,
//! the encrypted secrets and the encrypted key that signs checkpoints, sent as it is read. It ends with a list of what it holds: one that
//! was cut short is not taken for whole.

use std::collections::HashSet;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use artifacts::Lease;
use bytes::Bytes;
use domain::{Code, DataDirectory, Digest, Problem, State};
use futures_util::{Stream, TryStreamExt};
use ledger::{Damage, Ledger, Location};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{Control, aside};

/// The last entry: what came before it.
pub(crate) const CONTENTS: &str = "contents.json";
/// The ledger in an archive: an SQLite file, whatever store it was copied from.
pub(crate) const LEDGER: &str = "ledger.sqlite";
/// What is kept beside it, if there is any.
pub(crate) const TELEMETRY: &str = "telemetry.sqlite";
/// The names of people and services, if there are any.
pub(crate) const NAMES: &str = "names.sqlite";
/// The version of this format. The first had no telemetry, the second no names.
pub(crate) const FORMAT: u32 = 3;
/// Bytes of a file that are read at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for a slow reader.
const PIECES_MAX: usize = 8;
/// What every entry of a tar file is filled up to, in bytes.
const TAR_BLOCK_BYTES: u64 = 512;

/// Makes names of one process differ.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What a whole backup holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub format: u32,
    /// Entries of its ledger.
    pub entries: u64,
    pub blobs: u64,
    pub secrets: u64,
}

pub(crate) fn failed(what: &str) -> impl Fn(io::Error) -> Problem {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull => {
            Problem::new(Code::NoSpace, format!("the disk is full: {what}")).help("free some space")
        }
        _ => Problem::new(Code::Backup, format!("{what}: {error}")),
    }
}

/// All blobs that the versions of a state are made of.
pub(crate) fn blobs_of(state: &State) -> Vec<Digest> {
    let versions = state.models.values().flat_map(|model| model.versions.values());
    let mut digests: Vec<Digest> = versions
        .flat_map(|version| {
            let files = version.pushed.tree.files().iter().map(|file| file.digest);
            files.chain(version.pushed.lock.as_ref().map(|lock| lock.digest))
        })
        .collect();
    digests.sort();
    digests.dedup();
    digests
}

/// A copy of the ledger, and what its fold refers to.
struct Copied {
    ledger: std::fs::File,
    telemetry: Option<std::fs::File>,
    names: Option<std::fs::File>,
    entries: u64,
    digests: Vec<Digest>,
    wanted: HashSet<Digest>,
    lease: Lease,
}

/// A backup that is ready to be sent.
struct Ready {
    ledger: std::fs::File,
    telemetry: Option<std::fs::File>,
    entries: u64,
    blobs: Vec<(Digest, u64)>,
    secrets: Vec<(String, Vec<u8>)>,
    names: Option<std::fs::File>,
    _lease: Lease,
}

impl Control {
    /// Begins a backup. What can be known to be missing is said here; what turns out later ends the
    /// stream with an error. The keys are left out: a backup alone gives no secret away.
    pub async fn backup(
        self: &Arc<Control>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + use<>, Problem> {
        let ready = self.prepare_backup().await?;
        let (sender, receiver) = mpsc::channel(PIECES_MAX);
        let control = self.clone();
        tokio::spawn(async move {
            let mut archive = Archive { sender };
            if let Err(error) = control.send_backup(ready, &mut archive).await {
                tracing::warn!("a backup was not finished: {error}");
                let _ = archive.sender.send(Err(error)).await;
            }
        });
        Ok(futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        }))
    }

    async fn prepare_backup(&self) -> Result<Ready, Problem> {
        let copies = self.config.data.uploads().join(format!(
            "backup-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&copies).map_err(failed("copying the ledger"))?;
        let copied = self.copy_ledger(DataDirectory::new(&copies)).await;
        // The open file can be read to its end; its name is not needed for that.
        let _ = std::fs::remove_dir_all(&copies);
        let Copied { ledger, telemetry, names, entries, digests, wanted, lease } = copied?;
        let sizes = self.store.sizes(&digests).await.map_err(artifacts::ArtifactError::problem)?;
        let mut blobs = vec![];
        for (digest, size) in digests.into_iter().zip(sizes) {
            let lost = || {
                Problem::new(
                    Code::LostContent,
                    format!("the blob {digest} of a version is missing or damaged"),
                )
            };
            let help = "decalog doctor --verify names all that are; deploy the directories that they came from again";
            blobs.push((digest, size.ok_or_else(|| lost().help(help))?));
        }
        let files = self.secrets.clone();
        let secrets = aside(move || files.files()).await?.map_err(failed("reading the secrets"))?;
        let known: HashSet<&str> = secrets.iter().map(|(name, _)| name.as_str()).collect();
        if !wanted.iter().all(|file| known.contains(file.to_string().as_str())) {
            // It was set anew, or removed, after the ledger was copied.
            return Err(Problem::new(Code::Conflict, "a secret changed while the backup began")
                .help("try again"));
        }
        Ok(Ready { ledger, telemetry, entries, blobs, secrets, names, _lease: lease })
    }

    /// Copies the ledger and its telemetry into a directory, and holds all that its own fold refers
    /// to.
    async fn copy_ledger(&self, copies: DataDirectory) -> Result<Copied, Problem> {
        let (copy, beside, called) = (copies.ledger(), copies.telemetry(), copies.names());
        // Held before the copy is made, so that nothing can go between the two.
        let lease = self.store.leases().hold(blobs_of(&self.state())).await;
        self.state_store.backup_to(&copy).await?;
        let has_telemetry = self.journal.backup_to(&beside).await?;
        let has_names = self.names.backup_to(&called).await?;
        let folded = tokio::task::spawn_blocking(move || {
            let ledger = Ledger::open_read_only(&Location::of(&copies))
                .map_err(crate::state_store::ledger_problem)?;
            let state = ledger::fold(&ledger, State::default(), Damage::Refused)
                .map_err(crate::state_store::ledger_problem)?;
            drop(ledger);
            let open =
                |path: &Path| std::fs::File::open(path).map_err(failed("copying the ledger"));
            let files = (
                open(&copy)?,
                has_telemetry.then(|| open(&beside)).transpose()?,
                has_names.then(|| open(&called)).transpose()?,
            );
            let wanted = Control::secret_files(&state).into_keys().collect();
            Ok((files, state.seq, blobs_of(&state), wanted))
        });
        let folded = folded
            .await
            .unwrap_or_else(|error| Err(Problem::new(Code::Internal, error.to_string())));
        let ((ledger, telemetry, names), entries, digests, wanted) = folded?;
        lease.add(&digests).await;
        Ok(Copied { ledger, telemetry, names, entries, digests, wanted, lease })
    }

    async fn send_backup(&self, ready: Ready, archive: &mut Archive) -> io::Result<()> {
        let contents = Contents {
            format: FORMAT,
            entries: ready.entries,
            blobs: ready.blobs.len() as u64,
            secrets: ready.secrets.len() as u64,
        };
        archive.file(LEDGER, ready.ledger).await?;
        if let Some(telemetry) = ready.telemetry {
            archive.file(TELEMETRY, telemetry).await?;
        }
        if let Some(names) = ready.names {
            archive.file(NAMES, names).await?;
        }
        for (digest, size) in ready.blobs {
            archive.header(&format!("blobs/{digest}"), size).await?;
            // Ends with an error if the content has another digest.
            let mut pieces =
                std::pin::pin!(self.store.reader(&digest).await.map_err(io::Error::other)?);
            let mut sent = 0;
            while let Some(piece) = pieces.try_next().await.map_err(io::Error::other)? {
                sent += piece.len() as u64;
                archive.send(piece).await?;
            }
            archive.pad(&digest.to_string(), size, sent).await?;
        }
        for (name, content) in ready.secrets {
            archive.bytes(&format!("secrets/{name}"), content).await?;
        }
        archive.bytes(CONTENTS, serde_json::to_vec(&contents)?).await?;
        archive.send(Bytes::from_static(&[0; 2 * TAR_BLOCK_BYTES as usize])).await
    }
}

/// A tar file on its way to whoever reads it.
struct Archive {
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Archive {
    async fn send(&mut self, piece: Bytes) -> io::Result<()> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads it any more");
        self.sender.send(Ok(piece)).await.map_err(gone)
    }

    async fn header(&mut self, name: &str, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mtime(crate::now_ms() / 1_000);
        header.set_cksum();
        self.send(Bytes::copy_from_slice(header.as_bytes())).await
    }

    /// Fills an entry up to a whole block.
    async fn pad(&mut self, name: &str, announced: u64, sent: u64) -> io::Result<()> {
        if announced != sent {
            return Err(io::Error::other(format!("{name} changed while it was read")));
        }
        let rest = (TAR_BLOCK_BYTES - sent % TAR_BLOCK_BYTES) % TAR_BLOCK_BYTES;
        if rest == 0 { Ok(()) } else { self.send(Bytes::from(vec![0; rest as usize])).await }
    }

    async fn bytes(&mut self, name: &str, content: Vec<u8>) -> io::Result<()> {
        let size = content.len() as u64;
        self.header(name, size).await?;
        self.send(content.into()).await?;
        self.pad(name, size, size).await
    }

    async fn file(&mut self, name: &str, mut file: std::fs::File) -> io::Result<()> {
        file.rewind()?;
        let size = file.metadata()?.len();
        self.header(name, size).await?;
        let mut sent = 0;
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = Vec::with_capacity(PIECE_BYTES);
                (&file).take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
                io::Result::Ok((piece, file))
            });
            let piece;
            (piece, file) = read.await.map_err(io::Error::other)??;
            if piece.is_empty() {
                return self.pad(name, size, sent).await;
            }
            sent += piece.len() as u64;
            self.send(piece.into()).await?;
        }
    }
}

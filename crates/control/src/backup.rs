//! Backups: one tar file with a consistent ledger, all blobs and the encrypted secrets; restored into an empty directory.

use std::io::Read;
use std::path::Path;

use domain::Problem;
use domain::digest::Hasher;
use futures_util::TryStreamExt;

use crate::{Control, artifact_problem};

fn failed(what: &str) -> impl Fn(std::io::Error) -> Problem {
    move |error| match error.kind() {
        std::io::ErrorKind::StorageFull => Problem::new("no_space", format!("the disk is full: {what}")).help("free some space"),
        _ => Problem::new("backup", format!("{what}: {error}")),
    }
}

impl Control {
    /// Writes a backup to a new file. The key file is left out: a backup alone gives no secret away.
    pub async fn backup_to(&self, path: &Path) -> Result<(), Problem> {
        let copy = path.with_extension("ledger");
        let result = self.write_backup(path, &copy).await;
        let _ = std::fs::remove_file(copy);
        result
    }

    async fn write_backup(&self, path: &Path, copy: &Path) -> Result<(), Problem> {
        // Blobs are never changed, so that a ledger copied first refers to nothing that is missing later.
        self.book.backup_to(copy).await?;
        let what = "writing the backup";
        let file = std::fs::File::create(path).map_err(failed(what))?;
        let mut archive = tar::Builder::new(file);
        archive.append_path_with_name(copy, "ledger.sqlite").map_err(failed(what))?;
        let state = self.state();
        let mut digests: Vec<_> = state
            .models
            .values()
            .flat_map(|model| model.versions.values())
            .flat_map(|version| {
                let files = version.pushed.tree.files().iter().map(|file| file.digest);
                files.chain(version.pushed.lock.as_ref().map(|lock| lock.digest)).collect::<Vec<_>>()
            })
            .collect();
        digests.sort();
        digests.dedup();
        let temporary = path.with_extension("blob");
        for digest in digests {
            let mut pieces = std::pin::pin!(self.store.reader(&digest).await.map_err(artifact_problem)?);
            let mut out = std::fs::File::create(&temporary).map_err(failed(what))?;
            while let Some(piece) = pieces.try_next().await.map_err(artifact_problem)? {
                std::io::Write::write_all(&mut out, &piece).map_err(failed(what))?;
            }
            drop(out);
            archive.append_path_with_name(&temporary, format!("blobs/{digest}")).map_err(failed(what))?;
        }
        let _ = std::fs::remove_file(temporary);
        let secrets = self.config.data.join("secrets");
        if secrets.is_dir() {
            archive.append_dir_all("secrets", secrets).map_err(failed(what))?;
        }
        let file = archive.into_inner().map_err(failed(what))?;
        file.sync_all().map_err(failed(what))
    }
}

/// Restores a backup into an empty data directory: every blob's digest and the whole ledger are verified.
pub fn restore(backup: &Path, data: &Path) -> Result<(), Problem> {
    let is_empty = !data.exists() || std::fs::read_dir(data).map_err(failed("reading the data directory"))?.next().is_none();
    if !is_empty {
        return Err(Problem::new("not_empty", format!("{} is not empty", data.display()))
            .help("restore into an empty directory, so that nothing is overwritten: --data DIR"));
    }
    let what = "restoring the backup";
    let file = std::fs::File::open(backup).map_err(failed(what))?;
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700).create(data).map_err(failed(what))?;
    for entry in tar::Archive::new(file).entries().map_err(failed(what))? {
        let mut entry = entry.map_err(failed(what))?;
        let name = entry.path().map_err(failed(what))?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let target = match name.split_once('/') {
            None if name == "ledger.sqlite" => data.join(&name),
            Some(("blobs", digest)) if digest.parse::<domain::Digest>().is_ok() => {
                data.join("artifacts/blobs").join(&digest[..2]).join(digest)
            }
            Some(("secrets", file)) if file.parse::<domain::Digest>().is_ok() => data.join("secrets").join(file),
            _ => {
                return Err(
                    Problem::new("backup", format!("`{name}` does not belong into a backup")).help("is it one of decalog's?")
                );
            }
        };
        let digest = copy(&mut entry, &target).map_err(failed(what))?;
        if name.starts_with("blobs/") && !name.ends_with(&digest.to_string()) {
            return Err(
                Problem::new("backup", format!("{name} is damaged: its content has another digest")).help("use another backup")
            );
        }
    }
    ledger::verify(&data.join("ledger.sqlite"), None)
        .map(|_| ())
        .map_err(|broken| Problem::new("backup", format!("the backup's ledger is damaged: {broken}")).help("use another backup"))
}

fn copy(from: &mut impl Read, to: &Path) -> std::io::Result<domain::Digest> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut out = std::fs::File::create_new(to)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            out.sync_all()?;
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        std::io::Write::write_all(&mut out, &buffer[..read])?;
    }
}

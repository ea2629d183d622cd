//! The directories and sockets of running processes, which must be there, be short enough, and be
//! nobody else's.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use domain::launch::ProcessId;
use domain::{DataDirectory, Digest, ReplicaId};

/// The longest path of a Unix socket that all systems take, in bytes.
const SOCKET_BYTES_MAX: usize = 100;

/// A directory that cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("making {}: {source}", path.display())]
pub struct DirectoryError {
    /// The directory.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// A data directory with the sockets of its processes.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where everything else lies.
    pub data: DataDirectory,
    run: PathBuf,
}

impl Files {
    /// Makes the directories that must be there.
    pub fn prepare(data: &DataDirectory) -> Result<Files, DirectoryError> {
        let files = Files { data: data.clone(), run: run_directory(data)? };
        files.make_directories()?;
        Ok(files)
    }

    /// Makes the directories that must be there.
    pub fn make_directories(&self) -> Result<(), DirectoryError> {
        let of_data =
            [self.data.run(), self.data.processes(), self.data.logs(), self.data.environments()];
        of_data
            .iter()
            .chain([&self.run, &self.sockets()])
            .try_for_each(|directory| private_directory(directory))
    }

    /// Makes what a process has for itself, and gives its directory. That of a fork lies in that of
    /// what it was forked from, whose walls it stands in.
    pub fn make_process(
        &self,
        id: &ProcessId,
        forked_from: Option<&ProcessId>,
    ) -> Result<PathBuf, DirectoryError> {
        let place = self.data.process(id);
        // A start that was refused before may have been tried from another process.
        if std::fs::read_link(&place).is_ok() {
            let _ = std::fs::remove_dir_all(self.process(id));
            let _ = std::fs::remove_file(&place);
        }
        if let Some(from) = forked_from {
            let directory = self.process(from).join(&id.0);
            let failed = |source| DirectoryError { path: directory.clone(), source };
            // What lies there already was put there by a model.
            std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
            // A start as a program was tried first: nothing of it ran.
            let _ = std::fs::remove_dir_all(&place);
            std::os::unix::fs::symlink(&directory, &place).map_err(failed)?;
        }
        let directory = self.process(id);
        ["home", "tmp"].iter().try_for_each(|name| private_directory(&directory.join(name)))?;
        Ok(directory)
    }

    /// What a process has for itself.
    pub fn process(&self, id: &ProcessId) -> PathBuf {
        let place = self.data.process(id);
        std::fs::read_link(&place).unwrap_or(place)
    }

    /// Makes the directory of a replica's socket, and gives the socket's path.
    pub fn make_socket(&self, replica: &ReplicaId) -> Result<PathBuf, DirectoryError> {
        let socket = self.socket(replica);
        socket.parent().map_or(Ok(()), private_directory)?;
        Ok(socket)
    }

    /// The supervisor's socket.
    pub fn supervisor_socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }

    /// The sockets of all workers.
    pub fn sockets(&self) -> PathBuf {
        self.run.join("w")
    }

    /// A worker's socket.
    pub fn socket(&self, replica: &ReplicaId) -> PathBuf {
        self.sockets().join(&replica.0).join("s")
    }
}

/// `<data>/run`, or a short directory that stands for it if sockets below it would have too long a
/// path.
pub fn run_directory(data: &DataDirectory) -> Result<PathBuf, DirectoryError> {
    let run = data.run();
    private_directory(&run)?;
    if run.as_os_str().len() + "/supervisor.sock".len() + 8 <= SOCKET_BYTES_MAX {
        return Ok(run);
    }
    let user = nix::unistd::getuid();
    let parent = PathBuf::from(format!("/tmp/decalog-{user}"));
    private_directory(&parent)?;
    let failed = |source| DirectoryError { path: parent.clone(), source };
    let owner = std::fs::metadata(&parent).map_err(failed)?.uid();
    if owner != user.as_raw() {
        return Err(failed(io::Error::other("it belongs to another user")));
    }
    let short = parent.join(Digest::of(data.root().as_os_str().as_encoded_bytes()).short());
    private_directory(&short)?;
    Ok(short)
}

/// Opens a file that a model may have put where it lies: only if it is one, and not a way elsewhere.
pub fn open_of_model(path: &Path, options: &mut std::fs::OpenOptions) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = options.custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() > 1 {
        return Err(io::Error::other(format!("{} is no plain file", path.display())));
    }
    Ok(file)
}

/// Makes a directory that only its owner may enter. A file that has its name, as after a fault,
/// gives way.
pub fn private_directory(path: &Path) -> Result<(), DirectoryError> {
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        let _ = std::fs::remove_file(path);
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| DirectoryError { path: path.into(), source })
}

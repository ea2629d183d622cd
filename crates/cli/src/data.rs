//! The data directory: where it is, and taking it for one process. Whatever keeps it from being
//! used is an error that says what to do.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::{Code, DataDirectory, Problem};
use nix::fcntl::{Flock, FlockArg};

/// The data directory: the one that is named, else the user's.
pub fn data_directory(named: Option<PathBuf>) -> Result<DataDirectory, Problem> {
    let default = || {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        std::env::var_os("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or(home)
            .map(|share| share.join("decalog"))
    };
    let data = named.or_else(default).ok_or_else(|| {
        Problem::new(Code::Failed, "there is no home directory").help("name one with --data DIR")
    })?;
    let absolute = std::path::absolute(&data).map(DataDirectory::new);
    absolute.map_err(|error| unusable(&DataDirectory::new(data), "cannot be found", &error))
}

/// Held by the process that may write a data directory.
pub type DataLock = Flock<std::fs::File>;

/// The longest number of a process that is read from the lock, in bytes.
const PID_BYTES_MAX: u64 = 16;

/// Takes a data directory for this process.
pub fn lock(data: &DataDirectory) -> Result<DataLock, Problem> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data.root());
    made.map_err(|error| unusable(data, "cannot be made", &error))?;
    check_owner(data)?;
    let is_closed =
        data.root().metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o777 == 0o700);
    let closed = if is_closed {
        Ok(())
    } else {
        std::fs::set_permissions(data.root(), PermissionsExt::from_mode(0o700))
    };
    closed.map_err(|error| unusable(data, "cannot be closed to others", &error))?;
    let path = data.lock();
    let file = match std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
    {
        // What runs already is served also where nothing can be written; a lock needs no writing.
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
            std::fs::File::open(&path).map_err(|_| error)
        }
        opened => opened,
    };
    let file = file.map_err(|error| unusable(data, "cannot be written", &error))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let _ = lock.set_len(0);
            let _ = lock.write_all(std::process::id().to_string().as_bytes());
            Ok(lock)
        }
        Err((file, _)) => {
            let mut pid = String::new();
            let _ = file.take(PID_BYTES_MAX).read_to_string(&mut pid);
            Err(Problem::new(Code::InUse, format!("the data directory {} is in use by process {pid}", data.display()))
                .help("stop that one first, replace it with --takeover, or name another directory with --data DIR"))
        }
    }
}

/// Refuses what another user has made: half of it could be read, and the rest would fail later.
fn check_owner(data: &DataDirectory) -> Result<(), Problem> {
    let own = nix::unistd::Uid::effective();
    let others = |path: &Path| {
        path.metadata().ok().map(|metadata| metadata.uid()).filter(|uid| *uid != own.as_raw())
    };
    let paths = std::iter::once(data.root().to_path_buf())
        .chain(DataDirectory::OWN.iter().map(|name| data.root().join(name)));
    let Some((path, uid)) =
        paths.filter(|_| !own.is_root()).find_map(|path| others(&path).map(|uid| (path, uid)))
    else {
        return Ok(());
    };
    Err(Problem::new(Code::DataDirectory, format!("{} belongs to another user (id {uid})", path.display())).help(format!(
        "run decalog as that user, name another directory with --data DIR, or take it over: sudo chown -R $(id -u) {}",
        data.display()
    )))
}

/// Why a data directory cannot be used, and what to do.
fn unusable(data: &DataDirectory, what: &str, error: &std::io::Error) -> Problem {
    let help = match error.kind() {
        ErrorKind::PermissionDenied => {
            "give yourself the right to write there, or name another directory with --data DIR"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "mount its file system for writing, or name another directory with --data DIR"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space there, or name another directory with --data DIR"
        }
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            "it, or a part of its path, is a file: name another with --data DIR"
        }
        _ => "name another directory with --data DIR",
    };
    Problem::new(
        Code::DataDirectory,
        format!("the data directory {} {what}: {error}", data.display()),
    )
    .help(help)
}

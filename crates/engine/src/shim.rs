//! The Python worker: the files of its package, put where the interpreter of any environment can
//! run them. Nothing is installed there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::digest::Hasher;
use supervisor::private_directory;

use crate::EngineError;

/// The name of the package, and of the directory that holds it.
const PACKAGE: &str = "decalog_worker";
/// What the name of each content's directory begins with.
const PREFIX: &str = "worker-";
/// How long a content stays after the last start from it, in days. Longer than upgrades and ways
/// back from them take.
const UNUSED_DAYS: u64 = 30;

/// The files of the package with what is in them.
macro_rules! files {
    ($($name:literal)*) => {
        &[$((
            concat!($name, ".py"),
            include_str!(concat!("../../../sdk/python/src/decalog_worker/", $name, ".py")),
        )),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "__init__" "__main__" "answers" "boosters" "building" "connection" "coroutines" "datatypes" "describe" "descriptors" "encoders"
    "ending" "estimator" "fork" "forms" "hints" "http" "installed" "limits" "loading" "log" "masking" "modules" "native" "needs" "networks"
    "objects" "parts" "pickles" "plan" "predictor" "problem" "protocol" "provided" "readers" "replies" "roles" "rows" "saved" "scalars" "schema"
    "server" "settings" "shapes" "signature"
    "sockets" "source" "standard" "text" "threads" "tracebacks" "tracing" "walls"
];

/// Puts the worker below a directory, and gives the program to run.
///
/// Its place changes with its content, so that old workers keep theirs. What is there and right is
/// left as it is, and with it the byte code that Python keeps beside it; what is damaged is
/// replaced. Each file appears whole, so that several processes may do this at a time. A new
/// content is the occasion to collect those that nothing uses any more.
pub fn put(directory: &Path) -> Result<PathBuf, EngineError> {
    let place = directory.join(place());
    let package = place.join(PACKAGE);
    let is_new = !place.exists();
    private_directory(&package)?;
    for (name, text) in FILES {
        let path = package.join(name);
        if !fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            write(&path, text).map_err(EngineError::io("writing the Python worker"))?;
        }
    }
    let now = SystemTime::now();
    // On a disk that takes no writes, what is there serves.
    let _ = File::open(&place).and_then(|place| place.set_modified(now));
    if is_new && let Err(error) = collect(directory, now) {
        tracing::warn!("Python workers of earlier versions stay: {error}");
    }
    Ok(package.join("__main__.py"))
}

/// Removes contents from which nothing was started for [`UNUSED_DAYS`] and no process runs: one that
/// does may still import a module that it has not needed yet.
fn collect(directory: &Path, now: SystemTime) -> io::Result<()> {
    let unused = Duration::from_secs(UNUSED_DAYS * 24 * 60 * 60);
    let mut old = vec![];
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let age = now.duration_since(entry.metadata()?.modified()?).unwrap_or_default();
        if name.starts_with(PREFIX) && age > unused {
            old.push(name);
        }
    }
    if old.is_empty() {
        return Ok(());
    }
    let in_use = in_use(&old)?;
    for name in old.iter().filter(|name| !in_use.contains(name)) {
        fs::remove_dir_all(directory.join(name))?;
    }
    Ok(())
}

/// Those contents that a running process was started from, by its words, which its forks inherit.
fn in_use(names: &[String]) -> io::Result<Vec<&String>> {
    let mut words = vec![];
    for process in fs::read_dir("/proc")? {
        let process = process?;
        if process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            // One that has just ended uses nothing.
            let read = fs::read(process.path().join("cmdline")).unwrap_or_default();
            words.push(String::from_utf8_lossy(&read).into_owned());
        }
    }
    let is_used = |name: &&String| {
        let within = format!("/{name}/{PACKAGE}/");
        words.iter().any(|words| words.contains(&within))
    };
    Ok(names.iter().filter(is_used).collect())
}

/// The directory of this content, the only one on the way of imports while the worker imports
/// itself.
fn place() -> String {
    let mut hasher = Hasher::new();
    for (name, text) in FILES {
        hasher.field(name.as_bytes());
        hasher.field(text.as_bytes());
    }
    format!("{PREFIX}{}", hasher.finish().short())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests;

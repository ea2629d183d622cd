//! The Python worker: the files of its package, put where the interpreter of any environment can
//! run them. Nothing is installed there.

use std::io::Write;
use std::path::{Path, PathBuf};

use domain::digest::Hasher;
use supervisor::private_directory;

use crate::EngineError;

/// The name of the package, and of the directory that holds it.
const PACKAGE: &str = "decalog_worker";

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
    "__init__" "__main__" "answers" "connection" "coroutines" "datatypes" "describe" "descriptors" "encoders"
    "ending" "estimator" "fork" "forms" "hints" "http" "limits" "loading" "log" "modules" "objects" "parts" "plan"
    "predictor" "problem" "protocol" "provided" "readers" "replies" "roles" "scalars" "schema" "server" "settings" "shapes" "signature"
    "sockets" "source" "standard" "text" "threads" "tracebacks"
];

/// Puts the worker below a directory, and gives the program to run.
///
/// Its place changes with its content, so that old workers keep theirs. What is there and right is
/// left as it is, and with it the byte code that Python keeps beside it; what is damaged is
/// replaced. Each file appears whole, so that several processes may do this at a time.
pub fn put(directory: &Path) -> Result<PathBuf, EngineError> {
    let package = directory.join(place()).join(PACKAGE);
    private_directory(&package)?;
    for (name, text) in FILES {
        let path = package.join(name);
        if !std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            write(&path, text).map_err(EngineError::io("writing the Python worker"))?;
        }
    }
    Ok(package.join("__main__.py"))
}

/// The directory of this content, the only one on the way of imports while the worker imports
/// itself.
fn place() -> String {
    let mut hasher = Hasher::new();
    for (name, text) in FILES {
        hasher.field(name.as_bytes());
        hasher.field(text.as_bytes());
    }
    format!("worker-{}", hasher.finish().short())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
    file.write_all(text.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(directory: &Path) -> BTreeSet<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".py")).collect()
    }

    #[test]
    fn every_file_of_the_package_is_embedded() {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/src").join(PACKAGE);
        assert_eq!(
            FILES.iter().map(|(name, _)| name.to_string()).collect::<BTreeSet<_>>(),
            names(&source)
        );
    }

    #[test]
    fn what_is_right_stays_and_what_is_damaged_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let main = put(directory.path()).unwrap();
        let package = main.parent().unwrap();
        assert_eq!(names(package).len(), FILES.len());
        let modified = |name: &str| package.join(name).metadata().unwrap().modified().unwrap();
        let before = modified("server.py");
        std::fs::write(package.join("fork.py"), "").unwrap();
        std::fs::remove_file(package.join("text.py")).unwrap();
        assert_eq!(put(directory.path()).unwrap(), main);
        for (name, text) in FILES {
            assert_eq!(std::fs::read_to_string(package.join(name)).unwrap(), *text, "{name}");
        }
        assert_eq!(modified("server.py"), before);
        assert_eq!(
            std::fs::read_dir(package).unwrap().count(),
            FILES.len(),
            "nothing else is left there"
        );
    }

    #[test]
    fn several_may_put_it_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let package = put(directory.path()).unwrap();
                    let package = package.parent().unwrap();
                    for (name, text) in FILES {
                        assert_eq!(
                            std::fs::read_to_string(package.join(name)).unwrap(),
                            *text,
                            "{name}"
                        );
                    }
                });
            }
        });
    }
}

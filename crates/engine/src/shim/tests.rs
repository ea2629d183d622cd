//! The worker's files, and the collection of earlier ones, with a real process.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::*;

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".py")).collect()
}

#[test]
fn every_file_of_the_package_is_embedded() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/python/src").join(PACKAGE);
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
    fs::write(package.join("fork.py"), "").unwrap();
    fs::remove_file(package.join("text.py")).unwrap();
    assert_eq!(put(directory.path()).unwrap(), main);
    for (name, text) in FILES {
        assert_eq!(fs::read_to_string(package.join(name)).unwrap(), *text, "{name}");
    }
    assert_eq!(modified("server.py"), before);
    assert_eq!(fs::read_dir(package).unwrap().count(), FILES.len(), "nothing else is left there");
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
                    assert_eq!(fs::read_to_string(package.join(name)).unwrap(), *text, "{name}");
                }
            });
        }
    });
}

#[test]
fn earlier_workers_go_once_nothing_uses_them() {
    let directory = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let earlier = |name: &str, age| {
        let package = directory.path().join(name).join(PACKAGE);
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("__main__.py"), "").unwrap();
        File::open(directory.path().join(name)).unwrap().set_modified(now - age).unwrap();
        package.join("__main__.py")
    };
    let running = earlier("worker-running", 90 * day);
    let unused = earlier("worker-unused", 31 * day);
    let recent = earlier("worker-recent", 29 * day);
    let foreign = earlier("notes", 90 * day);
    let mut process = Command::new("sh")
        .args(["-c", "read line"])
        .arg(&running)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let main = put(directory.path()).unwrap();
    assert!(main.exists() && running.exists() && recent.exists() && foreign.exists());
    assert!(!unused.exists());
    drop(process.stdin.take());
    process.wait().unwrap();
    put(directory.path()).unwrap();
    assert!(running.exists(), "only a new content is an occasion");
    fs::remove_dir_all(main.parent().unwrap().parent().unwrap()).unwrap();
    put(directory.path()).unwrap();
    assert!(!running.exists() && main.exists() && recent.exists());
}

#[test]
fn a_start_makes_its_worker_recent() {
    let directory = tempfile::tempdir().unwrap();
    let main = put(directory.path()).unwrap();
    let place = main.parent().unwrap().parent().unwrap();
    File::open(place).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    put(directory.path()).unwrap();
    assert!(place.metadata().unwrap().modified().unwrap().elapsed().unwrap().as_secs() < 60);
}

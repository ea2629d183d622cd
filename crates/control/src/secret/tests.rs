//! Values come back, whatever becomes of keys, and nobody else reads them.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn values_come_back_and_are_nowhere_in_the_open() {
    let directory = tempfile::tempdir().unwrap();
    let secrets = Secrets::new(&DataDirectory::new(directory.path()), &[]);
    let token = Some(secrets.put("default@production", "TOKEN", "correct horse").unwrap());
    let other = Some(secrets.put("default@production", "OTHER", "battery").unwrap());
    let secrets = Secrets::new(&DataDirectory::new(directory.path()), &[]);
    assert_eq!(secrets.get("default@production", "TOKEN", token).unwrap(), "correct horse");
    assert!(secrets.get("default@staging", "TOKEN", token).is_err());
    // A new value has a file of its own: the old one can be read until its event is replaced.
    let newer = Some(secrets.put("default@production", "TOKEN", "correct horse").unwrap());
    assert_ne!(token, newer);
    assert_eq!(secrets.get("default@production", "TOKEN", token).unwrap(), "correct horse");
    assert_eq!(secrets.files().unwrap().len(), 3);
    let needed = |file: &Digest| [newer, other].contains(&Some(*file));
    secrets.collect(needed, Duration::from_secs(60)).unwrap();
    assert_eq!(secrets.files().unwrap().len(), 3, "its event may be on its way");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let keys = directory.path().join("keys");
    assert_eq!(mode(&keys), 0o700);
    for entry in fs::read_dir(&keys).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    for entry in fs::read_dir(directory.path().join("secrets")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|part| part == b"correct" || part == b"battery"));
    }
    // A value moved to another name is not taken for that one's.
    let path = |name, file| secrets.path("default@production", name, file);
    fs::copy(path("TOKEN", token), path("OTHER", other)).unwrap();
    assert!(secrets.get("default@production", "OTHER", other).is_err());
    // Ledgers that name no file: it lies by scope and name.
    fs::copy(path("TOKEN", token), path("TOKEN", None)).unwrap();
    assert_eq!(secrets.get("default@production", "TOKEN", None).unwrap(), "correct horse");
    fs::File::open(path("TOKEN", token)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    secrets.collect(needed, Duration::from_secs(60)).unwrap();
    assert!(!path("TOKEN", token).exists() && path("TOKEN", newer).exists());
    let key = secrets.ring().keys().unwrap()[0].id.to_string();
    fs::write(keys.join(&key), [0; 32]).unwrap();
    let problem = secrets.get("default@production", "TOKEN", newer).unwrap_err();
    assert!(problem.to_string().contains(&key), "{problem}");
    fs::remove_file(keys.join(&key)).unwrap();
    let problem = secrets.get("default@production", "TOKEN", newer).unwrap_err();
    assert!(problem.to_string().contains(&key), "{problem}");
}

/// A secret as programs wrote it whose data directory had one key.
fn put_first(data: &DataDirectory, scope: &str, name: &str, value: &str) -> Digest {
    let context = context(scope, name);
    let first = match fs::read(data.key()) {
        Ok(key) => key.try_into().unwrap(),
        Err(_) => {
            let key: SecretKey = random().unwrap();
            fs::write(data.key(), key).unwrap();
            key
        }
    };
    let key: SecretKey = random().unwrap();
    let mut file = seal(&first, &key, context.as_bytes()).unwrap();
    file.extend(seal(&key, value.as_bytes(), context.as_bytes()).unwrap());
    let digest = Digest::of(&file);
    fs::create_dir_all(data.secrets()).unwrap();
    fs::write(data.secrets().join(digest.to_string()), file).unwrap();
    digest
}

fn key_files(data: &DataDirectory) -> usize {
    let files = fs::read_dir(data.keys()).unwrap();
    files.filter(|file| file.as_ref().unwrap().file_name().len() == 16).count()
}

#[test]
fn keys_are_rotated_and_every_secret_keeps_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDirectory::new(directory.path());
    let secrets = Secrets::new(&data, &[]);
    let place = "default@production";
    let mut files: HashMap<String, Digest> = HashMap::new();
    for n in 0..600 {
        let name = format!("OLD_{n}");
        files.insert(name.clone(), put_first(&data, place, &name, &format!("value of {name}")));
    }
    // A file whose event names none.
    let unnamed = put_first(&data, place, "UNNAMED", "value of UNNAMED");
    let path = |file: Digest| data.secrets().join(file.to_string());
    fs::rename(path(unnamed), path(by_name(place, "UNNAMED"))).unwrap();
    for n in 0..5 {
        let name = format!("NEW_{n}");
        let value = format!("value of {name}");
        files.insert(name.clone(), secrets.put(place, &name, &value).unwrap());
    }
    let contexts = || {
        let named = files.iter().map(|(name, file)| (*file, context(place, name)));
        named.chain([(by_name(place, "UNNAMED"), context(place, "UNNAMED"))]).collect()
    };
    let all_are_read = |when: &str| {
        for (name, file) in &files {
            let value = secrets.get(place, name, Some(*file));
            assert_eq!(value.unwrap(), format!("value of {name}"), "{when}");
        }
        assert_eq!(secrets.get(place, "UNNAMED", None).unwrap(), "value of UNNAMED", "{when}");
    };
    all_are_read("before");
    let first = KeyId::of(&fs::read(data.key()).unwrap());
    assert_eq!(secrets.ring().wrapping().current().unwrap(), Some(first));
    let kept = secrets.rotate(&contexts(), true, |_, _| {}).unwrap();
    assert!(kept.removed.is_empty() && kept.unreadable.is_empty() && data.key().exists());
    all_are_read("after the first rotation");
    let mut steps = vec![];
    let steps_of = std::cell::RefCell::new(&mut steps);
    let rotated =
        secrets.rotate(&contexts(), false, |done, of| steps_of.borrow_mut().push((done, of)));
    let rotated = rotated.unwrap();
    assert_eq!(steps, [(0, 606), (512, 606), (606, 606)]);
    assert_eq!(rotated.removed.len(), 2);
    assert!(!data.key().exists() && key_files(&data) == 1);
    all_are_read("after the second");
    // What no key opens stays, and so does the key that it says it needs.
    let newer = files["NEW_0"];
    let mut content = fs::read(path(newer)).unwrap();
    content[30] ^= 1;
    fs::write(path(newer), &content).unwrap();
    let rotated = secrets.rotate(&contexts(), false, |_, _| {}).unwrap();
    assert_eq!(rotated.unreadable, [newer.to_string()]);
    assert!(rotated.removed.is_empty() && key_files(&data) == 2);
    assert_eq!(fs::read(path(newer)).unwrap(), content);
}

#[test]
fn secrets_are_set_read_and_removed_while_keys_are_rotated() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDirectory::new(directory.path());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let user = |number: usize| {
            // Another process, as far as files and locks can tell.
            let secrets = Secrets::new(&data, &[]);
            let (place, done) = (format!("p{number}@production"), &done);
            scope.spawn(move || {
                let mut kept: Vec<(String, Digest)> = vec![];
                for n in 0.. {
                    if done.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("N{n}");
                    kept.push((name.clone(), secrets.put(&place, &name, &name).unwrap()));
                    for (name, file) in &kept {
                        assert_eq!(&secrets.get(&place, name, Some(*file)).unwrap(), name);
                    }
                    if kept.len() > 20 {
                        let (name, file) = kept.remove(n % 20);
                        secrets.remove(&place, &name, Some(file));
                        assert!(!data_file(&secrets, file).exists());
                    }
                }
                let left = kept.iter().all(|(name, file)| {
                    secrets.get(&place, name, Some(*file)).is_ok_and(|value| &value == name)
                });
                assert!(left);
                kept.len()
            })
        };
        let users: Vec<_> = (0..2).map(user).collect();
        let secrets = Secrets::new(&data, &[]);
        for _ in 0..20 {
            let rotated = secrets.rotate(&HashMap::new(), false, |_, _| {}).unwrap();
            assert!(rotated.unreadable.is_empty());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let kept: usize = users.into_iter().map(|user| user.join().unwrap()).sum();
        assert_eq!(secrets.files().unwrap().len(), kept, "what was removed does not come back");
        assert_eq!(key_files(&data), 1);
    });
}

fn data_file(secrets: &Secrets, file: Digest) -> PathBuf {
    secrets.directory.join(file.to_string())
}

#[test]
fn one_rotation_at_a_time_and_one_that_was_cut_off_is_made_good() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDirectory::new(directory.path());
    let secrets = Secrets::new(&data, &[]);
    let file = secrets.put("p@e", "A", "alpha-value").unwrap();
    let held = Secrets::new(&data, &[]).ring().hold_rotation().unwrap();
    let problem = secrets.rotate(&HashMap::new(), false, |_, _| {}).unwrap_err();
    assert_eq!(problem.code, Code::Conflict);
    drop(held);
    // Killed after the new key became current, and in the middle of a file.
    secrets.ring().wrapping().renew().unwrap();
    fs::write(data_file(&secrets, file).with_extension("partial"), b"half").unwrap();
    assert_eq!(secrets.get("p@e", "A", Some(file)).unwrap(), "alpha-value");
    let rotated = secrets.rotate(&HashMap::new(), false, |_, _| {}).unwrap();
    assert_eq!((rotated.removed.len(), key_files(&data)), (2, 1));
    assert_eq!(secrets.get("p@e", "A", Some(file)).unwrap(), "alpha-value");
}

#[test]
#[ignore = "a measurement: how long ten thousand secrets take"]
fn ten_thousand_secrets() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let data = DataDirectory::new(directory.path());
    let secrets = Secrets::new(&data, &[]);
    let mut contexts = HashMap::new();
    for n in 0..10_000 {
        let name = format!("N{n}");
        contexts.insert(put_first(&data, "p@e", &name, &name), context("p@e", &name));
    }
    for _ in 0..3 {
        let begin = std::time::Instant::now();
        let rotated = secrets.rotate(&contexts, false, |_, _| {}).unwrap();
        println!("{:?}", begin.elapsed());
        assert!(rotated.unreadable.is_empty());
    }
}

//! The store on disk: uploads that break off, damage, trees, garbage.

use std::collections::HashSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use artifacts::{ArtifactError, Store, walk};
use bytes::Bytes;
use domain::{Digest, Tree, TreeFile};

fn open(directory: &Path) -> Store {
    Store::open(&format!("file:{}", directory.join("artifacts").display()), &directory.join("uploads")).unwrap()
}

#[test]
fn urls_that_name_no_store_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for url in ["file:relative", "relative", "ftp://host/path", "file://host/path"] {
        let error = Store::open(url, directory.path()).err().unwrap();
        assert!(matches!(error, ArtifactError::Url { .. }), "{url}: {error}");
    }
}

fn pieces(bytes: &[u8]) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    futures_util::stream::iter(bytes.chunks(7).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>())
}

#[tokio::test]
async fn uploads_go_on_where_they_broke_off_even_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..1_000u32).flat_map(u32::to_le_bytes).collect();
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let store = open(directory.path());
    assert_eq!(store.upload(digest, size, 0, pieces(&content[..1_000])).await.unwrap(), 1_000);
    assert_eq!(store.missing(&[digest]).await.unwrap()[0].offset, 1_000);
    let wrong = store.upload(digest, size, 999, pieces(&content[999..])).await.unwrap_err();
    assert!(matches!(wrong, ArtifactError::WrongOffset { expected: 1_000, .. }), "{wrong}");
    assert_eq!(store.upload(digest, size, 1_000, pieces(&content[1_000..2_000])).await.unwrap(), 2_000);
    let store = open(directory.path());
    assert_eq!(store.missing(&[digest]).await.unwrap()[0].offset, 2_000);
    assert_eq!(store.upload(digest, size, 2_000, pieces(&content[2_000..])).await.unwrap(), size);
    assert!(store.missing(&[digest]).await.unwrap().is_empty());
    assert_eq!(store.get(&digest, 10_000).await.unwrap(), content);
}

#[tokio::test]
async fn wrong_content_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = Digest::of(b"right");
    let wrong = store.upload(digest, 5, 0, pieces(b"wrong")).await.unwrap_err();
    assert!(matches!(wrong, ArtifactError::WrongContent { .. }), "{wrong}");
    assert!(matches!(store.upload(digest, 5, 0, pieces(b"right and more")).await, Err(ArtifactError::TooLong(_))));
    assert_eq!(store.upload(digest, 5, 0, pieces(b"right")).await.unwrap(), 5);
    assert!(matches!(store.get(&Digest::of(b"none"), 10).await, Err(ArtifactError::NotFound(_))));
}

#[tokio::test]
async fn damage_on_disk_is_found_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = store.put(Bytes::from_static(b"content")).await.unwrap();
    let name = digest.to_string();
    std::fs::write(directory.path().join("artifacts/blobs").join(&name[..2]).join(&name), b"c0ntent").unwrap();
    assert!(matches!(store.get(&digest, 100).await, Err(ArtifactError::Corrupt(_))));
    let tree = Tree::new(vec![TreeFile { path: "a".into(), digest, size: 7, executable: false }]).unwrap();
    let target = directory.path().join("trees/t");
    assert!(store.materialise(&tree, &target).await.is_err());
    assert!(!target.exists(), "half a tree is no tree");
    assert_eq!(std::fs::read_dir(directory.path().join("trees")).unwrap().count(), 0);
}

#[tokio::test]
async fn trees_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("model");
    std::fs::create_dir_all(model.join("sub/__pycache__")).unwrap();
    for (path, content) in
        [("model.py", "x"), ("run", "y"), ("sub/data.csv", "z"), ("sub/__pycache__/a.pyc", ""), ("big.tmp", "")]
    {
        std::fs::write(model.join(path), content).unwrap();
    }
    std::fs::write(model.join("decalog.toml"), "").unwrap();
    std::fs::write(model.join(".decalogignore"), "# comment\n*.tmp\n").unwrap();
    std::fs::set_permissions(model.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("data.csv", model.join("sub/link.csv")).unwrap();
    let walked = walk(&model).unwrap();
    let names: Vec<&str> = walked.tree.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["model.py", "run", "sub/data.csv", "sub/link.csv"]);
    let store = open(directory.path());
    for (digest, path) in &walked.paths {
        assert_eq!(store.put(Bytes::from(std::fs::read(path).unwrap())).await.unwrap(), *digest);
    }
    let target = directory.path().join("trees/t");
    for _ in 0..2 {
        store.materialise(&walked.tree, &target).await.unwrap();
    }
    assert_eq!(walk(&target).unwrap().tree.files()[0].digest, walked.tree.files()[0].digest);
    let mode = std::fs::metadata(target.join("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o555);
}

#[test]
fn links_that_leave_and_special_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (name, target) in [("out", "/etc/passwd"), ("up", "../.."), ("nothing", "missing")] {
        let model = directory.path().join(name);
        std::fs::create_dir(&model).unwrap();
        symlink(target, model.join("link")).unwrap();
        let refused = walk(&model).err().unwrap().to_string();
        assert!(refused.starts_with("link: it links to"), "{refused}");
    }
    let model = directory.path().join("socket");
    std::fs::create_dir(&model).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(model.join("s")).unwrap();
    assert!(walk(&model).err().unwrap().to_string().contains("neither a file nor a folder"));
}

#[tokio::test]
async fn garbage_is_collected_by_age_and_reference() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let kept = store.put(Bytes::from_static(b"kept")).await.unwrap();
    let gone = store.put(Bytes::from_static(b"gone")).await.unwrap();
    let keep = HashSet::from([kept]);
    assert_eq!(store.collect(&keep, Duration::from_secs(3_600)).await.unwrap().blobs, 0);
    let collected = store.collect(&keep, Duration::ZERO).await.unwrap();
    assert_eq!((collected.blobs, collected.bytes), (1, 4));
    assert!(store.has(&kept).await.unwrap() && !store.has(&gone).await.unwrap());
    assert_eq!(store.list().await.unwrap(), [(kept, 4)]);
}

#[test]
fn urls_that_nobody_serves_are_refused_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    for url in ["ftp://x/y", "nonsense", "s3://bucket/path"] {
        let refused = Store::open(url, directory.path()).err();
        if url.starts_with("s3") && cfg!(feature = "s3") {
            continue;
        }
        assert!(refused.is_some_and(|error| error.to_string().contains(url)), "{url}");
    }
}

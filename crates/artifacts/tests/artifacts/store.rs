//! The store on disk: uploads that break off, damage, trees, garbage.

use std::collections::HashSet;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use artifacts::{ArtifactError, Chunk, Store, UploadName, Wanted, walk};
use bytes::Bytes;
use domain::Digest;

fn open(directory: &Path) -> Store {
    Store::open(
        &format!("file:{}", directory.join("artifacts").display()),
        &directory.join("uploads"),
    )
    .unwrap()
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
    futures_util::stream::iter(
        bytes.chunks(7).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>(),
    )
}

fn at(digest: Digest, size: u64, offset: u64) -> Chunk {
    Chunk { upload: UploadName::default(), digest, size, offset }
}

async fn offset_of(store: &Store, digest: Digest, size: u64) -> Option<u64> {
    let wanted = [Wanted { digest, size: Some(size) }];
    store
        .missing(&wanted, &UploadName::default())
        .await
        .unwrap()
        .first()
        .map(|missing| missing.offset)
}

#[tokio::test]
async fn uploads_go_on_where_they_broke_off_even_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..1_000u32).flat_map(u32::to_le_bytes).collect();
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let store = open(directory.path());
    assert_eq!(store.upload(&at(digest, size, 0), pieces(&content[..1_000])).await.unwrap(), 1_000);
    assert_eq!(offset_of(&store, digest, size).await, Some(1_000));
    let wrong = store.upload(&at(digest, size, 999), pieces(&content[999..])).await.unwrap_err();
    assert!(matches!(wrong, ArtifactError::WrongOffset { expected: 1_000, .. }), "{wrong}");
    assert_eq!(
        store.upload(&at(digest, size, 1_000), pieces(&content[1_000..2_000])).await.unwrap(),
        2_000
    );
    let store = open(directory.path());
    assert_eq!(offset_of(&store, digest, size).await, Some(2_000));
    assert_eq!(
        store.upload(&at(digest, size, 2_000), pieces(&content[2_000..])).await.unwrap(),
        size
    );
    assert_eq!(offset_of(&store, digest, size).await, None);
    assert_eq!(store.get(&digest, 10_000).await.unwrap(), content);
}

#[tokio::test]
async fn wrong_content_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = Digest::of(b"right");
    let wrong = store.upload(&at(digest, 5, 0), pieces(b"wrong")).await.unwrap_err();
    assert!(matches!(wrong, ArtifactError::WrongContent { .. }), "{wrong}");
    assert!(matches!(
        store.upload(&at(digest, 5, 0), pieces(b"right and more")).await,
        Err(ArtifactError::TooLong(_))
    ));
    assert_eq!(store.upload(&at(digest, 5, 0), pieces(b"right")).await.unwrap(), 5);
    assert!(matches!(store.get(&Digest::of(b"none"), 10).await, Err(ArtifactError::NotFound(_))));
}

#[tokio::test]
async fn trees_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("model");
    std::fs::create_dir_all(model.join("sub/__pycache__")).unwrap();
    for (path, content) in [
        ("model.py", "x"),
        ("run", "y"),
        ("sub/data.csv", "z"),
        ("sub/__pycache__/a.pyc", ""),
        ("big.tmp", ""),
    ] {
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
        store.lay_out(&walked.tree, &target).await.unwrap();
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
async fn garbage_is_what_nobody_needs_or_holds() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let kept = store.put(Bytes::from_static(b"kept")).await.unwrap();
    let gone = store.put(Bytes::from_static(b"gone")).await.unwrap();
    let needed = HashSet::from([kept]);
    let lease = store.leases().hold(vec![gone]).await;
    assert_eq!(store.collect(&store.leases().collection().await, &needed).await.unwrap().blobs, 0);
    drop(lease);
    let collected = store.collect(&store.leases().collection().await, &needed).await.unwrap();
    assert_eq!((collected.blobs, collected.bytes), (1, 4));
    assert_eq!(store.sizes(&[kept, gone]).await.unwrap(), [Some(4), None]);
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

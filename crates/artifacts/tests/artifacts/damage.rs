//! What happens to stored things behind the store's back: written over, cut short, deleted, half
//! written, claimed twice.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use artifacts::{ArtifactError, Chunk, Store, UploadName, Wanted, remove_tree, verify_trees};
use bytes::Bytes;
use domain::{Digest, Tree, TreeFile};
use futures_util::StreamExt;

fn open(directory: &Path) -> Store {
    Store::open(
        &format!("file:{}", directory.join("artifacts").display()),
        &directory.join("uploads"),
    )
    .unwrap()
}

fn blob(directory: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    directory.join("artifacts/blobs").join(&name[..2]).join(name)
}

fn chunk(name: &str, digest: Digest, size: u64, offset: u64) -> Chunk {
    Chunk { upload: name.parse().unwrap(), digest, size, offset }
}

fn pieces(bytes: &[u8]) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    futures_util::stream::iter(
        bytes.chunks(7).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>(),
    )
}

/// Writes over a file that is read-only, as root or its owner may.
fn write_over(path: &Path, content: &[u8]) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(path, content).unwrap();
}

async fn tree_of(store: &Store, files: &[(&str, &str, bool)]) -> Tree {
    let mut listed = vec![];
    for (path, content, executable) in files {
        let digest = store.put(Bytes::copy_from_slice(content.as_bytes())).await.unwrap();
        listed.push(TreeFile {
            path: path.to_string(),
            digest,
            size: content.len() as u64,
            executable: *executable,
        });
    }
    Tree::new(listed).unwrap()
}

/// All files of a tree with their content and mode, and the modes of all folders.
fn content(directory: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut all = vec![];
    let mut folders = vec![directory.to_path_buf()];
    while let Some(folder) = folders.pop() {
        all.push((folder.clone(), folder.metadata().unwrap().mode() & 0o777, vec![]));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push((
                    path.clone(),
                    path.metadata().unwrap().mode() & 0o777,
                    std::fs::read(&path).unwrap(),
                ));
            }
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_staged_upload_longer_than_the_blob_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = Digest::of(b"short");
    std::fs::write(
        directory.path().join("uploads").join(digest.to_string()),
        b"much longer than that",
    )
    .unwrap();
    let wanted = [Wanted { digest, size: Some(5) }];
    assert_eq!(store.missing(&wanted, &UploadName::default()).await.unwrap()[0].offset, 0);
    assert_eq!(store.upload(&chunk("", digest, 5, 0), pieces(b"short")).await.unwrap(), 5);
    assert_eq!(store.get(&digest, 10).await.unwrap(), "short");
    let other = Digest::of(b"other");
    std::fs::write(
        directory.path().join("uploads").join(other.to_string()),
        b"much longer than that",
    )
    .unwrap();
    assert_eq!(store.put(Bytes::from_static(b"other")).await.unwrap(), other);
    assert_eq!(store.get(&other, 10).await.unwrap(), "other");
}

#[tokio::test]
async fn two_uploads_of_one_blob_do_not_disturb_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (right, wrong) = (vec![1; 10_000], vec![2; 10_000]);
    let (digest, size) = (Digest::of(&right), 10_000);
    for offset in [0, 5_000] {
        let range = offset as usize..offset as usize + 5_000;
        let (one, two) = (chunk("one", digest, size, offset), chunk("two", digest, size, offset));
        let wrong = store.upload(&two, pieces(&wrong[range.clone()])).await;
        let right = store.upload(&one, pieces(&right[range])).await;
        assert_eq!(right.unwrap(), offset + 5_000);
        assert_eq!(wrong.is_ok(), offset == 0, "{wrong:?}");
    }
    assert_eq!(store.get(&digest, 20_000).await.unwrap(), right);
    assert_eq!(std::fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_is_judged_by_what_lies_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = Digest::of(b"0123456789");
    store.upload(&chunk("u", digest, 10, 0), pieces(b"01234")).await.unwrap();
    std::fs::write(directory.path().join("uploads").join(format!("{digest}.u")), b"xxxxx").unwrap();
    let refused = store.upload(&chunk("u", digest, 10, 5), pieces(b"56789")).await.unwrap_err();
    assert!(matches!(refused, ArtifactError::WrongContent { .. }), "{refused}");
    store.upload(&chunk("u", digest, 10, 0), pieces(b"0123456789")).await.unwrap();
    assert_eq!(store.get(&digest, 10).await.unwrap(), "0123456789");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_upload_is_cut_off_and_holds_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = Digest::of(b"0123456789");
    let stalled = pieces(b"0123").chain(futures_util::stream::pending());
    let (stalling, at) = (store.clone(), chunk("one", digest, 10, 0));
    let stalling = tokio::spawn(async move { stalling.upload(&at, stalled).await });
    assert_eq!(
        store.upload(&chunk("two", digest, 10, 0), pieces(b"0123456789")).await.unwrap(),
        10
    );
    let refused = stalling.await.unwrap().unwrap_err();
    assert!(matches!(refused, ArtifactError::BrokenOff(_)), "{refused}");
}

#[tokio::test]
async fn a_damaged_blob_is_missing_until_it_is_pushed_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for damage in ["c0ntent", "", "content and more"] {
        let tree = tree_of(&store, &[("a", "content", false)]).await;
        let digest = tree.files()[0].digest;
        let path = blob(directory.path(), &digest);
        write_over(&path, damage.as_bytes());
        assert!(matches!(store.get(&digest, 100).await, Err(ArtifactError::Corrupt(_))));
        let target = directory.path().join("trees").join(tree.digest().to_string());
        let lost = store.lay_out(&tree, &target).await.unwrap_err();
        assert!(lost.to_string().starts_with("the content of a ("), "{lost}");
        assert_eq!(
            store
                .missing(&[Wanted { digest, size: None }], &UploadName::default())
                .await
                .unwrap()
                .len(),
            1
        );
        assert!(directory.path().join("artifacts/damaged").join(digest.to_string()).exists());
        store.upload(&chunk("", digest, 7, 0), pieces(b"content")).await.unwrap();
        store.lay_out(&tree, &target).await.unwrap();
        assert_eq!(std::fs::read(target.join("a")).unwrap(), b"content");
        assert_eq!(
            std::fs::read_dir(directory.path().join("artifacts/damaged")).unwrap().count(),
            0
        );
        assert_eq!(
            std::fs::read_dir(directory.path().join("trees")).unwrap().count(),
            1,
            "nothing half done stays"
        );
    }
}

#[tokio::test]
async fn whatever_is_done_to_a_tree_is_undone_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let files = [
        ("model.py", "code", false),
        ("run", "#!", true),
        ("sub/deep/data", "numbers", false),
        ("sub/empty", "", false),
    ];
    let tree = tree_of(&store, &files).await;
    let target = directory.path().join("trees/t");
    store.lay_out(&tree, &target).await.unwrap();
    let before = content(&target);
    let modes: Vec<u32> = before.iter().map(|(_, mode, _)| *mode).collect();
    assert!(modes.iter().all(|mode| mode & 0o222 == 0), "{before:?}");
    type Damage = fn(&Path);
    let damages: [Damage; 8] = [
        |tree| std::fs::remove_file(tree.join("model.py")).unwrap(),
        |tree| std::fs::remove_dir_all(tree.join("sub")).unwrap(),
        |tree| std::fs::create_dir_all(tree.join("__pycache__/x")).unwrap(),
        |tree| std::fs::write(tree.join("sub/extra.py"), "import os").unwrap(),
        |tree| {
            // Another file under the same name: the blob has no part in it.
            std::fs::remove_file(tree.join("model.py")).unwrap();
            std::fs::write(tree.join("model.py"), "c0de").unwrap();
        },
        |tree| {
            std::fs::remove_dir_all(tree.join("sub")).unwrap();
            symlink("/etc", tree.join("sub")).unwrap();
        },
        |tree| {
            std::fs::remove_file(tree.join("run")).unwrap();
            std::fs::create_dir_all(tree.join("run/x")).unwrap();
        },
        |tree| {
            std::fs::set_permissions(
                tree.join("sub/deep/data"),
                std::fs::Permissions::from_mode(0o000),
            )
            .unwrap()
        },
    ];
    for (number, damage) in damages.iter().enumerate() {
        for folder in ["", "sub", "sub/deep"] {
            std::fs::set_permissions(target.join(folder), std::fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        damage(&target);
        store.lay_out(&tree, &target).await.unwrap();
        assert_eq!(content(&target), before, "damage {number}");
    }
    // What was cut short shares its content with the blob: only a push can bring it back.
    write_over(&target.join("sub/deep/data"), b"num");
    if store.lay_out(&tree, &target).await.is_err() {
        assert_eq!(
            store.put(Bytes::from_static(b"numbers")).await.unwrap(),
            Digest::of(b"numbers")
        );
        store.lay_out(&tree, &target).await.unwrap();
    }
    assert_eq!(content(&target), before);
}

#[tokio::test]
async fn what_is_laid_out_and_sound_needs_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tree = tree_of(&store, &[("a", "1", false), ("b/c", "2", false)]).await;
    let target = directory.path().join("trees/t");
    store.lay_out(&tree, &target).await.unwrap();
    std::fs::remove_dir_all(directory.path().join("artifacts")).unwrap();
    store.lay_out(&tree, &target).await.unwrap();
    // Also where a file has to be hashed because something touched it.
    write_over(&target.join("a"), b"1");
    store.lay_out(&tree, &target).await.unwrap();
}

#[tokio::test]
async fn trees_share_the_disk_with_their_blobs() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let weights = "w".repeat(1 << 20);
    for edit in ["one", "two", "three"] {
        let tree =
            tree_of(&store, &[("weights", &weights, false), ("model.py", edit, false)]).await;
        let target = directory.path().join("trees").join(edit);
        store.lay_out(&tree, &target).await.unwrap();
    }
    let blob = blob(directory.path(), &Digest::of(weights.as_bytes())).metadata().unwrap();
    let file = directory.path().join("trees/one/weights").metadata().unwrap();
    // A file system that clones shares blocks instead of the file.
    assert!(
        blob.nlink() == 4 && file.ino() == blob.ino() || blob.nlink() == 1,
        "{} links",
        blob.nlink()
    );
    let freed = remove_tree(&directory.path().join("trees/one")).unwrap();
    assert!(blob.nlink() == 1 || freed == 0, "the blob is still there: {freed}");
}

#[tokio::test]
async fn what_a_kill_leaves_behind_is_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tree = tree_of(&store, &[("a", "1", false), ("b", "2", false)]).await;
    let target = directory.path().join("trees/t");
    std::fs::create_dir_all(directory.path().join("trees/t-1-0.partial")).unwrap();
    std::fs::create_dir_all(&target).unwrap();
    std::fs::write(target.join("file-1-0.partial"), "").unwrap();
    std::fs::write(target.join("a"), "").unwrap();
    store.lay_out(&tree, &target).await.unwrap();
    assert_eq!(content(&target).len(), 3);
    assert_eq!(std::fs::read(target.join("a")).unwrap(), b"1");
}

#[tokio::test]
async fn a_tree_whose_sizes_are_untrue_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let digest = store.put(Bytes::from_static(b"12345")).await.unwrap();
    let tree =
        Tree::new(vec![TreeFile { path: "a".into(), digest, size: 4, executable: false }]).unwrap();
    let refused = store.lay_out(&tree, &directory.path().join("trees/t")).await.unwrap_err();
    assert!(
        matches!(refused, ArtifactError::WrongSize { found: 5, announced: 4, .. }),
        "{refused}"
    );
    assert_eq!(store.size(&digest).await.unwrap(), Some(5), "the blob is not to blame");
}

#[tokio::test]
async fn verification_finds_what_no_look_at_the_time_of_a_file_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tree = tree_of(
        &store,
        &[("a", "rotting", false), ("decalog.toml", "kept", false), ("run", "me", true)],
    )
    .await;
    let trees = directory.path().join("trees");
    let target = trees.join(tree.digest().to_string());
    store.lay_out(&tree, &target).await.unwrap();
    assert!(verify_trees(&trees).unwrap().damaged.is_empty());
    assert_eq!(store.verify().await.unwrap().sound, 3);
    for path in [target.join("a"), target.join("run")] {
        let sealed = path.metadata().unwrap().modified().unwrap();
        let content = std::fs::read(&path).unwrap();
        std::fs::write(&path, vec![b'x'; content.len()]).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(sealed).unwrap();
    }
    store.lay_out(&tree, &target).await.unwrap();
    assert_eq!(std::fs::read(target.join("a")).unwrap(), b"xxxxxxx", "nobody has looked inside");
    assert_eq!(verify_trees(&trees).unwrap().damaged, [tree.digest().to_string()]);
    let verified = store.verify().await.unwrap();
    for digest in verified.damaged {
        assert_eq!(digest, Digest::of(b"rotting").to_string());
        store.put(Bytes::from_static(b"rotting")).await.unwrap();
    }
    store.lay_out(&tree, &target).await.unwrap();
    assert_eq!(std::fs::read(target.join("a")).unwrap(), b"rotting");
    assert_eq!(std::fs::read(target.join("run")).unwrap(), b"me");
    assert!(verify_trees(&trees).unwrap().damaged.is_empty());
}

/// A small disk, where this test may mount one.
fn small_disk(directory: &Path) -> bool {
    std::fs::create_dir_all(directory).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(directory)
        .output();
    mounted.is_ok_and(|output| output.status.success())
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    if !small_disk(&disk) {
        eprintln!("skipped: only root may mount a small disk");
        return;
    }
    let store = open(&disk);
    let small = store.put(Bytes::from_static(b"small")).await.unwrap();
    let content = vec![7; 4 << 20];
    let digest = Digest::of(&content);
    let halves = futures_util::stream::iter(
        content
            .chunks(64 << 10)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece))),
    );
    let full = store.upload(&chunk("u", digest, content.len() as u64, 0), halves).await;
    let put = store.put(Bytes::from(content)).await;
    let (kept, got) =
        (store.uploaded(&digest, &"u".parse().unwrap()).await, store.get(&small, 10).await);
    let again = store.collect(&store.leases().collection().await, &Default::default()).await;
    let unmounted =
        tokio::process::Command::new("umount").arg("-l").arg(&disk).status().await.unwrap();
    assert!(unmounted.success());
    assert!(matches!(full, Err(ArtifactError::NoSpace)), "{full:?}");
    assert!(matches!(put, Err(ArtifactError::NoSpace)), "{put:?}");
    assert_eq!(kept.unwrap() % (64 << 10), 0, "only whole pieces count");
    assert_eq!(got.unwrap(), "small");
    assert_eq!(again.unwrap().blobs, 1);
}

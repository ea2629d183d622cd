//! Whatever list of files somebody pushes, or lies on the disk: what is taken for a tree stays
//! within its directory.

use std::path::{Component, Path};

use artifacts::Store;
use domain::{Digest, Tree};
use testing::Corpus;

/// Everything below a directory, but for some.
fn found(directory: &Path, but: &[&str]) -> Vec<String> {
    let names = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !but.contains(&name.as_str())).collect();
    names.sort();
    names
}

#[test]
fn whatever_is_taken_for_a_tree_is_laid_out_where_it_belongs() {
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::open(
        &format!("file:{}", home.path().join("artifacts").display()),
        &home.path().join("uploads"),
    )
    .unwrap();
    let digest = runtime.block_on(store.put(b"x".to_vec().into())).unwrap();
    let file = |path: &str, size: u64| {
        format!(r#"{{"path":"{path}","digest":"{digest}","size":{size},"executable":true}}"#)
    };
    let lost = file("lost", 1).replace(&digest.to_string(), &Digest::of(b"lost").to_string());
    let inputs = [
        format!("[{}]", file("model.py", 1)),
        format!("[{},{},{}]", file("a/b/c", 1), file("a/d", 1), file("e", 1)),
        format!("[{},{}]", file("../x", 1), file("/etc/x", 1)),
        format!("[{},{}]", file("a", 1), file("a/b", 1)),
        format!("[{lost}]"),
        format!("[{}]", file("vast", u64::MAX)),
        "[]".into(),
    ];
    let tree = home.path().join("trees/t");
    Corpus::of("trees", inputs.map(String::into_bytes).into()).check(|bytes| {
        let Ok(read) = serde_json::from_slice::<Tree>(bytes) else { return };
        let stays = |path: &str| {
            Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
        };
        assert!(read.files().iter().all(|file| stays(&file.path)));
        assert_eq!(
            serde_json::from_slice::<Tree>(&serde_json::to_vec(&read).unwrap()).unwrap().digest(),
            read.digest()
        );
        let laid_out = runtime.block_on(store.lay_out(&read, &tree));
        assert_eq!(laid_out.is_ok(), tree.exists(), "all at once or not at all: {laid_out:?}");
        if laid_out.is_ok() {
            let size: u64 = read
                .files()
                .iter()
                .map(|file| tree.join(&file.path).metadata().unwrap().len())
                .sum();
            assert_eq!(size, read.size());
            artifacts::remove_tree(&tree).unwrap();
        }
    });
    assert_eq!(found(home.path(), &["artifacts", "uploads"]), ["trees"]);
    assert!(found(&home.path().join("trees"), &[]).is_empty());
}

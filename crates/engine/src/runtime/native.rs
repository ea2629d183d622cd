//! Files that libraries save models to by themselves, and where code lies that is not `model.py`:
//! told by names and by how files begin, without running anything.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What MLflow calls the description of a model in a directory.
pub const MLFLOW_FILE: &str = "MLmodel";
/// How much of a file is looked at, in bytes.
const HEAD_BYTES: u64 = 256;
/// How much of the end of an archive is, where the names of its files are, in bytes.
const TAIL_BYTES: u64 = 1 << 20;

/// Whether a file is a model by the format of its library: XGBoost, LightGBM, CatBoost, skops,
/// Keras, TorchScript, or MLflow's description of one.
pub fn is_native(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    let begins = || head(path);
    match suffix.as_ref() {
        "ubj" | "json" => {
            let head = begins();
            head.first() == Some(&b'{') && contains(&head[..head.len().min(64)], b"learner")
        }
        "txt" => begins().starts_with(b"tree\nversion="),
        "cbm" => begins().starts_with(b"CBM1"),
        "skops" => begins().starts_with(b"PK"),
        "keras" => begins().starts_with(b"PK") && contains(&tail(path), b"model.weights"),
        // What else PyTorch saves has no code in it.
        "pt" | "pth" => begins().starts_with(b"PK") && contains(&tail(path), b"/code/__torch__"),
        _ => name == MLFLOW_FILE,
    }
}

/// The beginning of a file; empty if there is none.
pub fn head(path: &Path) -> Vec<u8> {
    let mut head = vec![];
    let _ = File::open(path).map(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    head
}

/// The end of a file; empty if there is none.
fn tail(path: &Path) -> Vec<u8> {
    let mut tail = vec![];
    let _ = File::open(path).and_then(|mut file| {
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(TAIL_BYTES)))?;
        file.take(TAIL_BYTES).read_to_end(&mut tail)
    });
    tail
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// The file of a directory that holds its code beyond doubt: `model.py`, alone or in `src`, or in
/// the only package that has one; then a package `model`.
pub fn code_file(directory: &Path) -> Option<String> {
    let is_file = |path: &&str| directory.join(path).is_file();
    if let Some(found) = ["model.py", "src/model.py"].iter().copied().find(is_file) {
        return Some(found.into());
    }
    let mut packaged: Vec<String> =
        ["", "src/"].iter().flat_map(|base| packages_with_model(directory, base)).collect();
    if packaged.len() == 1 {
        return packaged.pop();
    }
    let packages = ["model/__init__.py", "src/model/__init__.py"];
    packages.iter().copied().find(is_file).map(String::from)
}

fn packages_with_model(directory: &Path, base: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join(base)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_package = |name: &String| {
        let package = directory.join(base).join(name);
        package.join("__init__.py").is_file() && package.join("model.py").is_file()
    };
    let mut found: Vec<String> =
        names.filter(is_package).map(|name| format!("{base}{name}/model.py")).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        directory
    }

    #[test]
    fn a_file_is_known_by_how_it_begins() {
        let files: &[(&str, &[u8])] = &[
            ("a.json", b"{\"learner\":{\"attributes\":{}}}"),
            ("a.ubj", b"{L\0\0\0\0\0\0\0\x07learner{"),
            ("a.txt", b"tree\nversion=v4\nnum_class=1\n"),
            ("a.cbm", b"CBM1\xd0"),
            ("a.skops", b"PK\x03\x04"),
            ("MLmodel", b"flavors:\n"),
            ("net.pt", b"PK\x03\x04net/data.pkl net/code/__torch__.py"),
            ("net.keras", b"PK\x03\x04config.json model.weights.h5"),
        ];
        let others: &[(&str, &[u8])] = &[
            ("metrics.json", b"{\"auc\": 0.9}"),
            ("requirements.txt", b"numpy\n"),
            ("notes.txt", b"tree of life\n"),
            ("b.cbm", b""),
            ("b.json", b"[\"learner\"]"),
            ("weights.pt", b"PK\x03\x04weights/data.pkl"),
            ("b.keras", b"PK\x03\x04"),
        ];
        let place = directory(&[files, others].concat());
        for (name, _) in files {
            assert!(is_native(&place.path().join(name)), "{name}");
        }
        for (name, _) in others {
            assert!(!is_native(&place.path().join(name)), "{name}");
        }
        assert!(!is_native(&place.path().join("gone.json")));
    }

    #[test]
    fn code_is_found_where_people_keep_it() {
        let found = |names: &[&str]| {
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b""[..])).collect();
            code_file(directory(&files).path())
        };
        let some = |name: &str| Some(name.to_string());
        assert_eq!(found(&["model.py", "src/model.py"]), some("model.py"));
        assert_eq!(found(&["src/model.py"]), some("src/model.py"));
        assert_eq!(found(&["churn/__init__.py", "churn/model.py"]), some("churn/model.py"));
        assert_eq!(
            found(&["src/churn/__init__.py", "src/churn/model.py"]),
            some("src/churn/model.py")
        );
        assert_eq!(found(&["model/__init__.py", "model/features.py"]), some("model/__init__.py"));
        let two = ["a/__init__.py", "a/model.py", "b/__init__.py", "b/model.py"];
        assert_eq!(found(&two), None);
        assert_eq!(found(&["notes/model.py"]), None, "no package");
    }
}

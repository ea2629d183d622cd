//! What a resolver has decided: hashes that the user has pinned are kept to, archives of the
//! directory are found again by their digests, and the directory itself is left out, since its
//! files are beside the model.

use std::collections::BTreeSet;
use std::path::Path;

use domain::{Code, Digest, Problem};

use super::{Wanted, paths, requirements};
use crate::distributions::normal;

/// How a line begins that names an archive of the directory, with its digest.
const ARCHIVE: &str = "# archive ";

/// A package that was decided on.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Name and version, an address, or a path.
    what: String,
    hashes: BTreeSet<String>,
}

impl Entry {
    fn name(&self) -> String {
        let end =
            self.what.find(['=', ' ', '[', '@', ';', '<', '>', '~']).unwrap_or(self.what.len());
        normal(&self.what[..end])
    }

    fn line(&self) -> String {
        let hashes: String =
            self.hashes.iter().map(|hash| format!(" \\\n    --hash={hash}")).collect();
        format!("{}{hashes}\n", self.what)
    }
}

fn entries(text: &str) -> Vec<Entry> {
    let joined = text.replace("\\\n", " ");
    let lines =
        joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (what, hashes) = line.split_once(" --hash=").unwrap_or((line, ""));
            let hashes = hashes.split_whitespace().map(|hash| hash.trim_start_matches("--hash="));
            Entry {
                what: what.trim().into(),
                hashes: hashes.filter(|hash| !hash.is_empty()).map(String::from).collect(),
            }
        })
        .collect()
}

/// The text of a lock from what the resolver gave.
pub fn settle(tree: &Path, wanted: &Wanted, text: &str) -> Result<String, Problem> {
    let (mut settled, mut archives) = (vec![], vec![]);
    for mut entry in entries(text) {
        let editable = entry.what.strip_prefix("-e ").unwrap_or(&entry.what).trim();
        let bare = editable.split([';', '[']).next().unwrap_or_default().trim();
        let local = is_local(bare).then(|| bare.to_string());
        if let Some(named) = local {
            let path =
                paths::within("", &named).ok_or_else(|| paths::refusal(wanted.file, &named))?;
            if path.is_empty() {
                continue;
            }
            let Some((name, version)) = requirements::name_and_version(&path) else {
                return Err(unbuilt(wanted.file, &path));
            };
            let digest = digest_of(tree, &path)?;
            entry = Entry {
                what: format!("{name}=={version}"),
                hashes: [format!("sha256:{digest}")].into(),
            };
            archives.push((digest, path));
        }
        settled.push(entry);
    }
    for path in wanted.archives(tree) {
        let digest = digest_of(tree, &path)?;
        let hash = format!("sha256:{digest}");
        if settled.iter().any(|entry| entry.hashes.contains(&hash)) {
            archives.push((digest, path));
        }
    }
    keep_to_pins(wanted, &mut settled)?;
    let file = |path: &str| path.rsplit('/').next().unwrap_or_default().to_string();
    let lines = archives.iter().map(|(digest, path)| format!("{ARCHIVE}{digest} {}\n", file(path)));
    Ok(lines.chain(settled.iter().map(Entry::line)).collect())
}

/// Whether the resolver names a path instead of a package.
fn is_local(what: &str) -> bool {
    let is_path =
        what.starts_with(['.', '/']) || what.starts_with("file:") || requirements::is_archive(what);
    is_path && !what.contains(" @ ") && !what.contains("://") || what.contains("file:")
}

fn unbuilt(file: &str, path: &str) -> Problem {
    Problem::new(Code::LockFailed, format!("{file} installs the folder {path}, which is not built here"))
        .help(format!("build a wheel of it (pip wheel --no-deps ./{path} -w wheels) and name that, or put its package beside the model"))
}

fn digest_of(tree: &Path, path: &str) -> Result<Digest, Problem> {
    let bytes = std::fs::read(tree.join(path));
    bytes.map(|bytes| Digest::of(&bytes)).map_err(|error| {
        Problem::new(Code::LockFailed, format!("{path} cannot be read: {error}"))
            .help("put it into the model directory")
    })
}

/// As pip does: once one package has a hash, all need one, and no other file is installed.
fn keep_to_pins(wanted: &Wanted, entries: &mut [Entry]) -> Result<(), Problem> {
    let pins = &wanted.requirements.pins;
    if pins.is_empty() {
        return Ok(());
    }
    let file = wanted.file;
    let unpinned: Vec<String> = entries
        .iter()
        .filter(|entry| !pins.contains_key(&entry.name()))
        .map(|entry| entry.what.clone())
        .collect();
    if !unpinned.is_empty() {
        let text = format!("{file} has hashes, but not for all packages that are installed");
        return Err(Problem::new(Code::LockFailed, text).details(unpinned).help(
            "add them: pip-compile --generate-hashes, or uv pip compile --generate-hashes, writes all; or remove all hashes",
        ));
    }
    for entry in entries {
        let allowed = &pins[&entry.name()];
        let algorithm = |hash: &String| hash.split(':').next().unwrap_or_default().to_string();
        let known: BTreeSet<String> = entry.hashes.iter().map(algorithm).collect();
        let both: BTreeSet<String> = entry.hashes.intersection(allowed).cloned().collect();
        if both.is_empty() && allowed.iter().all(|hash| known.contains(&algorithm(hash))) {
            return Err(mismatch(file, entry, allowed));
        }
        // Of another algorithm than the index tells: the installer compares the file itself.
        entry.hashes = if both.is_empty() { allowed.clone() } else { both };
    }
    Ok(())
}

fn mismatch(file: &str, entry: &Entry, allowed: &BTreeSet<String>) -> Problem {
    let line = |who: &str, hash: &String| format!("{who} {hash}");
    let expected = allowed.iter().map(|hash| line("expected", hash));
    let found = entry.hashes.iter().map(|hash| line("found   ", hash));
    let text = format!("hash mismatch: no file of {} has a hash that {file} pins", entry.what);
    Problem::new(Code::LockFailed, text).details(expected.chain(found)).help(
        "if the version was changed on purpose, write its new hashes (pip hash FILE, or pip-compile --generate-hashes); \
         else somebody may have replaced the package: do not install it",
    )
}

/// The archives of a lock: their digests and names.
pub fn archives(text: &str) -> Vec<(Digest, String)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(ARCHIVE)?.split_once(' '));
    lines.filter_map(|(digest, name)| Some((digest.parse().ok()?, name.to_string()))).collect()
}

/// Whether every package of a lock has a hash: then nothing without one may be installed.
pub fn is_hashed(text: &str) -> bool {
    entries(text).iter().all(|entry| !entry.hashes.is_empty())
}

/// What is installed, as in `six==1.15.0`.
pub fn packages(text: &str) -> Vec<String> {
    let first = |entry: Entry| entry.what.split([' ', ';']).next().map(String::from);
    let mut packages: Vec<String> = entries(text).into_iter().filter_map(first).collect();
    packages.sort();
    packages
}

/// The names of what is installed.
pub fn names(text: &str) -> BTreeSet<String> {
    entries(text).iter().map(Entry::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages;

    const INDEX: &str = "six==1.15.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n";

    fn settled(requirements: &str, text: &str) -> Result<String, Problem> {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("wheels")).unwrap();
        std::fs::write(tree.path().join("wheels/foo_bar-1.0-py3-none-any.whl"), "wheel").unwrap();
        std::fs::write(tree.path().join("requirements.txt"), requirements).unwrap();
        settle(tree.path(), &packages::read(tree.path())?.unwrap(), text)
    }

    #[test]
    fn pinned_hashes_are_kept_to() {
        assert_eq!(settled("six==1.15.0\n", INDEX).unwrap(), INDEX);
        let one = settled("six==1.15.0 --hash=sha256:bb\n", INDEX).unwrap();
        assert_eq!(one, "six==1.15.0 \\\n    --hash=sha256:bb\n");
        let problem = settled("six==1.15.0 --hash=sha256:00\n", INDEX).unwrap_err();
        assert!(
            problem.message.contains("hash mismatch") && problem.message.contains("six==1.15.0")
        );
        assert_eq!(
            problem.details,
            ["expected sha256:00", "found    sha256:aa", "found    sha256:bb"]
        );
        let other = settled("six==1.15.0 --hash=sha512:00\n", INDEX).unwrap();
        assert!(
            other.contains("sha512:00") && !other.contains("sha256"),
            "the installer compares it"
        );
        let more = format!("{INDEX}toolz==1.0 --hash=sha256:cc\n");
        let problem = settled("six==1.15.0 --hash=sha256:aa\ntoolz\n", &more).unwrap_err();
        assert_eq!(problem.details, ["toolz==1.0"]);
        assert!(settled("six --hash=sha256:aa\n-c limits.txt\n", INDEX).is_ok());
    }

    #[test]
    fn archives_are_found_by_their_digests() {
        let digest = Digest::of(b"wheel");
        let line = "./wheels/foo_bar-1.0-py3-none-any.whl";
        let expected = format!(
            "# archive {digest} foo_bar-1.0-py3-none-any.whl\nfoo-bar==1.0 \\\n    --hash=sha256:{digest}\n"
        );
        let text = settled(line, &format!("{line} \\\n    --hash=sha256:{digest}\n")).unwrap();
        assert_eq!(text, expected);
        assert_eq!(archives(&text), [(digest, "foo_bar-1.0-py3-none-any.whl".to_string())]);
        assert_eq!(packages(&text), ["foo-bar==1.0"]);
        let found =
            settled("-f wheels\nfoo-bar", &format!("foo-bar==1.0 --hash=sha256:{digest}\n{INDEX}"))
                .unwrap();
        assert!(found.starts_with("# archive ") && is_hashed(&found), "{found}");
        assert!(settled("x", "x @ file:///etc/x-1.0-py3-none-any.whl\n").is_err());
        assert_eq!(settled("-e .", "-e .\n").unwrap(), "", "it is beside the model");
        assert!(settled("x", "-e ./sub\n").is_err());
        assert!(!is_hashed("x @ git+https://a/b.git@c\n"));
    }
}

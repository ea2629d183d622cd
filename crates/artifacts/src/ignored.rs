//! What of a model directory does not belong to the model: what `.decalogignore` says, in the
//! language of .gitignore; what never does; and what looks like a secret, which stays where it is
//! until a line with `!` says otherwise.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use domain::manifest::MANIFEST_FILE;
use domain::trust::SIGNATURE_FILE;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::ArtifactError;

/// Names what does not belong to the model, one pattern a line, as in a .gitignore.
pub const IGNORE_FILE: &str = ".decalogignore";
/// What belongs to no model, and goes without saying.
const SILENT: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".ipynb_checkpoints",
    ".DS_Store",
    "*.pyc",
    ".decalogignore",
];
/// Folders that are large, and made anew where the model runs.
const FOLDERS: &[&str] = &["node_modules/", ".venv/", "venv/"];
/// What a virtual environment has at its top, whatever it is called.
const ENVIRONMENT_FILE: &str = "pyvenv.cfg";
/// Files that hold secrets by their name alone.
const SECRETS: &[&str] = &[
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "!.env.dist",
    "!example.env",
    "!sample.env",
    "!template.env",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".pypirc",
    ".git-credentials",
    ".htpasswd",
    ".dockercfg",
    "credentials",
    ".credentials",
    "credentials.json",
    "kaggle.json",
    "*.p12",
    "*.pfx",
    "*.jks",
];
/// Folders of secrets.
const SECRET_FOLDERS: &[&str] = &[".aws/", ".ssh/", ".gnupg/", ".azure/", ".kube/"];
/// Files that hold a secret if a private key is in them.
const KEYS: &[&str] = &["*.pem", "*.key", "*.ppk", "*.json"];
/// What a private key says of itself, in the forms of OpenSSL, OpenSSH and PuTTY.
const KEY_WORDS: [&[u8]; 2] = [b"PRIVATE KEY-----", b"PuTTY-User-Key-File"];
/// How much of a file is searched for a key, in bytes.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// Something that stays on the user's machine without their having said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Within the directory.
    pub path: String,
    /// What it is.
    pub why: Why,
}

/// Why something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// By its name it holds a secret.
    Secret,
    /// A private key is in it.
    PrivateKey,
    /// What is installed there is made anew where the model runs.
    Installed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Secret => "a secret by its name",
            Why::PrivateKey => "a private key",
            Why::Installed => "packages that are installed anew where the model runs",
        })
    }
}

/// What becomes of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the model.
    Kept,
    /// It does not, and the user knows.
    Ignored,
    /// It does not, which is to be said.
    LeftOut(Why),
}

/// What tells whether a path belongs to no model, wherever it is: nothing of it is ever pushed, unless
/// a line of [`IGNORE_FILE`] wants it.
pub struct NeverPushed(Gitignore);

impl NeverPushed {
    /// Its patterns, which are the same everywhere.
    pub fn new() -> Result<NeverPushed, ArtifactError> {
        patterns(SILENT.iter().copied()).map(NeverPushed)
    }

    /// Whether a path within a directory is of that sort, or lies in a folder that is.
    pub fn has(&self, path: &str) -> bool {
        self.0.matched_path_or_any_parents(path, false).is_ignore()
    }
}

/// The patterns of one directory.
pub struct Ignored {
    /// Whether the manifest is a file like others, since whoever signs a directory signs it as well.
    has_manifest: bool,
    own: Gitignore,
    silent: Gitignore,
    folders: Gitignore,
    secrets: Gitignore,
    secret_folders: Gitignore,
    keys: Gitignore,
}

fn patterns<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Gitignore, ArtifactError> {
    // Paths are given relative to the directory.
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder.add_line(None, line).map_err(|error| ArtifactError::Path {
            path: IGNORE_FILE.into(),
            problem: format!("the line `{line}` is no pattern of a .gitignore: {error}"),
        })?;
    }
    builder.build().map_err(|error| ArtifactError::Path {
        path: IGNORE_FILE.into(),
        problem: error.to_string(),
    })
}

impl Ignored {
    /// Those of the directory `root`. Where there is a signature, the manifest is one of its files.
    pub fn of(root: &Path) -> Result<Ignored, ArtifactError> {
        let has_manifest = root.join(SIGNATURE_FILE).is_file();
        Ignored::with_manifest(root, has_manifest)
    }

    /// The same, where it is said whether the manifest is one of the files.
    pub fn with_manifest(root: &Path, has_manifest: bool) -> Result<Ignored, ArtifactError> {
        let text = match std::fs::read_to_string(root.join(IGNORE_FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Ignored {
            has_manifest,
            own: patterns(text.lines())?,
            silent: patterns(SILENT.iter().copied())?,
            folders: patterns(FOLDERS.iter().copied())?,
            secrets: patterns(SECRETS.iter().copied())?,
            secret_folders: patterns(SECRET_FOLDERS.iter().copied())?,
            keys: patterns(KEYS.iter().copied())?,
        })
    }

    /// What becomes of a path within the directory, whose content lies at `real`.
    pub fn verdict(&self, path: &str, real: &Path, is_folder: bool) -> Verdict {
        if path == MANIFEST_FILE {
            return if self.has_manifest { Verdict::Kept } else { Verdict::Ignored };
        }
        match self.own.matched(path, is_folder) {
            Match::Ignore(_) => return Verdict::Ignored,
            Match::Whitelist(_) => return Verdict::Kept,
            Match::None => {}
        }
        let is = |patterns: &Gitignore, path: &str| patterns.matched(path, is_folder).is_ignore();
        if is(&self.silent, path) {
            return Verdict::Ignored;
        }
        let is_installed = is_folder && real.join(ENVIRONMENT_FILE).is_file();
        if is_installed || is(&self.folders, path) {
            return Verdict::LeftOut(Why::Installed);
        }
        // What a link is called does not make its content less of a secret.
        let names = [path, real.file_name().and_then(|name| name.to_str()).unwrap_or_default()];
        // A folder may have the name of a file of secrets.
        let is_secret = match is_folder {
            true => is(&self.secret_folders, path),
            false => names.iter().any(|name| is(&self.secrets, name)),
        };
        if is_secret {
            return Verdict::LeftOut(Why::Secret);
        }
        if !is_folder && names.iter().any(|name| is(&self.keys, name)) && has_key(real) {
            return Verdict::LeftOut(Why::PrivateKey);
        }
        Verdict::Kept
    }
}

fn has_key(path: &Path) -> bool {
    let mut head = vec![];
    let read = File::open(path).map(|file| file.take(KEY_BYTES_MAX).read_to_end(&mut head));
    read.is_ok() && KEY_WORDS.iter().any(|word| head.windows(word.len()).any(|part| part == *word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(lines: &str, files: &[(&str, &str)]) -> Vec<Verdict> {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(IGNORE_FILE), lines).unwrap();
        let ignored = Ignored::of(root.path()).unwrap();
        let mut found = vec![];
        for (name, text) in files {
            let path = root.path().join(name.trim_end_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match name.strip_suffix('/') {
                Some(_) => std::fs::create_dir_all(&path).unwrap(),
                None => std::fs::write(&path, text).unwrap(),
            }
            found.push(ignored.verdict(name.trim_end_matches('/'), &path, path.is_dir()));
        }
        found
    }

    #[test]
    fn patterns_are_those_of_a_gitignore() {
        let lines = "# comment\n*.tmp\n/data/*\n!/data/keep.csv\nlogs/\n";
        let files = [
            ("a.tmp", Verdict::Ignored),
            ("x/a.tmp", Verdict::Ignored),
            ("data/x.csv", Verdict::Ignored),
            ("data/keep.csv", Verdict::Kept),
            ("x/data/y.csv", Verdict::Kept),
            ("logs/", Verdict::Ignored),
            ("a.pyc", Verdict::Ignored),
            ("decalog.toml", Verdict::Ignored),
            ("model.py", Verdict::Kept),
        ];
        let found = verdicts(lines, &files.map(|(name, _)| (name, "")));
        for ((name, expected), found) in files.iter().zip(found) {
            assert_eq!(found, *expected, "{name}");
        }
    }

    #[test]
    fn secrets_stay_unless_a_line_names_them() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMII\n";
        let (secret, private) = (Verdict::LeftOut(Why::Secret), Verdict::LeftOut(Why::PrivateKey));
        let files = [
            (".env", "", secret),
            ("conf/.env.production", "", secret),
            (".env.example", "", Verdict::Kept),
            ("prod.env", "", secret),
            ("env/", "", Verdict::Kept),
            (".ssh/", "", secret),
            ("credentials", "", secret),
            ("credentials/", "", Verdict::Kept),
            ("credentials.py", "", Verdict::Kept),
            ("id_rsa", "", secret),
            ("id_rsa.pub", "", Verdict::Kept),
            (".netrc", "", secret),
            ("tls.pem", key, private),
            ("tls.key", key, private),
            ("account.json", &format!("{{\"private_key\": \"{key}\"}}"), private),
            ("authority.pem", "-----BEGIN CERTIFICATE-----\n", Verdict::Kept),
            ("words.key", "plain", Verdict::Kept),
            ("notes.txt", key, Verdict::Kept),
            ("node_modules/", "", Verdict::LeftOut(Why::Installed)),
        ];
        for (name, text, expected) in files {
            assert_eq!(verdicts("", &[(name, text)]), [expected], "{name}");
            let told = format!("!{name}\n");
            assert_eq!(verdicts(&told, &[(name, text)]), [Verdict::Kept], "{told}");
        }
        assert_eq!(
            verdicts("!public/*.pem", &[("public/a.pem", key), ("a.pem", key)]),
            [Verdict::Kept, private]
        );
    }

    #[test]
    fn the_manifest_is_a_file_of_what_is_signed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(IGNORE_FILE), "decalog.toml\n").unwrap();
        let manifest = root.path().join(MANIFEST_FILE);
        let verdict = || Ignored::of(root.path()).unwrap().verdict(MANIFEST_FILE, &manifest, false);
        assert_eq!(verdict(), Verdict::Ignored);
        std::fs::write(root.path().join(SIGNATURE_FILE), "{}").unwrap();
        assert_eq!(verdict(), Verdict::Kept);
        let never = NeverPushed::new().unwrap();
        for path in [".decalogignore", "a/__pycache__/x.bin", "b.pyc", ".DS_Store", ".git/config"] {
            assert!(never.has(path), "{path}");
        }
        for path in ["decalog.toml", "model.py", "git/config", ".env", "venv/x"] {
            assert!(!never.has(path), "{path}");
        }
    }

    #[test]
    fn a_virtual_environment_is_known_by_its_file() {
        let found = verdicts("", &[("mine/pyvenv.cfg", ""), ("mine/", "")]);
        assert_eq!(found[1], Verdict::LeftOut(Why::Installed));
        assert!(Ignored::of(Path::new("/no/such")).is_ok());
    }
}

//! The in-toto statement of a signature: every file with its digest, and one digest over all of them.

use std::collections::BTreeMap;

use domain::digest::Hasher;
use domain::tree::{TREE_FILES_MAX, path_is_safe};
use domain::trust::SIGNATURE_FILE;
use domain::{Digest, Tree};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::SigningError;

/// Of statements.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Of what these say.
const PREDICATE: &str = "https://model_signing/signature/v1.0";
/// Of what they said before version 1.0 of the format.
const PREDICATE_BEFORE: &str = "https://model_signing/Digests/v0.1";
/// What signs each file by one digest.
const METHOD: &str = "files";
/// How files are hashed.
const ALGORITHM: &str = "sha256";
/// What the tools of the format leave out at the top of a directory unless they are told otherwise:
/// files, and folders with all that is in them.
const LEFT_OUT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

#[derive(Serialize, Deserialize)]
struct Text {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    #[serde(default)]
    name: String,
    digest: SubjectDigest,
}

#[derive(Serialize, Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

/// The files that a signature is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    files: BTreeMap<String, Digest>,
}

/// Whether the tools of the format leave a path out by themselves, and Decalog as well: the
/// signature itself, and what belongs to git.
pub(crate) fn is_left_out(path: &str) -> bool {
    let top = path.split_once('/').map_or(path, |(top, _)| top);
    path == SIGNATURE_FILE || LEFT_OUT.contains(&top)
}

fn malformed(reason: impl Into<String>) -> SigningError {
    SigningError::Malformed(reason.into())
}

fn digest(text: &str, of: &str) -> Result<Digest, SigningError> {
    let of = domain::problem::excerpt(of);
    text.parse().map_err(|_| malformed(format!("the digest of {of} is not a SHA-256")))
}

/// The digest over all digests, in the order in which the files are named.
fn root<'a>(digests: impl Iterator<Item = &'a Digest>) -> Digest {
    let mut hasher = Hasher::new();
    digests.for_each(|digest| hasher.update(&digest.0));
    hasher.finish()
}

impl Statement {
    /// The files that it is of, with their digests.
    pub fn files(&self) -> &BTreeMap<String, Digest> {
        &self.files
    }

    /// Reads the payload of an envelope.
    pub(crate) fn read(payload: &[u8]) -> Result<Statement, SigningError> {
        let text: Text = serde_json::from_slice(payload)
            .map_err(|error| malformed(format!("its statement cannot be read: {error}")))?;
        if text.predicate_type == PREDICATE_BEFORE {
            return Err(SigningError::Unsupported(
                "it was made before version 1.0 of the format".into(),
            ));
        }
        if text.kind != STATEMENT || text.predicate_type != PREDICATE {
            let kind = domain::problem::excerpt(&text.predicate_type).into_owned();
            return Err(malformed(format!("it says something else than a signature does: {kind}")));
        }
        let predicate: Predicate = serde_json::from_str(text.predicate.get())
            .map_err(|error| malformed(format!("its list of files cannot be read: {error}")))?;
        let [subject] = text.subject.as_slice() else {
            return Err(malformed("it is of more than one model, or of none"));
        };
        Statement::checked(subject, predicate)
    }

    fn checked(subject: &Subject, predicate: Predicate) -> Result<Statement, SigningError> {
        let Serialization { method, hash_type, .. } = predicate.serialization;
        if method != METHOD || hash_type != ALGORITHM {
            let how = format!("{method} by {hash_type}");
            return Err(SigningError::Unsupported(format!(
                "it hashes {}; Decalog reads whole files by SHA-256, which tools do if they are \
                 told nothing else",
                domain::problem::excerpt(&how)
            )));
        }
        // What Decalog never takes in may be named as well.
        if predicate.resources.len() > 2 * TREE_FILES_MAX {
            return Err(malformed(format!("it names more than {} files", 2 * TREE_FILES_MAX)));
        }
        let (mut files, mut digests) = (BTreeMap::new(), vec![]);
        for Resource { name, algorithm, digest: text } in predicate.resources {
            if algorithm != ALGORITHM {
                let name = domain::problem::excerpt(&name);
                return Err(SigningError::Unsupported(format!("{name} is not hashed by SHA-256")));
            }
            if !path_is_safe(&name) {
                let shown = name.chars().take(80).flat_map(char::escape_debug).collect::<String>();
                return Err(malformed(format!("`{shown}` is not a path within a directory")));
            }
            let digest = digest(&text, &name)?;
            digests.push(digest);
            if files.insert(name.clone(), digest).is_some() {
                return Err(malformed(format!("it names {name} twice")));
            }
        }
        if root(digests.iter()) != digest(&subject.digest.sha256, "the whole")? {
            return Err(malformed(
                "its digest of the whole is not that of the files that it names",
            ));
        }
        Ok(Statement { files })
    }

    /// What is said of a tree: `name` is what its directory is called, and `ignored` are paths in
    /// that directory which are not in the tree.
    pub(crate) fn payload(
        name: &str,
        tree: &Tree,
        ignored: &[String],
    ) -> Result<Vec<u8>, SigningError> {
        let mut files: Vec<_> =
            tree.files().iter().filter(|file| !is_left_out(&file.path)).collect();
        // As the tools sort them: name by name, and not letter by letter.
        files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
        let resource = |file: &&domain::TreeFile| Resource {
            name: file.path.clone(),
            algorithm: ALGORITHM.into(),
            digest: file.digest.to_string(),
        };
        let always = LEFT_OUT.iter().chain([&SIGNATURE_FILE]).map(|path| path.to_string());
        let mut ignore_paths: Vec<String> = always.chain(ignored.iter().cloned()).collect();
        ignore_paths.sort();
        ignore_paths.dedup();
        let predicate = Predicate {
            serialization: Serialization {
                method: METHOD.into(),
                hash_type: ALGORITHM.into(),
                allow_symlinks: false,
                ignore_paths,
            },
            resources: files.iter().map(resource).collect(),
        };
        let whole = root(files.iter().map(|file| &file.digest)).to_string();
        let subject = Subject { name: name.into(), digest: SubjectDigest { sha256: whole } };
        let unwritable = |error: serde_json::Error| malformed(error.to_string());
        let text = Text {
            kind: STATEMENT.into(),
            subject: vec![subject],
            predicate_type: PREDICATE.into(),
            predicate: to_raw_value(&predicate).map_err(unwritable)?,
        };
        serde_json::to_vec(&text).map_err(unwritable)
    }
}

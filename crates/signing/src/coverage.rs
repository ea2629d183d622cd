//! Whether a signature is one of exactly the files of a tree.

use domain::Tree;

use crate::statement::is_left_out;
use crate::{SigningError, Statement};

/// The files of a version, and what of them needs no signature.
pub struct Files<'a> {
    /// All of them.
    pub tree: &'a Tree,
    /// A file that was made when the version was pushed, if there is one: nobody can have signed it.
    pub made: Option<&'a str>,
    /// Whether Decalog never takes a path in, so that it may be signed and is in no tree.
    pub is_never_pushed: &'a dyn Fn(&str) -> bool,
}

/// Refuses a statement that is not of exactly these files: names those that were changed, added or
/// removed.
pub fn check_files(statement: &Statement, files: Files<'_>) -> Result<(), SigningError> {
    let mut lines = vec![];
    for file in files.tree.files() {
        if is_left_out(&file.path) || files.made == Some(file.path.as_str()) {
            continue;
        }
        match statement.files().get(&file.path) {
            None => lines.push(format!("{} is not signed", file.path)),
            Some(digest) if *digest != file.digest => {
                lines.push(format!("{} has another content than what was signed", file.path));
            }
            Some(_) => {}
        }
    }
    for path in statement.files().keys() {
        if files.tree.get(path).is_none() && !(files.is_never_pushed)(path) {
            lines.push(format!("{path} is signed, and is not among the files of the version"));
        }
    }
    if lines.is_empty() { Ok(()) } else { Err(SigningError::Differs(lines)) }
}

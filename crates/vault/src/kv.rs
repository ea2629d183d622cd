//! Values of the KV engine, version 2.

use std::fmt;
use std::str::FromStr;

use domain::Problem;

use crate::{Vault, problem};

const SCHEME: &str = "vault:";
/// The longest reference, in bytes.
const REFERENCE_BYTES_MAX: usize = 512;
/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 32 << 10;

/// A field of a secret: `vault:kv/data/churn#password`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    path: String,
    field: String,
}

impl FromStr for Reference {
    type Err = String;
    fn from_str(text: &str) -> Result<Reference, String> {
        let wrong = |why: &str| format!("this is no reference, as {why}");
        if text.len() > REFERENCE_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let rest =
            text.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with vault:"))?;
        let (path, field) = rest.split_once('#').ok_or_else(|| wrong("it names no #field"))?;
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.@ ".contains(letter);
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..") && part.chars().all(is_letter) && part.trim() == part
        };
        if !path.split('/').all(is_part) {
            return Err(wrong(
                "its path has empty parts, or other letters than A-Z, a-z, 0-9, - _ . @",
            ));
        }
        // The first part is the engine, and `data` is where version 2 has its values.
        if !path.split('/').skip(1).any(|part| part == "data") {
            return Err(wrong("its path does not go through /data/, as kv/data/churn"));
        }
        if !is_part(field) {
            return Err(wrong("its field is not a name"));
        }
        Ok(Reference { path: path.into(), field: field.into() })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}#{}", self.path, self.field)
    }
}

impl Reference {
    /// Whether it is below a path. Only whole parts count.
    pub fn is_below(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_matches('/');
        let rest = self.path.strip_prefix(prefix);
        !prefix.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Vault {
    /// The value that a reference stands for, as it is now.
    pub fn read(&self, reference: &Reference) -> Result<String, Problem> {
        let answer = self.call(&[&reference.path], None)?;
        if answer.status != 200 {
            return Err(self.refused(&reference.to_string(), &answer));
        }
        let fields = &answer.body["data"]["data"];
        match fields[&reference.field].as_str() {
            Some(value) if value.len() > VALUE_BYTES_MAX || value.contains('\0') => {
                Err(problem(format!("{reference} is too long or holds a NUL"))
                    .help("at most 32 KiB of text"))
            }
            Some(value) => Ok(value.into()),
            None if fields.is_null() => {
                Err(problem(format!("{reference} was deleted in the vault"))
                    .help("write it there again"))
            }
            None => Err(problem(format!("there is no text in the vault at {reference}"))
                .help("see which fields it has: bao kv get")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_a_path_and_a_field_and_nothing_else() {
        let reference = |text: &str| text.parse::<Reference>();
        let whole = reference("vault:kv/data/team/churn#password").unwrap();
        assert_eq!(whole.to_string(), "vault:kv/data/team/churn#password");
        assert!(whole.is_below("kv/data/team") && whole.is_below("/kv/data/team/churn/"));
        assert!(!whole.is_below("kv/data/te") && !whole.is_below("") && !whole.is_below("/"));
        assert!(!whole.is_below("kv/data/team/churn/more"));
        for wrong in [
            "kv/data/churn#password",
            "vault:kv/data/churn",
            "vault:kv/churn#password",
            "vault:data/churn#password",
            "vault:kv/data/../metadata#password",
            "vault:kv//data/churn#password",
            "vault:/kv/data/churn#password",
            "vault:kv/data/ch%2e%2eurn#password",
            "vault:kv/data/churn?version=1#password",
            "vault:kv/data/churn#",
            "vault:kv/data/churn#a#b",
            "vault:#a",
            &format!("vault:kv/data/{}#a", "x".repeat(600)),
        ] {
            assert!(reference(wrong).is_err(), "{wrong}");
        }
    }
}

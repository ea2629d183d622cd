//! `decalog trust`: the keys whose signatures of models count; and `decalog env protect --signed`.

use std::path::Path;

use domain::{Code, KeyName, Problem, TrustedKey};
use serde_json::{Value, json};
use server::TrustedKeys;
use signing::{PublicKey, SigningError};

use crate::Failure;
use crate::args::{EnvironmentOf, TrustVerb};
use crate::client::{Client, encoded};
use crate::layout::{Column, list};
use crate::terminal::{one_line, print_json, width};

/// The fewest digits of an id that name a key.
const DIGITS_MIN: usize = 4;

/// Runs the verb.
pub fn run(client: &Client, verb: TrustVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        TrustVerb::Add { file, name, project } => add(client, &file, name, &project, as_json),
        TrustVerb::Ls { project } => ls(client, &project, as_json),
        TrustVerb::Rm { key, project } => remove(client, &key, &project, as_json),
    }
}

fn path(project: &str) -> String {
    format!("/v1/projects/{}/trusted-keys", encoded(project))
}

/// The text of a file with a key.
pub fn text_of(file: &Path) -> Result<String, Problem> {
    let unreadable = |why: String| {
        Problem::new(Code::BadKey, format!("{} {why}", file.display()))
            .help("name a PEM file with an ECDSA key of P-256, P-384 or P-521")
    };
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > signing::KEY_BYTES_MAX as u64 => {
            Err(unreadable("is too long for a key".into()))
        }
        _ => std::fs::read_to_string(file)
            .map_err(|error| unreadable(format!("cannot be read: {error}"))),
    }
}

/// A name for a key, by that of its file.
fn name_of(file: &Path) -> Result<KeyName, Problem> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    stem.replace(' ', "-").parse().map_err(|error: domain::id::NameError| {
        Problem::new(Code::BadName, error.to_string()).help("name it with --name NAME")
    })
}

fn add(
    client: &Client,
    file: &Path,
    name: Option<String>,
    project: &str,
    as_json: bool,
) -> Result<(), Failure> {
    // Read here as well, so that nobody sends a private key by mistake.
    let key = PublicKey::from_pem(&text_of(file)?).map_err(SigningError::problem)?;
    let name = match name {
        Some(name) => name,
        None => name_of(file)?.to_string(),
    };
    let added: TrustedKey =
        client.post(&path(project), &json!({ "pem": key.pem(), "name": name }))?;
    if as_json {
        print_json(&added);
    } else {
        eprintln!("project {} trusts {added}, {}", one_line(project), added.curve);
    }
    Ok(())
}

fn ls(client: &Client, project: &str, as_json: bool) -> Result<(), Failure> {
    let listed: TrustedKeys = client.get(&path(project))?;
    if as_json {
        print_json(&listed);
        return Ok(());
    }
    if listed.keys.is_empty() {
        eprintln!("project {} trusts no key", one_line(project));
    } else {
        let columns =
            [Column::words("ID"), Column::names("NAME").down_to(8), Column::words("KIND")];
        let row =
            |key: &TrustedKey| vec![key.id.short(), key.name.to_string(), key.curve.to_string()];
        let rows: Vec<Vec<String>> = listed.keys.iter().map(row).collect();
        list(&columns, &rows, &[], width()).iter().for_each(|line| println!("{line}"));
    }
    if !listed.signed.is_empty() {
        let names: Vec<&str> = listed.signed.iter().map(|name| name.as_str()).collect();
        println!("versions must be signed in: {}", names.join(", "));
    }
    Ok(())
}

/// The one key that an id, its beginning or a name means.
fn found<'a>(
    keys: &'a [TrustedKey],
    wanted: &str,
    project: &str,
) -> Result<&'a TrustedKey, Problem> {
    let is_meant = |key: &&TrustedKey| {
        key.name.as_str() == wanted || wanted.len() >= DIGITS_MIN && key.id.begins_with(wanted)
    };
    let help = format!("decalog trust ls --project {}", one_line(project));
    let mut meant = keys.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => {
            let text = format!("more than one key is called or begins with {}", one_line(wanted));
            Err(Problem::new(Code::NoSuchKey, text).help(help))
        }
        (None, _) => {
            let text = format!("project {} trusts no key {}", one_line(project), one_line(wanted));
            Err(Problem::new(Code::NoSuchKey, text).help(help))
        }
    }
}

fn remove(client: &Client, key: &str, project: &str, as_json: bool) -> Result<(), Failure> {
    let listed: TrustedKeys = client.get(&path(project))?;
    let key = found(&listed.keys, key, project)?;
    let removed: Value = client.delete(&format!("{}/{}", path(project), key.id))?;
    if as_json {
        print_json(&removed);
    } else {
        eprintln!("project {} does not trust {key} any more", one_line(project));
    }
    Ok(())
}

/// `decalog env protect --signed`, `decalog env unprotect --signed`
pub fn require(client: &Client, of: &EnvironmentOf, signed: bool) -> Result<(), Failure> {
    let path = format!(
        "/v1/projects/{}/environments/{}/protection",
        encoded(&of.project),
        encoded(&of.env)
    );
    let said: Value = client.put(&path, &json!({ "signed": signed }))?;
    let of = format!("{} of project {}", one_line(&of.env), one_line(&of.project));
    match signed {
        true => eprintln!("{of} takes only versions that are signed by a key which it trusts"),
        false => eprintln!("{of} takes versions without a signature"),
    }
    let unsigned = said["unsigned"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for version in unsigned {
        eprintln!(
            "note: {} is live there and not signed so: no new replica of it starts",
            one_line(version)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Curve, Digest};

    #[test]
    fn a_key_is_meant_by_its_name_or_the_beginning_of_its_id() {
        let key = |name: &str| TrustedKey {
            id: Digest::of(name.as_bytes()),
            name: name.parse().unwrap(),
            curve: Curve::P256,
            pem: String::new(),
        };
        let keys = [key("ann"), key("bob")];
        let short = keys[1].id.short();
        assert_eq!(found(&keys, "ann", "p").unwrap().name.as_str(), "ann");
        assert_eq!(found(&keys, &short, "p").unwrap().name.as_str(), "bob");
        assert!(found(&keys, &short[..3], "p").is_err());
        assert!(found(&keys, "", "p").is_err());
        assert_eq!(name_of(Path::new("a/Fraud Team.pem")).unwrap().as_str(), "fraud-team");
    }
}

//! Who somebody is, out of what a provider says of them: in the token and, where that says too
//! little, in its answer about the user.

use serde_json::Value;

use super::OidcError;
use super::token::Claims;

/// The longest name of a person or a group, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// The most groups of a person.
const GROUPS_MAX: usize = 1_000;

/// The claim that is a name only where the provider vouches for it.
const EMAIL: &str = "email";

/// What the provider says of somebody's name.
enum Said {
    Nothing,
    Unverified,
    Name(String),
}

/// Where names and groups are.
pub struct Wanted<'a> {
    pub name: &'a str,
    pub groups: &'a str,
}

impl Wanted<'_> {
    /// Whether a token leaves something out that the provider may say when it is asked.
    pub fn is_missing_in(&self, token: &Claims) -> Result<bool, OidcError> {
        is_whole(token, self.groups)?;
        let is_vague = match self.name_in(token)? {
            Said::Nothing => true,
            Said::Unverified => !token.contains_key("email_verified"),
            Said::Name(_) => false,
        };
        Ok(is_vague || !token.contains_key(self.groups))
    }

    /// The name, by the first that says one.
    pub fn name(&self, said: &[&Claims]) -> Result<String, OidcError> {
        let mut missing = OidcError::NoName { claim: self.name.into() };
        for claims in said {
            match self.name_in(claims)? {
                Said::Name(name) => return Ok(name),
                Said::Unverified => missing = OidcError::Unverified,
                Said::Nothing => {}
            }
        }
        Err(missing)
    }

    fn name_in(&self, claims: &Claims) -> Result<Said, OidcError> {
        let wrong = |why| OidcError::Name { claim: self.name.into(), why };
        let Some(value) = claims.get(self.name) else { return Ok(Said::Nothing) };
        let name = value.as_str().ok_or_else(|| wrong("it is not a text"))?;
        check(name).map_err(wrong)?;
        Ok(match self.name != EMAIL || is_true(claims.get("email_verified")) {
            true => Said::Name(name.into()),
            false => Said::Unverified,
        })
    }

    /// The groups, by the first that says some; none if nobody does.
    pub fn groups(&self, said: &[&Claims]) -> Result<Vec<String>, OidcError> {
        let wrong = |why: String| OidcError::Groups { claim: self.groups.into(), why };
        for claims in said {
            is_whole(claims, self.groups)?;
        }
        let named = match said.iter().find_map(|claims| claims.get(self.groups)) {
            None => return Ok(vec![]),
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        if named.len() > GROUPS_MAX {
            return Err(wrong(format!("there are {}, and {GROUPS_MAX} are the most", named.len())));
        }
        let group = |value: &Value| {
            let name = value.as_str().ok_or("one is not a text")?;
            check(name).map(|()| name.to_string())
        };
        named.iter().map(group).collect::<Result<_, _>>().map_err(|why| wrong(why.into()))
    }
}

/// Refuses what says that there are more groups than it holds, as Microsoft Entra does.
fn is_whole(claims: &Claims, groups: &str) -> Result<(), OidcError> {
    let elsewhere = claims.get("_claim_names").and_then(|names| names.get(groups));
    match elsewhere.is_some() || is_true(claims.get("hasgroups")) {
        true => Err(OidcError::Overage),
        false => Ok(()),
    }
}

/// Some providers write it as a text.
fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(is_true)) => *is_true,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}

fn check(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.trim() != name {
        return Err("it is empty, or there is space around it");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("it is longer than 256 bytes");
    }
    match name.chars().any(char::is_control) {
        true => Err("there are control characters in it"),
        false => Ok(()),
    }
}

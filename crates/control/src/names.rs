//! Names of people, services and jobs: the table beside the ledger, and who is meant by a name.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use domain::problem::excerpt;
use domain::{Actor, Code, DataDirectory, Event, Grantee, Principal, Problem, State};
use icu_normalizer::ComposingNormalizer;
use ledger::Names;
use parking_lot::Mutex;

use crate::state_store::ledger_problem;
use crate::{Control, aside};

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;
/// What stands for somebody in particular already.
const RESERVED: [&str; 4] = ["local", "decalog", "you", "*"];

/// The table, and all of it in memory.
#[derive(Clone)]
pub(crate) struct NameTable {
    inner: Arc<Mutex<Inner>>,
    /// Whose name is in the table before they are in the ledger.
    coming: Arc<Mutex<HashSet<Principal>>>,
}

/// A name that is somebody's from now on, although the ledger does not know them yet.
pub(crate) struct Claim {
    coming: Arc<Mutex<HashSet<Principal>>>,
    principal: Principal,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.coming.lock().remove(&self.principal);
    }
}

struct Inner {
    /// Absent where it cannot be opened: then everybody is shown by id, and nobody can be added.
    table: Option<Names>,
    names: HashMap<Principal, String>,
}

impl NameTable {
    /// Opens the table of a data directory.
    pub fn open(data: &DataDirectory) -> NameTable {
        let opened = Names::open(&data.names()).and_then(|table| Ok((table.all()?, table)));
        let inner = match opened {
            Ok((names, table)) => Inner { table: Some(table), names: names.into_iter().collect() },
            Err(error) => {
                tracing::warn!("names are not known: {error}");
                Inner { table: None, names: HashMap::new() }
            }
        };
        NameTable { inner: Arc::new(Mutex::new(inner)), coming: Arc::default() }
    }

    /// Somebody's name.
    pub fn of(&self, principal: &Principal) -> Option<String> {
        self.inner.lock().names.get(principal).cloned()
    }

    /// Somebody as people read it.
    pub fn display(&self, principal: &Principal) -> String {
        principal.display(self.of(principal).as_deref())
    }

    /// Who has a name.
    pub fn find(&self, name: &str) -> Option<Principal> {
        let inner = self.inner.lock();
        inner.names.iter().find(|(_, own)| own.as_str() == name).map(|(principal, _)| *principal)
    }

    /// Who has a name but for the case of its letters, of those who are known: no two are.
    pub fn find_known(
        &self,
        name: &str,
        is_known: impl Fn(&Principal) -> bool,
    ) -> Option<Principal> {
        let inner = self.inner.lock();
        let mut found = inner.names.iter().filter(|(_, own)| own.eq_ignore_ascii_case(name));
        found.find(|(principal, _)| is_known(principal)).map(|(principal, _)| *principal)
    }

    /// Changes the table, beside the control plane's one thread.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Names, &mut HashMap<Principal, String>) -> Result<T, Problem>
        + Send
        + 'static,
    ) -> Result<T, Problem> {
        let inner = self.inner.clone();
        aside(move || {
            let mut inner = inner.lock();
            let Inner { table, names } = &mut *inner;
            let table = table.as_mut().ok_or_else(|| {
                Problem::new(Code::ReadOnly, "the table of names cannot be opened")
                    .help("see the server's log")
            })?;
            change(table, names)
        })
        .await?
    }

    /// Whom an identity provider means by a subject.
    pub async fn identity(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<Principal>, Problem> {
        let (issuer, subject) = (issuer.to_string(), subject.to_string());
        self.change(move |table, _| table.identity(&issuer, &subject).map_err(ledger_problem)).await
    }

    /// Remembers whom an identity provider means by a subject, unless it means them by another
    /// already; whether it does not.
    pub async fn link(
        &self,
        issuer: &str,
        subject: &str,
        principal: Principal,
    ) -> Result<bool, Problem> {
        let (issuer, subject) = (issuer.to_string(), subject.to_string());
        self.change(move |table, _| {
            let known = table.identity(&issuer, &subject).map_err(ledger_problem)?;
            if known == Some(principal) {
                return Ok(true);
            }
            if table.has_identity(&issuer, &principal).map_err(ledger_problem)? {
                return Ok(false);
            }
            table.put_identity(&issuer, &subject, &principal).map_err(ledger_problem)?;
            Ok(true)
        })
        .await
    }

    /// Gives somebody who has a name another, unless somebody else has one that reads like it.
    pub async fn rename(&self, principal: Principal, name: &str) -> Result<(), Problem> {
        let name = name.to_string();
        self.change(move |table, names| {
            let folded = folded(&name);
            let mut others = names.iter().filter(|(other, _)| **other != principal);
            if let Some((_, other)) = others.find(|(_, other)| self::folded(other) == folded) {
                return Err(taken(&name, other));
            }
            table.put(&principal, &name).map_err(ledger_problem)?;
            names.insert(principal, name);
            Ok(())
        })
        .await
    }

    /// Gives somebody a name, unless somebody has one that reads like it. Of those who ask for one
    /// name at the same time one gets it. Whom the ledger does not know, and nobody is about to
    /// write into it, has no name any more: they are gone, or their addition was cut off.
    pub async fn claim(
        &self,
        principal: Principal,
        name: &str,
        is_known: impl Fn(&Principal) -> bool + Send + 'static,
    ) -> Result<Claim, Problem> {
        let (name, coming) = (name.to_string(), self.coming.clone());
        self.change(move |table, names| {
            let folded = folded(&name);
            let alike = names.iter().filter(|(_, other)| self::folded(other) == folded);
            let mut gone = vec![];
            for (other, other_name) in alike {
                // In this order: who is not coming any more has come by now, or never will.
                if coming.lock().contains(other) || is_known(other) {
                    return Err(taken(&name, other_name));
                }
                if *other_name == name {
                    gone.push(*other);
                }
            }
            for other in gone {
                names.remove(&other);
                table.erase(&other).map_err(ledger_problem)?;
            }
            coming.lock().insert(principal);
            let claim = Claim { coming, principal };
            table.put(&principal, &name).map_err(ledger_problem)?;
            names.insert(principal, name);
            Ok(claim)
        })
        .await
    }

    /// Writes a consistent copy to a new file; `false` if there is nothing to copy.
    pub async fn backup_to(&self, path: &Path) -> Result<bool, Problem> {
        if self.inner.lock().table.is_none() {
            return Ok(false);
        }
        let path = path.to_path_buf();
        let copy =
            move |table: &mut Names, _: &mut _| table.backup_to(&path).map_err(ledger_problem);
        self.change(copy).await.map(|()| true)
    }

    /// Forgets somebody's name for ever.
    pub async fn erase(&self, principal: Principal) -> Result<(), Problem> {
        self.change(move |table, names| {
            names.remove(&principal);
            table.erase(&principal).map_err(ledger_problem)
        })
        .await
    }
}

/// A name without what a reader may overlook: upper and lower case, and other forms of the same
/// letters.
fn folded(name: &str) -> String {
    let normalizer = ComposingNormalizer::new_nfkc();
    // To upper case and back, so that `ß` is `ss`; the letters that come of it may combine anew.
    let folded = normalizer.normalize(name).to_uppercase().to_lowercase();
    normalizer.normalize(&folded).into_owned()
}

fn taken(name: &str, other: &str) -> Problem {
    let text = match name == other {
        true => format!("`{name}` was added meanwhile"),
        false => format!("`{name}` reads like `{other}`, who is somebody else"),
    };
    Problem::new(Code::Conflict, text).help("choose another name, or use theirs: decalog member ls")
}

/// Whether letters of the Latin script stand in one word with such as look like them.
fn mixes_scripts(name: &str) -> bool {
    let is_latin = |c: char| c.is_ascii_alphabetic() || ('\u{c0}'..='\u{24f}').contains(&c);
    // Greek, Cyrillic, Armenian, Cherokee.
    let is_alike = |c: char| matches!(c, '\u{370}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}');
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    words.any(|word| word.contains(is_latin) && word.contains(is_alike))
}

/// Refuses what cannot be a name, or would be taken for another.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    // What cannot be seen, or turns others around, would make one name look like another.
    let is_hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    let is_strange = |c: char| {
        c.is_control() || is_hidden(c) || c.is_whitespace() && c != ' ' || "()/`\"<>".contains(c)
    };
    let is_fine = !name.is_empty()
        && name.chars().count() <= NAME_CHARS_MAX
        && name.trim() == name
        && !name.contains(is_strange)
        && !RESERVED.contains(&folded(name).as_str())
        && !mixes_scripts(name)
        && name.parse::<Principal>().is_err();
    match is_fine {
        true => Ok(()),
        false => Err(Problem::new(
            Code::BadName,
            format!("`{}` cannot be the name of somebody", excerpt(name)),
        )
        .help("use letters, digits, spaces and . _ - @ +, as in ann or ann@example.org")),
    }
}

/// There is nobody of that name, or nobody whom the caller decides about.
pub(crate) fn nobody_called(name: &str) -> Problem {
    Problem::new(Code::NoSuchMember, format!("there is nobody called `{}`", excerpt(name)))
        .help("decalog member ls lists everybody")
}

impl Control {
    /// Who is meant by a name, or by an id as in `person:1f0c9a2b33d4e5f6`.
    pub(crate) fn principal_named(&self, state: &State, name: &str) -> Result<Principal, Problem> {
        let found = self.names.find(name).or_else(|| name.parse().ok());
        let known = found.filter(|principal| state.access.known(principal).is_some());
        known.ok_or_else(|| nobody_called(name))
    }

    /// Whom an event is about, as people read it.
    pub(crate) fn about(&self, state: &State, event: &Event) -> Option<String> {
        let principal = match event {
            Event::PrincipalAdded { principal, .. }
            | Event::PrincipalRemoved { principal }
            | Event::GroupsChanged { principal, .. } => *principal,
            Event::TokenCreated { token } | Event::TokenRotated { token } => token.owner,
            Event::TokenRevoked { id } => state.access.tokens.get(id)?.owner,
            Event::GrantGiven { grant, .. } | Event::GrantWithdrawn { grant } => match &grant.to {
                Grantee::Group(group) => return Some(format!("group {}", group.as_str())),
                Grantee::Principal(id) => {
                    let known = state.access.principals.get(id).map(|known| known.principal);
                    return Some(match known {
                        Some(principal) => self.names.display(&principal),
                        None => format!("{id}"),
                    });
                }
            },
            _ => return None,
        };
        Some(self.names.display(&principal))
    }

    /// The actor of an entry as people read it.
    pub(crate) fn actor_name(&self, state: &State, seq: u64, actor: &str) -> String {
        match state.access.actor(seq, actor) {
            Actor::Proved(principal) => self.names.display(&principal),
            claimed => claimed.display(|_| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_for_nobody_else() {
        for name in
            ["ann", "Ann Smith", "ann@example.org", "顧客", "ci-fraud", "o.k_+", "ольга ops"]
        {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in [
            "",
            " ann",
            "ann ",
            "local",
            "decalog",
            "shop (service)",
            "a\nb",
            "a\u{1b}[0m",
            "person:1f0c9a2b33d4e5f6",
            "*",
            "ann\u{200b}",
            "a\u{202e}nna",
            "olga\u{a0}x",
            "Local",
            "\u{ff4c}ocal",
            "\u{430}nn",
            &long,
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_that_read_alike_are_one() {
        for alike in ["Ann Weiss", "ANN WEISS", "\u{ff21}nn Weiß"] {
            assert_eq!(folded(alike), folded("ann weiss"), "{alike}");
        }
        assert_eq!(folded("Zoe\u{308}"), folded("zo\u{eb}"));
        assert_eq!(folded("\u{3a9}"), folded("\u{2126}"));
        assert_ne!(folded("ann"), folded("anna"));
    }
}

//! What `decalog up` says first: what it is, who whoever started it is to it, and who else may ask.

use control::Control;
use domain::DataDirectory;

use crate::entry::Entry;

/// Users from this number on are people; those before are the system's.
const UID_PEOPLE_MIN: u32 = 1_000;
/// The user that stands for nobody.
const UID_NOBODY: u32 = 65_534;

/// Says it, in lines of at most 80 characters, as far as names and addresses allow.
pub fn greet(control: &Control, entry: &Entry, data: &DataDirectory) {
    let state = control.state();
    let models = state.models.values().filter(|model| !model.versions.is_empty()).count();
    eprintln!(
        "Decalog {} · {} · data in {} · {models} {}",
        env!("CARGO_PKG_VERSION"),
        entry.url,
        data.display(),
        if models == 1 { "model" } else { "models" }
    );
    if let Some(greeting) = entry.greeting() {
        eprintln!("{greeting}");
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_open = entry.open_predictions && !state.access.head.tokens_required;
    let own = nix::unistd::Uid::effective().as_raw();
    eprintln!("{}", you_are(is_open && has_other_people(&passwd, own)));
    if models == 0 {
        eprintln!("Next: decalog new hello && decalog deploy hello");
    }
}

/// Who whoever started it is, and whether others who log in here may ask models.
fn you_are(others_may_ask: bool) -> &'static str {
    match others_may_ask {
        true => {
            "You are owner (local). Other users of this machine may ask models, without a\n\
             token; to end that: decalog auth require"
        }
        false => "You are owner (local).",
    }
}

/// Whether somebody else can log in at this machine, by its own list of users; those that only a
/// directory elsewhere knows are not in it. The superuser is above all of this.
fn has_other_people(passwd: &str, own: u32) -> bool {
    let is_other_person = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, uid, _, _, _, shell] = fields[..] else { return false };
        let logs_in = !shell.ends_with("/nologin") && !shell.ends_with("/false");
        let is_person = |uid: u32| uid >= UID_PEOPLE_MIN && uid != UID_NOBODY && uid != own;
        logs_in && uid.parse().is_ok_and(is_person)
    };
    passwd.lines().any(is_other_person)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n\
                          postgres:x:113:120::/var/lib/postgresql:/bin/bash\n\
                          nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n";

    #[test]
    fn other_people_are_those_who_can_log_in() {
        let with = |line: &str| has_other_people(&format!("{SYSTEM}{line}\n"), 1_000);
        assert!(!with(""));
        assert!(!with("ann:x:1000:1000::/home/ann:/bin/bash"), "that is who asks");
        assert!(with("bob:x:1001:1001::/home/bob:/bin/zsh"));
        assert!(with("bob:x:1001:1001::/home/bob:"), "no shell is the ordinary one");
        assert!(!with("mail:x:1001:1001::/var/mail:/usr/sbin/nologin"));
        assert!(!with("mail:x:1001:1001::/var/mail:/bin/false"));
        assert!(!with("broken:x:1001"));
        assert!(has_other_people("ann:x:1000:1000::/home/ann:/bin/bash", 0));
    }

    #[test]
    fn it_fits_a_terminal_and_names_the_remedy() {
        for others in [true, false] {
            assert!(you_are(others).lines().all(|line| line.chars().count() <= 80));
            assert!(you_are(others).starts_with("You are owner (local)"));
            assert_eq!(you_are(others).contains("decalog auth require"), others);
        }
    }
}

//! Paths in files that say what to install: only those within the directory. What a resolver says
//! of a file that it cannot read may repeat what is in it, and so it would tell whoever pushed what
//! any other file of this machine holds.

use domain::{Code, Problem};

/// A path, relative to the folder of the file that names it, as one within the directory: empty
/// for the directory itself, `None` if it leaves it or says where it is in another way.
pub fn within(folder: &str, named: &str) -> Option<String> {
    if named.starts_with(['/', '~']) || named.contains(['$', ':', '\\', '\0']) {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in named.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether it is an address that packages are fetched from.
pub fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// The problem of a path that leaves the directory.
pub fn refusal(file: &str, named: &str) -> Problem {
    let shown: String = named.chars().take(100).flat_map(char::escape_debug).collect();
    let text = format!("{file} names `{shown}`, which is not in the model directory");
    Problem::new(Code::LockFailed, text)
        .help("copy it into the model directory, and name it by its path from there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leaves_the_directory() {
        for (folder, named, expected) in [
            ("", "wheels/a.whl", Some("wheels/a.whl")),
            ("", "./a.whl", Some("a.whl")),
            ("more", "../wheels", Some("wheels")),
            ("", ".", Some("")),
            ("", "..", None),
            ("more", "../../x", None),
            ("", "/etc/passwd", None),
            ("", "~/x", None),
            ("", "file:///etc/passwd", None),
            ("", "${HOME}/x", None),
        ] {
            assert_eq!(within(folder, named).as_deref(), expected, "{folder} {named}");
        }
    }
}

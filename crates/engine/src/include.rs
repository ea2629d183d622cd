//! Files that a requirements.txt includes: only those of its own version. What the resolver says of a
//! line that it cannot read repeats the line, and so it would tell whoever pushed what any other file
//! of this machine has in it; an address would be called from here.

use std::collections::BTreeSet;
use std::path::Path;

use domain::{Code, Problem, tree};

/// Files that include one another, at most.
const INCLUDED_MAX: usize = 32;
/// By which a line includes another file; longer ones first.
const OPTIONS: &[&str] =
    &["--requirements", "--requirement", "--constraints", "--constraint", "-r", "-c"];

/// Refuses a file of a tree that includes what is not in the tree, itself or by a file that it includes.
pub fn check(root: &Path, file: &str) -> Result<(), Problem> {
    let mut seen = BTreeSet::from([file.to_string()]);
    let mut left = vec![file.to_string()];
    while let Some(file) = left.pop() {
        // What is not there, or no text, is refused by the resolver.
        let text = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for named in included(&text) {
            let path = if folder.is_empty() { named.clone() } else { format!("{folder}/{named}") };
            if !tree::path_is_safe(&path) || named.contains(['$', ':']) || seen.len() > INCLUDED_MAX
            {
                return Err(refusal(&file, &named));
            }
            if seen.insert(path.clone()) {
                left.push(path);
            }
        }
    }
    Ok(())
}

fn refusal(file: &str, named: &str) -> Problem {
    let shown: String = named.chars().take(100).flat_map(char::escape_debug).collect();
    let text = format!("{file} includes `{shown}`, which is not a file beside it");
    Problem::new(Code::LockFailed, text)
        .help("copy what it says into requirements.txt, or put the file into the model directory")
}

/// What the lines of a file include.
fn included(text: &str) -> Vec<String> {
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    joined.lines().filter_map(|line| named(line.trim())).collect()
}

fn named(line: &str) -> Option<String> {
    let rest = OPTIONS.iter().find_map(|option| line.strip_prefix(option))?;
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    let end = rest.find(" #").unwrap_or(rest.len());
    Some(rest[..end].trim().trim_matches(['"', '\'']).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_tree_are_included() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let is_good = |text: &str| {
            write("requirements.txt", text);
            check(root.path(), "requirements.txt").is_ok()
        };
        write("more/base.txt", "numpy\n-c limits.txt\n");
        write("more/limits.txt", "numpy<3\n");
        write("more/bad.txt", "-r /etc/passwd\n");
        write("round.txt", "-r requirements.txt\n");
        for good in [
            "numpy\npandas # -r /etc/passwd\n",
            "-r more/base.txt\n",
            "  --requirement=more/base.txt  # all\n",
            "-c more/limits.txt\nnumpy",
            "-r round.txt",
            "--index-url https://index.example/simple\nnumpy",
        ] {
            assert!(is_good(good), "{good}");
        }
        for bad in [
            "-r /etc/passwd",
            "-r/etc/passwd",
            "numpy\n  -c ../../local.cookie",
            "--requirement=/etc/passwd",
            "--requirements /etc/passwd",
            "--constraint \"/etc/passwd\"",
            "-r \\\n/etc/passwd",
            "-r file:///etc/passwd",
            "-r file:/etc/passwd",
            "-r http://169.254.169.254/latest",
            "-r ${HOME}/x",
            "-r more/../../x",
            "-r more/bad.txt",
            "-r",
        ] {
            assert!(!is_good(bad), "{bad}");
        }
    }
}

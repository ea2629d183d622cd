//! setup.cfg: what setuptools would install, as far as it stands there.

use std::path::Path;

/// Its name.
pub const FILE: &str = "setup.cfg";

/// The value of a key of `[options]`, with all its lines.
fn option(text: &str, key: &str) -> Option<Vec<String>> {
    let mut is_options = false;
    let mut found: Option<Vec<String>> = None;
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        let is_continued = line.starts_with([' ', '\t']);
        if let Some(lines) = found.as_mut().filter(|_| is_continued) {
            lines.push(line.trim().into());
        } else if found.is_some() && !line.trim().is_empty() {
            break;
        } else if let Some(section) = line.trim().strip_prefix('[') {
            is_options = section.trim_end_matches(']').trim() == "options";
        } else if let Some((name, value)) = line.split_once(['=', ':']).filter(|_| is_options)
            && name.trim().replace('-', "_") == key
        {
            found = Some(vec![value.trim().into()]);
        }
    }
    found.map(|lines| lines.into_iter().filter(|line| !line.is_empty()).collect())
}

fn read(tree: &Path) -> Option<String> {
    std::fs::read_to_string(tree.join(FILE)).ok()
}

/// What it asks of Python.
pub fn python(tree: &Path) -> Option<String> {
    let lines = option(&read(tree)?, "python_requires")?;
    Some(lines.join(",")).filter(|text| !text.is_empty())
}

/// The lines of its `install_requires`. One that begins with `file:` names a file that has them.
pub fn lines(tree: &Path) -> Option<Vec<String>> {
    let lines = option(&read(tree)?, "install_requires")?;
    Some(
        lines
            .into_iter()
            .map(|line| match line.strip_prefix("file:") {
                Some(file) => format!("-r {}", file.trim()),
                None => line,
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_several_lines() {
        let text = "[metadata]\nname = x\n[options]\npackages = find:\ninstall_requires =\n    six>=1.15\n    # no\n    numpy ; python_version > '3.8'\n\npython_requires = >=3.9\n[options.extras_require]\na = b\n";
        let lines = |key| option(text, key).unwrap();
        assert_eq!(lines("install_requires"), ["six>=1.15", "numpy ; python_version > '3.8'"]);
        assert_eq!(lines("python_requires"), [">=3.9"]);
        assert_eq!(option(text, "name"), None, "of another section");
        assert_eq!(option("[flake8]\nmax = 3\n", "install_requires"), None);
    }
}

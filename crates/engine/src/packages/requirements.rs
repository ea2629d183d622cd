//! A requirements.txt and what it includes: read as far as paths, names and hashes go. What the
//! lines mean else is the resolver's business. Every path must lie within the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::{Code, Problem};

use super::paths;
use crate::distributions::normal;

/// Its name.
pub const FILE: &str = "requirements.txt";
/// Files that include one another, at most.
const INCLUDED_MAX: usize = 32;
/// By which a line includes another file, and whether that only limits versions; longer ones first.
const INCLUDES: &[(&str, bool)] = &[
    ("--requirements", false),
    ("--requirement", false),
    ("--constraints", true),
    ("--constraint", true),
    ("-r", false),
    ("-c", true),
];
/// By which a line names more places to find packages in.
const LINKS: &[&str] = &["--find-links", "-f"];
/// By which it names an index.
const INDEXES: &[&str] = &["--extra-index-url", "--index-url", "-i"];
/// By which it installs a folder as it lies there.
const EDITABLE: &[&str] = &["--editable", "-e"];
/// How archives of packages end.
pub const ARCHIVES: [&str; 4] = [".whl", ".tar.gz", ".zip", ".tar.bz2"];

/// What the lines say.
#[derive(Debug, Default)]
pub struct Requirements {
    /// The packages that are asked for.
    pub names: BTreeSet<String>,
    /// Hashes that are given, by package: `sha256:…`.
    pub pins: BTreeMap<String, BTreeSet<String>>,
    /// Whether something is asked for whose name the lines do not tell.
    pub has_unnamed: bool,
    /// Whether the directory itself is to be installed.
    pub installs_itself: bool,
    /// Files of the directory that were read, and archives that are named.
    pub files: Vec<String>,
    /// Folders of the directory that packages may be found in.
    pub links: Vec<String>,
}

/// Reads a file of the directory.
pub fn read(root: &Path, file: &str) -> Result<Requirements, Problem> {
    // What is not there, or no text, is refused by the resolver.
    let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    of_text(root, file, &text)
}

/// Reads lines that stand for a file.
pub fn of_text(root: &Path, file: &str, text: &str) -> Result<Requirements, Problem> {
    let mut reader =
        Reader { root, found: Requirements::default(), seen: BTreeSet::new(), left: vec![] };
    reader.text(file, text, false)?;
    while let Some((file, is_limit)) = reader.left.pop() {
        let text = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
        reader.found.files.push(file.clone());
        reader.text(&file, &text, is_limit)?;
    }
    Ok(reader.found)
}

struct Reader<'a> {
    root: &'a Path,
    found: Requirements,
    seen: BTreeSet<String>,
    left: Vec<(String, bool)>,
}

impl Reader<'_> {
    fn text(&mut self, file: &str, text: &str, is_limit: bool) -> Result<(), Problem> {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
        for line in joined.lines() {
            let line = line.trim();
            let line = line.find(" #").map_or(line, |at| line[..at].trim_end());
            if !line.is_empty() && !line.starts_with('#') {
                self.line(file, folder, line, is_limit)?;
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        file: &str,
        folder: &str,
        line: &str,
        is_limit: bool,
    ) -> Result<(), Problem> {
        if let Some((named, is_limit)) =
            INCLUDES.iter().find_map(|(option, is_limit)| Some((value(line, option)?, is_limit)))
        {
            return self.include(file, folder, &named, *is_limit);
        }
        let of = |options: &[&str]| options.iter().find_map(|option| value(line, option));
        if let Some(named) = of(EDITABLE) {
            return match named.contains("://") {
                true => self.requirement(file, folder, &named, is_limit),
                false => self.local(file, folder, &named, is_limit, &[]),
            };
        }
        if let Some(named) = of(LINKS) {
            if !paths::is_address(&named) {
                let path =
                    paths::within(folder, &named).ok_or_else(|| paths::refusal(file, &named))?;
                self.found.links.push(path);
            }
            return Ok(());
        }
        if let Some(named) = of(INDEXES) {
            return match paths::is_address(&named) {
                true => Ok(()),
                false => Err(paths::refusal(file, &named)),
            };
        }
        match line.starts_with('-') {
            true => Ok(()),
            false => self.requirement(file, folder, line, is_limit),
        }
    }

    fn include(
        &mut self,
        file: &str,
        folder: &str,
        named: &str,
        is_limit: bool,
    ) -> Result<(), Problem> {
        let path = paths::within(folder, named).filter(|path| domain::tree::path_is_safe(path));
        let Some(path) = path.filter(|_| self.seen.len() < INCLUDED_MAX) else {
            let shown: String = named.chars().take(100).flat_map(char::escape_debug).collect();
            let text = format!("{file} includes `{shown}`, which is not a file beside it");
            return Err(Problem::new(Code::LockFailed, text).help(
                "copy what it says into requirements.txt, or put the file into the model directory",
            ));
        };
        if self.seen.insert(path.clone()) {
            self.left.push((path, is_limit));
        }
        Ok(())
    }

    fn requirement(
        &mut self,
        file: &str,
        folder: &str,
        line: &str,
        is_limit: bool,
    ) -> Result<(), Problem> {
        let (what, options) = line.split_once(" --").unwrap_or((line, ""));
        let hashes: Vec<String> = options
            .split_whitespace()
            .filter_map(|option| option.trim_start_matches('-').strip_prefix("hash="))
            .map(|hash| hash.trim_matches(['"', '\'']).to_ascii_lowercase())
            .collect();
        let (what, _marker) = what.split_once(" ;").unwrap_or((what, ""));
        let what = what.trim();
        if what.contains("file:") {
            return Err(paths::refusal(file, what));
        }
        let end = what.find(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c)));
        let (name, rest) = what.split_at(end.unwrap_or(what.len()));
        let rest = rest.trim_start();
        let is_path =
            what.starts_with(['.', '/', '~']) || rest.starts_with('/') || is_archive(what);
        if is_path && !rest.starts_with('@') && !what.contains("://") {
            return self.local(file, folder, what, is_limit, &hashes);
        }
        if name.is_empty() || rest.starts_with([':', '+']) {
            let egg = what
                .split_once("#egg=")
                .map(|(_, name)| name.split(['&', '[']).next().unwrap_or(name));
            match egg {
                Some(name) => drop(self.found.names.insert(normal(name))),
                None => self.found.has_unnamed = true,
            }
            return Ok(());
        }
        self.take(name, is_limit, &hashes);
        Ok(())
    }

    fn take(&mut self, name: &str, is_limit: bool, hashes: &[String]) {
        let name = normal(name);
        if !hashes.is_empty() {
            self.found.pins.entry(name.clone()).or_default().extend(hashes.iter().cloned());
        }
        if !is_limit {
            self.found.names.insert(name);
        }
    }

    /// A path: of an archive, or of the directory itself.
    fn local(
        &mut self,
        file: &str,
        folder: &str,
        named: &str,
        is_limit: bool,
        hashes: &[String],
    ) -> Result<(), Problem> {
        let bare = named.split_once('[').map_or(named, |(path, _)| path).trim();
        // The resolver takes it from where it is run: the directory itself.
        let path = paths::within("", bare).ok_or_else(|| paths::refusal(file, bare))?;
        if path.is_empty() {
            self.found.installs_itself = true;
            return Ok(());
        }
        let there = self.root.join(&path);
        if there.is_dir() {
            let text = format!("{file} installs the folder {path}, which is not built here");
            return Err(Problem::new(Code::LockFailed, text).help(format!(
                "build a wheel of it (pip wheel --no-deps ./{path} -w wheels) and write ./wheels/NAME.whl, or put its package beside the model"
            )));
        }
        if !there.is_file() {
            let beside =
                if folder.is_empty() { "" } else { ": paths begin at the model directory" };
            let text = format!("{file} names {bare}, which is not there{beside}");
            return Err(Problem::new(Code::LockFailed, text)
                .help("put the file into the model directory, and see that .decalogignore does not leave it out"));
        }
        match name_and_version(&path) {
            Some((name, _)) => self.take(&name, is_limit, hashes),
            None => self.found.has_unnamed = true,
        }
        self.found.files.push(path);
        Ok(())
    }
}

/// Whether a file is an archive of a package, by its name.
pub fn is_archive(name: &str) -> bool {
    ARCHIVES.iter().any(|ending| name.ends_with(ending))
}

/// The package and version that an archive's name tells.
pub fn name_and_version(path: &str) -> Option<(String, String)> {
    let file = path.rsplit('/').next()?;
    let stem = ARCHIVES.iter().find_map(|ending| file.strip_suffix(ending))?;
    if file.ends_with(".whl") {
        let mut parts = stem.split('-');
        return Some((normal(parts.next()?), parts.next()?.into()));
    }
    let (name, version) = stem.rsplit_once('-')?;
    Some((normal(name), version.into()))
}

/// The value of an option at the beginning of a line.
fn value(line: &str, option: &str) -> Option<String> {
    let rest = line.strip_prefix(option)?;
    if option.starts_with("--") && rest.starts_with(|c: char| c.is_alphanumeric() || c == '-') {
        return None; // a longer option
    }
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    Some(rest.trim().trim_matches(['"', '\'']).to_string())
}

#[cfg(test)]
mod tests;

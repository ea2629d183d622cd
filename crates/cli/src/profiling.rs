//! The profile of the file that `[data] reference` names: made here, where the file lies, and put
//! among the files of the version. The file itself stays here.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use artifacts::Walked;
use domain::near::near_name;
use domain::provenance::{DataKind, DataSet};
use domain::{Code, Digest, Problem, Schema, Tree, TreeFile};
use indicatif::{ProgressBar, ProgressStyle};
use monitor::profile::{ColumnProfiler, Matched, PROFILE_FILE, Profile, plain_name};
use records::table::{Table, TableError, Values};
use server::ReferenceView;
use tempfile::NamedTempFile;

use crate::directory::ModelDirectory;
use crate::following::step;
use crate::terminal::one_line;

/// Names that one line shows at most.
const SHOWN_MAX: usize = 4;

/// A profile that is to go into a version.
pub struct Profiled {
    /// The file that it is of.
    pub data: DataSet,
    file: NamedTempFile,
    digest: Digest,
    size: u64,
    /// The file in the model directory that is left out.
    left_out: Option<String>,
}

/// Makes the profile, if the manifest names a file.
pub fn profile(
    directory: &ModelDirectory,
    schema: Option<&Schema>,
) -> Result<Option<Profiled>, Problem> {
    let data = &directory.manifest.data;
    let Some(named) = &data.reference else { return Ok(None) };
    let begin = Instant::now();
    let path = directory.path.join(named);
    let mut profile = read(&path).map_err(|error| unreadable(named, &error))?;
    let encoded = profile
        .encode()
        .map_err(|error| Problem::new(Code::BadModel, format!("the profile of {named} {error}")))?;
    let watched = schema.map(|schema| look(&profile, schema, named)).transpose()?;
    let columns = match &watched {
        Some(matched) => format!(
            "{} of {} columns",
            matched.inputs.len() + matched.outputs.len(),
            profile.columns.len()
        ),
        None => format!("{} columns", profile.columns.len()),
    };
    let text = format!("{}, {columns}, {} rows", one_line(&profile.file), profile.rows);
    step("reference", &text, Some(begin.elapsed().as_millis() as u64));
    tell(&profile, watched.as_ref());
    let left_out = within(&directory.path, &path).filter(|_| !data.push);
    if let Some(left_out) = &left_out {
        let text = format!("{} stays here; [data] push = true sends it", one_line(left_out));
        step("", &text, None);
    }
    let kept = || -> std::io::Result<NamedTempFile> {
        let mut file = NamedTempFile::new()?;
        file.write_all(&encoded)?;
        file.flush()?;
        Ok(file)
    };
    let file = kept().map_err(|error| {
        Problem::new(Code::BadTree, format!("the profile of {named} cannot be written: {error}"))
    })?;
    let (digest, size) = (Digest::of(&encoded), encoded.len() as u64);
    let data = DataSet {
        name: named.clone(),
        kind: DataKind::File,
        digest: profile.sha256,
        bytes: profile.bytes,
        files: 1,
        rows: Some(profile.rows),
    };
    Ok(Some(Profiled { data, file, digest, size, left_out }))
}

/// The real path of the file in the directory that a profile is made of, which is not pushed.
pub fn kept_here(directory: &ModelDirectory) -> Option<PathBuf> {
    let data = &directory.manifest.data;
    let path = directory.path.join(data.reference.as_ref()?);
    let inner = within(&directory.path, &path).filter(|_| !data.push)?;
    directory.path.join(inner).canonicalize().ok()
}

fn unreadable(named: &str, error: &TableError) -> Problem {
    let problem = Problem::new(
        Code::BadModel,
        format!("the reference file {} {}", one_line(named), reason(error)),
    );
    problem
        .help("correct the path or the file; [data] reference is relative to the model directory")
}

fn reason(error: &TableError) -> String {
    match error {
        TableError::Io(error) => format!("cannot be read: {error}"),
        other => other.to_string(),
    }
}

/// Reads the file twice: for its digest, and for its values.
fn read(path: &Path) -> Result<Profile, TableError> {
    let is_seen = std::io::stderr().is_terminal();
    let bar = if is_seen { ProgressBar::new(1) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("  profile   {bar:40} {percent}%, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let told = |done: u64, all: u64| {
        bar.set_length(2 * all);
        bar.set_position(done);
    };
    let mut table = Table::open(path, told)?;
    let names = table.names().to_vec();
    let mut columns: Vec<ColumnProfiler> =
        names.iter().map(|name| ColumnProfiler::new(name, names.len())).collect();
    while let Some(values) = table.next_rows()? {
        columns.iter_mut().zip(values).for_each(|(column, values)| add(column, values));
        let (done, all) = table.progress();
        bar.set_length(2 * all);
        bar.set_position(all + done);
    }
    table.check(path)?;
    bar.finish_and_clear();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut profile = Profile::of_file(&name, table.digest(), table.bytes());
    profile.rows = columns.iter().map(ColumnProfiler::rows).max().unwrap_or(0);
    profile.columns = columns.into_iter().map(ColumnProfiler::finish).collect();
    Ok(profile)
}

fn add(column: &mut ColumnProfiler, values: Values) {
    match values {
        Values::Numbers(values) => values.into_iter().for_each(|value| match value {
            Some(number) => column.add_number(number),
            None => column.add_missing(),
        }),
        Values::Texts(values) => values.iter().for_each(|value| match value {
            Some(text) => column.add_text(text),
            None => column.add_missing(),
        }),
        Values::Vectors(values) => values.iter().for_each(|value| match value {
            Some(vector) => column.add_vector(vector),
            None => column.add_missing(),
        }),
        Values::Others(rows, kind) => column.add_others(rows, &kind),
    }
}

/// One line of `decalog show` on such a file.
pub fn line(file: &ReferenceView) -> String {
    let sha256: String = file.sha256.to_string().chars().take(12).collect();
    let found = file.columns.iter().filter_map(|column| column.finds_standard_deviations);
    let worst = found.fold(0.0, f64::max);
    let missed: Vec<&str> = file
        .columns
        .iter()
        .filter(|column| column.is.is_some() && column.finds_standard_deviations.is_none())
        .map(|column| column.name.as_str())
        .collect();
    let rate = file.rows_per_minute.round();
    let finds = match worst {
        0.0 => format!("finds no shift within a day at {rate} rows/min: it has too few rows"),
        worst => format!("finds shifts of {worst:.2} sd within a day at {rate} rows/min"),
    };
    let missed = if missed.is_empty() || worst == 0.0 {
        String::new()
    } else {
        format!("; not of {}", some(&missed))
    };
    let name = one_line(&file.file);
    format!("{name}, {} rows, sha256 {sha256}; {finds}{missed}", file.rows)
}

/// Where the columns belong; refused if none belongs anywhere.
fn look<'p>(profile: &'p Profile, schema: &Schema, named: &str) -> Result<Matched<'p>, Problem> {
    let matched = profile.matched(schema);
    let has_names = !schema.inputs.is_empty() || !schema.outputs.is_empty();
    if !has_names || !matched.inputs.is_empty() || !matched.outputs.is_empty() {
        return Ok(matched);
    }
    let wanted: Vec<&str> =
        schema.inputs.iter().chain(&schema.outputs).map(|column| column.name.as_str()).collect();
    let near = profile.columns.iter().find_map(|column| {
        let name = plain_name(&column.name);
        near_name(name, wanted.iter().copied()).map(|near| (column.name.as_str(), near))
    });
    let problem = Problem::new(
        Code::BadModel,
        format!("no column of {} is an input or output of the model", one_line(named)),
    );
    Err(problem.help(match near {
        Some((column, near)) => format!("`{}` may be `{near}`: rename it", one_line(column)),
        None => format!("the model has {}", some(&wanted)),
    }))
}

/// Says what nothing is compared with.
fn tell(profile: &Profile, matched: Option<&Matched>) {
    if let Some(matched) = matched {
        if !matched.unused.is_empty() {
            step("", &format!("not of the model: {}", some(&matched.unused)), None);
        }
        if !matched.absent.is_empty() {
            let absent: Vec<&str> = matched.absent.iter().map(String::as_str).collect();
            step("", &format!("not in the file: {}", some(&absent)), None);
        }
    }
    let is_used = |name: &str| matched.is_none_or(|matched| !matched.unused.contains(&name));
    for column in profile.columns.iter().filter(|column| is_used(&column.name)) {
        if let Some(why) = &column.unwatched {
            step("", &format!("{}: {}", one_line(&column.name), one_line(why)), None);
        }
    }
}

fn some(names: &[&str]) -> String {
    let shown: Vec<String> =
        names.iter().take(SHOWN_MAX).map(|name| one_line(name).into_owned()).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The path of a file within a directory, if it is in it.
fn within(directory: &Path, path: &Path) -> Option<String> {
    let real: PathBuf = path.canonicalize().ok()?;
    let inner = real.strip_prefix(directory.canonicalize().ok()?).ok()?;
    inner.to_str().map(String::from)
}

impl Profiled {
    /// Puts the profile among the files of a version, and takes the file itself out.
    pub fn put_into(&self, walked: Walked) -> Result<Walked, Problem> {
        let mut files = walked.tree.files().to_vec();
        if files.iter().any(|file| file.path == PROFILE_FILE) {
            let problem = Problem::new(
                Code::BadTree,
                format!("{PROFILE_FILE} is the name of the profile of [data] reference"),
            );
            return Err(problem.help("remove or rename the file of this name"));
        }
        files.retain(|file| Some(&file.path) != self.left_out.as_ref());
        files.push(TreeFile {
            path: PROFILE_FILE.into(),
            digest: self.digest,
            size: self.size,
            executable: false,
        });
        let tree =
            Tree::new(files).map_err(|error| Problem::new(Code::BadTree, error.to_string()))?;
        let mut paths = walked.paths;
        paths.insert(self.digest, self.file.path().to_path_buf());
        Ok(Walked { tree, paths, left_out: walked.left_out })
    }
}

//! environment.yml of conda: its `pip` section as it is, and of its other packages those that are
//! known to be the same on PyPI. Any other is refused by its name, since another package may have
//! that name there.

use std::path::Path;

use domain::{Code, Problem};
use yaml_rust2::{Yaml, YamlLoader};

use crate::distributions;

/// Its names, the first that is there.
pub const FILES: [&str; 4] = ["environment.yml", "environment.yaml", "conda.yml", "conda.yaml"];
/// The longest that is read, in bytes.
const BYTES_MAX: usize = 256 << 10;
/// Packages that are called otherwise on PyPI.
const RENAMED: &[(&str, &str)] = &[
    ("dask-core", "dask"),
    ("matplotlib-base", "matplotlib"),
    ("msgpack-python", "msgpack"),
    ("opencv", "opencv-python-headless"),
    ("py-opencv", "opencv-python-headless"),
    ("py-xgboost", "xgboost-cpu"),
    ("py-xgboost-cpu", "xgboost-cpu"),
    ("pytables", "tables"),
    ("python-graphviz", "graphviz"),
    ("pytorch", "torch"),
    ("pytorch-cpu", "torch"),
    ("seaborn-base", "seaborn"),
    ("tensorflow-base", "tensorflow"),
];
/// Libraries and programs that conda brings beside Python: wheels have what they need in them.
const NO_PYTHON: &[&str] = &[
    "blas",
    "bzip2",
    "c-ares",
    "ca-certificates",
    "cpuonly",
    "cudatoolkit",
    "cudnn",
    "freetype",
    "giflib",
    "icu",
    "intel-openmp",
    "jpeg",
    "krb5",
    "lcms2",
    "ld-impl-linux-64",
    "lerc",
    "llvm-openmp",
    "lz4-c",
    "mkl",
    "mkl-service",
    "ncurses",
    "nomkl",
    "openblas",
    "openjpeg",
    "openssl",
    "pip",
    "python-abi",
    "pytorch-cuda",
    "pytorch-mutex",
    "readline",
    "sqlite",
    "tbb",
    "tk",
    "wheel",
    "xz",
    "yaml",
    "zlib",
    "zstd",
];

/// What such a file says.
pub struct Conda {
    /// Its name.
    pub file: &'static str,
    /// What it asks of Python, as a specifier.
    python: Option<String>,
    /// As in a requirements.txt.
    pub lines: Vec<String>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

fn refuse(file: &str, what: &str) -> Problem {
    Problem::new(Code::LockFailed, format!("{file} {what}")).help(
        "correct it, or write a requirements.txt, which is then read in its place (pip freeze in the activated environment shows what is installed)",
    )
}

/// What the directory's file asks of Python, and its name.
pub fn python(tree: &Path) -> Result<Option<(&'static str, String)>, Problem> {
    let Some((file, text)) = find(tree) else { return Ok(None) };
    // A file that is not used may be in any form.
    Ok(parse(file, &text).ok().and_then(|read| read.python.map(|python| (file, python))))
}

/// Reads the directory's file, if it has one.
pub fn read(tree: &Path) -> Result<Option<Conda>, Problem> {
    find(tree).map(|(file, text)| parse(file, &text)).transpose()
}

/// The directory's file with what is in it.
pub fn find(tree: &Path) -> Option<(&'static str, String)> {
    FILES.iter().find_map(|file| Some((*file, std::fs::read_to_string(tree.join(file)).ok()?)))
}

fn parse(file: &'static str, text: &str) -> Result<Conda, Problem> {
    // An anchor could stand for more than there is memory.
    let has_anchor = text.lines().any(|line| {
        line.split([' ', '\t', '[', '{', ','])
            .any(|word| word.len() > 1 && word.starts_with(['&', '*']) && !word.starts_with("**"))
    });
    if text.len() > BYTES_MAX || has_anchor {
        return Err(refuse(file, "is too long, or has anchors, which are not read"));
    }
    let documents = YamlLoader::load_from_str(text)
        .map_err(|error| refuse(file, &format!("cannot be read: {error}")))?;
    let list = documents.first().map(|document| &document["dependencies"]);
    let list =
        list.and_then(Yaml::as_vec).ok_or_else(|| refuse(file, "has no list `dependencies`"))?;
    let mut read = Conda { file, python: None, lines: vec![], notes: vec![] };
    let (mut unknown, mut other): (Vec<String>, Vec<String>) = (vec![], vec![]);
    for item in list {
        if let Some(inner) = item.as_hash() {
            let pip = inner.get(&Yaml::String("pip".into())).and_then(Yaml::as_vec);
            let lines = pip.into_iter().flatten().filter_map(Yaml::as_str);
            read.lines.extend(lines.map(String::from));
            continue;
        }
        let Some(spec) = item.as_str() else {
            return Err(refuse(file, "has a dependency that is no text"));
        };
        let Some((name, version)) = specifier(spec) else {
            return Err(refuse(file, &format!("has `{spec}`, which pip cannot say")));
        };
        match name.as_str() {
            "python" => read.python = Some(version).filter(|version| !version.is_empty()),
            name if name.starts_with('_') || NO_PYTHON.contains(&name) || is_library(name) => {
                other.push(name.into());
            }
            name => match on_pypi(name) {
                Some(name) => read.lines.push(format!("{name}{version}")),
                None => unknown.push(spec.into()),
            },
        }
    }
    if !unknown.is_empty() {
        let problem =
            refuse(file, "names conda packages that are not known to be the same on PyPI");
        let help = format!(
            "move them into the `pip:` section of {file} under their names on PyPI, or remove those that the model does not import"
        );
        return Err(problem.details(unknown).help(help));
    }
    other.retain(|name| name != "pip");
    if !other.is_empty() {
        read.notes
            .push(format!("{file}: {} of conda is left out, as wheels bring it", other.join(", ")));
    }
    Ok(read)
}

/// Whether conda calls a library of C so.
fn is_library(name: &str) -> bool {
    name.starts_with("lib") && !distributions::is_known(name)
}

fn on_pypi(name: &str) -> Option<&str> {
    let renamed = RENAMED.iter().find(|(conda, _)| *conda == name).map(|(_, pypi)| *pypi);
    renamed.or_else(|| distributions::is_known(name).then_some(name))
}

/// The name in `channel::name=1.2=build`, and its versions as pip says them; `None` if it cannot.
fn specifier(spec: &str) -> Option<(String, String)> {
    let spec = spec.rsplit("::").next()?.trim();
    let end = spec
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        .unwrap_or(spec.len());
    let (name, rest) = spec.split_at(end);
    let name = if name.starts_with('_') { name.into() } else { distributions::normal(name) };
    let rest = rest.trim();
    if name.is_empty() || rest.contains(['|', '[', '(']) {
        return None;
    }
    if rest.is_empty() || rest == "*" {
        return Some((name, String::new()));
    }
    if let Some(exact) = rest.strip_prefix("==") {
        let version = exact.split(['=', ' ']).find(|part| !part.is_empty())?;
        return Some((name, format!("=={version}")));
    }
    if let Some(fuzzy) = rest.strip_prefix('=') {
        // With a build, the version is a whole one.
        return Some(match fuzzy.split_once('=') {
            Some((version, _)) => (name, format!("=={version}")),
            None => {
                (name, format!("=={}.*", fuzzy.trim().trim_end_matches('*').trim_end_matches('.')))
            }
        });
    }
    if rest.starts_with(['<', '>', '!', '~']) {
        let clauses =
            rest.split(',').map(|clause| clause.trim().trim_end_matches(".*").replace(' ', ""));
        return Some((name, clauses.collect::<Vec<_>>().join(",")));
    }
    let version = rest.split(' ').next()?;
    Some((name, format!("=={version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(dependencies: &str) -> Result<Vec<String>, Problem> {
        let text = format!("name: x\nchannels: [conda-forge]\ndependencies:\n{dependencies}");
        parse("environment.yml", &text).map(|read| read.lines)
    }

    #[test]
    fn versions_become_those_of_pip() {
        for (spec, expected) in [
            ("numpy", ("numpy", "")),
            ("numpy=1.24", ("numpy", "==1.24.*")),
            ("numpy=1.24.*", ("numpy", "==1.24.*")),
            ("numpy=1.24.3=py310h5f9d8c6_1", ("numpy", "==1.24.3")),
            ("numpy==1.24.3", ("numpy", "==1.24.3")),
            ("numpy >=1.20, <2", ("numpy", ">=1.20,<2")),
            ("numpy 1.24.*", ("numpy", "==1.24.*")),
            ("conda-forge::Scikit_Learn>=1.0", ("scikit-learn", ">=1.0")),
        ] {
            let (name, version) = specifier(spec).unwrap();
            assert_eq!((name.as_str(), version.as_str()), expected, "{spec}");
        }
        assert_eq!(specifier("numpy 1.11|1.12"), None);
        assert_eq!(specifier("numpy[version='>1']"), None);
    }

    #[test]
    fn what_is_known_is_read_and_the_rest_is_named() {
        let good = "  - python=3.10\n  - pip\n  - pytorch=2.1\n  - openssl\n  - libgcc-ng=12\n  - pip:\n    - six==1.15.0\n    - -r more.txt\n";
        assert_eq!(lines(good).unwrap(), ["torch==2.1.*", "six==1.15.0", "-r more.txt"]);
        let problem = lines("  - numpy\n  - bioconductor-x=1\n  - gdal\n").unwrap_err();
        assert_eq!(problem.details, ["bioconductor-x=1", "gdal"]);
        assert!(problem.help.contains("pip:"), "{}", problem.help);
        assert!(lines("  - &a numpy\n  - *a\n").is_err(), "anchors");
        assert!(parse("environment.yml", "name: x\n").is_err());
        assert!(parse("environment.yml", "a: [\n").is_err());
    }
}

//! Which packages a directory asks for: the first of the files that can say so, in its own words
//! or in those of a requirements.txt. What else says so is named, and not read.

pub mod conda;
pub mod locked;
pub mod paths;
pub mod pickled;
pub mod pipfile;
pub mod poetry;
pub mod project;
pub mod python;
pub mod requirements;
pub mod setup_cfg;

use std::collections::BTreeSet;
use std::path::Path;

use domain::{Code, Problem};

use crate::distributions::normal;
use requirements::Requirements;

/// The name of uv's lock.
const UV_LOCK: &str = "uv.lock";
/// The program of setuptools.
const SETUP_PY: &str = "setup.py";

/// How the resolver is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It exports its own lock.
    Lock,
    /// It reads the file.
    File,
    /// It reads the file, and may have to build the project, which writes into its directory.
    Project,
    /// It is given these lines, and constraints.
    Lines(Vec<String>, Vec<String>),
}

/// What a directory asks for.
#[derive(Debug)]
pub struct Wanted {
    /// The file that says so.
    pub file: &'static str,
    /// How the resolver is told.
    pub given: Given,
    /// As far as it can be read here.
    pub requirements: Requirements,
    /// What people should know.
    pub notes: Vec<String>,
}

impl Wanted {
    /// Files that the resolution depends on.
    pub fn inputs(&self, tree: &Path) -> Vec<String> {
        let mut names: BTreeSet<String> = self.requirements.files.iter().cloned().collect();
        names.insert(self.file.into());
        names.extend(self.archives(tree));
        if self.file == project::FILE {
            names.insert(poetry::LOCK.into());
        }
        if self.given == Given::Project {
            let more = [SETUP_PY, setup_cfg::FILE, project::FILE, requirements::FILE];
            names.extend(more.map(String::from));
        }
        names.into_iter().collect()
    }

    /// Archives in the folders that packages may be found in.
    pub fn archives(&self, tree: &Path) -> Vec<String> {
        let mut found = vec![];
        for folder in &self.requirements.links {
            let entries = std::fs::read_dir(tree.join(folder)).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let names = names.filter(|name| requirements::is_archive(name));
            found.extend(names.map(|name| match folder.is_empty() {
                true => name,
                false => format!("{folder}/{name}"),
            }));
        }
        found.sort();
        found
    }
}

/// What a directory asks for; `None` if no file says so.
pub fn read(tree: &Path) -> Result<Option<Wanted>, Problem> {
    let project = project::read(tree)?;
    let is_there = |name: &str| tree.join(name).is_file();
    let is_project = project.as_ref().is_some_and(project::is_project);
    let is_poetry = project.as_ref().is_some_and(poetry::is_there);
    let wanted = if is_there(UV_LOCK) && project.is_some() {
        Some(of_uv_lock(tree)?)
    } else if is_there(requirements::FILE) {
        Some(of_requirements(tree)?)
    } else if let Some((file, lines)) = pipfile::lines(tree)? {
        Some(of_lines(tree, file, lines, vec![])?)
    } else if let Some(project) = project.as_ref().filter(|_| is_project || is_poetry) {
        Some(of_project(tree, project)?)
    } else if let Some(conda) = conda::read(tree)? {
        let mut wanted = of_lines(tree, conda.file, conda.lines, vec![])?;
        wanted.notes = conda.notes;
        Some(wanted)
    } else if let Some(lines) = setup_cfg::lines(tree) {
        Some(of_lines(tree, setup_cfg::FILE, lines, vec![])?)
    } else if has_setup_py(tree) {
        Some(Wanted {
            file: SETUP_PY,
            given: Given::Project,
            requirements: Requirements { has_unnamed: true, ..Requirements::default() },
            notes: vec![],
        })
    } else {
        None
    };
    if let (Some(_), Some(project)) = (&wanted, &project) {
        project::check(project)?;
    }
    Ok(wanted.map(|mut wanted| {
        wanted.notes.extend(unread(tree, &wanted));
        wanted
    }))
}

/// Whether a directory says which packages of Python it needs, in a file that says nothing of other
/// languages.
pub fn is_of_python(tree: &Path) -> bool {
    let names = [UV_LOCK, requirements::FILE, pipfile::FILE, pipfile::LOCK];
    let is_project = |file: toml::Table| project::is_project(&file) || poetry::is_there(&file);
    names.iter().any(|name| tree.join(name).is_file())
        || project::read(tree).is_ok_and(|file| file.is_some_and(is_project))
}

fn of_requirements(tree: &Path) -> Result<Wanted, Problem> {
    let requirements = requirements::read(tree, requirements::FILE)?;
    let given = if requirements.installs_itself { Given::Project } else { Given::File };
    Ok(Wanted { file: requirements::FILE, given, requirements, notes: vec![] })
}

fn of_lines(
    tree: &Path,
    file: &'static str,
    lines: Vec<String>,
    constraints: Vec<String>,
) -> Result<Wanted, Problem> {
    let requirements = requirements::of_text(tree, file, &lines.join("\n"))?;
    Ok(Wanted { file, given: Given::Lines(lines, constraints), requirements, notes: vec![] })
}

fn of_project(tree: &Path, project: &toml::Table) -> Result<Wanted, Problem> {
    let file = project::FILE;
    let (is_dynamic, lines) = (project::is_dynamic(project), project::dependencies(project));
    if poetry::is_there(project) && lines.is_empty() && !is_dynamic_elsewhere(project) {
        return of_lines(tree, file, poetry::lines(project)?, poetry::constraints(tree)?);
    }
    let mut requirements = requirements::of_text(tree, file, &lines.join("\n"))?;
    requirements.has_unnamed |= is_dynamic;
    requirements.files.extend(project::archives(project));
    let given = if is_dynamic { Given::Project } else { Given::File };
    Ok(Wanted { file, given, requirements, notes: vec![] })
}

/// Whether a project with a table of Poetry leaves its dependencies to another builder.
fn is_dynamic_elsewhere(project: &toml::Table) -> bool {
    let backend = project.get("build-system").and_then(|system| system.get("build-backend"));
    let backend = backend.and_then(toml::Value::as_str).unwrap_or("poetry");
    project::is_dynamic(project) && !backend.contains("poetry")
}

fn of_uv_lock(tree: &Path) -> Result<Wanted, Problem> {
    let text = std::fs::read_to_string(tree.join(UV_LOCK)).unwrap_or_default();
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        Problem::new(Code::LockFailed, format!("{UV_LOCK} cannot be read: {error}"))
            .help("uv lock writes it anew")
    })?;
    let packages = table.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    let mut requirements = Requirements::default();
    for package in packages {
        let name = package.get("name").and_then(toml::Value::as_str);
        requirements.names.extend(name.map(normal));
        let source = package.get("source").and_then(toml::Value::as_table);
        for (kind, value) in source.into_iter().flatten() {
            let path = value.as_str().filter(|value| !paths::is_address(value) && kind != "git");
            if let Some(path) = path {
                let path = paths::within("", path).ok_or_else(|| paths::refusal(UV_LOCK, path))?;
                requirements.files.extend(Some(path).filter(|path| requirements::is_archive(path)));
            }
        }
    }
    Ok(Wanted { file: UV_LOCK, given: Given::Lock, requirements, notes: vec![] })
}

fn has_setup_py(tree: &Path) -> bool {
    std::fs::read_to_string(tree.join(SETUP_PY)).is_ok_and(|text| text.contains("install_requires"))
}

/// Other files that say what to install.
fn unread(tree: &Path, wanted: &Wanted) -> Vec<String> {
    let is_there = |name: &&str| tree.join(name).is_file();
    let mut others: Vec<&str> =
        [requirements::FILE, pipfile::FILE].into_iter().filter(is_there).collect();
    others.extend(conda::find(tree).map(|(file, _)| file).filter(|file| file.starts_with("env")));
    if setup_cfg::lines(tree).is_some() {
        others.push(setup_cfg::FILE);
    }
    let project = project::read(tree).ok().flatten();
    if project
        .is_some_and(|file| !project::dependencies(&file).is_empty() || poetry::is_there(&file))
    {
        others.push(project::FILE);
    }
    let builds = wanted.given == Given::Project;
    let is_its_own = |other: &&str| {
        *other == wanted.file
            || (*other == pipfile::FILE && wanted.file == pipfile::LOCK)
            || (*other == project::FILE && wanted.file == UV_LOCK)
            || (builds && [project::FILE, setup_cfg::FILE].contains(other))
    };
    others.retain(|other| !is_its_own(other));
    match others.as_slice() {
        [] => vec![],
        others => {
            let is = if others.len() == 1 { "is" } else { "are" };
            vec![format!(
                "{} {is} not read: {} says which packages",
                others.join(", "),
                wanted.file
            )]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(files: &[(&str, &str)]) -> Result<Option<Wanted>, Problem> {
        let tree = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = tree.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        read(tree.path())
    }

    #[test]
    fn the_first_that_can_say_so_is_read_and_the_others_are_named() {
        let project = (
            "pyproject.toml",
            "[project]\nname = \"x\"\nversion = \"1\"\ndependencies = [\"six\"]\n",
        );
        let poetry =
            ("pyproject.toml", "[tool.poetry.dependencies]\npython = \"^3.8\"\nsix = \"^1\"\n");
        let style = ("pyproject.toml", "[tool.ruff]\nline-length = 100\n");
        let requirements = ("requirements.txt", "six\n");
        let conda = ("environment.yml", "dependencies: [numpy]\n");
        let pipfile = ("Pipfile", "[packages]\nsix = \"*\"\n");
        let setup = ("setup.cfg", "[options]\ninstall_requires =\n    six\n");
        for (files, file, note) in [
            (
                vec![requirements, conda, project],
                Some("requirements.txt"),
                "environment.yml, pyproject.toml are not read",
            ),
            (vec![pipfile, ("Pipfile.lock", "{}")], Some("Pipfile.lock"), ""),
            (vec![pipfile, setup], Some("Pipfile"), "setup.cfg is not read"),
            (vec![project], Some("pyproject.toml"), ""),
            (vec![poetry, conda], Some("pyproject.toml"), "environment.yml is not read"),
            (vec![style, conda], Some("environment.yml"), ""),
            (vec![style, setup], Some("setup.cfg"), ""),
            (vec![style], None, ""),
            (vec![("setup.py", "setup(install_requires=['six'])")], Some("setup.py"), ""),
            (vec![("setup.cfg", "[flake8]\n")], None, ""),
        ] {
            let wanted = wanted(&files).unwrap();
            assert_eq!(wanted.as_ref().map(|wanted| wanted.file), file, "{files:?}");
            let notes = wanted.map(|wanted| wanted.notes.join("; ")).unwrap_or_default();
            assert!(notes.starts_with(note) && notes.is_empty() == note.is_empty(), "{notes}");
        }
    }

    #[test]
    fn no_file_leads_out_of_the_directory() {
        for text in [
            "[project]\nname = \"x\"\ndependencies = [\"x @ file:///etc/x-1.0.tar.gz\"]\n",
            "[project]\nname = \"x\"\n[tool.uv.sources]\ny = { path = \"../y\" }\n",
            "[project]\nname = \"x\"\n[tool.uv]\nfind-links = [\"/etc\"]\n",
            "[tool.poetry.dependencies]\nx = { path = \"/etc\" }\n",
        ] {
            assert!(wanted(&[("pyproject.toml", text)]).is_err(), "{text}");
        }
        let lock = "[[package]]\nname = \"y\"\nsource = { directory = \"../y\" }\n";
        let files = [("pyproject.toml", "[project]\nname = \"x\"\n"), ("uv.lock", lock)];
        assert!(wanted(&files).unwrap_err().message.contains("../y"));
    }
}

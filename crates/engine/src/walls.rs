//! What a process of a model may reach: its packages and their interpreter, its own files, and a
//! directory of its own.

use std::path::{Path, PathBuf};

use domain::launch::{Origin, ProcessId, Role, Sandbox, Walls};
use supervisor::Files;
use supervisor::walls::{VARIABLE, system};

use crate::replica::ReplicaSpec;
use crate::tools::find;
use crate::{EngineConfig, runtime};

/// How many links in a row are followed from the name of a program.
const LINKS_MAX: usize = 16;

/// What walls are drawn around.
pub(crate) struct Inside<'a> {
    pub spec: &'a ReplicaSpec,
    pub config: &'a EngineConfig,
    pub files: &'a Files,
    pub onnxruntime: Option<&'a Path>,
    /// What the process is for, and where it comes from if it is no program.
    pub role: &'a Role,
    pub origin: Option<&'a Origin>,
    /// Of its own, to be written.
    pub own: &'a Path,
    /// Which a replica serves.
    pub socket: Option<&'a Path>,
    /// The port that a program listens on.
    pub port: Option<u16>,
}

impl Inside<'_> {
    /// The walls; `None` where nothing is confined.
    pub fn walls(&self) -> Option<Walls> {
        let level = self.config.sandbox;
        if level == Sandbox::Off {
            return None;
        }
        let is_zygote = self.role.placement().is_none();
        let trees = self.files.data.trees();
        let mut read = self.of_runtime();
        read.push(if is_zygote { trees.clone() } else { self.files.data.tree(&self.spec.tree) });
        read.extend(self.config.sandbox_read.iter().cloned());
        let mut own = self.own.to_path_buf();
        let mut covered = vec![];
        match (self.origin, self.role) {
            // It stands within the walls of the parent, which has files open in its own directory.
            (Some(Origin::Fork(parent)), Role::Replica(_)) => own = self.files.process(parent),
            (Some(Origin::Fork(zygote)), _) if level == Sandbox::Full => {
                covered = vec![text(&trees), text(&self.files.process(zygote))];
            }
            _ => {}
        }
        let is_program = self.origin.is_none();
        let served = self.socket.filter(|_| is_program).and_then(Path::parent);
        Some(Walls {
            level,
            read: read.iter().map(|path| text(path)).collect(),
            own: text(&own),
            write: served.map(text).into_iter().collect(),
            covered,
            port: self.port,
            narrows: is_zygote,
        })
    }

    /// What its runtime needs.
    fn of_runtime(&self) -> Vec<PathBuf> {
        let (spec, data) = (self.spec, &self.files.data);
        let mut read = vec![];
        if let Some(lock) = &spec.lock {
            let environment = data.environment(lock);
            read.extend(places_of(&environment.join("bin/python"), &self.config.data));
            read.push(environment);
        }
        if runtime::of(spec.runtime).warmest().0 > domain::launch::Temperature::Cold {
            read.push(data.shim());
            return read;
        }
        read.push(self.config.program.clone());
        read.extend(self.onnxruntime.and_then(Path::parent).map(Path::to_path_buf));
        if let Some(program) = spec.command.first() {
            let found = find(program, &self.config.path);
            read.extend(found.iter().flat_map(|found| places_of(found, &self.config.data)));
        }
        read
    }
}

/// Makes a program one that draws its walls around itself.
pub(crate) fn enclosed(
    walls: &Walls,
    program: &Path,
    argv: Vec<String>,
    variables: &mut std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    variables.insert(VARIABLE.into(), serde_json::to_string(walls).unwrap_or_default());
    let enclose = [text(program), "enclose".into(), "--".into()];
    enclose.into_iter().chain(argv).collect()
}

/// The directory of a process that was forked lies in that of this one.
pub(crate) fn forked_from(origin: Option<&Origin>) -> Option<&ProcessId> {
    match origin {
        Some(Origin::Fork(from) | Origin::Serve(from)) => Some(from),
        _ => None,
    }
}

/// Where a program lies, by all links that lead to it: what is installed with it, if it has a
/// directory of its own, else the directory that it lies in.
fn places_of(program: &Path, data: &domain::DataDirectory) -> Vec<PathBuf> {
    let mut places = vec![];
    let mut path = program.to_path_buf();
    for _ in 0..LINKS_MAX {
        if !system::has(&path) && !path.starts_with(data.root()) {
            places.extend(installed_with(&path, data));
        }
        match path.read_link() {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => break,
        }
    }
    places
}

fn installed_with(program: &Path, data: &domain::DataDirectory) -> Option<PathBuf> {
    let directory = program.parent()?;
    // Shims, as of pyenv, start what is installed beside them.
    let is_one_of_many = ["bin", "shims"].iter().any(|name| directory.ends_with(name));
    let prefix = directory.parent().filter(|_| is_one_of_many);
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let is_whole_of = |prefix: &Path| {
        let holds = |what: &Path| what.starts_with(prefix);
        !holds(data.root()) && !home.as_deref().is_some_and(holds)
    };
    Some(prefix.filter(|prefix| is_whole_of(prefix)).unwrap_or(directory).to_path_buf())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

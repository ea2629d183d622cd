//! Which modules a zygote imports beforehand: those that the text of its versions names, and those
//! that a parent turned out to need when it loaded its model, such as what a pickle asks for. Kept
//! beside the environment.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use domain::launch::{ProcessId, Role};

use crate::handle::LocalEngine;
use crate::interface::Engine;
use crate::launch;
use crate::replica::ReplicaSpec;
use crate::template::TemplateState;
use crate::{EngineError, shim};

/// The file beside an environment that keeps which modules its versions import.
const IMPORTS: &str = "imports";
/// The largest list that is passed on, in bytes: less than the kernel takes as one variable.
const IMPORTS_BYTES_MAX: usize = 96 * 1024;

impl LocalEngine {
    /// The modules that versions with this environment import, as far as they are known: those that
    /// earlier ones needed, and those of this version, by its text and without running any of its
    /// code.
    pub(crate) async fn imports_of(&self, spec: &ReplicaSpec) -> Vec<String> {
        let Some(lock) = spec.lock else { return vec![] };
        let environment = self.inner.files.data.environment(&lock);
        let named = match self.describe_imports(spec, &environment.join("bin/python")).await {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!("what {} imports is not known: {error}", spec.placement);
                vec![]
            }
        };
        add(&environment.with_extension(IMPORTS), named).0
    }

    /// Takes note of what a parent has loaded. A zygote that has less is ended: the next parent has
    /// one made that has all.
    pub(crate) async fn learn_imports(&self, spec: &ReplicaSpec, id: &ProcessId) {
        let is_parent = {
            let templates = self.inner.templates.lock();
            let state = templates
                .get(id)
                .filter(|template| matches!(template.role, Role::Parent(_)))
                .map(|template| template.state.borrow().clone());
            // What forbids a fork here would forbid it in a zygote.
            matches!(state, Some(TemplateState::Ready { can_fork: true, .. }))
        };
        let Some(lock) = spec.lock.filter(|_| is_parent) else { return };
        let loaded = read(&self.inner.files.data.modules(id));
        let (_, has_grown) =
            add(&self.inner.files.data.environment(&lock).with_extension(IMPORTS), loaded);
        let zygote = {
            let key = launch::zygote_key(spec, self.inner.config.sandbox);
            let templates = self.inner.templates.lock();
            let of_key = |role: &Role| matches!(role, Role::Zygote(of) if Some(of) == key.as_ref());
            templates.iter().find(|(_, template)| of_key(&template.role)).map(|(id, _)| id.clone())
        };
        // What it lacks is in the parent, and would be there twice if another were made now.
        if let Some(zygote) = zygote.filter(|_| has_grown) {
            let _ = self.end_template(&zygote).await;
        }
    }

    /// Makes the byte code of the worker, once for each interpreter: within its walls a process
    /// cannot keep what it compiles. Without it a start only takes longer.
    pub(crate) async fn compile_worker(&self, spec: &ReplicaSpec) {
        let data = &self.inner.files.data;
        let Some(python) = spec.lock.map(|lock| data.environment(&lock).join("bin/python")) else {
            return;
        };
        let Ok(worker) = shim::put(&data.shim()) else { return };
        let (Some(package), Ok(real)) = (worker.parent(), std::fs::canonicalize(&python)) else {
            return;
        };
        let interpreter = domain::Digest::of(real.as_os_str().as_encoded_bytes());
        let marker = package.with_file_name(format!("compiled-{}", interpreter.short()));
        if marker.exists() {
            return;
        }
        let arguments = ["-I", "-S", "-m", "compileall", "-q", &package.to_string_lossy()];
        let ran = self.inner.tools.run(&python, arguments, Path::new("/"), &|_| {}).await;
        if let Err(error) = ran.map(|_| std::fs::write(marker, "")) {
            tracing::debug!("the worker is compiled at each start: {error}");
        }
    }

    async fn describe_imports(
        &self,
        spec: &ReplicaSpec,
        python: &Path,
    ) -> Result<Vec<String>, EngineError> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let shim = text(&shim::put(&self.inner.files.data.shim())?);
        let file = spec.file.clone().unwrap_or_else(|| "model.py".into());
        let arguments = [
            "-I".to_string(),
            shim,
            "--describe".into(),
            text(&self.inner.files.data.tree(&spec.tree)),
            "--file".into(),
            file,
        ];
        let output = self.inner.tools.run(python, arguments, Path::new("/"), &|_| {}).await?;
        let described: serde_json::Value =
            serde_json::from_str(output.stdout.trim()).unwrap_or_default();
        let names = described
            .get("modules")
            .or(described.get("imports"))
            .and_then(|names| names.as_array());
        Ok(names.into_iter().flatten().filter_map(|name| name.as_str().map(String::from)).collect())
    }
}

/// The names of modules in a file, each on a line; `a:b` stands for `from a import b`. What is no
/// name is left out.
fn read(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let _ = supervisor::open_of_model(path, std::fs::File::options().read(true))
        .map(|file| file.take(IMPORTS_BYTES_MAX as u64).read_to_string(&mut text));
    let is_name = |line: &&str| {
        !line.is_empty()
            && line.split([':', '.']).all(|part| {
                !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_')
            })
    };
    text.lines().filter(is_name).map(String::from).collect()
}

/// Adds names to those of a file, in the order in which they were first seen. Gives all of them,
/// and whether any was new.
fn add(path: &Path, names: Vec<String>) -> (Vec<String>, bool) {
    let mut all = read(path);
    let before = all.len();
    let mut known: HashSet<String> = all.iter().cloned().collect();
    let mut bytes: usize = all.iter().map(|name| name.len() + 1).sum();
    for name in names {
        if known.contains(&name) || bytes + name.len() + 1 > IMPORTS_BYTES_MAX {
            continue;
        }
        bytes += name.len() + 1;
        known.insert(name.clone());
        all.push(name);
    }
    let has_grown = all.len() > before;
    if has_grown {
        let text: String = all.iter().map(|name| format!("{name}\n")).collect();
        let temporary = path.with_extension("partial");
        let _ = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    }
    (all, has_grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_come_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(IMPORTS);
        let names = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
        assert_eq!(add(&path, names("b a:c")), (names("b a:c"), true));
        assert_eq!(add(&path, names("a b")), (names("b a:c a"), true));
        assert_eq!(add(&path, names("a:c b")), (names("b a:c a"), false));
        std::fs::write(&path, "b\nrm -rf /\n../x\n\na.b.\nok._x\n").unwrap();
        assert_eq!(read(&path), names("b ok._x"));
        let long: Vec<String> = (0..10_000).map(|number| format!("module_{number:05}")).collect();
        let bytes: usize = add(&path, long).0.iter().map(|name| name.len() + 1).sum();
        assert!(bytes <= IMPORTS_BYTES_MAX && bytes > IMPORTS_BYTES_MAX - 20, "{bytes}");
        assert_eq!(read(Path::new("/no/such")), Vec::<String>::new());
    }
}

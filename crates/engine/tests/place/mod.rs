//! A data directory with models in it, and a supervisor that is this test's own executable, started
//! anew.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::launch::{Sandbox, Temperature};
use domain::manifest::{Runtime, SchemaSection};
use domain::{DataDirectory, Digest, ModelKey, Placement, ReplicaId, VersionNumber};
use engine::{
    Engine, EngineConfig, LocalEngine, ReplicaSpec, ReplicaState, ReplicaStatus, TemplateState,
    TemplateStatus,
};
use serde_json::Value;

/// Far beyond what anything here takes, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// One data directory.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// With an environment that is the machine's own Python.
    pub fn new() -> Place {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        let bin = place.data().join("environments").join(place.lock().to_string()).join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let path = std::env::var("PATH").unwrap();
        let python = path
            .split(':')
            .map(|directory| Path::new(directory).join("python3"))
            .find(|python| python.exists());
        std::os::unix::fs::symlink(python.expect("python3 is on PATH"), bin.join("python"))
            .unwrap();
        let script = format!(
            "#!/bin/sh\nDECALOG_TEST_DATA='{}' exec '{}' --exact supervisor_process --ignored --nocapture\n",
            place.data().display(),
            std::env::current_exe().unwrap().display()
        );
        std::fs::write(place.program(), script).unwrap();
        std::fs::set_permissions(place.program(), std::fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("program")
    }

    fn lock(&self) -> Digest {
        Digest::of(b"the machine's own python")
    }

    /// A model's files.
    pub fn tree(&self, name: &str, model: &str) -> PathBuf {
        let tree = self.directory.path().join("trees").join(name);
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("model.py"), model).unwrap();
        let laid_out = DataDirectory::new(self.data()).tree(&Digest::of(name.as_bytes()));
        std::fs::create_dir_all(laid_out.parent().unwrap()).unwrap();
        if !laid_out.exists() {
            std::os::unix::fs::symlink(&tree, laid_out).unwrap();
        }
        tree
    }

    pub async fn engine(&self) -> LocalEngine {
        engine_for(&self.data(), &self.program()).await
    }

    /// A process that opens an engine on this place, starts these replicas and goes on until it is
    /// killed.
    pub fn client(&self, replicas: &str, tree: &Path) -> std::process::Child {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "client_process", "--ignored", "--nocapture"]);
        command.env("DECALOG_TEST_DATA", self.data()).env("DECALOG_TEST_PROGRAM", self.program());
        command.env("DECALOG_TEST_REPLICAS", replicas).env("DECALOG_TEST_TREE", tree);
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    }

    /// What a replica of the model in a tree is started with.
    pub fn spec(&self, replica: &str, tree: &Path) -> ReplicaSpec {
        spec(self.lock(), replica, tree)
    }

    /// Processes whose environment names this place, by what the kernel tells.
    pub fn processes(&self) -> Vec<u32> {
        let needle = self.directory.path().to_str().unwrap().as_bytes().to_vec();
        let pids = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let names_it = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            [environment, arguments]
                .iter()
                .any(|text| text.windows(needle.len()).any(|part| part == needle))
        };
        pids.filter(|pid| *pid != std::process::id()).filter(names_it).collect()
    }
}

/// Prints all logs below a directory.
fn print_logs(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            print_logs(&entry.path());
        } else {
            let text = std::fs::read(entry.path()).unwrap_or_default();
            eprintln!("---- {}\n{}", entry.path().display(), String::from_utf8_lossy(&text));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            print_logs(&self.data().join("logs"));
        }
        // A supervisor that may end by itself takes its control groups with it; the rest is for
        // those that do not. An engine that still lives must not start another.
        let _ = std::fs::remove_file(self.program());
        let begin = Instant::now();
        let mut signal = nix::sys::signal::Signal::SIGTERM;
        while !self.processes().is_empty() && begin.elapsed() < PATIENCE {
            for pid in self.processes() {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal);
            }
            std::thread::sleep(Duration::from_millis(20));
            if begin.elapsed() > Duration::from_secs(5) {
                signal = nix::sys::signal::Signal::SIGKILL;
            }
        }
    }
}

pub async fn engine_for(data: &Path, program: &Path) -> LocalEngine {
    let config = EngineConfig {
        sandbox: Sandbox::Off,
        sandbox_required: Sandbox::Off,
        sandbox_read: vec![],
        data: DataDirectory::new(data),
        program: program.into(),
        index_url: None,
        uv: None,
        onnxruntime: None,
        tool_variables: BTreeMap::new(),
        path: std::env::var("PATH").unwrap(),
        predecessor: None,
        descriptors: engine::Descriptors::raise(),
    };
    let data = &config.data;
    let store = artifacts::Store::open(&data.artifacts_url(), &data.uploads()).unwrap();
    LocalEngine::open(config, store).await.unwrap()
}

pub fn spec(lock: Digest, replica: &str, tree: &Path) -> ReplicaSpec {
    let name = tree.file_name().unwrap().to_str().unwrap();
    let model = ModelKey::try_from(format!("default/{name}")).unwrap();
    let placement = Placement {
        model,
        environment: Default::default(),
        version: VersionNumber(1),
        digest: Digest::of(b"m"),
        revision: 0,
    };
    ReplicaSpec {
        replica: ReplicaId(replica.into()),
        placement,
        runtime: Runtime::Python,
        file: None,
        command: vec![],
        path: None,
        tree: Digest::of(name.as_bytes()),
        lock: Some(lock),
        variables: BTreeMap::new(),
        secrets: Default::default(),
        schema: SchemaSection::default(),
        concurrency: 1,
        threads: 1,
        memory_mb_max: None,
        cpu_max: None,
        start_ms_max: 30_000,
    }
}

pub fn id(replica: &str) -> ReplicaId {
    ReplicaId(replica.into())
}

/// Waits until something holds, and gives it.
pub async fn until<T>(what: &str, condition: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until a replica is ready, and gives it.
pub async fn ready(engine: &LocalEngine, replica: &str) -> ReplicaStatus {
    until("ready", || {
        let status = engine.status(&id(replica))?;
        assert!(!matches!(status.state, ReplicaState::Ended { .. }), "{status:?}");
        matches!(status.state, ReplicaState::Ready { .. }).then(|| ReplicaStatus::clone(&status))
    })
    .await
}

/// Waits until a replica has ended, and gives why, and its last words.
pub async fn ended(engine: &LocalEngine, replica: &str) -> (String, String) {
    until("ended", || match &engine.status(&id(replica))?.state {
        ReplicaState::Ended { reason, details, .. } => Some((reason.clone(), details.join("\n"))),
        _ => None,
    })
    .await
}

/// Starts a replica, waits until it is ready, and gives how warm that was.
pub async fn start(engine: &LocalEngine, spec: ReplicaSpec) -> (ReplicaStatus, Temperature) {
    let replica = spec.replica.0.clone();
    engine.start(spec).await.unwrap();
    let status = ready(engine, &replica).await;
    let temperature = status.temperature;
    (status, temperature)
}

/// Waits for a parent or zygote that is ready.
pub async fn parent(
    engine: &LocalEngine,
    fits: impl Fn(&TemplateStatus) -> bool,
) -> TemplateStatus {
    let is_ready = |status: &TemplateStatus| {
        matches!(status.state, TemplateState::Ready { .. }) && fits(status)
    };
    until("a parent", || engine.templates().into_iter().find(is_ready)).await
}

/// Asks a replica for one row.
pub async fn predict(status: &ReplicaStatus, row: Value) -> Value {
    let ReplicaState::Ready { info, .. } = &status.state else { panic!("{status:?}") };
    let model = status.placement.model.model.as_str();
    let mut caller = worker::Caller::new(
        status.address.clone(),
        model,
        info.protocol.clone(),
        info.schema.clone().unwrap(),
    );
    caller.predict(&[row], Duration::from_secs(30)).await.unwrap().remove(0)
}

pub fn kill(pid: u32) {
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid as i32),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
}

/// Whether a process exists and is no zombie.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The parent process.
pub fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The control group of the machine's that counts a process's processes, if the supervisor made one
/// for it.
pub fn group_of(pid: u32) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let of = |line: &str| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let mount = if names.is_empty() {
            "/sys/fs/cgroup".into()
        } else {
            format!("/sys/fs/cgroup/{names}")
        };
        let is_ours = path.contains("/decalog-") && ["", "pids"].contains(&names);
        is_ours.then(|| PathBuf::from(mount + path))
    };
    groups.lines().find_map(of)
}

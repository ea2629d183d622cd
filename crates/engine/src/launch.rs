//! What a process gets: the `Launch` for a replica, or for the parent or zygote that replicas are
//! forked from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::launch::{Launch, Limits, Origin, ProcessId, Role, Sandbox, Temperature, ZygoteKey};
use domain::manifest::SchemaSection;
use supervisor::{Files, private_directory};

use crate::replica::ReplicaSpec;
use crate::runtime::{self, Start};
use crate::walls::{self, Inside};
use crate::{EngineConfig, EngineError};

/// Processes and threads of one replica or parent together: far beyond any model's need, far below
/// the system's.
const PROCESSES_MAX: u32 = 4_096;
/// Beginnings and ends of variables that libraries read when they are imported or a program when it
/// starts: a zygote had others.
const READ_BEGINS: &str = "ARROW_ BLIS_ CUDA_ GLIBC_ GOTO_ HF_ JAX_ JE_ KERAS_ KMP_ LC_ LD_ MALLOC_ MKL_ MPL NPY_ NUMBA_ NUMEXPR_ OMP_ \
                           OPENBLAS_ ORT_ POLARS_ PYTHON PYTORCH_ SCIPY_ SKLEARN_ TF_ TORCH TRANSFORMERS_ XLA_ _RJEM_";
const READ_ENDS: &str = "_CACHE _HOME";
const READ_WHOLE: &str = "HOME LANG PATH TMPDIR TZ";

/// How many threads numeric libraries use.
const THREAD_VARIABLES: [&str; 4] =
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"];

/// A variable of the version that makes a zygote of no use for it.
pub fn variable_read_on_import(spec: &ReplicaSpec) -> Option<&str> {
    let is_read = |name: &str| {
        READ_WHOLE.split(' ').any(|whole| name == whole)
            || READ_BEGINS.split_ascii_whitespace().any(|begin| name.starts_with(begin))
            || READ_ENDS.split(' ').any(|end| name.ends_with(end))
    };
    spec.variables
        .keys()
        .map(String::as_str)
        .find(|name| is_read(name) && !THREAD_VARIABLES.contains(name))
}

/// What is to be started from a spec, and from what.
pub struct Plan {
    /// Its id.
    pub id: ProcessId,
    /// What it is for.
    pub role: Role,
    /// The parent or zygote that it comes from; else it is a program of its own.
    pub origin: Option<Origin>,
    /// How it is started.
    pub temperature: Temperature,
    /// Why not warmer.
    pub colder_because: Option<String>,
}

impl Plan {
    /// A replica as a program of its own.
    pub fn cold(spec: &ReplicaSpec, colder_because: Option<String>) -> Plan {
        let role = Role::Replica(spec.placement.clone());
        Plan {
            id: (&spec.replica).into(),
            role,
            origin: None,
            temperature: Temperature::Cold,
            colder_because,
        }
    }
}

/// What a zygote must be like to serve a spec.
pub fn zygote_key(spec: &ReplicaSpec, sandbox: Sandbox) -> Option<ZygoteKey> {
    let project = spec.placement.model.project.clone();
    let sandbox = if sandbox == Sandbox::Off { String::new() } else { sandbox.to_string() };
    spec.lock.map(|lock| ZygoteKey { project, lock, sandbox })
}

/// Turns a spec and a plan for it into what the supervisor starts, and makes its directories.
pub fn launch(
    spec: &ReplicaSpec,
    plan: Plan,
    config: &EngineConfig,
    files: &Files,
    onnxruntime: Option<&Path>,
) -> Result<Launch, EngineError> {
    let own = files.make_process(&plan.id, walls::forked_from(plan.origin.as_ref()))?;
    let (home, temporary) = (own.join("home"), own.join("tmp"));
    let log = match plan.role.placement() {
        Some(placement) => files.data.log(placement, &plan.id),
        None => files.data.zygote_log(&plan.id),
    };
    private_directory(log.parent().unwrap_or(Path::new("/")))?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let is_replica = matches!(plan.role, Role::Replica(_));
    let socket = is_replica.then(|| files.make_socket(&spec.replica)).transpose()?;
    let mut variables = surroundings(spec, config, files);
    variables.insert("HOME".into(), text(&home));
    variables.insert("TMPDIR".into(), text(&temporary));
    let is_zygote = plan.role.placement().is_none();
    if is_zygote {
        variables.insert("DECALOG_ROLE".into(), "zygote".into());
    } else {
        variables.extend(spec.variables.clone());
        variables.extend(model_variables(spec));
        variables
            .insert("DECALOG_ROLE".into(), if is_replica { "worker" } else { "parent" }.into());
        variables.insert("DECALOG_FAILURE".into(), text(&own.join("failure")));
        if !is_replica {
            variables.insert("DECALOG_MODULES".into(), text(&own.join("modules")));
        }
        variables.extend(socket.iter().map(|socket| ("DECALOG_SOCKET".into(), text(socket))));
    }
    if !is_replica {
        // Pools of threads that start with an import would forbid every fork; each replica gets the
        // true number.
        variables.extend(THREAD_VARIABLES.iter().map(|name| (name.to_string(), "1".into())));
    }
    let argv = match plan.origin {
        Some(_) => vec![],
        None => {
            let start = Start { spec, config, files, onnxruntime };
            runtime::of(spec.runtime).program(&start, &mut variables)?
        }
    };
    let inside = Inside {
        spec,
        config,
        files,
        onnxruntime,
        role: &plan.role,
        origin: plan.origin.as_ref(),
        own: &own,
        socket: socket.as_deref(),
        port: variables.get("PORT").and_then(|port| port.parse().ok()),
    };
    let walls = inside.walls();
    let origin = match (plan.origin, &walls) {
        (Some(origin), _) => origin,
        (None, None) => Origin::Program(argv),
        (None, Some(walls)) => {
            Origin::Program(walls::enclosed(walls, &config.program, argv, &mut variables))
        }
    };
    // A zygote may use what its environment's libraries need; what a model may use is the model's
    // affair.
    let (memory_mb_max, cpu_max) =
        if is_zygote { (None, None) } else { (spec.memory_mb_max, spec.cpu_max) };
    Ok(Launch {
        id: plan.id,
        role: plan.role,
        origin,
        variables,
        secrets: if is_zygote { BTreeSet::new() } else { spec.secrets.clone() },
        directory: if is_zygote { "/".into() } else { text(&files.data.tree(&spec.tree)) },
        socket: socket.as_deref().map(text),
        plain_path: spec.path.clone(),
        log: text(&log),
        limits: Limits { memory_mb_max, cpu_max, processes_max: Some(PROCESSES_MAX) },
        walls,
        temperature: plan.temperature,
        colder_because: plan.colder_because,
    })
}

/// Variables that have nothing to do with any one model.
fn surroundings(
    spec: &ReplicaSpec,
    config: &EngineConfig,
    files: &Files,
) -> BTreeMap<String, String> {
    let own = spec
        .lock
        .map(|lock| files.data.environment(&lock).join("bin").to_string_lossy().into_owned());
    let path = own.into_iter().chain([config.path.clone()]).collect::<Vec<_>>().join(":");
    let mut variables = BTreeMap::from([
        ("PATH".to_string(), path),
        ("LANG".into(), "C.UTF-8".into()),
        ("PYTHONUNBUFFERED".into(), "1".into()),
        ("DECALOG_THREADS".into(), spec.threads.to_string()),
    ]);
    if spec.threads > 0 {
        variables.extend(
            THREAD_VARIABLES.iter().map(|name| (name.to_string(), spec.threads.to_string())),
        );
    }
    let particular = runtime::of(spec.runtime).surroundings().iter();
    variables.extend(particular.map(|(name, value)| (name.to_string(), value.to_string())));
    variables
}

/// Variables that tell a shim which model it runs, and how.
fn model_variables(spec: &ReplicaSpec) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("DECALOG_MODEL".to_string(), spec.placement.model.model.to_string()),
        ("DECALOG_CONCURRENCY".into(), spec.concurrency.to_string()),
    ]);
    variables.extend(spec.file.clone().map(|file| ("DECALOG_FILE".into(), file)));
    if !spec.secrets.is_empty() {
        // Their names, for a shim that masks them in what it tells callers of an exception.
        let names: Vec<&str> = spec.secrets.iter().map(String::as_str).collect();
        variables.insert("DECALOG_SECRETS".into(), names.join(" "));
    }
    if spec.schema != SchemaSection::default() {
        variables.insert(
            "DECALOG_SCHEMA".into(),
            serde_json::to_string(&spec.schema).unwrap_or_default(),
        );
    }
    variables
}

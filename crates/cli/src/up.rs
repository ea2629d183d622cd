//! `decalog up`: reads the configuration, and wires the rooms together.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use artifacts::{ArtifactError, Store};
use control::{Clock, Control, ControlConfig, Parts, SecretSources, Signals};
use domain::{Code, DataDirectory, Problem};
use engine::{Descriptors, Engine, EngineConfig, LocalEngine};
use gateway::{Gateway, GatewayConfig, Listener, Serve, Stop};
use monitor::Monitor;
use monitor::columns::Limits;
use monitor::drift::Drift;
use server::{Api, Logins};
use telemetry::Exporter;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::Failure;
use crate::alerting::Alerting;
use crate::args::UpOptions;
use crate::data::data_directory;
use crate::entry::Entry;
use crate::exporting;
use crate::handover::{self, Description};
use crate::keeping::{self, DAY_MS, Keeping};
use crate::listening::Listening;
use crate::past::Past;
use crate::senses::Senses;
use crate::sources::{logins, secret_sources};
use crate::truth;
use crate::watching::Watching;

/// Requests and replicas that still run at the end have this long, in milliseconds.
const DRAIN_MS_MAX: u64 = 30_000;
/// How often metrics take in what requests left, while there are any, …
const DRAIN_RECORDS_MS: u64 = 50;
/// … and while there are none.
const DRAIN_NOTHING_MS: u64 = 250;
/// How long replicas that run already have to answer a process that takes over, in milliseconds.
const ADOPT_MS_MAX: u64 = 10_000;
/// Threads for file work of each plane.
const BLOCKING_THREADS: usize = 8;

/// The share of the machine's memory that replicas may use by default.
const MEMORY_SHARE: f64 = 0.8;

/// So many connections are allowed however few descriptors there are.
const CONNECTIONS_MIN: usize = 16;

/// Requests in flight may have so many bytes however little memory there is.
const REQUEST_BYTES_MIN: usize = 512 << 20;

/// The part of that which may be used for models scaled to zero, if no option says how much.
const PARKED_PART: u64 = 3;

/// Memory that all replicas together may use, in MiB.
fn memory_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    });
    kib.map_or(u64::MAX, |kib| (kib / 1_024.0 * MEMORY_SHARE) as u64)
}

/// Bytes of requests in flight: a sixteenth of the machine's memory, as reading them takes up to
/// four times as much.
fn memory_bytes_max() -> usize {
    let bytes = (memory_mb() as f64 / MEMORY_SHARE / 16.0) * f64::from(1 << 20);
    (bytes as usize).max(REQUEST_BYTES_MIN)
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Problem {
    move |error| Problem::new(Code::Failed, format!("{what}: {error}"))
}

fn engine_config(
    data: &DataDirectory,
    options: &UpOptions,
    predecessor: Option<watch::Receiver<bool>>,
) -> Result<EngineConfig, Problem> {
    const TOOL_PREFIXES: &[&str] = &[
        "UV_",
        "PIP_",
        "SSL_",
        "REQUESTS_",
        "CURL_",
        "HTTP_",
        "HTTPS_",
        "ALL_",
        "NO_",
        "http_",
        "https_",
        "all_",
        "no_",
        "XDG_",
    ];
    let tool_variables = std::env::vars().filter(|(name, _)| {
        name == "HOME" || TOOL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    });
    Ok(EngineConfig {
        data: data.clone(),
        program: std::env::current_exe().map_err(failed("finding this program"))?,
        index_url: options.index_url.clone(),
        uv: std::env::var_os("DECALOG_UV").map(PathBuf::from),
        onnxruntime: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
        tool_variables: tool_variables.collect(),
        path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into()),
        sandbox: options.sandbox.most,
        sandbox_required: options.sandbox.least,
        sandbox_read: options.sandbox_read.clone(),
        predecessor,
        descriptors: Descriptors::raise(),
    })
}

fn runtime(name: &str, threads: usize) -> Result<tokio::runtime::Runtime, Problem> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(name)
        .enable_all();
    builder.build().map_err(failed("starting threads"))
}

/// Runs the verb until a signal ends it.
pub fn run(options: UpOptions) -> Result<u8, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(&options.log).map_err(|error| {
        Problem::new(Code::BadOption, format!("--log {}: {error}", options.log))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    if std::time::SystemTime::now() < std::time::UNIX_EPOCH {
        let text = "the clock of this machine says that it is before 1970, and answers and events bear a date";
        return Err(Problem::new(Code::Clock, text).help("set the clock").into());
    }
    let data = data_directory(options.data.clone())?;
    let secrets = secret_sources(&options)?;
    let logins = logins(&options.oidc)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let data_plane =
        runtime("gateway", options.gateway_threads.unwrap_or((cores / 2).max(1)).max(1))?;
    let control_plane = runtime("control", 1)?;
    let place = if options.takeover { Listening::take_over(&data, &control_plane)? } else { None };
    let place = match place {
        Some(place) => place,
        None => Listening::take(&data, options.listen)?,
    };
    let result = control_plane.block_on(serve(&options, secrets, logins, data, place, &data_plane));
    data_plane.shutdown_timeout(Duration::from_secs(1));
    control_plane.shutdown_timeout(Duration::from_secs(1));
    result?;
    Ok(0)
}

/// Gives out the rows that tokens may ask a day, by a file that outlives this process.
fn leases(data: &DataDirectory) -> gateway::LeaseRows {
    let (leases, error) = ledger::Leases::open(&data.leases());
    if let Some(error) = error {
        tracing::warn!("rows a day are counted anew: {error}");
    }
    let leases = parking_lot::Mutex::new(leases);
    Arc::new(move |token, day, rows, rows_max| {
        let (granted, error) = leases.lock().lease(&token.to_string(), day, rows, rows_max);
        if let Some(error) = error {
            tracing::warn!("rows a day are counted in memory only: {error}");
        }
        granted
    })
}

async fn serve(
    options: &UpOptions,
    secrets: SecretSources,
    logins: Logins,
    data: DataDirectory,
    place: Listening,
    data_plane: &tokio::runtime::Runtime,
) -> Result<(), Problem> {
    let Listening { lock, listener, door, before } = place;
    let address = listener.local_addr().map_err(failed("asking for the address"))?;
    let entry = Entry::open(options, &data, address)?;
    let (predecessor, serving) =
        before.map_or((None, None), |before| (Some(before.predecessor), Some(before.serving)));
    let started_at_ms = control::now_ms();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    // First of all: it raises the limit of descriptors, and what callers may have open follows from
    // that.
    let (leaving, gone) = predecessor.map_or((vec![], None), |it| (it.leaving, Some(it.gone)));
    let engine = engine_config(&data, options, gone)?;
    let connections_max =
        usize::try_from(engine.descriptors.for_connections()).unwrap_or(usize::MAX);
    let ordinary = GatewayConfig::default();
    let gateway_config = GatewayConfig {
        hosts: entry.hosts.clone(),
        cors: gateway::Cors::of(options.cors_origins.clone()),
        open_predictions: entry.open_predictions,
        local_cookie: door.as_ref().map(|door| door.cookie.digest()),
        body_bytes_max: options.body_bytes_max,
        connections_max: connections_max.clamp(CONNECTIONS_MIN, ordinary.connections_max),
        memory_bytes_max: memory_bytes_max(),
        ..ordinary
    };
    let gateway = Gateway::new(gateway_config, data_plane.handle().clone());
    gateway.lease_rows_by(leases(&data));
    let monitor = Arc::new(Monitor::new(gateway.records()));
    let config = ControlConfig {
        data: data.clone(),
        drain_ms_max: DRAIN_MS_MAX,
        keep_ms: options.keep_s * 1_000,
        judge_ms: options.judge_ms.max(10),
        cores,
        memory_mb: options.memory_mb.unwrap_or_else(memory_mb),
        park: options.park.into(),
        parked_mb: options.parked_mb.unwrap_or_else(|| memory_mb() / PARKED_PART),
        accept_damaged_ledger: options.accept_damaged_ledger,
        clock: Clock::system(),
        secrets,
    };
    let url = options.store.clone().unwrap_or_else(|| data.artifacts_url());
    let store = Store::open(&url, &data.uploads()).map_err(ArtifactError::problem)?;
    let (sensing, watching, counting) = (gateway.clone(), monitor.clone(), gateway.clone());
    let signals = Signals {
        demand: Box::new(move |placement| sensing.demand_of(placement)),
        window: Box::new(move |placement| {
            let window = watching.arm(placement, control::now_ms());
            domain::ArmWindow { unfinished: counting.unfinished(placement), ..window }
        }),
    };
    let observations = gateway
        .observations()
        .ok_or_else(|| Problem::new(Code::Internal, "the gateway's observations are taken"))?;
    let publishing = gateway.clone();
    let publish: control::Publish = Arc::new(move |table| publishing.apply(table));
    let letting_in = gateway.clone();
    let publish_access: control::PublishAccess =
        Arc::new(move |access| letting_in.apply_access(access));
    // Before the first route: each request has a record.
    let keeping = Arc::new(OnceLock::<Keeping>::new());
    let drift = Arc::new(Drift::new(Limits::default()));
    let exporter =
        exporting::start(&options.otlp, &options.records, &gateway, &monitor, &entry.url)?;
    let queries = Arc::new(query::Queries::new(query::Limits::default()));
    let opening = {
        let store = store.clone();
        let (options, data, gateway) = (options.records.clone(), data.clone(), gateway.clone());
        let (keeping, drift, exporter) = (keeping.clone(), drift.clone(), exporter.clone());
        let reading = queries.clone();
        async move {
            let engine = LocalEngine::open(engine, store.clone()).await?;
            let watch: records::Watch = Box::new(move |definition, record, now_ms, is_kept| {
                drift.take(definition, record, now_ms);
                if let Some(exporter) = exporter.as_ref().filter(|_| is_kept) {
                    exporter.take(definition, record);
                }
            });
            let started = keeping::start(&options, &data, &engine, &store, watch).await;
            if let Some(started) = started {
                reading.read_from(query::Source::of(started.keeper.clone()));
                gateway.record_by(started.keeper.clone());
                let _ = keeping.set(started);
            }
            Ok(Arc::new(engine) as Arc<dyn Engine>)
        }
    };
    let engine = Box::pin(opening);
    let remembered = keeping.clone();
    let rehearse =
        server::rehearsals(move || remembered.get().map(|keeping| keeping.keeper.clone()));
    let parts =
        Parts { store, engine, publish, publish_access, signals, observations, rehearse, leaving };
    let control = Control::open(config, parts).await?;
    let past = Past::open(&data);
    let alerting = Alerting::start(&data, &control)?;
    let truth = keeping.get().and_then(|keeping| {
        let keep_ms = u64::from(options.records.records_days) * DAY_MS;
        truth::start(&keeping.keeper, &data, keep_ms, &control, &alerting.desk)
    });
    let url = entry.url.clone();
    let api = Api {
        alarms: alerting.desk.clone(),
        objectives: alerting.objectives.clone(),
        delivery: alerting.delivery.clone(),
        control: control.clone(),
        gateway: gateway.clone(),
        monitor: monitor.clone(),
        records: keeping.get().map(|keeping| keeping.keeper.clone()),
        truth,
        queries,
        live: Arc::default(),
        drift: drift.clone(),
        history: past.reader(),
        telling: Arc::default(),
        logins: Arc::new(logins.at(entry.origins.clone())),
        url: url.clone(),
        data: data.clone(),
        instance: door.as_ref().map(|door| door.cookie.instance()),
        started_at_ms,
    };
    entry.keep();
    if let Some(exporter) = &exporter {
        let measured = api.clone();
        exporter.measure(Box::new(move || server::metrics_text(&measured, control::now_ms())));
    }
    let senses = Senses {
        control: control.clone(),
        gateway: gateway.clone(),
        monitor: monitor.clone(),
        drift,
        desk: alerting.desk.clone(),
        objectives: alerting.objectives.clone(),
        keeper: keeping.get().map(|keeping| keeping.keeper.clone()),
    };
    let watching = Watching::start(senses, past, &data).map_err(failed("starting a thread"))?;
    let watching = Arc::new(watching);
    let telling = api.clone();
    control::unending::spawn("erasures", move || server::tell_forever(telling.clone()));
    control::unending::spawn("the reader of records", move || drain_forever(monitor.clone()));
    let sockets = || -> std::io::Result<_> {
        let socket = door.as_ref().map(|door| door.socket.try_clone()).transpose()?;
        Ok(handover::Sockets { listener: listener.try_clone()?, local: socket })
    };
    let handing = sockets().map_err(failed("keeping the listening sockets"))?;
    if serving.is_some() {
        adopted(&control).await;
    }
    let (stop, stopping) = watch::channel(Stop::No);
    let serve = Serve {
        control: server::router(api),
        control_runtime: Handle::current(),
        drain_ms_max: DRAIN_MS_MAX,
    };
    let answering = gateway.clone();
    let owner = nix::unistd::Uid::effective().as_raw();
    let listeners =
        std::iter::once(Listener::Tcp { socket: listener, entrance: entry.entrance.clone() })
            .chain(door.map(|door| Listener::Local { socket: door.socket, owner }))
            .collect();
    let mut served =
        data_plane.spawn(async move { answering.serve(listeners, serve, stopping).await });
    if let Some(serving) = serving {
        serving()?;
    }
    let replaced = Arc::new(Notify::new());
    let description = Description {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        url: url.clone(),
    };
    let listening = handover::listen(handover::Old {
        control: control.clone(),
        sockets: handing,
        lock: parking_lot::Mutex::new(Some(lock)),
        data: data.clone(),
        description,
        replaced: replaced.clone(),
        alerting: alerting.clone(),
        runtime: Handle::current(),
    });
    match (listening, control.refusal()) {
        (Err(problem), None) => return Err(problem),
        // On a disk that takes no writes there is no socket to be replaced over, but what runs
        // serves on.
        (Err(problem), Some(_)) => tracing::error!("this process cannot be replaced: {problem}"),
        (Ok(()), _) => {}
    }
    crate::greeting::greet(&control, &entry, &data);
    let signals = || -> std::io::Result<_> {
        Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    };
    let (mut terminate, mut interrupt) = signals().map_err(failed("waiting for signals"))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = replaced.notified() => {
            eprintln!("another process has taken over: requests in flight finish here");
            stop.send_replace(Stop::Replaced);
            let _ = served.await;
            end(&keeping, &watching, &alerting, &exporter).await;
            // The workers and the supervisor are the other process's now.
            return Ok(());
        }
        ended = &mut served => {
            let error = ended.map_err(std::io::Error::other).and_then(|result| result).err();
            return Err(Problem::new(Code::Failed, format!("the server ended: {error:?}")));
        }
    }
    eprintln!("stopping: requests in flight finish first");
    stop.send_replace(Stop::Shutdown);
    let _ = served.await;
    end(&keeping, &watching, &alerting, &exporter).await;
    control.shutdown().await
}

/// Brings the last records and alarms, and what detectors know, to the disk, and the last spans to
/// whoever collects them.
async fn end(
    keeping: &Arc<OnceLock<Keeping>>,
    watching: &Arc<Watching>,
    alerting: &Alerting,
    exporter: &Option<Arc<Exporter>>,
) {
    let (keeping, watching, alerting) = (keeping.clone(), watching.clone(), alerting.clone());
    let exporter = exporter.clone();
    let end = move || {
        keeping.get().iter().for_each(|keeping| keeping.keeper.end());
        exporter.iter().for_each(|exporter| exporter.end());
        watching.end();
        alerting.end();
    };
    let _ = tokio::task::spawn_blocking(end).await;
}

/// Takes what requests left into the metrics.
async fn drain_forever(monitor: Arc<Monitor>) {
    loop {
        let pause_ms =
            if monitor.drain(control::now_ms()) { DRAIN_RECORDS_MS } else { DRAIN_NOTHING_MS };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Waits until the replicas that were found running answer, so that no request comes before them.
async fn adopted(control: &Control) {
    let all = async {
        while !control.unanswered().0.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(ADOPT_MS_MAX), all).await;
}

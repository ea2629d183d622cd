//! `decalog up`: reads the configuration, and wires the rooms together.

use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use control::{Control, ControlConfig};
use domain::Problem;
use engine::EngineConfig;
use gateway::{Gateway, GatewayConfig, Hosts, Serve};
use monitor::Monitor;
use nix::fcntl::{Flock, FlockArg};
use server::Api;
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::args::UpOptions;

/// Requests and replicas that still run at the end have this long, in milliseconds.
const DRAIN_MS_MAX: u64 = 30_000;
/// How often metrics take in what requests left.
const DRAIN_RECORDS_MS: u64 = 250;
/// Threads for file work of each plane.
const BLOCKING_THREADS: usize = 8;

fn failed(what: &str) -> impl Fn(std::io::Error) -> Problem {
    move |error| Problem::new("failed", format!("{what}: {error}"))
}

/// The data directory: as said, else the user's.
pub fn data_directory(said: Option<PathBuf>) -> Result<PathBuf, Problem> {
    let default = || {
        let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or(home).map(|share| share.join("decalog"))
    };
    let data = said
        .or_else(default)
        .ok_or_else(|| Problem::new("failed", "there is no home directory").help("name one with --data DIR"))?;
    std::path::absolute(data).map_err(failed("finding the data directory"))
}

/// Held as long as the process runs.
fn lock(data: &Path) -> Result<Flock<std::fs::File>, Problem> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed("making the data directory"))?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(data, permissions).map_err(failed("closing the data directory to others"))?;
    let path = data.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
    let file = file.map_err(failed("opening the data directory's lock"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let _ = lock.set_len(0);
            let _ = std::io::Write::write_all(&mut *lock, std::process::id().to_string().as_bytes());
            Ok(lock)
        }
        Err((mut file, _)) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            Err(Problem::new("in_use", format!("the data directory {} is in use by process {pid}", data.display()))
                .help("stop that one first, or name another directory with --data DIR"))
        }
    }
}

fn engine_config(data: &Path, options: &UpOptions) -> Result<EngineConfig, Problem> {
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
    let tool_variables =
        std::env::vars().filter(|(name, _)| name == "HOME" || TOOL_PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    Ok(EngineConfig {
        data: data.into(),
        program: std::env::current_exe().map_err(failed("finding this program"))?,
        index_url: options.index_url.clone(),
        uv: std::env::var_os("DECALOG_UV").map(PathBuf::from),
        onnxruntime: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
        tool_variables: tool_variables.collect(),
        path: std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into()),
    })
}

fn runtime(name: &str, threads: usize) -> Result<tokio::runtime::Runtime, Problem> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(threads).max_blocking_threads(BLOCKING_THREADS).thread_name(name).enable_all();
    builder.build().map_err(failed("starting threads"))
}

/// Runs the verb until a signal ends it.
pub fn run(options: UpOptions) -> Result<u8, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(&options.log)
        .map_err(|error| Problem::new("bad_option", format!("--log {}: {error}", options.log)))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    if !options.listen.ip().is_loopback() && !options.insecure_listen_anywhere {
        let text =
            format!("{} is reachable from beyond this machine, and this server has no tokens and no TLS yet", options.listen);
        return Err(Problem::new("not_loopback", text)
            .help("listen on a loopback address (127.0.0.1), or, on a test network only, add --insecure-listen-anywhere")
            .into());
    }
    let data = data_directory(options.data.clone())?;
    let _lock = lock(&data)?;
    let taken = |error| {
        Problem::new("failed", format!("cannot listen on {}: {error}", options.listen))
            .help("choose another with --listen 127.0.0.1:PORT")
    };
    let listener = TcpListener::bind(options.listen).map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let data_plane = runtime("gateway", options.gateway_threads.unwrap_or((cores / 2).max(1)).max(1))?;
    let control_plane = runtime("control", 1)?;
    let result = control_plane.block_on(serve(&options, data, listener, address, &data_plane));
    data_plane.shutdown_timeout(Duration::from_secs(1));
    control_plane.shutdown_timeout(Duration::from_secs(1));
    result?;
    Ok(0)
}

fn hosts(options: &UpOptions, address: std::net::SocketAddr) -> Hosts {
    if options.insecure_listen_anywhere && options.allow_hosts.is_empty() {
        return Hosts::any();
    }
    let own = match address.ip() {
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    options.allow_hosts.iter().fold(Hosts::loopback().with(&own), |hosts, name| hosts.with(name))
}

async fn serve(
    options: &UpOptions,
    data: PathBuf,
    listener: TcpListener,
    address: std::net::SocketAddr,
    data_plane: &tokio::runtime::Runtime,
) -> Result<(), Problem> {
    let started_at_ms = control::now_ms();
    let gateway_config =
        GatewayConfig { hosts: hosts(options, address), body_bytes_max: options.body_bytes_max, ..GatewayConfig::default() };
    let gateway = Gateway::new(gateway_config, data_plane.handle().clone());
    let monitor = Arc::new(Monitor::new(gateway.records()));
    let config = ControlConfig {
        engine: engine_config(&data, options)?,
        store_url: options.store.clone().unwrap_or_else(|| format!("file:{}", data.join("artifacts").display())),
        data: data.clone(),
        drain_ms_max: DRAIN_MS_MAX,
    };
    let observations = gateway.observations().ok_or_else(|| Problem::new("internal", "the gateway's observations are taken"))?;
    let publishing = gateway.clone();
    let publish: control::Publish = Arc::new(move |table| publishing.apply(table));
    let control = Control::open(config, publish, observations).await?;
    let url = format!("http://{address}");
    let api =
        Api { control: control.clone(), gateway: gateway.clone(), monitor: monitor.clone(), url: url.clone(), started_at_ms };
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(DRAIN_RECORDS_MS));
        loop {
            tick.tick().await;
            monitor.drain(control::now_ms());
        }
    });
    let stop: Arc<(tokio::sync::Notify, OnceLock<()>)> = Arc::default();
    let stopping = stop.clone();
    let serve =
        Serve { control: server::router(api), control_runtime: tokio::runtime::Handle::current(), drain_ms_max: DRAIN_MS_MAX };
    let serving = gateway.clone();
    let served =
        data_plane.spawn(async move { serving.serve(listener, serve, async move { stopping.0.notified().await }).await });
    let models = control.list(None).len();
    eprintln!(
        "Decalog {} · {url} · data in {} · {models} {}",
        env!("CARGO_PKG_VERSION"),
        data.display(),
        if models == 1 { "model" } else { "models" }
    );
    if models == 0 {
        eprintln!("Next: decalog new hello && decalog deploy hello");
    }
    let signals = || -> std::io::Result<_> { Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)) };
    let (mut terminate, mut interrupt) = signals().map_err(failed("waiting for signals"))?;
    let mut served = served;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut served => {
            let error = ended.map_err(std::io::Error::other).and_then(|result| result).err();
            return Err(Problem::new("failed", format!("the server ended: {error:?}")));
        }
    }
    eprintln!("stopping: requests in flight finish first");
    stop.0.notify_one();
    let _ = served.await;
    control.shutdown().await
}

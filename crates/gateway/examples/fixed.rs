//! Serves one worker's socket without a control plane, for profiling: `fixed SOCKET PORT DATATYPE SHAPE THREADS`.
use domain::route::*;
use domain::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let threads: usize = a.get(5).map_or(1, |t| t.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let gateway = gateway::Gateway::new(Default::default(), runtime.handle().clone());
    let shape: Vec<i64> = a[4].split(',').filter(|s| !s.is_empty()).map(|s| s.parse().unwrap()).collect();
    let model = state::default_model("echo").unwrap();
    let placement =
        Placement { model: model.clone(), environment: EnvironmentName::default(), version: VersionNumber(1), revision: 0 };
    let route = PlacementRoute {
        placement,
        schema: Schema {
            inputs: vec![Column { shape: Some(shape), ..Column::scalar("x", Datatype::from_name(&a[3]).unwrap()) }],
            outputs: vec![],
            streams: false,
            batches: true,
        },
        worker: WorkerProtocol::Binary,
        rows_max: 64,
        mix: true,
        queue_rows_max: 4096,
        deadline_ms: 30000,
        predict_ms_max: 30000,
        replicas: vec![ReplicaRoute {
            replica: ReplicaId("r1".into()),
            socket: a[1].clone(),
            concurrency: 1,
            prefetch: std::env::var("NO_PREFETCH").is_err(),
        }],
    };
    gateway.apply(RouteTable {
        epoch: 1,
        routes: vec![Route { model: model.clone(), environment: EnvironmentName::default(), version: VersionNumber(1) }],
        placements: vec![route],
        versions: vec![KnownVersion { model, version: VersionNumber(1), digest: Digest::ZERO }],
    });
    let listener = std::net::TcpListener::bind(("127.0.0.1", a[2].parse().unwrap())).unwrap();
    let records = gateway.records();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(std::time::Duration::from_millis(250));
            while records.pop().is_some() {}
        }
    });
    let serve = gateway::Serve { control: axum::Router::new(), control_runtime: control.handle().clone(), drain_ms_max: 100 };
    let g = gateway.clone();
    runtime.block_on(runtime.spawn(async move { g.serve(listener, serve, std::future::pending()).await })).unwrap().unwrap();
}

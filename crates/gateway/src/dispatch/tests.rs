//! A mistake of ours within a slot.

use bytes::Bytes;
use domain::route::{Address, KnownVersion, ModelRoutes, PlacementRoute, Route, RouteTable};
use domain::state::default_model;
use domain::{
    Column, Datatype, Digest, EnvironmentName, Placement, ReplicaId, Schema, VersionNumber,
};
use http::HeaderMap;
use protocol::payload::Cells;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::*;
use crate::ask::Reply;
use crate::wire::Wire;
use crate::wire::simple::{Kind, Simple};
use crate::{Gateway, GatewayConfig};

/// Answers every request with one row.
async fn answer_all(listener: UnixListener) {
    const BODY: &str =
        r#"{"outputs": [{"name": "y", "datatype": "INT64", "shape": [1], "data": [7]}]}"#;
    loop {
        let mut stream = listener.accept().await.unwrap().0;
        tokio::spawn(async move {
            // Its requests are short, and come in one piece.
            while stream.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {
                let text =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        });
    }
}

fn routes(socket: &std::path::Path) -> RouteTable {
    let (version, digest, environment) =
        (VersionNumber(1), Digest::of(b"m"), EnvironmentName::default());
    let model = default_model("m").unwrap();
    let replica = ReplicaRoute {
        replica: ReplicaId("r1".into()),
        address: Address::Unix(socket.display().to_string()),
        protocol: WorkerProtocol::Json,
        concurrency: 1,
        prefetch: false,
    };
    let placement = PlacementRoute {
        recording: domain::Recording::default(),
        placement: Placement {
            model: model.clone(),
            environment: environment.clone(),
            version,
            digest,
            revision: 0,
        },
        schema: Schema {
            inputs: vec![Column { nullable: true, ..Column::scalar("x", Datatype::Int64) }],
            outputs: vec![Column::scalar("y", Datatype::Int64)],
            batches: true,
            alone: true,
            ..Schema::default()
        },
        rows_max: 8,
        mix: true,
        queue_rows_max: 16,
        deadline_ms: 20_000,
        predict_ms_max: 20_000,
        failed: None,
        asleep: false,
        replicas: vec![replica],
    };
    let routes = ModelRoutes {
        routes: vec![Route { environment, version, candidate: None }],
        placements: vec![placement],
        versions: vec![KnownVersion { version, digest }],
    };
    RouteTable { epoch: 1, models: [(model, Arc::new(routes))].into_iter().collect() }
}

#[tokio::test]
async fn a_panic_within_a_slot_costs_one_request() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("r1.sock");
    tokio::spawn(answer_all(UnixListener::bind(&socket).unwrap()));
    let gateway = Gateway::new(GatewayConfig::default(), tokio::runtime::Handle::current());
    gateway.apply(routes(&socket));
    let lane = gateway.snapshot.load().route("m").unwrap().lane.clone();
    for _ in 0..3 {
        // What no decoder gives: it says two rows and holds one.
        let cells = Cells {
            shape: vec![],
            data: Bytes::from_static(&[0; 16]),
            valid: Some(Bytes::from_static(&[1])),
        };
        let payload = Payload { rows: 2, columns: vec![cells] };
        let (sender, receiver) = oneshot::channel();
        let place = lane.queue.submit(Waiting::new(
            payload,
            Instant::now() + Duration::from_secs(20),
            sender,
        ));
        assert!(receiver.await.is_err(), "whoever waits hears of it");
        drop(place);
        let question = Bytes::from_static(br#"{"rows": [{"x": 1}, {"x": 2}]}"#);
        let question = Simple::read(Kind::Json, question).unwrap();
        let asked = crate::keep::Asked::new("m", String::new(), &HeaderMap::new());
        let answered =
            gateway.ask(&HeaderMap::new(), Instant::now(), question, None, None, &asked).await;
        let Ok(Reply::Rows(rows)) = answered.map(|(_, _, reply)| reply) else {
            panic!("the slot answers the next")
        };
        let mut written = vec![];
        rows.answer.write_simple(rows.range(), false, &mut written);
        assert_eq!(written, br#"{"rows":[{"y":7},{"y":7}]}"#);
    }
    assert_eq!(lane.queue.queued_rows(), 0);
}

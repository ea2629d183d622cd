//! Traffic between two versions: shares, sticky callers, copies, epochs, and connections that
//! change processes.

use std::collections::BTreeMap;

use crate::support::*;
use domain::VersionNumber;
use domain::route::{Candidate, Observation, RouteTable, SHARES};
use gateway::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A table in which v1 is live and v2 a candidate.
fn shared(
    epoch: u64,
    share: u32,
    change: impl FnOnce(&mut Candidate),
    placements: Vec<domain::route::PlacementRoute>,
) -> RouteTable {
    let mut table = table(epoch, 1, placements);
    let mut candidate = Candidate {
        version: VersionNumber(2),
        share,
        shadow: false,
        sticky: None,
        salt: 7,
        tolerance: 1e-6,
    };
    change(&mut candidate);
    change_routes(&mut table, |model| model.routes[0].candidate = Some(candidate));
    table
}

async fn who(server: &Server, headers: &str) -> String {
    let answer = server.send(&server.predict_text("m", r#"{"x": 1}"#, headers)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn a_canary_gets_its_share_and_nothing_without_a_replica() {
    let server = start_gateway().await;
    let v1 = start_worker(server.directory.path(), "r1", 100, true);
    let v2 = start_worker(server.directory.path(), "r2", 200, true);
    let both = || vec![route(1, &[&v1.socket]), route(2, &[&v2.socket])];
    server.gateway.apply(shared(1, SHARES / 4, |_| {}, both()));
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..400 {
        *seen.entry(who(&server, "").await).or_default() += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    // Five standard deviations around 100.
    assert!((57..=143).contains(&seen[r#"{"y":201}"#]), "{seen:?}");
    server.gateway.apply(shared(2, SHARES, |_| {}, vec![route(1, &[&v1.socket]), route(2, &[])]));
    for _ in 0..20 {
        assert_eq!(who(&server, "").await, r#"{"y":101}"#, "the candidate has no replica");
    }
}

#[tokio::test]
async fn callers_stay_where_they_are_while_the_share_grows() {
    let server = start_gateway().await;
    let v1 = start_worker(server.directory.path(), "r1", 100, true);
    let v2 = start_worker(server.directory.path(), "r2", 200, true);
    let both = || vec![route(1, &[&v1.socket]), route(2, &[&v2.socket])];
    let mut on_new: Vec<u32> = vec![];
    for (epoch, percent) in [(1, 10), (2, 30), (3, 70)] {
        server.gateway.apply(shared(
            epoch,
            SHARES / 100 * percent,
            |c| c.sticky = Some("X-User".into()),
            both(),
        ));
        let mut now = vec![];
        for user in 0..100u32 {
            let header = format!("X-User: user-{user}\r\n");
            let answers = [who(&server, &header).await, who(&server, &header).await];
            assert_eq!(answers[0], answers[1]);
            if answers[0] == r#"{"y":201}"# {
                now.push(user);
            }
        }
        assert!(on_new.iter().all(|user| now.contains(user)), "nobody goes back");
        assert!(now.len() > on_new.len());
        on_new = now;
    }
}

#[tokio::test]
async fn copies_are_compared_and_never_answer() {
    let server = start_gateway().await;
    let v1 = start_worker(server.directory.path(), "r1", 100, true);
    let mut v2 = start_worker(server.directory.path(), "r2", 200, true);
    server.gateway.apply(shared(
        1,
        SHARES,
        |c| c.shadow = true,
        vec![route(1, &[&v1.socket]), route(2, &[&v2.socket])],
    ));
    let records = server.gateway.records();
    for _ in 0..5 {
        assert_eq!(who(&server, "").await, r#"{"y":101}"#);
        assert_eq!(v2.batches.recv().await, Some(1), "the candidate got a copy");
    }
    let compared = async {
        let (mut live, mut copies) = (0, 0);
        while copies < 5 {
            match records.pop() {
                Some(record) if record.is_copy => {
                    assert_eq!(record.agrees, Some(false));
                    copies += 1;
                }
                Some(_) => live += 1,
                None => tokio::task::yield_now().await,
            }
        }
        live
    };
    assert_eq!(tokio::time::timeout(LONG, compared).await.unwrap(), 5);
}

#[tokio::test]
async fn the_control_plane_learns_once_of_a_request_for_nothing_that_runs() {
    let server = start_gateway().await;
    let mut observations = server.gateway.observations().unwrap();
    let mut asleep = route(1, &[]);
    asleep.asleep = true;
    server.gateway.apply(table(1, 1, vec![asleep]));
    let ready = "GET /v2/models/m/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(
        server.send(ready).await.status,
        200,
        "scaled to zero is ready: it answers when a request comes"
    );
    let (mut one, mut two) = (server.begin(1).await, server.begin(2).await);
    server.until_queued(2).await;
    let Some(Observation::Waiting { placement: waiting }) = observations.recv().await else {
        panic!()
    };
    assert_eq!(waiting, placement(1));
    assert!(observations.try_recv().is_err(), "once");
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(2, 1, vec![route(1, &[&worker.socket])]));
    assert_eq!(read_answer(&mut one).await.body, r#"{"y":101}"#);
    assert_eq!(read_answer(&mut two).await.body, r#"{"y":102}"#);
    let load = server.gateway.demand().remove(0).load;
    assert_eq!((load.arrived, load.queued, load.in_flight, load.rows_per_request), (2, 0, 0, 1.0));
    assert!(load.in_system_request_ms > 0.0);
}

#[tokio::test]
async fn connections_of_a_replaced_process_end_after_their_next_answer() {
    let server = start_gateway().await;
    let worker = start_worker(server.directory.path(), "r1", 100, true);
    server.gateway.apply(table(1, 1, vec![route(1, &[&worker.socket])]));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = server.predict_text("m", r#"{"x": 1}"#, "");
    stream.write_all(request.as_bytes()).await.unwrap();
    let before = read_answer(&mut stream).await;
    assert!(!before.head.to_lowercase().contains("connection: close"), "{}", before.head);
    server.stop.send_replace(Stop::Replaced);
    // The connection was idle, and its next request was perhaps on its way: it is answered, and
    // told to go elsewhere.
    stream.write_all(request.as_bytes()).await.unwrap();
    let after = read_answer(&mut stream).await;
    assert_eq!(after.body, r#"{"y":101}"#);
    assert!(after.head.to_lowercase().contains("connection: close"), "{}", after.head);
    let mut rest = vec![];
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
}

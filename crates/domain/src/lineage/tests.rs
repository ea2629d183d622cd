//! Graphs of small histories.

use super::*;
use crate::event::{Event, Lock, VersionPushed};
use crate::happened::{After, Happened, InLedger};
use crate::id::ModelKey;
use crate::manifest::Manifest;
use crate::provenance::{DataSet, Parent, ParentWas};
use crate::release::{Phase, Plan};
use crate::tree::Tree;

fn happened(seq: u64, at_ms: u64, event: Event) -> Happened {
    let entry = InLedger { seq, subject_seq: seq, writer_epoch: 1, hash: Digest::ZERO };
    Happened {
        place: After { seq, telemetry: None },
        at_ms,
        actor: "ann".into(),
        principal: None,
        about: None,
        subject: "default/churn".into(),
        entry: Some(entry),
        event,
    }
}

fn set(name: &str, digest: u8) -> DataSet {
    let digest = Digest([digest; 32]);
    DataSet { name: name.into(), kind: DataKind::File, digest, bytes: 10, files: 1, rows: None }
}

fn pushed(version: u32, provenance: Provenance) -> Event {
    let lock = Lock {
        digest: Digest([9; 32]),
        inputs: Digest::ZERO,
        python: "3.11".into(),
        packages: vec!["numpy==2.4.0".into()],
    };
    Event::VersionPushed(Box::new(VersionPushed {
        version: VersionNumber(version),
        digest: Digest([version as u8; 32]),
        tree: Tree::default(),
        manifest: Manifest::default(),
        runtime: Runtime::Python,
        file: None,
        lock: Some(lock),
        provenance,
        signature: None,
    }))
}

fn started(version: u32, plan: Plan) -> Event {
    Event::DeployStarted {
        version: VersionNumber(version),
        environment: EnvironmentName::default(),
        plan,
        configuration: None,
        proposal: None,
    }
}

fn released(deployment: u64, version: u32, previous: Option<u32>) -> Event {
    Event::Released {
        deployment: DeploymentId(deployment),
        version: VersionNumber(version),
        environment: EnvironmentName::default(),
        previous: previous.map(VersionNumber),
        elapsed_ms: 1,
    }
}

fn shifted(deployment: u64, version: u32, percent: u8) -> Event {
    Event::TrafficShifted {
        deployment: DeploymentId(deployment),
        version: VersionNumber(version),
        environment: EnvironmentName::default(),
        baseline: VersionNumber(1),
        step: 0,
        phase: Phase { shadow: false, percent },
    }
}

fn failed(deployment: u64) -> Event {
    let problem = crate::Problem::new(crate::Code::Guard, "no");
    Event::DeployFailed { deployment: DeploymentId(deployment), step: "guard".into(), problem }
}

fn lineage(events: Vec<(u64, Event)>) -> Lineage {
    let mut facts = Facts::default();
    for (at, (at_ms, event)) in events.into_iter().enumerate() {
        assert!(Facts::KINDS.contains(&event.kind()));
        facts.take(happened(at as u64 + 1, at_ms, event));
    }
    let model = crate::state::default_model("churn").unwrap();
    facts.lineage(&model, None)
}

fn edges(lineage: &Lineage) -> Vec<String> {
    let short = |id: &str| id.chars().take(14).collect::<String>();
    let edges = lineage.edges.iter();
    edges.map(|e| format!("{} {} {}", short(&e.from), e.is.as_str(), short(&e.to))).collect()
}

#[test]
fn what_was_said_has_edges_and_nothing_else_has() {
    let clean = Provenance { git_commit: Some("a91".into()), ..Provenance::default() };
    let dirty = Provenance { git_dirty: true, ..clean.clone() };
    let trained = Provenance {
        data: vec![set("train.csv", 1), set("again.csv", 1)],
        reference: Some(DataSet { rows: Some(7), ..set("train.csv", 1) }),
        parent: Some(Parent { version: VersionNumber(1), was: ParentWas::Live }),
        ..dirty.clone()
    };
    let graph = lineage(vec![
        (1, pushed(1, clean)),
        (2, pushed(2, trained)),
        (3, pushed(3, dirty)),
        (4, started(2, Plan::default())),
        (5, released(4, 2, None)),
    ]);
    let data = "data:010101010";
    assert_eq!(
        edges(&graph),
        [
            "code:a91+v3 made version:v3",
            "packages:09090 runs version:v3",
            &format!("{data} trained version:v2"),
            &format!("{data} compared version:v2"),
            "code:a91+v2 made version:v2",
            "packages:09090 runs version:v2",
            "version:v1 before version:v2",
            "code:a91 made version:v1",
            "packages:09090 runs version:v1",
            "version:v2 released release:4",
        ]
    );
    // Whatever an edge names is there.
    let ids: Vec<&String> = (graph.versions.iter().map(|node| &node.id))
        .chain(graph.releases.iter().map(|node| &node.id))
        .chain(graph.data.iter().map(|node| &node.id))
        .chain(graph.code.iter().map(|node| &node.id))
        .chain(graph.packages.iter().map(|node| &node.id))
        .collect();
    let ends = graph.edges.iter().flat_map(|edge| [&edge.from, &edge.to]);
    assert!(ends.into_iter().all(|end| ids.contains(&end)));
    assert_eq!(graph.data[0].names, ["again.csv", "train.csv"]);
    assert_eq!((graph.data.len(), graph.data[0].rows), (1, Some(7)));
    let version = graph.version(VersionNumber(2)).unwrap();
    assert_eq!(version.live, [EnvironmentName::default()]);
    let text = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<Lineage>(&text).unwrap(), graph);
}

#[test]
fn the_release_in_force_is_the_one_of_that_moment() {
    let production = EnvironmentName::default();
    let canary = Plan { canary: vec![5, 50], ..Plan::default() };
    let graph = lineage(vec![
        (10, pushed(1, Provenance::default())),
        (20, started(1, Plan::default())),
        (30, released(2, 1, None)),
        (40, pushed(2, Provenance::default())),
        (50, started(2, canary.clone())),
        (60, shifted(5, 2, 5)),
        (70, shifted(5, 2, 50)),
        (80, failed(5)),
        (90, started(2, canary)),
        (100, shifted(9, 2, 5)),
        (110, released(9, 2, Some(1))),
        // It failed to build, and had no traffic.
        (120, started(1, Plan::default())),
        (130, failed(12)),
    ]);
    assert_eq!(graph.releases.len(), 3);
    let at =
        |version: u32, at_ms: u64| match graph.in_force(&production, VersionNumber(version), at_ms)
        {
            None => "none".to_string(),
            Some(InForce::Live(of)) => format!("live {}", of.deployment.0),
            Some(InForce::Part(of, part)) => format!("{}% {}", part.percent, of.deployment.0),
            Some(InForce::Replaced(of, at_ms)) => format!("until {at_ms} {}", of.deployment.0),
        };
    assert_eq!([at(1, 29), at(1, 30), at(1, 109)], ["none", "live 2", "live 2"]);
    assert_eq!([at(2, 59), at(2, 60), at(2, 70), at(2, 79)], ["none", "5% 5", "50% 5", "50% 5"]);
    assert_eq!([at(2, 80), at(2, 100), at(2, 110)], ["none", "5% 9", "live 9"]);
    assert_eq!(at(1, 111), "until 110 2");
    let staging = "staging".parse().unwrap();
    assert_eq!(graph.in_force(&staging, VersionNumber(1), 50), None);
}

#[test]
fn a_model_that_was_removed_has_no_lineage_and_the_newest_are_kept() {
    let mut events = vec![
        (1, pushed(1, Provenance::default())),
        (2, Event::ModelRemoved { proposal: None }),
        (3, pushed(2, Provenance::default())),
        (4, Event::VersionRemoved { version: VersionNumber(2), proposal: None }),
    ];
    let graph = lineage(events.clone());
    assert_eq!(graph.versions.len(), 1);
    assert!(graph.versions[0].is_removed);
    events.extend((3..=1_003).map(|version| (5, pushed(version, Provenance::default()))));
    let graph = lineage(events);
    assert_eq!((graph.versions.len(), graph.versions_left_out), (VERSIONS_MAX, 2));
    assert_eq!(graph.versions[0].version, VersionNumber(1_003));
}

#[test]
fn requests_belong_to_versions() {
    let mut facts = Facts::default();
    facts.take(happened(1, 1, pushed(1, Provenance::default())));
    let asked = |version: u32| LineageRequests {
        id: format!("requests:v{version}@production"),
        version: VersionNumber(version),
        environment: EnvironmentName::default(),
        count: 5,
        failed: 1,
    };
    let model: ModelKey = crate::state::default_model("churn").unwrap();
    let graph = facts.lineage(&model, Some((100, vec![asked(1), asked(9)])));
    assert_eq!(graph.requests_from_ms, Some(100));
    assert_eq!(edges(&graph)[1..], ["version:v1 answered requests:v1@pr"]);
}

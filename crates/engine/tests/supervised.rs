//! The engine with a real supervisor, the real shim and the machine's own Python.

mod place;

use domain::DataDirectory;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::launch::{ProcessId, Role, Temperature};
use domain::manifest::Runtime;
use engine::{Engine, LocalEngine, ReplicaState, Stop, TemplateState};
use place::*;
use serde_json::json;

/// Tells who loaded it, and who answers.
const MODEL: &str = r#"
import os, random
loaded_by = os.getpid()

def predict(x: float) -> dict[str, float]:
    return {"loaded_by": loaded_by, "answered_by": os.getpid(), "twice": 2 * x, "luck": random.random()}
"#;

/// Has a second thread from the moment it is loaded, so that it must not be forked.
const THREADED: &str = r#"
import os, threading
loaded_by = os.getpid()
threading.Thread(target=threading.Event().wait, daemon=True).start()

def predict(x: float) -> dict[str, float]:
    return {"loaded_by": loaded_by, "answered_by": os.getpid()}
"#;

/// How replicas are ended here: no gateway uses them.
const SOON: Stop = Stop::Drained { drain_ms_max: 5_000 };

/// The supervisor: started by the engine, as `decalog supervise` is.
#[test]
#[ignore = "not a test: what the others start"]
fn supervisor_process() {
    if let Some(data) = std::env::var_os("DECALOG_TEST_DATA") {
        std::process::exit(supervisor::run(&DataDirectory::new(data)));
    }
}

/// A platform that is killed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test: what the others start"]
async fn client_process() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let Ok(data) = std::env::var("DECALOG_TEST_DATA") else { return };
    let engine = engine_for(Path::new(&data), Path::new(&variable("DECALOG_TEST_PROGRAM"))).await;
    let tree = PathBuf::from(variable("DECALOG_TEST_TREE"));
    for replica in variable("DECALOG_TEST_REPLICAS").split(',') {
        start(&engine, spec(domain::Digest::of(b"the machine's own python"), replica, &tree)).await;
    }
    std::fs::write(Path::new(&data).join("client-is-ready"), "").unwrap();
    std::future::pending::<()>().await
}

/// Those that have a model loaded, without zygotes.
fn loaders(engine: &LocalEngine) -> Vec<engine::TemplateStatus> {
    engine.templates().into_iter().filter(|parent| matches!(parent.role, Role::Parent(_))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_is_cold_and_the_next_are_warm() {
    let place = Place::new();
    let tree = place.tree("twice", MODEL);
    let engine = place.engine().await;
    let (first, temperature) = start(&engine, place.spec("r1-1", &tree)).await;
    assert_eq!(temperature, Temperature::Cold);
    assert_eq!(first.colder_because.as_deref(), Some("no parent and no zygote yet"));
    let (second, temperature) = start(&engine, place.spec("r1-2", &tree)).await;
    assert_eq!((temperature, &second.colder_because), (Temperature::Warm, &None));
    let parent = parent(&engine, |parent| matches!(parent.role, Role::Parent(_))).await;
    let (one, two) =
        (predict(&first, json!({"x": 1.5})).await, predict(&second, json!({"x": 2})).await);
    assert_eq!((&one["twice"], &two["twice"]), (&json!(3.0), &json!(4.0)));
    // Loaded once, in a process that is neither of the two.
    assert_eq!(
        (&one["loaded_by"], &two["loaded_by"]),
        (&json!(parent.site.pid as f64), &json!(parent.site.pid as f64))
    );
    assert_eq!(
        (&one["answered_by"], &two["answered_by"]),
        (&json!(first.site.pid as f64), &json!(second.site.pid as f64))
    );
    assert_ne!(one["luck"], two["luck"]);
    // Both are the supervisor's children, with memory of their own that is less than all they show.
    assert_eq!(parent_of(first.site.pid), parent_of(second.site.pid));
    let memory = engine.memory_mb(vec![ProcessId("r1-1".into()), parent.id.clone()]).await;
    assert!(memory.len() == 2 && memory.values().all(|mb| *mb > 0.1), "{memory:?}");
    engine.stop(&id("r1-1"), SOON).await.unwrap();
    assert_eq!(ended(&engine, "r1-1").await.0, "exited with status 0");
    engine.forget(&id("r1-1")).await;
    assert!(engine.status(&id("r1-1")).is_none());
    assert_eq!(predict(&second, json!({"x": 4})).await["twice"], json!(8.0));
    engine.shutdown(5_000).await.unwrap();
    until("none is left", || place.processes().is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_load_the_model_once() {
    let place = Place::new();
    let tree = place.tree("twice", MODEL);
    let engine = place.engine().await;
    for n in 1..=4 {
        engine.start(place.spec(&format!("r1-{n}"), &tree)).await.unwrap();
    }
    let mut loaded_by = std::collections::BTreeSet::new();
    for n in 1..=4 {
        let status = ready(&engine, &format!("r1-{n}")).await;
        // All waited for the same cold start.
        assert_eq!(status.temperature, Temperature::Cold);
        loaded_by.insert(predict(&status, json!({"x": 1})).await["loaded_by"].to_string());
    }
    assert_eq!(loaded_by.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_makes_it_tepid() {
    let place = Place::new();
    let tree = place.tree("twice", MODEL);
    let engine = place.engine().await;
    let spec = place.spec("r1-1", &tree);
    let zygote_id = engine.ensure_zygote(&spec).await.unwrap().unwrap();
    assert_eq!(engine.ensure_zygote(&spec).await.unwrap(), Some(zygote_id.clone()));
    let zygote = parent(&engine, |parent| parent.id == zygote_id).await;
    assert!(matches!(zygote.role, Role::Zygote(_)));
    let environment = std::fs::read(format!("/proc/{}/environ", zygote.site.pid)).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("TOKEN"));
    let mut with_secret = spec.clone();
    with_secret.variables.insert("TOKEN".into(), "s3cret".into());
    let (status, temperature) = start(&engine, with_secret).await;
    assert_eq!(
        (temperature, status.colder_because.as_deref()),
        (Temperature::Tepid, Some("no parent yet"))
    );
    assert!(lives(zygote.site.pid));
    // Another that sets what libraries read when they are imported cannot use it.
    let mut other = place.spec("r2-1", &place.tree("other", MODEL));
    other.variables.insert("HF_HOME".into(), "/srv/models".into());
    let (status, temperature) = start(&engine, other).await;
    assert_eq!(temperature, Temperature::Cold);
    assert!(status.colder_because.clone().is_some_and(|why| why.contains("HF_HOME")), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_fork_serves_itself() {
    let place = Place::new();
    let tree = place.tree("threaded", THREADED);
    let engine = place.engine().await;
    let (first, temperature) = start(&engine, place.spec("r1-1", &tree)).await;
    assert_eq!(temperature, Temperature::Cold);
    assert!(first.colder_because.clone().is_some_and(|why| why.contains("2 threads")), "{first:?}");
    let answer = predict(&first, json!({"x": 1})).await;
    assert_eq!(answer["loaded_by"], answer["answered_by"]);
    assert_eq!(loaders(&engine), []);
    // A parent that was there before makes it warm, though it can be used only once.
    engine.ensure_parent(&place.spec("unused", &tree)).await.unwrap().unwrap();
    let parent = parent(&engine, |parent| matches!(parent.role, Role::Parent(_))).await;
    let (second, temperature) = start(&engine, place.spec("r1-2", &tree)).await;
    assert_eq!((temperature, second.site.pid), (Temperature::Warm, parent.site.pid));
    assert_eq!(loaders(&engine), []);
    engine.stop(&id("r1-2"), SOON).await.unwrap();
    ended(&engine, "r1-2").await;
    engine.forget(&id("r1-2")).await;
    assert!(!place.data().join("run/replicas").join(&parent.id.0).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_can_fork_no_longer_serves() {
    let place = Place::new();
    let fickle = "import signal, threading\n\
                  def start(*_):\n    threading.Thread(target=threading.Event().wait, daemon=True).start()\n\
                  signal.signal(signal.SIGUSR1, start)\n";
    let tree = place.tree("fickle", &format!("{fickle}{MODEL}"));
    let engine = place.engine().await;
    start(&engine, place.spec("r1-1", &tree)).await;
    let parent = parent(&engine, |parent| matches!(parent.role, Role::Parent(_))).await;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(parent.site.pid as i32),
        nix::sys::signal::Signal::SIGUSR1,
    )
    .unwrap();
    let threads = || std::fs::read_dir(format!("/proc/{}/task", parent.site.pid)).unwrap().count();
    until("it has a second thread", || (threads() == 2).then_some(())).await;
    let (second, temperature) = start(&engine, place.spec("r1-2", &tree)).await;
    assert_eq!((second.site.pid, temperature), (parent.site.pid, Temperature::Warm));
    assert_eq!(predict(&second, json!({"x": 1})).await["twice"], json!(2.0));
    // Now it is known that each needs its own; two at once do not wait for one another.
    engine.start(place.spec("r1-3", &tree)).await.unwrap();
    engine.start(place.spec("r1-4", &tree)).await.unwrap();
    for replica in ["r1-3", "r1-4"] {
        assert_eq!(ready(&engine, replica).await.temperature, Temperature::Tepid);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processor_time_is_limited_where_there_are_groups() {
    let place = Place::new();
    let busy = "import time\n\
                def predict(seconds: float) -> float:\n    begin, used = time.monotonic(), time.process_time()\n\
                \x20   while time.monotonic() < begin + seconds:\n        pass\n    return time.process_time() - used\n";
    let tree = place.tree("busy", busy);
    let engine = place.engine().await;
    let mut spec = place.spec("r1-1", &tree);
    spec.cpu_max = Some(0.2);
    let (status, _) = start(&engine, spec).await;
    let checks = engine::doctor(&DataDirectory::new(place.data()), "", None, None);
    let groups = checks.iter().find(|check| check.name == "control groups").unwrap();
    if !groups.found.contains("cpu") || groups.found.contains("cpu_max is not enforced") {
        eprintln!("this machine limits no processor time: {}", groups.found);
        return;
    }
    let is_inside = || {
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", status.site.pid)).unwrap();
        groups.lines().any(|line| {
            line.contains("cpu") && line.contains("/decalog-") && line.ends_with("/r1-1")
        })
    };
    until("it is in its group", || is_inside().then_some(())).await;
    let used = predict(&status, json!({"seconds": 1})).await["output"].as_f64().unwrap();
    assert!(used < 0.4, "{used} s of processor time in 1 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_does_not_load_says_why() {
    let place = Place::new();
    let tree = place.tree(
        "broken",
        "import os\nvalue = {}['missing']\ndef predict(x: float) -> float:\n    return x\n",
    );
    let engine = place.engine().await;
    engine.start(place.spec("r1-1", &tree)).await.unwrap();
    let (reason, details) = ended(&engine, "r1-1").await;
    assert_eq!(reason, "exited with status 1");
    assert!(details.contains("KeyError: 'missing'") && details.contains("line 2"), "{details}");
    until("the parent leaves the list", || loaders(&engine).is_empty().then_some(())).await;
    engine.forget(&id("r1-1")).await;
    assert_eq!(engine.replicas(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_takes_too_long_is_given_up() {
    let place = Place::new();
    let tree = place.tree(
        "slow",
        "import time\ntime.sleep(600)\ndef predict(x: float) -> float:\n    return x\n",
    );
    let engine = place.engine().await;
    let mut spec = place.spec("r1-1", &tree);
    spec.start_ms_max = 1_500;
    engine.start(spec).await.unwrap();
    assert_eq!(ended(&engine, "r1-1").await.0, "not ready after 1500 ms ([model] start_ms_max)");
    until("the parent is gone", || loaders(&engine).is_empty().then_some(())).await;
    // One that is stopped while its parent loads never gets a process.
    engine.start(place.spec("r1-2", &tree)).await.unwrap();
    engine.stop(&id("r1-2"), Stop::AtOnce).await.unwrap();
    assert_eq!(ended(&engine, "r1-2").await.0, "stopped before it was started");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_leaves_nothing_half_made() {
    let place = Place::new();
    let tree = place.tree("brief", MODEL);
    let engine = place.engine().await;
    let mut spec = place.spec("r1-1", &tree);
    spec.start_ms_max = 1;
    engine.start(spec).await.unwrap();
    assert_eq!(ended(&engine, "r1-1").await.0, "not ready after 1 ms ([model] start_ms_max)");
    until("no parent is said to load for ever", || loaders(&engine).is_empty().then_some(())).await;
    engine.start(place.spec("r1-2", &tree)).await.unwrap();
    ready(&engine, "r1-2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_platform_finds_its_replicas_again() {
    let place = Place::new();
    let tree = place.tree("twice", MODEL);
    let mut client = place.client("r1-1,r1-2", &tree);
    until("the client is ready", || place.data().join("client-is-ready").exists().then_some(()))
        .await;
    let seen = |engine: &LocalEngine| {
        let mut all: Vec<_> = engine
            .replicas()
            .into_iter()
            .map(|status| {
                (
                    status.replica.clone(),
                    status.site.pid,
                    status.temperature,
                    status.colder_because.clone(),
                )
            })
            .collect();
        all.sort();
        all
    };
    // A second platform while the first one runs, as in an upgrade, sees the same, and what comes
    // later.
    let other = place.engine().await;
    let before = seen(&other);
    assert_eq!(
        before.iter().map(|replica| replica.2).collect::<Vec<_>>(),
        [Temperature::Cold, Temperature::Warm]
    );
    client.kill().unwrap();
    client.wait().unwrap();
    let engine = place.engine().await;
    ready(&engine, "r1-1").await;
    let second = ready(&engine, "r1-2").await;
    assert_eq!(seen(&engine), before);
    assert!(matches!(second.state, ReplicaState::Ready { elapsed_ms: 0, .. }));
    let (third, temperature) = start(&engine, place.spec("r2-1", &tree)).await;
    assert_eq!(temperature, Temperature::Warm);
    assert_eq!(ready(&other, "r2-1").await.site.pid, third.site.pid);
    engine.stop(&id("r2-1"), SOON).await.unwrap();
    ended(&other, "r2-1").await;
    engine.forget(&id("r2-1")).await;
    until("forgotten by all", || other.status(&id("r2-1")).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_outlive_their_parent() {
    let place = Place::new();
    let tree = place.tree("twice", MODEL);
    let engine = place.engine().await;
    let (first, _) = start(&engine, place.spec("r1-1", &tree)).await;
    let parent = parent(&engine, |parent| matches!(parent.role, Role::Parent(_))).await;
    kill(parent.site.pid);
    until("its death is news", || loaders(&engine).is_empty().then_some(())).await;
    assert_eq!(predict(&first, json!({"x": 1})).await["twice"], json!(2.0));
    let (second, temperature) = start(&engine, place.spec("r1-2", &tree)).await;
    assert_eq!(
        (temperature, predict(&second, json!({"x": 1})).await["twice"].as_f64()),
        (Temperature::Tepid, Some(2.0))
    );
    // The way the platform does it.
    let parent = engine.templates().remove(0);
    engine.end_template(&parent.id).await.unwrap();
    until("dropped", || loaders(&engine).is_empty().then_some(())).await;
    // Its directory may hold what the model wrote when it was loaded.
    let directory = place.data().join("run/replicas").join(&parent.id.0);
    assert!(lives(second.site.pid) && directory.exists());
    engine.stop(&id("r1-2"), SOON).await.unwrap();
    ended(&engine, "r1-2").await;
    engine.forget(&id("r1-2")).await;
    assert!(!directory.exists());
}

/// What is forked while its zygote ends is in the zygote's control group for a moment, and so is
/// what it forks itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_zygote_that_ends_takes_nothing_that_was_forked_from_it() {
    let place = Place::new();
    let engine = place.engine().await;
    for round in 0..10 {
        let spec = place.spec(&format!("r{round}-1"), &place.tree(&format!("model{round}"), MODEL));
        let zygote = engine.ensure_zygote(&spec).await.unwrap().unwrap();
        parent(&engine, |parent| parent.id == zygote && parent.state != TemplateState::Starting)
            .await;
        let starting = tokio::spawn({
            let (engine, spec) = (engine.clone(), spec.clone());
            async move { engine.start(spec).await }
        });
        let of_this = Role::Parent(spec.placement.clone());
        parent(&engine, |parent| parent.role == of_this && parent.state != TemplateState::Starting)
            .await;
        engine.end_template(&zygote).await.unwrap();
        starting.await.unwrap().unwrap();
        let status = ready(&engine, &spec.replica.0).await;
        until("the zygote is gone", || {
            engine.templates().iter().all(|parent| parent.id != zygote).then_some(())
        })
        .await;
        assert_eq!(predict(&status, json!({"x": 1})).await["twice"], json!(2.0), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_reported_with_its_signal() {
    let place = Place::new();
    let tree = place.tree("twice", MODEL);
    let engine = place.engine().await;
    let (first, _) = start(&engine, place.spec("r1-1", &tree)).await;
    kill(first.site.pid);
    assert_eq!(ended(&engine, "r1-1").await.0, "killed by signal 9 (SIGKILL)");
    let (second, temperature) = start(&engine, place.spec("r1-2", &tree)).await;
    assert_eq!(temperature, Temperature::Warm);
    assert_eq!(predict(&second, json!({"x": 1})).await["twice"], json!(2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_reported_as_such() {
    let place = Place::new();
    let hungry = "kept = []\ndef predict(x: float) -> float:\n    kept.append(bytearray(int(x) << 20))\n    return x\n";
    let tree = place.tree("hungry", hungry);
    let engine = place.engine().await;
    let mut spec = place.spec("r1-1", &tree);
    spec.memory_mb_max = Some(96);
    let (status, _) = start(&engine, spec).await;
    assert_eq!(predict(&status, json!({"x": 1})).await, json!({"output": 1.0}));
    let asking = tokio::spawn(async move {
        let ReplicaState::Ready { info, .. } = &status.state else { return };
        let mut caller = worker::Caller::new(
            status.address.clone(),
            "hungry",
            info.protocol.clone(),
            info.schema.clone().unwrap(),
        );
        let _ = caller.predict(&[json!({"x": 200})], Duration::from_secs(30)).await;
        // Where no group ends it at once, it is looked at every second.
        let _ = caller.predict(&[json!({"x": 0})], Duration::from_secs(30)).await;
    });
    let (reason, _) = ended(&engine, "r1-1").await;
    assert!(
        reason.starts_with("out of memory: it used ")
            && reason.ends_with(" of 96 MB ([resources] memory_mb_max)"),
        "{reason}"
    );
    asking.await.unwrap();
    // So does one that needs too much to load.
    let tree = place.tree(
        "fat",
        "kept = bytearray(200 << 20)\ndef predict(x: float) -> float:\n    return x\n",
    );
    let mut spec = place.spec("r2-1", &tree);
    spec.memory_mb_max = Some(96);
    engine.start(spec).await.unwrap();
    let (reason, _) = ended(&engine, "r2-1").await;
    assert!(reason.starts_with("out of memory: it used "), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_is_killed_takes_all_with_it() {
    let place = Place::new();
    let tree = place.tree("twice", MODEL);
    let engine = place.engine().await;
    let (cold, _) = start(&engine, place.spec("r1-1", &tree)).await;
    let (warm, _) = start(&engine, place.spec("r1-2", &tree)).await;
    let parent = parent(&engine, |parent| matches!(parent.role, Role::Parent(_))).await;
    // Where the machine has no groups there is none to be left over.
    let has_groups = group_of(parent.site.pid).is_some();
    let group = until("it is in its group", || match group_of(warm.site.pid) {
        Some(group) => group.ends_with("r1-2").then_some(Some(group)),
        None => (!has_groups).then_some(None),
    })
    .await;
    kill(parent_of(warm.site.pid));
    for pid in [cold.site.pid, warm.site.pid, parent.site.pid] {
        until("it dies too", || (!lives(pid)).then_some(())).await;
    }
    for replica in ["r1-1", "r1-2"] {
        assert_eq!(ended(&engine, replica).await.0, "its supervisor ended");
        engine.forget(&id(replica)).await;
    }
    until("no parents", || loaders(&engine).is_empty().then_some(())).await;
    // Another supervisor is there already.
    let (again, temperature) = start(&engine, place.spec("r1-3", &tree)).await;
    assert_eq!(
        (temperature, predict(&again, json!({"x": 1})).await["twice"].as_f64()),
        (Temperature::Cold, Some(2.0))
    );
    assert!(group.is_none_or(|group| !group.exists()), "a group is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_after_a_shutdown() {
    let place = Place::new();
    // A model that starts a process which flees its group and its session.
    let tree = place.tree(
        "runaway",
        "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\ndef predict(x: float) -> float:\n    return x\n",
    );
    let engine = place.engine().await;
    engine.ensure_zygote(&place.spec("unused", &tree)).await.unwrap();
    start(&engine, place.spec("r1-1", &tree)).await;
    start(&engine, place.spec("r1-2", &tree)).await;
    // Supervisor, zygote, parent, two replicas, and what fled.
    until("all run", || (place.processes().len() >= 6).then_some(())).await;
    engine.shutdown(5_000).await.unwrap();
    until("none is left", || place.processes().is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runtimes_that_do_not_fork_say_so() {
    let place = Place::new();
    let tree = place.tree("program", "");
    let engine = place.engine().await;
    let mut spec = place.spec("r1-1", &tree);
    spec.runtime = Runtime::Command;
    assert_eq!(engine.ensure_parent(&spec).await.unwrap(), None);
    assert_eq!(engine.ensure_zygote(&spec).await.unwrap(), None);
    engine.start(spec).await.unwrap();
    let status = engine.status(&id("r1-1")).unwrap();
    assert_eq!(
        (status.temperature, status.colder_because.as_deref()),
        (Temperature::Cold, Some("runtime command does not fork"))
    );
}

/// Prints how long starts take: `cargo test --release -p engine --test supervised measure --
/// --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn measure_starts() {
    let place = Place::new();
    let engine = place.engine().await;
    let mut times: std::collections::BTreeMap<String, Vec<u64>> = std::collections::BTreeMap::new();
    for n in 0..200 {
        // Each tenth start is of another model; from the hundredth on there is a zygote.
        let tree = place.tree(&format!("m{}", n / 10), MODEL);
        if n == 100 {
            let zygote = engine.ensure_zygote(&place.spec("unused", &tree)).await.unwrap();
            parent(&engine, |parent| Some(&parent.id) == zygote.as_ref()).await;
        }
        let replica = format!("r1-{n}");
        let begin = std::time::Instant::now();
        let (status, temperature) = start(&engine, place.spec(&replica, &tree)).await;
        times.entry(temperature.to_string()).or_default().push(begin.elapsed().as_micros() as u64);
        assert_eq!(predict(&status, json!({"x": 1})).await["twice"], json!(2.0));
        engine.stop(&id(&replica), SOON).await.unwrap();
        ended(&engine, &replica).await;
        engine.forget(&id(&replica)).await;
        if n % 10 == 9 {
            for parent in engine
                .templates()
                .into_iter()
                .filter(|parent| matches!(parent.role, Role::Parent(_)))
            {
                engine.end_template(&parent.id).await.unwrap();
            }
        }
    }
    for (temperature, mut times) in times {
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] as f64 / 1_000.0;
        eprintln!(
            "{temperature}: {} starts, p50 {:.1} ms, p90 {:.1} ms, max {:.1} ms",
            times.len(),
            at(0.5),
            at(0.9),
            at(1.0)
        );
    }
}

//! The control plane in a world where everything goes wrong by a seed: processes crash, start slowly
//! or never, the machine is short, gateways give replicas back late, clocks are set, and the control
//! plane is killed at any step. Whatever happens, no replica ends that has requests, what is live
//! keeps a replica, and when the storm is over all is as it should be.

mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use control::{Control, Push, VariableValue};
use domain::manifest::Runtime;
use domain::release::Plan;
use domain::state::Outcome;
use domain::{Caller, EnvironmentName, Manifest, ModelKey, Tree, TreeFile, VersionNumber};
use world::World;

/// Seeds of the short form.
const SEEDS: u64 = 12;
/// What happens in one life, at most.
const STEPS_MAX: u64 = 30;
/// Between two happenings, at most, in milliseconds.
const PAUSE_MS_MAX: u64 = 3_000;
/// After the storm all is well within this time, in milliseconds: longer than the longest wait
/// between two starts that fail, the time that replaced versions are kept, and a canary.
const CALM_MS: u64 = 240_000;
/// After this time entries are signed for, in milliseconds.
const SIGNED_MS_MAX: u64 = 61_000;
/// A control plane that is killed is begun anew so often.
const LIVES: u64 = 3;

#[test]
fn whatever_happens_nothing_is_lost_and_all_ends_well() {
    (0..SEEDS).for_each(run);
}

/// `cargo test -p control --test simulation -- --ignored`, from a seed on with
/// `DECALOG_CONTROL_SEEDS=28`.
#[test]
#[ignore = "long"]
fn over_many_seeds() {
    let seeds = std::env::var("DECALOG_CONTROL_SEEDS").ok();
    let from = seeds.and_then(|from| from.parse().ok()).unwrap_or(SEEDS);
    (from..2_000).for_each(run);
}

fn run(seed: u64) {
    let begin = std::time::Instant::now();
    // In memory, where the kernel offers that: a simulation does not wait for a disk.
    let memory = Path::new("/dev/shm");
    let directory = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
    let world = World::new(seed);
    for life in 0..LIVES {
        let is_last = life == LIVES - 1;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let control = world.live(directory.path()).await;
            for _ in 0..3 + world.random(STEPS_MAX) {
                happen(&world, &control).await;
                pause(world.random(PAUSE_MS_MAX)).await;
            }
            if is_last {
                calm(&world).await;
                check(&world, &control).await;
                check_signed(&world, &control).await;
            }
            world.end_life();
        });
        // Wherever it is, and without another word.
        drop(runtime);
    }
    println!("seed {seed}: {} s in {} ms", world.now_ms() / 1_000, begin.elapsed().as_millis());
    let violations = world.violations();
    assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn key(number: u64) -> ModelKey {
    domain::state::default_model(&format!("m{number}")).unwrap()
}

/// Pushes a version whose content is this number, and asks for it to go live.
async fn deploy(world: &World, control: &Arc<Control>, key: &ModelKey, plan: Plan) {
    let content = format!("version {}", world.random(6));
    let digest = control.store().put(content.clone().into()).await.unwrap();
    let (path, size) = ("model.py".to_string(), content.len() as u64);
    let tree = Tree::new(vec![TreeFile { path, digest, size, executable: false }]).unwrap();
    // Every sixth never loads.
    if content.ends_with('5') {
        world.break_tree(tree.digest());
    }
    let (runtime, file) = (Runtime::Python, Some("model.py".to_string()));
    let manifest = Manifest::default();
    let push = Push { tree, manifest, runtime, file, provenance: Default::default(), upload: None };
    if let Ok((version, _, _)) = control.push(&Caller::LOCAL_OWNER, key, push).await {
        let environment = EnvironmentName::default();
        let _ = control.deploy(&Caller::LOCAL_OWNER, key, version, environment, plan, None).await;
    }
}

/// Something that users, the machine or time do.
async fn happen(world: &Arc<World>, control: &Arc<Control>) {
    let model = key(world.random(3));
    let environment = EnvironmentName::default();
    let untested = Plan { untested: true, ..Plan::default() };
    let what = world.random(14);
    world.note(format!("happening {what} to {model}"));
    match what {
        0..3 => deploy(world, control, &model, untested).await,
        3 => {
            let plan = Plan { canary: vec![10, 50], every_ms: Some(4_000), ..untested };
            deploy(world, control, &model, plan).await;
        }
        4 => drop(control.rollback(&Caller::LOCAL_OWNER, &model, environment).await),
        5 => drop(control.abort(&Caller::LOCAL_OWNER, &model, &environment, "by script").await),
        6 => {
            let (project, value) = (model.project.clone(), world.random(100).to_string());
            let value = VariableValue::Plain(value);
            let of = Some(model.model.clone());
            drop(
                control
                    .set_variable(&Caller::LOCAL_OWNER, &project, &environment, of, "A", value)
                    .await,
            );
        }
        7 if world.random(4) == 0 => drop(control.remove(&Caller::LOCAL_OWNER, &model).await),
        7 | 8 => {
            let per_s = [0.0, 1.0, 40.0, 150.0, 400.0][world.random(5) as usize];
            world.load.set(&model, per_s, world.now_ms());
        }
        9 | 10 => {
            let running = world.machine.running();
            if !running.is_empty() {
                let one = &running[world.random(running.len() as u64) as usize];
                world.machine.kill(&one.replica, world.now_ms());
            }
        }
        11 => {
            let routed = world.gateway().routed();
            if !routed.is_empty() {
                let one = routed[world.random(routed.len() as u64) as usize].clone();
                let of = world.machine.running().into_iter().find(|s| s.replica == one);
                of.iter().for_each(|status| world.excuse(&status.placement.model));
                world.gateway().complain(one).await;
            }
        }
        12 => {
            let by_ms = world.random(7_200_000) as i64 - 3_600_000;
            world.set_clock(by_ms);
        }
        _ => pause(world.random(30_000)).await,
    }
}

/// The storm is over; each model is asked a little.
async fn calm(world: &World) {
    world.is_stormy.store(false, Ordering::Relaxed);
    world.note("the storm is over".into());
    for number in 0..3 {
        world.load.set(&key(number), 40.0, world.now_ms());
    }
    // A process with a short life may have been begun just before.
    pause(CALM_MS).await;
}

/// Whatever was written is under a signed checkpoint a minute later, and no minute has two, except
/// where a life ended.
async fn check_signed(world: &Arc<World>, control: &Arc<Control>) {
    let last = control.state().seq;
    pause(SIGNED_MS_MAX).await;
    let kept = control.checkpoints(0, usize::MAX).await.unwrap_or_default();
    let size = kept.last().map_or(0, |checkpoint| checkpoint.size);
    if size < last {
        world.violate(format!("{last} entries were written, and {size} are signed for"));
    }
    if kept.len() as u64 > world.now_ms() / SIGNED_MS_MAX + LIVES {
        world.violate(format!("{} checkpoints were signed", kept.len()));
    }
}

/// All is as it should be: what is live has the replicas that it should have and no others, and
/// nothing is on its way.
async fn check(world: &Arc<World>, control: &Arc<Control>) {
    let mut expected = BTreeSet::new();
    for number in 0..3 {
        let Ok(view) = control.show(&key(number)).await else { continue };
        let live: Option<&String> = view.live.first().map(|(_, version)| version);
        let target = view.targets.first().map_or(0, |(_, target)| *target);
        let of_live = view.replicas.iter().filter(|r| Some(&r.version) == live);
        let ready = of_live.filter(|r| r.state == "ready").count() as u32;
        let is_broken = is_broken(world, control, number, live);
        if live.is_some() && ready != target && !is_broken {
            world.violate(format!("m{number} has {ready} of {target}: {view:#?}"));
        }
        if live.is_some() && target == 0 {
            world.violate(format!("m{number} is asked and sleeps: {view:#?}"));
        }
        let others = view.replicas.iter().filter(|r| r.state != "ready" && !is_broken);
        others.for_each(|r| world.violate(format!("m{number}: {r:?}")));
        for deployment in &view.deployments {
            if deployment.outcome == Outcome::Running {
                world.violate(format!("m{number}: {deployment:?} never ends"));
            }
        }
        expected.extend(view.replicas.into_iter().map(|replica| replica.replica));
    }
    let running: BTreeSet<String> =
        world.machine.running().iter().map(|status| status.replica.to_string()).collect();
    if running != expected {
        world.violate(format!("there are {running:?}, and known are {expected:?}"));
    }
    let routed: BTreeSet<String> = world.gateway().routed().iter().map(|r| r.to_string()).collect();
    if routed != running {
        world.violate(format!("routed are {routed:?}, and there are {running:?}"));
    }
    if world.machine.listed() > running.len() + 3 {
        world.violate(format!("{} ended replicas are not forgotten", world.machine.listed()));
    }
    for (placement, starts) in world.machine.starts.lock().iter() {
        if *starts > 150 {
            world.violate(format!("{placement} was started {starts} times"));
        }
    }
}

/// Whether what is live of a model never loads: it was live before its content was broken.
fn is_broken(world: &World, control: &Control, number: u64, live: Option<&String>) -> bool {
    let state = control.state();
    let version = live.and_then(|live| live.trim_start_matches('v').parse().ok());
    let model = state.models.get(&key(number));
    let version = model.zip(version).and_then(|(m, v)| m.versions.get(&VersionNumber(v)));
    version.is_some_and(|version| world.never_loads(&version.pushed.tree.digest()))
}

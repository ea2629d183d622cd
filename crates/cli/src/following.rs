//! What is printed of a deployment while it goes through its steps.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use domain::event::MadeUpRow;
use domain::rehearsal::RehearsalVerdict;
use domain::{After, Code, DeploymentId, EnvironmentName, Event, Happened, ModelKey, Problem};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::client::Client;
use crate::layout::wrapped;
use crate::terminal::{Colour, error_width, escaped, painted_error};

/// A server that does not answer is given up after so long, in milliseconds.
const RECONNECT_MS_MAX: u64 = 60_000;
/// How often it is tried, in milliseconds.
const RECONNECT_EVERY_MS: u64 = 250;
/// What takes longer shows how far it is, in milliseconds.
const PATIENCE_MS: u64 = 1_000;
/// Packages that are named while they are installed.
const NAMED_MAX: usize = 3;
/// The exit code after Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

/// One line of a deploy; with its time it fits a terminal of 80 columns, unless the text is longer.
pub fn step(name: &str, text: &str, elapsed_ms: Option<u64>) {
    let elapsed = elapsed_ms.map_or(String::new(), |ms| format!("{:>8.1} s", ms as f64 / 1_000.0));
    let line = format!("  {name:<9} {text:<57}{elapsed}");
    let line = wrapped(&escaped(line.trim_end()), 12, error_width());
    let colour = match (name, text) {
        ("live", _) => Some(Colour::Green),
        (_, "failed" | "rolled back") => Some(Colour::Red),
        _ => None,
    };
    // The name stands at the begin, after two spaces.
    let line = match colour.zip(line.strip_prefix("  ").and_then(|it| it.strip_prefix(name))) {
        Some((colour, rest)) => format!("  {}{rest}", painted_error(name, colour)),
        None => line,
    };
    std::eprintln!("{line}");
}

/// What turns while there is nothing to say; hidden where nobody looks.
pub fn spinner(text: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("  {wide_msg} {spinner} {elapsed:>4}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar.set_message(text.to_string());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Bytes that are worked through, shown on a terminal once that has taken [`PATIENCE_MS`].
pub struct Progress {
    name: &'static str,
    all: u64,
    done: u64,
    begin: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of so many bytes, none of which are done.
    pub fn new(name: &'static str, all: u64) -> Progress {
        Progress { name, all, done: 0, begin: Instant::now(), bar: None }
    }

    /// So many more are done.
    pub fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.bar.is_none() && self.begin.elapsed() >= Duration::from_millis(PATIENCE_MS) {
            let is_seen = std::io::stderr().is_terminal();
            let bar = if is_seen { ProgressBar::new(self.all) } else { ProgressBar::hidden() };
            let template = format!(
                "  {:<9} {{bar:40}} {{bytes}} of {{total_bytes}}, {{eta}} to go",
                self.name
            );
            let style = ProgressStyle::with_template(&template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.bar = Some(bar);
        }
        self.bar.iter().for_each(|bar| bar.set_position(self.done));
    }

    /// Prints something above it.
    pub fn pause(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// It is not shown any more.
    pub fn end(self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// On Ctrl-C, says what that does not stop.
pub fn explain_interruption(text: String) {
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            eprintln!("\n{text}");
            std::process::exit(INTERRUPTED);
        }
    });
}

/// Follows a deployment until it is live, or fails with its problem. A server that restarts
/// meanwhile is waited for.
pub fn follow(
    client: &Client,
    key: &ModelKey,
    version: &str,
    environment: &EnvironmentName,
    id: DeploymentId,
) -> Result<(), Failure> {
    let after = After { seq: id.0.saturating_sub(1), telemetry: None };
    let next = building(client, key, version);
    let mut following = Following { client, key, version, environment, id, after, next };
    let mut lost_since: Option<Instant> = None;
    loop {
        let seen = following.after;
        let broke = match following.read() {
            Ok(()) => return Ok(()),
            Err(Ended::Failed(failure)) => return Err(failure),
            Err(Ended::Broke(why)) => why,
        };
        if following.after != seen {
            lost_since = None;
        }
        if lost_since.is_none() {
            step(
                "waiting",
                &format!(
                    "for the server, which does not answer now, for up to {} s",
                    RECONNECT_MS_MAX / 1_000
                ),
                None,
            );
        }
        if lost_since.get_or_insert_with(Instant::now).elapsed()
            > Duration::from_millis(RECONNECT_MS_MAX)
        {
            let problem = Problem::new(
                Code::Unreachable,
                format!("the connection to the server broke: {broke}"),
            );
            return Err(Failure::Unreachable(problem.help(format!(
                "the deployment goes on once decalog up runs: decalog events {} -f",
                key.model
            ))));
        }
        std::thread::sleep(Duration::from_millis(RECONNECT_EVERY_MS));
    }
}

/// Why reading stopped before the end of a deployment.
enum Ended {
    /// The deployment has ended, or the server refuses to tell.
    Failed(Failure),
    /// The connection broke.
    Broke(String),
}

impl<T: Into<Failure>> From<T> for Ended {
    fn from(failure: T) -> Ended {
        match failure.into() {
            Failure::Unreachable(problem) => Ended::Broke(problem.message),
            // As many follow as may: another will be done soon.
            Failure::Problem(problem) if problem.code == Code::ServerBusy => {
                Ended::Broke(problem.message)
            }
            failure => Ended::Failed(failure),
        }
    }
}

/// A deployment whose events are read.
struct Following<'a> {
    client: &'a Client,
    key: &'a ModelKey,
    version: &'a str,
    environment: &'a EnvironmentName,
    id: DeploymentId,
    /// How far it was read.
    after: After,
    /// What it does now, as far as is known.
    next: String,
}

impl Following<'_> {
    /// Prints a line for each step until the deployment is live.
    fn read(&mut self) -> Result<(), Ended> {
        let path = format!("/v1/events?model={}&after={}&follow=true", self.key, self.after);
        let mut waiting = spinner(&self.next);
        for line in self.client.lines(&path)? {
            let line = line.map_err(|error| Ended::Broke(error.to_string()))?;
            let Ok(happened) = serde_json::from_str::<Happened>(&line) else { continue };
            waiting.finish_and_clear();
            self.after = happened.place;
            if self.take(happened)? {
                return Ok(());
            }
            waiting = spinner(&self.next);
        }
        Err(Ended::Broke("it was closed".into()))
    }

    /// Whether the deployment is live with this.
    fn take(&mut self, happened: Happened) -> Result<bool, Failure> {
        let (id, model) = (self.id, &self.key.model);
        if let Some(next) = after(&happened.event, id) {
            self.next = next;
        }
        match happened.event {
            Event::SignatureJudged { deployment, signature, .. } if deployment == id => {
                step("signature", &signature.to_string(), None);
            }
            Event::EnvironmentBuilt { deployment, lock, cached, elapsed_ms }
                if deployment == id =>
            {
                let text = format!(
                    "environment {}{}",
                    lock.short(),
                    if cached { " (cached)" } else { "" }
                );
                step("build", &text, Some(elapsed_ms));
            }
            Event::CandidateReady { deployment, elapsed_ms } if deployment == id => {
                let how = if elapsed_ms == 0 { "was kept ready" } else { "model loaded" };
                step("start", &format!("1 replica, {how}"), Some(elapsed_ms));
            }
            Event::TestsPassed { deployment, cases, elapsed_ms, made_up } if deployment == id => {
                step("test", &tested(cases, made_up.as_ref()), Some(elapsed_ms));
            }
            Event::GatesPassed { deployment, candidate, live, elapsed_ms } if deployment == id => {
                let figures = |m: domain::event::Measurement| {
                    format!("p99 {:.1} ms, {:.0} MB", m.p99_ms, m.memory_mb)
                };
                let live = live.map_or(String::new(), |live| format!(" (live: {})", figures(live)));
                step("gate", &format!("{}{live}", figures(candidate)), Some(elapsed_ms));
            }
            Event::DeterminismProbed { deployment, probe, elapsed_ms, .. } if deployment == id => {
                step("probe", &probe.to_string(), Some(elapsed_ms));
            }
            Event::RehearsalStarted { deployment, baseline, wanted, found, .. }
                if deployment == id =>
            {
                let recorded = if found < wanted { " recorded" } else { "" };
                let text = format!(
                    "{found}{recorded} requests are asked of {} and of {baseline}",
                    self.version
                );
                step("rehearse", &text, None);
            }
            Event::Rehearsed { deployment, rehearsal, elapsed_ms, .. } if deployment == id => {
                step("", &rehearsal.headline(), Some(elapsed_ms));
                // What ends a release is said with its problem.
                if rehearsal.verdict == RehearsalVerdict::Holds {
                    rehearsal.lines().iter().for_each(|line| step("", line, None));
                }
            }
            Event::TrafficShifted { deployment, phase, baseline, .. } if deployment == id => {
                let name = if phase.shadow { "shadow" } else { "canary" };
                step(name, &phase.told(baseline), None);
            }
            Event::GuardsJudged { deployment, judgements, .. } if deployment == id => {
                judgements.to_string().lines().for_each(|line| step("guard", line.trim(), None));
            }
            Event::ReleasePaused { deployment } if deployment == id => {
                step(
                    "paused",
                    &format!("by {}: decalog release resume {model}", happened.actor),
                    None,
                );
            }
            Event::ReleaseResumed { deployment } if deployment == id => {
                step("resumed", &format!("by {}", happened.actor), None)
            }
            Event::Released { deployment, environment, elapsed_ms, .. } if deployment == id => {
                step(
                    "live",
                    &format!("{model} {} in {environment}", self.version),
                    Some(elapsed_ms),
                );
                return Ok(true);
            }
            Event::DeployFailed { deployment, step: at, problem } if deployment == id => {
                step(&at, if at == "guard" { "rolled back" } else { "failed" }, None);
                return Err(self.failed(problem).into());
            }
            Event::ModelRemoved { .. } => {
                let text = format!(
                    "{model} was removed by {} in the meantime; {} was not released",
                    happened.actor, self.version
                );
                return Err(Problem::new(Code::Removed, text)
                    .help("deploy again if it is still wanted")
                    .into());
            }
            _ => {}
        }
        Ok(false)
    }

    fn failed(&self, mut problem: Problem) -> Problem {
        let path = format!("/v1/projects/{}/models/{}", self.key.project, self.key.model);
        let live: Result<control::view::ModelView, Failure> = self.client.get(&path);
        let here = |(environment, _): &&(EnvironmentName, String)| environment == self.environment;
        let live = live.ok().and_then(|view| Some(view.live.iter().find(here)?.1.clone()));
        problem.details.push(match live {
            Some(live) => format!("{live} keeps serving; {} was not released.", self.version),
            None => format!("{} was not released.", self.version),
        });
        problem
    }
}

/// What a deployment does first: what it installs is known, and whether that is there already is
/// not.
fn building(client: &Client, key: &ModelKey, version: &str) -> String {
    let path = format!("/v1/projects/{}/models/{}", key.project, key.model);
    let view: Option<control::view::ModelView> = match std::io::stderr().is_terminal() {
        true => client.get(&path).ok(),
        false => None,
    };
    let packages = view.and_then(|view| {
        let own = view.versions.into_iter().find(|own| own.version == version)?;
        Some(own.packages)
    });
    let names: Vec<String> = packages.unwrap_or_default().iter().map(ToString::to_string).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match (names.len(), more) {
        (0, _) => "build".into(),
        (_, 0) => format!("build     installs {shown}"),
        _ => format!("build     installs {shown} and {more} more"),
    }
}

/// What a deployment does after an event of it.
fn after(event: &Event, id: DeploymentId) -> Option<String> {
    let (of, next) = match event {
        Event::EnvironmentBuilt { deployment, .. } => (deployment, "start     loads the model"),
        Event::CandidateReady { deployment, .. } => (deployment, "test      asks it its cases"),
        Event::TestsPassed { deployment, .. } => (deployment, "gate      measures it"),
        Event::GatesPassed { deployment, .. } => (deployment, "probe     asks it the same again"),
        Event::DeterminismProbed { deployment, .. } => (deployment, "release"),
        Event::RehearsalStarted { deployment, .. } => (deployment, "rehearse"),
        Event::TrafficShifted { deployment, .. } => (deployment, "release   waits for evidence"),
        _ => return None,
    };
    (*of == id).then(|| next.into())
}

/// What a candidate was tested by, in one line.
pub fn tested(cases: u32, made_up: Option<&MadeUpRow>) -> String {
    match made_up {
        None => format!("{cases} of {cases} cases"),
        Some(MadeUpRow::Answered) => "no cases; a made-up row was answered".into(),
        Some(MadeUpRow::Refused(why)) => {
            format!("the made-up row was refused: {why}; add tests/NAME.json")
        }
        Some(MadeUpRow::Skipped(why)) => format!("no cases, and no made-up row was sent: {why}"),
    }
}

//! What is printed of a deployment while it goes through its steps.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use domain::event::MadeUpRow;
use domain::{After, Code, DeploymentId, Event, Happened, ModelKey, Problem};
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::client::Client;

/// A server that does not answer is given up after so long, in milliseconds.
const RECONNECT_MS_MAX: u64 = 60_000;
/// How often it is tried, in milliseconds.
const RECONNECT_EVERY_MS: u64 = 250;
/// The exit code after Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

/// One line of a deploy; with its time it fits a terminal of 80 columns, unless the text is longer.
pub fn step(name: &str, text: &str, elapsed_ms: Option<u64>) {
    let elapsed = elapsed_ms.map_or(String::new(), |ms| format!("{:>8.1} s", ms as f64 / 1_000.0));
    eprintln!("  {}", format!("{name:<9} {text:<57}{elapsed}").trim_end());
}

/// What turns while there is nothing to say; hidden where nobody looks.
pub fn spinner(text: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("  {msg} {spinner}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar.set_message(text.to_string());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
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
    id: DeploymentId,
) -> Result<(), Failure> {
    let after = After { seq: id.0.saturating_sub(1), telemetry: None };
    let mut following = Following { client, key, version, id, after };
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
    id: DeploymentId,
    /// How far it was read.
    after: After,
}

impl Following<'_> {
    /// Prints a line for each step until the deployment is live.
    fn read(&mut self) -> Result<(), Ended> {
        let path = format!("/v1/events?model={}&after={}&follow=true", self.key, self.after);
        let mut waiting = spinner("build    ");
        for line in self.client.lines(&path)? {
            let line = line.map_err(|error| Ended::Broke(error.to_string()))?;
            let Ok(happened) = serde_json::from_str::<Happened>(&line) else { continue };
            waiting.finish_and_clear();
            self.after = happened.place;
            if self.take(happened)? {
                return Ok(());
            }
            waiting = spinner("…");
        }
        Err(Ended::Broke("it was closed".into()))
    }

    /// Whether the deployment is live with this.
    fn take(&self, happened: Happened) -> Result<bool, Failure> {
        let (id, model) = (self.id, &self.key.model);
        match happened.event {
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
            Event::TrafficShifted { deployment, phase, baseline, .. } if deployment == id => {
                let name = if phase.shadow { "shadow" } else { "canary" };
                step(
                    name,
                    &format!("{}% of the requests; the rest goes to {baseline}", phase.percent),
                    None,
                );
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
        let live = live.ok().and_then(|view| view.live.first().map(|(_, version)| version.clone()));
        problem.details.push(match live {
            Some(live) => format!("{live} keeps serving; {} was not released.", self.version),
            None => format!("{} was not released.", self.version),
        });
        problem
    }
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

//! Walls around models: programs that run within them, and what `decalog sandbox test` shows.

use std::ffi::OsString;
use std::path::Path;

use domain::reference::Selector;
use domain::{Code, Problem};
use engine::{AttackOutcome, AttackTried};
use server::{SandboxReport, SandboxRequest};
use supervisor::walls;

use crate::Failure;
use crate::args::SandboxVerb;
use crate::client::Client;
use crate::following::spinner;
use crate::show::{path_of, reference};
use crate::terminal::print_json;

/// The name of what only waits.
const WAIT: &str = "wait";

/// Becomes a program within walls, looks around inside of them, or tries an attack.
pub fn enclose(
    probe: &[OsString],
    attack: Option<&str>,
    program: &[OsString],
) -> Result<u8, Failure> {
    let failed = |text: String| Failure::from(Problem::new(Code::Failed, text));
    match (probe, attack) {
        ([process, secret], _) => {
            let process = process.to_string_lossy().parse().unwrap_or(1);
            walls::answer_probe(process, Path::new(secret)).map(|()| 0).map_err(failed)
        }
        (_, Some(name)) => attempt(name).map(|()| 0),
        _ => Err(failed(walls::enclose(program).to_string())),
    }
}

/// Tries an attack, and prints what came of it.
fn attempt(name: &str) -> Result<(), Failure> {
    if name == WAIT {
        // Until whoever started it has ended.
        let _ = std::io::stdin().read_line(&mut String::new());
        return Ok(());
    }
    let known = walls::attacks::ATTACKS.iter().find(|attack| attack.name == name);
    let attack = known
        .ok_or_else(|| Problem::new(Code::BadOption, format!("no attack is called {name}")))?;
    let targets = std::env::var(engine::TARGETS).unwrap_or_default();
    let targets = serde_json::from_str(&targets).map_err(anyhow::Error::from)?;
    match attack.attempt(&targets) {
        Ok(()) => println!("possible"),
        Err(error) => println!("denied: {error}"),
    }
    Ok(())
}

/// Runs the verb.
pub fn run(client: &Client, verb: &SandboxVerb, as_json: bool) -> Result<(), Failure> {
    let SandboxVerb::Test { model } = verb;
    let reference = reference(model)?;
    let version = match &reference.selector {
        Some(Selector::Number(version)) => Some(version.to_string()),
        Some(Selector::Digest(digest)) => {
            return Err(Problem::new(Code::BadReference, format!("`{digest}` is a digest"))
                .help("name the version by its number, as churn@v3")
                .into());
        }
        None => None,
    };
    let environment = reference.environment.clone().unwrap_or_default();
    let waiting = spinner("sandbox  ");
    let request = SandboxRequest { version, environment };
    let report: Result<SandboxReport, Failure> =
        client.post(&format!("{}/sandbox", path_of(&reference)), &serde_json::json!(request));
    waiting.finish_and_clear();
    let report = report?;
    let open: Vec<&AttackTried> =
        report.tried.attacks.iter().filter(|of| of.inside != AttackOutcome::Denied).collect();
    if as_json {
        print_json(&report);
    } else {
        println!(
            "{}/{} {}, sandbox {}",
            report.project, report.model, report.version, report.tried.level
        );
        report.tried.attacks.iter().for_each(|tried| println!("{}", line(tried)));
    }
    match open.len() {
        0 => Ok(()),
        count => Err(Problem::new(
            Code::Failed,
            format!("{count} of {} are not denied", report.tried.attacks.len()),
        )
        .help("decalog doctor says what keeps the sandbox from being full")
        .into()),
    }
}

fn line(tried: &AttackTried) -> String {
    let word = |outcome| match outcome {
        AttackOutcome::Possible => "possible",
        AttackOutcome::Denied => "denied",
        AttackOutcome::Broken => "broken",
    };
    let outside = match tried.outside {
        AttackOutcome::Possible => String::new(),
        other => format!("  (outside: {})", word(other)),
    };
    format!("  {:<8}  {:<32}  {}{outside}", word(tried.inside), tried.what, tried.detail)
}

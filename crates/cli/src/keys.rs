//! `decalog key`: the keys that wrap secrets.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use control::{KeyUse, Keys, Rotation};
use domain::{Code, Problem};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::KeyVerb;
use crate::client::Client;
use crate::terminal::print_json;

/// How often it is asked how far a rotation is, in milliseconds.
const LOOK_MS: u64 = 100;

/// Runs the verb.
pub fn run(client: &Client, verb: KeyVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        KeyVerb::Ls => list(client, as_json),
        KeyVerb::Rotate { keep_old } => rotate(client, keep_old, as_json),
    }
}

fn secrets(count: u64) -> String {
    format!("{count} {}", if count == 1 { "secret" } else { "secrets" })
}

fn list(client: &Client, as_json: bool) -> Result<(), Failure> {
    let listed: Keys = client.get("/v1/keys")?;
    if as_json {
        print_json(&listed);
        return Ok(());
    }
    for KeyUse { id, provider, current, secrets: count } in &listed.keys {
        let current = if *current { "  (wraps new ones)" } else { "" };
        println!("{id}  {provider:<10} {}{current}", secrets(*count));
    }
    if listed.keys.is_empty() {
        eprintln!("no key yet: the first secret makes one");
    }
    if listed.lost > 0 {
        println!("{} cannot be read: no key of these wraps them", secrets(listed.lost));
    }
    match &listed.rotation {
        Some(Rotation { running: true, done, total, .. }) => {
            println!("a rotation is under way: {done} of {total}")
        }
        Some(Rotation { problem: Some(problem), .. }) => {
            println!("the last rotation was not finished: {problem}")
        }
        _ => {}
    }
    Ok(())
}

fn rotate(client: &Client, keep_old: bool, as_json: bool) -> Result<(), Failure> {
    let begin = Instant::now();
    let _: Value = client.post("/v1/keys/rotation", &json!({ "keep_old": keep_old }))?;
    let rotation = follow(client)?;
    if let Some(problem) = rotation.problem {
        return Err(problem.into());
    }
    if as_json {
        print_json(&rotation);
    } else {
        let key = rotation.key.unwrap_or_default();
        let done = rotation.total.saturating_sub(rotation.unreadable.len() as u64);
        let seconds = begin.elapsed().as_secs_f64();
        println!("{key} wraps {} now ({seconds:.1} s)", secrets(done));
        rotation.removed.iter().for_each(|key| println!("{key} is deleted"));
    }
    match rotation.unreadable.len() as u64 {
        0 => Ok(()),
        count => Err(Problem::new(
            Code::Secrets,
            format!("{} cannot be read, and all keys that they may need are kept", secrets(count)),
        )
        .details(rotation.unreadable.iter().map(|file| format!("DATA/secrets/{file}")))
        .help("put the key that they were written with back, or set them again; decalog gc deletes files that nothing refers to")
        .into()),
    }
}

/// Waits for the end of the rotation that runs.
fn follow(client: &Client) -> Result<Rotation, Failure> {
    let is_seen = std::io::stderr().is_terminal();
    let bar = if is_seen { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("  wrap      {bar:40} {pos} of {len}, {eta} to go");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    loop {
        let rotation: Option<Rotation> = client.get("/v1/keys/rotation")?;
        let gone = || {
            Problem::new(Code::Failed, "the server was restarted while keys were rotated")
                .help("nothing is lost: decalog key rotate again takes all secrets along")
        };
        let rotation = rotation.ok_or_else(gone)?;
        if !rotation.running {
            bar.finish_and_clear();
            return Ok(rotation);
        }
        bar.set_length(rotation.total);
        bar.set_position(rotation.done);
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
}

//! `decalog logs`: what the processes of a model printed. A person sees when, and which process of
//! which version; a program that reads it from a pipe gets what was printed.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use domain::Reference;
use domain::reference::Selector;
use server::{Level, Printed};

use crate::Failure;
use crate::client::Client;
use crate::show::{path_of, reference, time};
use crate::terminal::{Colour, as_written, escaped, painted};

/// How often it is looked for more, in milliseconds.
const LOOK_MS: u64 = 500;

/// Runs the verb.
pub fn run(
    client: &Client,
    model: &str,
    follow: bool,
    lines: usize,
    as_json: bool,
) -> Result<(), Failure> {
    let mut tail = Tail::new(&reference(model)?, lines);
    loop {
        tail.print(client, as_json)?;
        if !follow {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
    }
}

/// The end of a log, of which each line is printed once.
pub struct Tail {
    path: String,
    seen: HashMap<String, usize>,
}

impl Tail {
    /// Of the last so many lines.
    pub fn new(reference: &Reference, lines: usize) -> Tail {
        Tail { path: path(reference, lines), seen: HashMap::new() }
    }

    /// Prints what is new.
    pub fn print(&mut self, client: &Client, as_json: bool) -> Result<(), Failure> {
        let is_for_person = std::io::stdout().is_terminal();
        self.look(client, |line| print(line, is_for_person, as_json))
    }

    /// Passes over what is there.
    pub fn skip(&mut self, client: &Client) -> Result<(), Failure> {
        self.look(client, |_| {})
    }

    fn look(&mut self, client: &Client, mut with: impl FnMut(&str)) -> Result<(), Failure> {
        let text = client.text(&self.path)?;
        let mut now: HashMap<String, usize> = HashMap::new();
        for line in text.lines() {
            let count = now.entry(line.to_string()).or_default();
            *count += 1;
            if *count > self.seen.get(line).copied().unwrap_or(0) {
                with(line);
            }
        }
        self.seen = now;
        Ok(())
    }
}

fn path(reference: &Reference, lines: usize) -> String {
    let version = match &reference.selector {
        Some(Selector::Number(number)) => format!("&version={number}"),
        _ => String::new(),
    };
    format!("{}/logs?detailed=true&lines={lines}{version}", path_of(reference))
}

fn print(line: &str, is_for_person: bool, as_json: bool) {
    let printed = serde_json::from_str::<Printed>(line);
    match printed {
        _ if as_json => std::println!("{line}"),
        // Of a server that knows no more than the text.
        Err(_) => std::println!("{}", as_written(line)),
        Ok(printed) if !is_for_person => std::println!("{}", printed.text),
        Ok(printed) => {
            let Printed { at_ms, version, process, level, text } = printed;
            let at = time(at_ms);
            let begin = format!("{} {version} {process} ", at.get("2026-".len()..).unwrap_or(&at));
            let colour = match level {
                Some(Level::Error) => Some(Colour::Red),
                Some(Level::Warning) => Some(Colour::Yellow),
                _ if text.starts_with("[decalog: ") => Some(Colour::Faint),
                _ => None,
            };
            let begin = escaped(&begin).into_owned();
            std::println!(
                "{} {}",
                painted(&begin, Some(Colour::Faint)),
                painted(&escaped(&text), colour)
            );
        }
    }
}

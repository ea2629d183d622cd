//! Makes the tables of docs/why.md from simulated faults: `cargo run --release -p policy --example
//! why`. With `--check` it says whether the page has these tables; with `--write` it puts them
//! there. `--tune` takes other seeds and shows each wrong answer; `--seeds N` takes so many.

#[path = "../tests/guard_simulation/random.rs"]
#[allow(dead_code)]
mod random;
#[path = "../tests/why_simulation/score.rs"]
#[allow(dead_code)]
mod score;
#[path = "../tests/why_simulation/world.rs"]
#[allow(dead_code)]
mod world;

use std::fmt::Write as _;

use score::{Asked, REPORTED, Row};
use world::Fault;

const BEGIN: &str = "<!-- made by: cargo run --release -p policy --example why -- --write -->";
const END: &str = "<!-- end -->";
/// At most so many requests a second.
const LOAD_PER_S: f64 = 20.0;

struct Arguments {
    tune: bool,
    seeds: u64,
    threads: usize,
    check: bool,
    write: bool,
    only: Option<String>,
}

fn arguments() -> Arguments {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| all.iter().any(|argument| argument == name);
    let value = |name: &str| {
        let at = all.iter().position(|argument| argument == name)?;
        all.get(at + 1).cloned()
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    Arguments {
        tune: has("--tune"),
        seeds: number("--seeds").unwrap_or(40),
        threads: number("--threads").unwrap_or(2) as usize,
        check: has("--check"),
        write: has("--write"),
        only: value("--only"),
    }
}

fn tell(seed: u64, what: &str, asked: &Asked) {
    let answer = &asked.answer;
    println!(
        "  wrong: {what} seed {seed}: {:?} {:?} {} at {:?}; injected {:?}",
        answer.outcome,
        answer.metric,
        answer.measure,
        answer.changed_at.map(|at| (at - world::START_MS) as f64 / 1e3),
        asked.injected
    );
    if let (Some(before), Some(after)) = (&answer.before, &answer.after) {
        println!(
            "    {:.4} → {:.4}, p99 {:?} → {:?}",
            before.share, after.share, before.p99_ms, after.p99_ms
        );
    }
    for cause in &answer.causes {
        println!(
            "    cause {:?} {:?} {:.2} p {:.4} after {:?}",
            cause.kind, cause.reference.name, cause.share, cause.p, cause.follows_from
        );
    }
    for out in answer.ruled_out.iter().take(6) {
        println!(
            "    not {:?} {:?} {:?}: {:?}",
            out.kind, out.reference.name, out.reference.value, out.why
        );
    }
}

fn percent(part: u64, all: u64) -> String {
    format!("{:.0}%", 100.0 * part as f64 / all.max(1) as f64)
}

fn confusion(rows: &[(Fault, Row)]) -> String {
    let mut text = String::from(
        "| injected | seeds | moved the metric | first cause is right | the last event is right | what else was blamed first |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    let mut all = Row::default();
    for (fault, row) in rows {
        let others: Vec<String> = row
            .blamed
            .iter()
            .map(|(label, count)| format!("{count} × {}", label.to_lowercase()))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} ({}) | {} | {} |",
            score::name(*fault),
            row.seeds,
            row.moved,
            row.right,
            percent(row.right, row.moved),
            percent(row.last_event, row.moved),
            others.join(", ")
        );
        all.seeds += row.seeds;
        all.moved += row.moved;
        all.right += row.right;
        all.last_event += row.last_event;
    }
    let _ = writeln!(
        text,
        "| **all** | {} | {} | {} (**{}**) | {} | |",
        all.seeds,
        all.moved,
        all.right,
        percent(all.right, all.moved),
        percent(all.last_event, all.moved)
    );
    text
}

fn main() {
    let arguments = arguments();
    let from = if arguments.tune { 1 } else { REPORTED };
    let threads = arguments.threads;
    let is_wanted = |what: &str| arguments.only.as_deref().is_none_or(|only| only == what);
    let tune = arguments.tune;
    let mut text = String::new();
    if is_wanted("single") {
        let told = |seed: u64, fault: Fault, asked: &Asked| {
            if tune {
                tell(seed, score::name(fault), asked);
            }
        };
        text += &confusion(&score::single(from, arguments.seeds, threads, LOAD_PER_S, &told));
    }
    if is_wanted("double") {
        let told = |seed: u64, asked: &Asked| {
            if tune {
                tell(seed, "double", asked);
            }
        };
        let double = score::double(from + 2_000_000, arguments.seeds, threads, LOAD_PER_S, &told);
        let _ = writeln!(
            text,
            "\nOf {} seeds with two faults three minutes apart, {} moved the metric. The first cause is one of the two in {} ({}), both are told in {} ({}); causes that are neither: {}.",
            double.seeds,
            double.moved,
            double.one,
            percent(double.one, double.moved),
            double.both,
            percent(double.both, double.moved),
            double.other
        );
    }
    if is_wanted("quiet") {
        let told = |seed: u64, asked: &Asked| {
            if tune {
                tell(seed, "quiet", asked);
            }
        };
        let seeds = 8 * arguments.seeds;
        let (asked, wrong, load) =
            score::quiet(from + 3_000_000, seeds, threads, LOAD_PER_S, &told);
        let _ = writeln!(
            text,
            "\nOf {asked} seeds without a fault, with innocent releases, ramps and a day's cycle, {wrong} had a cause that was none, and {load} had 'load' where traffic did grow."
        );
    }
    println!("{text}");
    if arguments.check || arguments.write {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/why.md");
        let page = std::fs::read_to_string(path).expect("docs/why.md");
        let (head, rest) = page.split_once(BEGIN).expect("the begin of the tables");
        let (old, tail) = rest.split_once(END).expect("the end of the tables");
        let new = format!("\n\n{}\n", text.trim());
        if arguments.write {
            let page = format!("{head}{BEGIN}{new}{END}{tail}");
            std::fs::write(path, page).expect("docs/why.md can be written");
        } else if old != new {
            eprintln!("docs/why.md has other tables: run it with --write");
            std::process::exit(1);
        }
    }
}

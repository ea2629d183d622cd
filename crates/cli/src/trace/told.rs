//! A prediction and all that it comes from, as people read it.

use domain::lineage::LineageRelease;
use domain::outcome::Outcome;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use policy::why::{Unit, figure};
use serde_json::Value;

use super::usual::{self, Near, Standing, Usual};
use super::{Found, Release, Traced};
use crate::layout::wrapped;
use crate::provenance::{line_of_data, lines};
use crate::rows::{Row, cell};
use crate::show;
use crate::terminal::{one_line, width};

/// Rows of a request that are shown.
const ROWS_SHOWN: usize = 5;
/// Where texts begin, in columns.
const INDENT: usize = 15;

/// A time of a record.
pub fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A time of a record as it is here.
pub fn local(text: &str, format: &str) -> String {
    let local = |time: Timestamp| time.to_zoned(TimeZone::system()).strftime(format).to_string();
    time(text).map_or_else(|| text.to_string(), local)
}

/// The model of a record, as short as it is written.
pub fn model_of(found: &Found) -> String {
    let mut name = found.model.clone();
    if found.project != "default" {
        name = format!("{}/{name}", found.project);
    }
    if found.environment.as_str() != "production" {
        name += &format!("@{}", found.environment);
    }
    name
}

/// Prints it.
pub fn tell(found: &Found, traced: &Traced, copies: &[&Found]) {
    let columns = width();
    let say = |title: &str, text: String| {
        let line = format!("  {title:<12} {text}");
        println!("{}", wrapped(line.trim_end(), INDENT, columns));
    };
    let moment = local(&found.time, "%Y-%m-%d %H:%M:%S%.3f");
    println!("{}", wrapped(&format!("{}  {moment}", found.id), 2, columns));
    let answered = traced.records.first();
    say("answer", answer(found, answered));
    for copy in copies {
        say("copy", format!("{} got it, too, as a shadow", copy.version));
    }
    match &traced.version {
        Some(version) => {
            let removed = if version.is_removed { "; it was removed since" } else { "" };
            let text = format!(
                "{} {}, pushed {} by {}{removed}",
                version.version,
                version.digest.short(),
                show::time(version.at_ms),
                one_line(&version.by)
            );
            say("version", text);
            lines(&version.provenance).into_iter().for_each(|(title, text)| say(title, text));
            let reference = version.provenance.reference.iter();
            reference.for_each(|set| say("reference", line_of_data(set)));
        }
        None => say("version", format!("{} {}", found.version, found.digest.short())),
    }
    if let Some(packages) = &traced.packages {
        let count = packages.packages.len();
        let digest = packages.digest.short();
        say("packages", format!("Python {}, {count} packages, lock {digest}", packages.python));
    }
    traced.release.iter().for_each(|of| say("release", release(of)));
    if let Some(usual) = &traced.usual {
        unusual(usual).into_iter().enumerate().for_each(|(at, text)| {
            say(if at == 0 { "unusual" } else { "" }, text);
        });
    }
    if let Some(row) = answered {
        say("request", request(row));
    }
    for (at, row) in traced.records.iter().take(ROWS_SHOWN).enumerate() {
        let number = row.get("row").and_then(Value::as_u64).unwrap_or(at as u64);
        let is_one = traced.records.len() == 1;
        let title = |name: &str| if is_one { name.to_string() } else { format!("{name} {number}") };
        if let Some(key) = row.get("key").filter(|key| !key.is_null()) {
            say("key", cell(key));
        }
        say(&title("in"), values(row, "in.", |name| rarity(traced, at, name)));
        say(&title("out"), values(row, "out.", |_| String::new()));
        if let Some(truth) = truth(traced, number) {
            say("truth", truth);
        }
    }
    let nearest = traced.usual.iter().flat_map(|usual| &usual.nearest);
    nearest.enumerate().for_each(|(at, near)| {
        say(if at == 0 { "like it" } else { "" }, near_line(near));
    });
    let more = traced.records.len().saturating_sub(ROWS_SHOWN);
    if more > 0 {
        say("", format!("and {more} more rows: --json has them"));
    }
    traced.unknown.iter().for_each(|unknown| say("", one_line(unknown).into_owned()));
    let model = model_of(found);
    let plain = model.split('@').next().unwrap_or_default();
    match traced.usual.is_some() {
        true => eprintln!("Next: decalog replay {}; decalog why {model}", found.id),
        false => eprintln!(
            "Next: decalog why prediction {}; decalog lineage {plain}@{}",
            found.id, found.version
        ),
    }
}

fn answer(found: &Found, row: Option<&Row>) -> String {
    let mut text = format!("{} by {} in {}", found.status, found.version, found.environment);
    for name in ["code", "error"] {
        if let Some(said) = row.and_then(|row| row.get(name)).filter(|said| !said.is_null()) {
            text += &format!(", {}", cell(said));
        }
    }
    text
}

fn release(Release { how, percent, replaced_ms, release }: &Release) -> String {
    let Some(release) = release else {
        return "none: it was asked for by its number, or had no traffic by then".into();
    };
    let LineageRelease { environment, by, deployment, at_ms, live_ms, .. } = release;
    let asked = format!("asked for by {} (deployment {})", one_line(by), deployment.0);
    let live = live_ms.map_or(String::new(), show::time);
    let percent = percent.unwrap_or(0);
    match *how {
        "part" => format!("{percent}% of {environment} from {}, {asked}", show::time(*at_ms)),
        "copy" => format!("copies of {percent}% of {environment}, {asked}"),
        "replaced" => {
            let until = replaced_ms.map_or(String::new(), show::time);
            format!("live in {environment} from {live} to {until}, {asked}")
        }
        _ => format!("live in {environment} since {live}, {asked}"),
    }
}

/// Where its time went, and with whom it was in a batch.
fn request(row: &Row) -> String {
    let number = |name: &str| row.get(name).and_then(Value::as_u64).unwrap_or(0);
    let ms = |name: &str| number(name) as f64 / 1_000.0;
    let (total, queue, worker) = (ms("total_us"), ms("queue_us"), ms("worker_us"));
    let mut text =
        format!("{total:.1} ms, of them {queue:.1} waiting and {worker:.1} in the model");
    if number("batch_rows") > 0 {
        let place = number("batch_offset") + number("row") + 1;
        text += &format!("; row {place} of a batch of {}", number("batch_rows"));
    }
    for (name, says) in [("replica", "replica"), ("principal", "asked by"), ("trace", "trace")] {
        if let Some(value) = row.get(name).filter(|value| !value.is_null()) {
            text += &format!("; {says} {}", cell(value));
        }
    }
    text
}

/// What of it few others have, in whole sentences.
fn unusual(usual: &Usual) -> Vec<String> {
    let mut said = vec![];
    let times = [
        ("total_us", "it took"),
        ("queue_us", "it waited"),
        ("worker_us", "it was in the model for"),
    ];
    let of = |column: &str| usual.times.iter().find(|time| time.column == column);
    let whole = of("total_us").map_or(0.0, Standing::number);
    for (column, says) in times {
        let Some(time) = of(column).filter(|time| time.is_part_of(whole)) else { continue };
        let ms = |us: f64| figure(us / 1_000.0, Unit::Milliseconds);
        said.push(format!(
            "{says} {}, longer than {} of {:.0} requests within {} minutes; usual {}",
            ms(time.number()),
            part(time.below),
            time.others,
            usual::AROUND_MINUTES,
            ms(time.median.unwrap_or(0.0)),
        ));
    }
    if let Some(batch) = of("batch_rows").filter(|batch| batch.is_much()) {
        let usual = batch.median.unwrap_or(0.0);
        said.push(format!("its batch had {} rows; usual {usual:.0}", batch.value));
    }
    let unusual = usual.values.iter().filter(|value| value.is_unusual());
    said.extend(unusual.map(value_line));
    let compared = usual.values.first().or(usual.times.first());
    let others = compared.map_or(0.0, |standing| standing.others);
    if said.is_empty() {
        said.push(match others < usual::OTHERS_MIN {
            true => format!("not known: there are only {others:.0} others to compare it with"),
            false => format!("nothing, among {others:.0} others"),
        });
    }
    said
}

fn value_line(value: &Standing) -> String {
    let name = match value.column.split_once('.') {
        Some(("in", name)) => format!("input {}", one_line(name)),
        Some((_, "output")) => "output".into(),
        Some((_, name)) => format!("output {}", one_line(name)),
        None => one_line(&value.column).into_owned(),
    };
    let shown = match &value.value {
        Value::Null => "missing".to_string(),
        value => one_line(&value.to_string()).into_owned(),
    };
    let others = format!("the {:.0} of {} hours before", value.others, usual::BEFORE_HOURS);
    match (value.below, value.above, value.median) {
        (Some(below), Some(above), Some(median)) => {
            let (side, part) = match above <= below {
                true => ("above", part(Some(below))),
                false => ("below", part(Some(above))),
            };
            format!("{name} {shown} is {side} {part} of {others}; usual {}", short(median))
        }
        _ => format!("{name} {shown}: {} of {others} had it", part(Some(value.same))),
    }
}

/// A number with as many digits as help.
fn short(number: f64) -> String {
    match number.abs() {
        1_000.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        1.0.. => format!("{number:.2}"),
        0.0 => "0".into(),
        _ => format!("{number:.3}"),
    }
}

/// A part of the others. All of them is only said if it was all.
fn part(part: Option<f64>) -> String {
    match part.unwrap_or(0.0) {
        part if part <= 0.0 => "none".into(),
        part if part >= 1.0 => "all".into(),
        part => format!("{}%", (part * 1_000.0).clamp(1.0, 999.0).round() / 10.0),
    }
}

/// A request like this one: what it was answered, and how it differs.
fn near_line(near: &Near) -> String {
    let of = |prefix: &str| {
        let values = near.values.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix)?;
            Some(format!("{} {}", one_line(name), one_line(&value.to_string())))
        });
        values.collect::<Vec<String>>().join(", ")
    };
    let truth = near.truth.as_ref().map_or(String::new(), |truth| format!(", truth {truth}"));
    format!(
        "{}{truth} by {} for {}; {:.2} apart: {}",
        of("out."),
        near.version,
        of("in."),
        near.apart,
        near.id
    )
}

fn values(row: &Row, prefix: &str, beside: impl Fn(&str) -> String) -> String {
    let shown = row.0.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(prefix).filter(|name| !name.contains(':'))?;
        let value = match value {
            Value::Null => "missing".to_string(),
            value => value.to_string(),
        };
        Some(format!("{} {}{}", one_line(name), one_line(&value), beside(name)))
    });
    let shown: Vec<String> = shown.collect();
    match row.get("payload").and_then(Value::as_str) {
        Some(payload) if payload != "whole" => format!("not kept ({})", one_line(payload)),
        _ if shown.is_empty() => "nothing".into(),
        _ => shown.join(" · "),
    }
}

fn rarity(traced: &Traced, row: usize, column: &str) -> String {
    let found = traced.rare.iter().find(|rare| rare.row == row && rare.column == column);
    found.map_or(String::new(), |rare| {
        format!(" ({:.1}% in {})", rare.share * 100.0, one_line(&rare.reference))
    })
}

fn truth(traced: &Traced, row: u64) -> Option<String> {
    let of_row = traced.truth.rows.iter().find(|known| known.row.map(u64::from) == Some(row));
    let known = of_row.or(traced.truth.key.as_ref())?;
    let value = match &known.truth {
        Outcome::Text(text) => one_line(text).into_owned(),
        other => serde_json::to_value(other).map(|value| value.to_string()).unwrap_or_default(),
    };
    let by = if of_row.is_some() { "" } else { ", said of its key" };
    Some(format!("{value}, since {}{by}", show::time(known.at_ms)))
}

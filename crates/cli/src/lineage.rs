//! `decalog lineage`: where a model's versions come from and where they went, for people, for
//! Graphviz, for OpenLineage, and as a bill of materials.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::lineage::{EdgeKind, LineageRelease, LineageVersion};
use domain::reference::Selector;
use domain::{Code, Lineage, Problem, Reference};

use crate::Failure;
use crate::args::LineageOptions;
use crate::client::Client;
use crate::duration::milliseconds;
use crate::layout::wrapped;
use crate::provenance;
use crate::show::{self, path_of, reference};
use crate::terminal::{one_line, print_json, width};

mod bom;
mod dot;
mod openlineage;

/// Other versions and releases that are shown.
const SHOWN_MAX: usize = 10;
/// Where texts begin, in columns.
const INDENT: usize = 15;

/// Runs the verb.
pub fn run(client: &Client, options: &LineageOptions, as_json: bool) -> Result<(), Failure> {
    let reference = reference(&options.model)?;
    let now_ms = now_ms();
    let from_ms = now_ms.saturating_sub(milliseconds(&options.since)?);
    let path = path_of(&reference);
    let lineage: Lineage = client.get(&format!("{path}/lineage?from_ms={from_ms}"))?;
    if as_json {
        print_json(&lineage);
        return Ok(());
    }
    if options.dot {
        println!("{}", dot::of(&lineage).trim_end());
        return Ok(());
    }
    if let Some(to) = &options.openlineage {
        let events = openlineage::of(&lineage, client.url(), now_ms);
        return openlineage::send(&events, to);
    }
    let version = chosen(&lineage, &reference)?;
    if let Some(file) = &options.bom {
        let model: control::view::ModelView = client.get(&path)?;
        let text = bom::of(&lineage, version, &model, now_ms);
        return write(file, &text);
    }
    tell(&lineage, version);
    Ok(())
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time as these formats have it: RFC 3339, in UTC.
fn rfc3339(at_ms: u64) -> String {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(at_ms).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| {
        let text = format!("{} cannot be written: {error}", file.display());
        Problem::new(Code::Failed, text).help("name a file in a directory that you may write")
    })?;
    eprintln!("{}: {}", file.display(), crate::terminal::bytes(text.len() as u64));
    Ok(())
}

/// The version that is meant: the one that is named, else what is live, else the newest.
fn chosen<'l>(lineage: &'l Lineage, of: &Reference) -> Result<&'l LineageVersion, Problem> {
    let environment = of.environment();
    let found = match &of.selector {
        Some(Selector::Number(number)) => lineage.version(*number),
        Some(Selector::Digest(digits)) => {
            lineage.versions.iter().find(|version| version.digest.begins_with(digits))
        }
        None => {
            let live = lineage.versions.iter().find(|known| known.live.contains(&environment));
            live.or_else(|| lineage.versions.iter().find(|version| !version.is_removed))
        }
    };
    found.ok_or_else(|| {
        let text = format!("`{}` has no such version", lineage.model);
        Problem::new(Code::NoSuchVersion, text).help(format!("decalog show {}", lineage.model))
    })
}

/// Prints what is about a version first, then the others.
fn tell(lineage: &Lineage, version: &LineageVersion) {
    let columns = width();
    let print = |line: String, indent: usize| println!("{}", wrapped(&line, indent, columns));
    let say = |title: &str, text: String| print(format!("  {title:<12} {text}"), INDENT);
    println!("{}/{}", lineage.project, lineage.model);
    let live: Vec<&str> = version.live.iter().map(|environment| environment.as_str()).collect();
    let live = match (version.is_removed, live.is_empty()) {
        (true, _) => "; removed".to_string(),
        (false, true) => String::new(),
        (false, false) => format!("; live in {}", live.join(", ")),
    };
    let by = one_line(&version.by);
    let (digest, pushed) = (version.digest.short(), show::time(version.at_ms));
    say(&version.version.to_string(), format!("{digest}, pushed {pushed} by {by}{live}"));
    provenance::lines(&version.provenance).into_iter().for_each(|(title, text)| say(title, text));
    if let Some(set) = &version.provenance.reference {
        say("reference", provenance::line_of_data(set));
    }
    let lock = lineage.packages.iter().find(|packages| Some(packages.digest) == version.lock);
    if let Some(lock) = lock {
        let text = format!(
            "Python {}, {} packages, lock {}",
            lock.python,
            lock.packages.len(),
            lock.digest.short()
        );
        say("packages", text);
    }
    for (title, is) in [
        ("same data", EdgeKind::Trained),
        ("same code", EdgeKind::Made),
        ("same lock", EdgeKind::Runs),
    ] {
        let others = sharing(lineage, version, is);
        if !others.is_empty() {
            say(title, others.join(", "));
        }
    }
    let since = lineage.requests_from_ms.map_or(String::new(), show::time);
    for asked in lineage.requests.iter().filter(|asked| asked.version == version.version) {
        let text = format!(
            "{} in {} since {since}, {} failed",
            asked.count, asked.environment, asked.failed
        );
        say("requests", text);
    }
    if !lineage.releases.is_empty() {
        println!("  releases");
    }
    lineage.releases.iter().take(SHOWN_MAX).for_each(|of| print(line_of_release(of), 6));
    left_out(lineage.releases.len(), lineage.releases_left_out);
    let others = || lineage.versions.iter().filter(|other| other.id != version.id);
    if others().count() > 0 {
        println!("  other versions");
    }
    others().take(SHOWN_MAX).for_each(|other| print(line_of_version(lineage, other), 9));
    left_out(others().count(), lineage.versions_left_out);
}

fn left_out(count: usize, before: u64) {
    let more = count.saturating_sub(SHOWN_MAX) as u64 + before;
    if more > 0 {
        println!("    and {more} more: --json has them");
    }
}

/// Other versions to which the same things lead.
fn sharing(lineage: &Lineage, version: &LineageVersion, is: EdgeKind) -> Vec<String> {
    let own: Vec<&str> = (lineage.to(&version.id).filter(|edge| edge.is == is))
        .map(|edge| edge.from.as_str())
        .collect();
    let shares = |other: &&LineageVersion| {
        other.id != version.id
            && lineage.to(&other.id).any(|edge| edge.is == is && own.contains(&edge.from.as_str()))
    };
    let mut names: Vec<String> = (lineage.versions.iter().filter(shares))
        .map(|other| other.version.to_string())
        .take(SHOWN_MAX + 1)
        .collect();
    if names.len() > SHOWN_MAX {
        names[SHOWN_MAX] = "…".into();
    }
    names
}

fn line_of_release(release: &LineageRelease) -> String {
    let from = release.previous.as_ref().map_or(String::new(), |from| format!("{from} → "));
    let parts = release
        .parts
        .iter()
        .map(|part| format!("{}{}%", if part.is_shadow { "shadow " } else { "" }, part.percent));
    let mut steps: Vec<String> = parts.collect();
    if let Some(live_ms) = release.live_ms {
        steps.push(format!("live {}", show::time(live_ms)));
    }
    if let Some(at) = &release.ended_at {
        steps.push(format!("ended at {at}"));
    }
    format!(
        "    {}  {from}{} in {} by {}: {}",
        show::time(release.at_ms),
        release.version,
        release.environment,
        one_line(&release.by),
        steps.join(", ")
    )
}

fn line_of_version(lineage: &Lineage, version: &LineageVersion) -> String {
    let code = provenance::code(&version.provenance).unwrap_or_else(|| "code not known".into());
    let data: Vec<&str> =
        version.provenance.data.iter().map(|set| set.name.as_str()).take(3).collect();
    let data = match data.is_empty() {
        true => String::new(),
        false => format!("; data {}", one_line(&data.join(", "))),
    };
    let asked = lineage.requests.iter().filter(|asked| asked.version == version.version);
    let asked: u64 = asked.map(|asked| asked.count).sum();
    let asked = if asked > 0 { format!("; {asked} requests") } else { String::new() };
    let removed = if version.is_removed { "; removed" } else { "" };
    format!(
        "    {:<4} {}  {} by {}; {code}{data}{asked}{removed}",
        version.version.to_string(),
        version.digest.short(),
        show::time(version.at_ms),
        one_line(&version.by)
    )
}

//! What `decalog diff` prints.

use domain::quality::QualityNumber;
use policy::paired::{Cell, Estimate, OutputCompared, OutputKind};
use server::{ChangeKind, Compared, FileChanged};

use super::brief::words;
use super::service::Service;
use super::{Changed, Diff};
use crate::answers::{figure, percent, signed};
use crate::judged::label;
use crate::layout::{Column, cut, list, wrapped};
use crate::quality::with_interval;
use crate::show::time;
use crate::terminal::{bytes, one_line, width};

/// Where texts begin, in columns.
const INDENT: usize = 10;
/// Files, packages and the like that are listed of a part.
const LISTED_MAX: usize = 12;
/// Lines of code where standard output is not a terminal are cut here.
const LINE_CHARS_MAX: usize = 200;

/// Prints all of it.
pub fn print(diff: &Diff, lines_max: usize) {
    let (before, after) = (&diff.before, &diff.after);
    say("", &format!("{} {} → {}", diff.model, before.version, after.version));
    for version in [before, after] {
        let author = match version.provenance.author.as_str() {
            "" => "–",
            author => author,
        };
        let text = format!("{}, {author}, {}", version.digest.short(), time(version.at_ms));
        say(&version.version, &text);
    }
    part("made by", &diff.difference.facts);
    code(diff, lines_max);
    part("packages", &diff.difference.packages);
    let columns = |name: &str, changed: &Option<Vec<Changed>>| match changed {
        Some(changed) => part(name, changed),
        None => say(name, "not known of both: they are read when a version is first deployed"),
    };
    columns("inputs", &diff.difference.inputs);
    columns("outputs", &diff.difference.outputs);
    let manifest = diff.difference.changes.manifest.iter().map(|changed| Changed {
        name: changed.key.clone(),
        before: Some(&changed.before).filter(|it| !it.is_null()).map(ToString::to_string),
        after: Some(&changed.after).filter(|it| !it.is_null()).map(ToString::to_string),
    });
    part("manifest", &manifest.collect::<Vec<_>>());
    part("data", &diff.difference.data);
    part("metrics", &diff.difference.metrics);
    service(&diff.service, &before.version, &after.version);
    if let Some(asked) = &diff.replay {
        replay(asked, &before.version, &after.version);
    }
    for (at, command) in diff.next.iter().enumerate() {
        println!("{} {command}", if at == 0 { "Next:" } else { "     " });
    }
}

/// A line that begins with what it is of.
fn say(part: &str, text: &str) {
    let line = match part {
        "" => text.to_string(),
        part => format!("{part:<width$}{}", one_line(text), width = INDENT),
    };
    println!("{}", wrapped(&line, INDENT, width()));
}

fn part(name: &str, changed: &[Changed]) {
    if changed.is_empty() {
        // What made a version is said only where it differs.
        if name != "made by" {
            say(name, "the same");
        }
        return;
    }
    for (at, changed) in changed.iter().take(LISTED_MAX).enumerate() {
        say(if at == 0 { name } else { " " }, &words(changed));
    }
    if changed.len() > LISTED_MAX {
        say(" ", &format!("… and {} more: --json has them all", changed.len() - LISTED_MAX));
    }
}

fn code(diff: &Diff, lines_max: usize) {
    let changes = &diff.difference.changes;
    if changes.files.is_empty() {
        say("files", "the same");
        return;
    }
    for (at, file) in changes.files.iter().take(LISTED_MAX).enumerate() {
        say(if at == 0 { "files" } else { " " }, &file_line(file));
    }
    let more = changes.files_changed.saturating_sub(LISTED_MAX);
    if more > 0 {
        say(" ", &format!("… and {more} more: --json has them all"));
    }
    if changes.files_same > 0 {
        say(" ", &format!("{} the same", changes.files_same));
    }
    let mut left = lines_max;
    let wide = width().unwrap_or(LINE_CHARS_MAX);
    for file in &changes.files {
        let Some(text) = &file.lines else { continue };
        let all = text.lines().count();
        for line in text.lines().take(left) {
            println!("{}", cut(&one_line(line).replace("\\t", "    "), wide));
        }
        let out = all.saturating_sub(left) + file.lines_left_out;
        left = left.saturating_sub(all);
        if out > 0 {
            println!("… {out} more lines of {}: --lines", file.path);
        }
    }
}

fn file_line(file: &FileChanged) -> String {
    let size = |size: Option<u64>| bytes(size.unwrap_or(0));
    let why = match &file.no_lines {
        Some(why) => format!(" ({why})"),
        None => String::new(),
    };
    let path = &file.path;
    match file.change {
        ChangeKind::Added => format!("+ {path}, {}{why}", size(file.bytes_after)),
        ChangeKind::Removed => format!("− {path}, {}{why}", size(file.bytes_before)),
        ChangeKind::Changed if file.bytes_before == file.bytes_after => {
            format!("~ {path}, {}{why}", size(file.bytes_after))
        }
        ChangeKind::Changed => {
            format!("~ {path}, {} → {}{why}", size(file.bytes_before), size(file.bytes_after))
        }
    }
}

fn service(service: &Service, before: &str, after: &str) {
    if !service.is_any() {
        say("service", &format!("neither had a request in the last {}", service.since));
        return;
    }
    say("service", &format!("in the last {}", service.since));
    let (a, b) = (&service.before, &service.after);
    let mut rows: Vec<[String; 3]> = vec![];
    let mut row = |name: &str, a: String, b: String| rows.push([name.into(), a, b]);
    row("requests", a.requests.to_string(), b.requests.to_string());
    let failed = |of: Option<Estimate>| {
        of.map_or("–".into(), |of| {
            format!("{} [{}, {}]", percent(of.value), percent(of.low), percent(of.high))
        })
    };
    row("failed", failed(a.failed), failed(b.failed));
    let ms = |of: Option<f64>| of.map_or("–".into(), |ms| format!("{} ms", figure(ms)));
    row("p50", ms(a.p50_ms), ms(b.p50_ms));
    row("p99", ms(a.p99_ms), ms(b.p99_ms));
    let mut outputs: Vec<&String> = a.means.iter().chain(&b.means).map(|(name, _)| name).collect();
    outputs.sort();
    outputs.dedup();
    for output in outputs {
        let of = |means: &[(String, f64)]| {
            let mean = means.iter().find(|(name, _)| name == output);
            mean.map_or("–".into(), |(_, mean)| figure(*mean))
        };
        row(&format!("mean of {output}"), of(&a.means), of(&b.means));
    }
    let mut metrics: Vec<_> = a.quality.iter().chain(&b.quality).map(|it| it.metric).collect();
    metrics.sort();
    metrics.dedup();
    for metric in metrics {
        let of = |numbers: &[QualityNumber]| {
            let number = numbers.iter().find(|number| number.metric == metric);
            number.map_or("–".into(), with_interval)
        };
        row(label(metric), of(&a.quality), of(&b.quality));
    }
    table(["", before, after], rows);
}

fn replay(asked: &Compared, before: &str, after: &str) {
    say("replay", &format!("{} requests, {} rows answered by both", asked.requests, asked.rows));
    let same = asked.agreeing;
    let interval = format!("[{}, {}]", percent(same.low), percent(same.high));
    say(" ", &format!("{} the same {interval}", percent(same.value)));
    for (version, failed) in [(before, &asked.failed_before), (after, &asked.failed_after)] {
        if let Some(why) = &failed.why {
            let why = cut(why, LINE_CHARS_MAX);
            say(" ", &format!("{version} fails on {} rows: {why}", failed.rows));
        }
    }
    let rows = asked.outputs.iter().take(LISTED_MAX).map(output_row).collect();
    table(["OUTPUT", "ROWS THAT DIFFER", "MEAN DIFFERENCE"], rows);
    for quality in &asked.quality {
        let difference = quality.difference;
        let mcnemar = quality.mcnemar.map_or(String::new(), |test| {
            format!(
                "; right alone: {} : {}, p = {}",
                test.only_before,
                test.only_after,
                figure(test.p)
            )
        });
        say(
            " ",
            &format!(
                "{} {} → {}: {} [{}, {}]{mcnemar}",
                label(quality.metric),
                figure(quality.before),
                figure(quality.after),
                signed(difference.value),
                signed(difference.low),
                signed(difference.high)
            ),
        );
    }
    if let Some(ratio) = asked.latency {
        say(
            " ",
            &format!(
                "a call takes {} times as long [{}, {}]",
                figure(ratio.value),
                figure(ratio.low),
                figure(ratio.high)
            ),
        );
    }
    for (at, worst) in asked.worst.iter().enumerate() {
        let row = if worst.row > 0 { format!(" row {}", worst.row) } else { String::new() };
        let text = format!(
            "{}{row}  {} {} → {}",
            worst.id,
            worst.output,
            cell(&worst.before),
            cell(&worst.after)
        );
        say(if at == 0 { "worst" } else { " " }, &text);
    }
}

fn output_row(output: &OutputCompared) -> [String; 3] {
    let share = output.differing_share;
    let rounding = match output.rounding {
        0 => String::new(),
        count => format!(", {count} by rounding"),
    };
    let mean = match (output.kind, output.mean_difference) {
        (OutputKind::Number, Some(mean)) => {
            format!("{} [{}, {}]", signed(mean.value), signed(mean.low), signed(mean.high))
        }
        _ => "–".into(),
    };
    let differing = format!(
        "{} [{}, {}]{rounding}",
        percent(share.value),
        percent(share.low),
        percent(share.high)
    );
    [output.output.clone(), differing, mean]
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Number(number) => figure(*number),
        Cell::Label(label) => cut(&one_line(label), 30).into_owned(),
        Cell::Missing => "–".into(),
    }
}

/// Three columns, indented.
fn table(titles: [&str; 3], rows: Vec<[String; 3]>) {
    const COLUMNS: [Column; 3] =
        [Column::words("").down_to(8), Column::words("").down_to(8), Column::words("").down_to(8)];
    let mut cells = vec![titles.map(String::from).to_vec()];
    cells.extend(rows.into_iter().map(|row| row.to_vec()));
    let wide = width().map(|width| width.saturating_sub(2));
    for line in list(&COLUMNS, &cells, &[], wide).into_iter().skip(1) {
        println!("  {line}");
    }
}

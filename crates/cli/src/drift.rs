//! `decalog drift`: how inputs and outputs compare with what is usual.

use domain::drift::{DriftMethod, DriftNumber};
use domain::{Code, Problem};
use monitor::drift::{BinShare, ModelDrift, SeriesDrift};

use crate::Failure;
use crate::args::DriftOptions;
use crate::client::Client;
use crate::layout::{Column, list, wrapped};
use crate::show::{path_of, reference};
use crate::terminal::{print_json, width};

const COLUMNS: [Column; 5] = [
    Column::words("COLUMN").down_to(12),
    Column::words("NOW AGAINST USUAL").down_to(24),
    Column::figures("PSI"),
    Column::words("SINCE"),
    Column::words("STATE").down_to(16),
];
/// Cells of a bar of a distribution.
const BAR: f64 = 24.0;

/// Runs the verb.
pub fn run(client: &Client, options: &DriftOptions, as_json: bool) -> Result<(), Failure> {
    let of = reference(&options.model)?;
    let environment = of.environment.clone().unwrap_or_default();
    let path = format!("{}/drift?environment={environment}", path_of(&of));
    let mut drift: ModelDrift = client.get(&path)?;
    if let Some(column) = &options.column {
        let whole = drift.series.iter().filter(|series| series.slice.is_none());
        let mut known: Vec<&str> = whole.map(|series| series.column.as_str()).collect();
        known.dedup();
        let problem = no_column(column, &options.model, &known);
        let is_whole = |series: &SeriesDrift| series.column == *column && series.slice.is_none();
        drift.series.retain(|series| series.name == *column || is_whole(series));
        if drift.series.is_empty() {
            return Err(problem.into());
        }
    }
    if as_json {
        print_json(&drift);
        return Ok(());
    }
    if drift.series.is_empty() {
        println!("{}", learning(&drift));
        return Ok(());
    }
    match options.column {
        Some(_) => drift.series.iter().for_each(column),
        None => table(&drift, options.slices),
    }
    println!("{}", wrapped(&footer(&drift), 0, width()));
    Ok(())
}

fn no_column(column: &str, model: &str, known: &[&str]) -> Problem {
    let problem =
        Problem::new(Code::NoSuchColumn, format!("no column `{column}` of {model} is watched"));
    match known {
        [] => problem.help(
            "nothing is known yet: wait for a day of requests, or name a file in [data] reference",
        ),
        known => problem.help(format!("those that are: {}", known.join(", "))),
    }
}

/// Slices that are as usual are shown if they are asked for.
fn table(drift: &ModelDrift, all_slices: bool) {
    let is_shown =
        |series: &&SeriesDrift| all_slices || series.slice.is_none() || !series.changed.is_empty();
    let rows: Vec<Vec<String>> = drift.series.iter().filter(is_shown).map(row).collect();
    for line in list(&COLUMNS, &rows, &["PSI", "SINCE"], width()) {
        println!("{line}");
    }
}

fn row(series: &SeriesDrift) -> Vec<String> {
    let psi = series.numbers.iter().find(|number| number.method == DriftMethod::Psi);
    let psi = psi.and_then(|number| number.value);
    vec![
        series.name.clone(),
        most_moved(series),
        psi.map_or_else(|| "–".into(), |psi| format!("{psi:.2}")),
        series.since_ms.map_or_else(|| "–".into(), at),
        state(series),
    ]
}

/// The bin, or the kind of value, whose share moved most.
fn most_moved(series: &SeriesDrift) -> String {
    if series.rows == 0 {
        return "no rows".into();
    }
    let missing = series.missing - series.reference_missing;
    let most = series.bins.iter().max_by(|a, b| moved(a).total_cmp(&moved(b)));
    match most {
        Some(bin) if moved(bin) >= missing.abs() => {
            format!("{} {} → {}", bin.bin, percent(bin.reference), percent(bin.now))
        }
        _ => {
            let (before, now) = (percent(series.reference_missing), percent(series.missing));
            format!("missing {before} → {now}")
        }
    }
}

fn moved(bin: &BinShare) -> f64 {
    (bin.now - bin.reference).abs()
}

fn state(series: &SeriesDrift) -> String {
    if series.changed.is_empty() {
        return "usual".into();
    }
    let kinds: Vec<String> = series.changed.iter().map(|kind| kind.to_string()).collect();
    format!("notice: {}", kinds.join(", ").replace('_', " "))
}

/// One column, with its distribution.
fn column(series: &SeriesDrift) {
    println!("{}  {} · {}", series.name, series.direction, state(series));
    let widest = series.bins.iter().map(|bin| bin.bin.chars().count()).max().unwrap_or(0);
    for bin in &series.bins {
        let pad = " ".repeat(widest - bin.bin.chars().count());
        println!("  {}{pad}  usual {:>6}  {}", bin.bin, percent(bin.reference), bar(bin.reference));
        println!("  {}  now   {:>6}  {}", " ".repeat(widest), percent(bin.now), bar(bin.now));
    }
    let share = |name: &str, usual: f64, now: f64| {
        println!("  {name}: usual {}, now {}", percent(usual), percent(now));
    };
    share("missing", series.reference_missing, series.missing);
    series.unseen.iter().for_each(|now| share("in no category of the reference", 0.0, *now));
    series.out_of_range.iter().for_each(|now| share("outside the reference", 0.0, *now));
    println!("  {} rows now, {} in the reference", series.rows, series.reference_rows);
    series.numbers.iter().for_each(|number| println!("  {}", told(number)));
    if let Some((evidence, threshold)) = series.evidence.zip(series.threshold) {
        println!("  evidence {evidence:.0} of the column, {threshold:.0} over all is an alarm");
    }
}

fn told(number: &DriftNumber) -> String {
    let name = match number.method {
        DriftMethod::Psi => "PSI, less what chance adds",
        DriftMethod::KolmogorovSmirnov => "Kolmogorov–Smirnov distance",
        DriftMethod::JensenShannon => "Jensen–Shannon distance",
        DriftMethod::Wasserstein => "Wasserstein distance, in standard deviations",
    };
    let value = number.value.map_or_else(|| "too few rows".into(), |value| format!("{value:.3}"));
    format!("{name}: {value} (n = {} against {})", number.n, number.reference_n)
}

fn bar(share: f64) -> String {
    "█".repeat((share * BAR).round() as usize)
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".into(),
        percent @ 10.0.. => format!("{percent:.0}%"),
        percent @ 1.0.. => format!("{percent:.1}%"),
        percent => format!("{percent:.2}%"),
    }
}

fn learning(drift: &ModelDrift) -> String {
    let since = drift.learning_since_ms.map(at);
    format!(
        "v{} has no reference; its first day is learned{}, and compared with from then on\nNext: name a file in decalog.toml, as in [data] reference = \"train.parquet\"",
        drift.version,
        since.map_or_else(String::new, |since| format!(" since {since}")),
    )
}

/// When, by the clock of this machine.
fn at(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let local = time.unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
    local.strftime("%a %H:%M").to_string()
}

/// What the table is about.
fn footer(drift: &ModelDrift) -> String {
    let against = match &drift.reference {
        Some(file) => format!("{file} for inputs, its own first day for the rest"),
        None => "its own first day".into(),
    };
    let stage = match drift.stage.as_str() {
        "learning" => "the hours of a day are not known yet, so this only warns",
        "envelope" => "bounds are those of all hours so far",
        _ => "bounds are those of each hour of the day",
    };
    let since = drift
        .learning_since_ms
        .map_or_else(String::new, |since| format!("; the rest is learned since {}", at(since)));
    let slices = drift.series.iter().filter(|series| series.slice.is_some()).count();
    let slices = match slices {
        0 => String::new(),
        _ => format!(" {slices} outputs of slices are watched too: --slices."),
    };
    format!("v{}, the last day against {against}; {stage}{since}.{slices}", drift.version)
}

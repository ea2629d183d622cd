//! `decalog feedback`: sends what turned out to be true. `decalog quality`: how good predictions were
//! by it.

use std::fs::File;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::quality::{QualityMetric, QualityNumber, TruthKind};
use domain::{Code, EnvironmentName, Problem};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use monitor::quality::{QualityReport, QualityWindow};
use records::truth::Form;
use server::FeedbackReport;

use crate::Failure;
use crate::args::{FeedbackFormat, FeedbackOptions, QualityOptions};
use crate::client::Client;
use crate::duration::milliseconds;
use crate::layout::{Column, list, wrapped};
use crate::show::{path_of, reference};
use crate::terminal::{one_line, print_json, width};

/// An estimate is shown until so much of the truth is known.
const KNOWN_ENOUGH: f64 = 0.5;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// `decalog feedback`
pub fn feedback(client: &Client, options: FeedbackOptions, as_json: bool) -> Result<(), Failure> {
    let form = match options.format {
        Some(FeedbackFormat::Json) => Form::Json,
        Some(FeedbackFormat::Jsonl) => Form::JsonLines,
        Some(FeedbackFormat::Csv) => Form::Csv,
        Some(FeedbackFormat::Parquet) => Form::Parquet,
        None if options.file == "-" => Form::Json,
        None => Form::of_name(&options.file).ok_or_else(|| {
            let text = format!("it is not clear what {} is", options.file);
            Problem::new(Code::BadOption, text).help("--format json, jsonl, csv or parquet")
        })?,
    };
    let query: Vec<String> = [("key", &options.key), ("truth", &options.truth)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))))
        .collect();
    let path = format!("{}/feedback?{}", path_of(&reference(&options.model)?), query.join("&"));
    let report: FeedbackReport = match options.file.as_str() {
        "-" => client.post_from(&path, form.content_type(), std::io::stdin())?,
        name => {
            let file = File::open(name).map_err(|error| {
                Problem::new(Code::NoInput, format!("{name} cannot be read: {error}"))
            })?;
            client.post_from(&path, form.content_type(), file)?
        }
    };
    if as_json {
        print_json(&report);
        return Ok(());
    }
    println!("{}", summary(&report));
    for refusal in &report.refusals {
        println!("  line {}: {}", refusal.line, one_line(&refusal.error));
    }
    let more = report.refused.saturating_sub(report.refusals.len() as u64);
    if more > 0 {
        println!("  … and {more} more");
    }
    eprintln!("Next: decalog quality {}", options.model);
    Ok(())
}

/// A part of a query, as it may stand in a URL.
fn encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn summary(report: &FeedbackReport) -> String {
    let FeedbackReport { accepted, corrected, repeated, empty, unknown, refused, .. } = report;
    let mut parts = vec![format!("{accepted} taken")];
    for (count, what) in [
        (corrected, "of them correct what was known"),
        (repeated, "were known"),
        (empty, "have no truth yet"),
        (unknown, "name requests that there is no record of"),
        (refused, "cannot be understood"),
    ] {
        if *count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(" · ")
}

/// `decalog quality`
pub fn quality(client: &Client, options: QualityOptions, as_json: bool) -> Result<(), Failure> {
    let reference = reference(&options.model)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis());
    let since_ms = (since as u64).saturating_sub(milliseconds(&options.since)?);
    // The hour that the time is in counts as a whole.
    let since_ms = since_ms - since_ms % HOUR_MS;
    let named = options.env.clone().or(reference.environment.as_ref().map(ToString::to_string));
    let environment =
        named.map_or(String::new(), |name| format!("&environment={}", encoded(&name)));
    let path = format!(
        "{}/quality?since_ms={since_ms}&step={}{environment}",
        path_of(&reference),
        options.by.as_str()
    );
    let report: QualityReport = client.get(&path)?;
    if as_json {
        print_json(&report);
        return Ok(());
    }
    for undecided in &report.undecided {
        let text =
            format!("{}: {}\nhelp: {}", undecided.environment, undecided.error, undecided.help);
        println!("{}", wrapped(&one_line_each(&text), 2, width()));
    }
    if report.windows.is_empty() && report.undecided.is_empty() {
        eprintln!(
            "no truth of these predictions is known yet\nNext: decalog feedback {} FILE",
            options.model
        );
    }
    for kind in [TruthKind::Class, TruthKind::Score, TruthKind::Number] {
        let windows: Vec<&QualityWindow> =
            report.windows.iter().filter(|window| window.kind == kind).collect();
        if !windows.is_empty() {
            table(kind, &windows).iter().for_each(|line| println!("{line}"));
        }
    }
    let are_estimates = report.windows.iter().any(shows_estimate);
    if are_estimates {
        println!(
            "~ is an estimate by the model's own probabilities; the truth so far agrees with it"
        );
    }
    if report.windows.iter().any(|window| window.is_estimate_trusted == Some(false)) {
        println!("Estimates are left out where the truth contradicts them.");
    }
    Ok(())
}

fn one_line_each(text: &str) -> String {
    text.lines().map(|line| one_line(line).into_owned()).collect::<Vec<_>>().join("\n")
}

fn table(kind: TruthKind, windows: &[&QualityWindow]) -> Vec<String> {
    let (titles, metrics) = match kind {
        TruthKind::Number => {
            (["MAE", "RMSE", "R²"], [QualityMetric::Mae, QualityMetric::Rmse, QualityMetric::R2])
        }
        _ => (
            ["ACCURACY", "F1", "AUC"],
            [QualityMetric::Accuracy, QualityMetric::F1, QualityMetric::Auc],
        ),
    };
    let columns = [
        Column::words("VERSION").down_to(8),
        Column::words("WINDOW").down_to(8),
        Column::words(titles[0]),
        Column::words(titles[1]),
        Column::words(titles[2]),
        Column::words("TRUTH").down_to(8),
    ];
    let row = |window: &&QualityWindow| {
        let mut cells = vec![version_of(window), time_of(window.from_ms, window.to_ms)];
        cells.extend(metrics.map(|metric| figure(window, metric)));
        cells.push(truth_of(window));
        cells
    };
    let rows: Vec<Vec<String>> = windows.iter().map(row).collect();
    list(&columns, &rows, &["F1"], width())
}

fn version_of(window: &QualityWindow) -> String {
    match window.environment == EnvironmentName::default() {
        true => window.version.clone(),
        false => format!("{}@{}", window.version, window.environment),
    }
}

/// Whether there is too little truth, and an estimate that it agrees with.
fn shows_estimate(window: &QualityWindow) -> bool {
    window.coverage < KNOWN_ENOUGH
        && window.is_estimate_trusted == Some(true)
        && !window.estimates.is_empty()
}

fn figure(window: &QualityWindow, metric: QualityMetric) -> String {
    let is_estimate = shows_estimate(window);
    let numbers = if is_estimate { &window.estimates } else { &window.numbers };
    let of_all = |number: &&QualityNumber| number.metric == metric && number.class.is_none();
    let of_any = |number: &&QualityNumber| number.metric == metric;
    let found = numbers.iter().find(of_all).or_else(|| numbers.iter().find(of_any));
    let mark = if is_estimate { "~" } else { "" };
    found.map_or_else(|| "–".into(), |number| format!("{mark}{}", with_interval(number)))
}

/// With as many digits as its interval has meaning.
pub fn with_interval(number: &QualityNumber) -> String {
    let spread = ((number.high - number.low) / 2.0).max(number.error_max).abs();
    if !spread.is_finite() || !number.value.is_finite() {
        return "–".into();
    }
    let digits = match spread {
        0.0 => 2,
        _ => (-spread.log10().floor()).clamp(0.0, 4.0) as usize,
    };
    format!("{:.digits$} ± {spread:.digits$}", number.value)
}

fn truth_of(window: &QualityWindow) -> String {
    let share = (window.coverage * 100.0).floor();
    let late = window.late_ms.map_or_else(String::new, |ms| format!(", {} late", long(ms)));
    let wrong = match window.unreadable {
        0 => String::new(),
        count => format!(", {count} unclear"),
    };
    format!("{share:.0}%{late}{wrong}")
}

/// A time in the unit that it is nearest to.
fn long(ms: u64) -> String {
    let (unit_ms, unit) = match ms {
        0..60_000 => (1_000, "s"),
        60_000..HOUR_MS => (60_000, "min"),
        HOUR_MS..172_800_000 => (HOUR_MS, "h"),
        _ => (DAY_MS, "days"),
    };
    format!("{} {unit}", (ms + unit_ms / 2) / unit_ms)
}

/// Days, or hours of a day.
fn time_of(from_ms: u64, to_ms: u64) -> String {
    let zoned = |ms: u64| {
        let time = Timestamp::from_millisecond(i64::try_from(ms).unwrap_or(0)).unwrap_or_default();
        time.to_zoned(TimeZone::system())
    };
    let (from, last) = (zoned(from_ms), zoned(to_ms.saturating_sub(1)));
    let is_short = to_ms.saturating_sub(from_ms) < DAY_MS;
    if from.date() == last.date() {
        let hours = format!(" {}–{}h", from.hour(), last.hour() + 1);
        return format!("{}{}", from.strftime("%-d %b"), if is_short { &hours } else { "" });
    }
    let begin =
        if from.month() == last.month() { from.strftime("%-d") } else { from.strftime("%-d %b") };
    format!("{begin}–{}", last.strftime("%-d %b"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_as_many_digits_as_are_known() {
        let number = |value: f64, spread: f64| QualityNumber {
            metric: QualityMetric::Accuracy,
            class: None,
            value,
            low: value - spread,
            high: value + spread,
            method: domain::quality::IntervalMethod::Wilson,
            n: 100,
            error_max: 0.0,
        };
        assert_eq!(with_interval(&number(0.8812, 0.0123)), "0.88 ± 0.01");
        assert_eq!(with_interval(&number(0.8812, 0.0023)), "0.881 ± 0.002");
        assert_eq!(with_interval(&number(1234.5, 12.3)), "1234 ± 12");
        assert_eq!(with_interval(&number(1.0, 0.0)), "1.00 ± 0.00");
        assert_eq!(with_interval(&number(f64::NAN, 0.1)), "–");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(long(3 * DAY_MS + 1), "3 days");
        assert_eq!(long(90 * 60_000), "2 h");
        assert_eq!(long(4_400), "4 s");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
    }
}

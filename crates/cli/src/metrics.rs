//! `decalog metrics`: what the values of columns were, by version, column and time.

use domain::Reference;
use domain::reference::Selector;
use server::{By, ColumnMetrics, MetricsView, RequestMetrics};

use crate::Failure;
use crate::args::{MetricsBy, MetricsOptions};
use crate::client::Client;
use crate::duration::milliseconds;
use crate::layout::{Column, list, wrapped};
use crate::show::{path_of, reference};
use crate::terminal::{one_line, print_json, width};

const COLUMNS: [Column; 10] = [
    Column::words("VERSION"),
    Column::words("COLUMN").down_to(10),
    Column::words("TIME"),
    Column::figures("COUNT"),
    Column::figures("MISSING"),
    Column::figures("MEAN"),
    Column::figures("P5"),
    Column::figures("P50"),
    Column::figures("P95"),
    Column::words("DISTINCT, TOP").down_to(12),
];
const REQUESTS: [Column; 7] = [
    Column::words("VERSION"),
    Column::words("TIME"),
    Column::figures("REQUESTS"),
    Column::figures("FAILED"),
    Column::figures("P50"),
    Column::figures("P99"),
    Column::words("ERRORS").down_to(12),
];

/// Runs the verb.
pub fn run(client: &Client, options: &MetricsOptions, as_json: bool) -> Result<(), Failure> {
    let of = reference(&options.model)?;
    let since_ms = milliseconds(&options.since)?;
    let from_ms = (control::now_ms()).saturating_sub(since_ms);
    let mut path = format!("{}/metrics?from_ms={from_ms}", path_of(&of));
    let by = match (options.by, &options.column) {
        (Some(MetricsBy::Minute), _) => Some("minute"),
        (Some(MetricsBy::Hour), _) => Some("hour"),
        (Some(MetricsBy::Day), _) => Some("day"),
        // By time only where there is one column.
        (None, Some(_)) => None,
        (None, None) => Some("all"),
    };
    path.extend(by.map(|by| format!("&by={by}")));
    path.push_str(&selected(&of));
    path.extend(options.column.as_ref().map(|column| format!("&column={}", encoded(column))));
    let view: MetricsView = client.get(&path)?;
    if as_json {
        print_json(&view);
        return Ok(());
    }
    if view.columns.is_empty() && view.requests.is_empty() {
        println!(
            "nothing in the last {}: send requests, or look further back with --since",
            options.since
        );
        return Ok(());
    }
    table(&view);
    if view.is_cut {
        let text = "There is more: name a --column, or a shorter time with --since.";
        println!("{}", wrapped(text, 0, width()));
    }
    Ok(())
}

fn selected(of: &Reference) -> String {
    let mut text = String::new();
    text.extend(of.environment.as_ref().map(|environment| format!("&environment={environment}")));
    if let Some(Selector::Number(version)) = &of.selector {
        text.push_str(&format!("&version={version}"));
    }
    text
}

/// For a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn table(view: &MetricsView) {
    let columns: Vec<Vec<String>> =
        view.columns.iter().map(|column| row(column, view.by)).collect();
    let mut left_out = vec!["P5", "P95", "DISTINCT, TOP"];
    if view.by == By::All {
        left_out.insert(0, "TIME");
    }
    let print = |columns: &[Column], rows: &[Vec<String>], left_out: &[&str]| {
        list(columns, rows, left_out, width()).iter().for_each(|line| println!("{line}"));
    };
    if !columns.is_empty() {
        print(&COLUMNS, &columns, &left_out);
    }
    if !view.requests.is_empty() {
        if !columns.is_empty() {
            println!("");
        }
        let requests: Vec<Vec<String>> =
            view.requests.iter().map(|requests| requests_row(requests, view.by)).collect();
        print(&REQUESTS, &requests, &["TIME", "ERRORS"]);
    }
}

fn time(start_ms: u64, by: By) -> String {
    let format = match by {
        By::All => return "–".into(),
        By::Day => "%Y-%m-%d",
        By::Hour | By::Minute => "%m-%d %H:%M",
    };
    let at = jiff::Timestamp::from_millisecond(i64::try_from(start_ms).unwrap_or(i64::MAX));
    at.map_or_else(|_| "–".into(), |at| at.strftime(format).to_string())
}

fn row(column: &ColumnMetrics, by: By) -> Vec<String> {
    let top: Vec<String> = column
        .top
        .iter()
        .take(3)
        .map(|top| format!("{} {}%", one_line(&top.value), percent(top.count, column.count)))
        .collect();
    let mut last: Vec<String> =
        column.distinct.iter().map(|distinct| format!("{distinct}:")).collect();
    last.push(top.join(", "));
    vec![
        column.version.clone(),
        format!("{}.{}", column.direction, one_line(&column.column)),
        time(column.start_ms, by),
        column.count.to_string(),
        column.missing.to_string(),
        figure(column.mean),
        figure(column.p5),
        figure(column.p50),
        figure(column.p95),
        last.join(" ").trim_end_matches([':', ' ']).to_string(),
    ]
}

fn requests_row(requests: &RequestMetrics, by: By) -> Vec<String> {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".into(), |ms| format!("{ms:.1} ms"));
    let errors: Vec<String> =
        requests.errors.iter().map(|(code, count)| format!("{} {count}", one_line(code))).collect();
    vec![
        requests.version.clone(),
        time(requests.start_ms, by),
        requests.count.to_string(),
        requests.failed.to_string(),
        ms(requests.p50_ms),
        ms(requests.p99_ms),
        errors.join(", "),
    ]
}

fn percent(part: u64, all: u64) -> u64 {
    (part as f64 / all.max(1) as f64 * 100.0).round() as u64
}

/// Four digits that matter.
fn figure(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".into() };
    let digits = if value == 0.0 { 0 } else { 3 - value.abs().log10().floor() as i32 };
    match digits {
        ..-5 | 8.. => format!("{value:.2e}"),
        digits => {
            let text = format!("{value:.*}", digits.max(0) as usize);
            if text.contains('.') {
                return text.trim_end_matches('0').trim_end_matches('.').to_string();
            }
            text
        }
    }
}

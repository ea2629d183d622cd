//! The two text formats of Prometheus. They differ in the names of counters' families, and only
//! OpenMetrics has units, exemplars and an end.

use std::fmt::Write;

use super::{Exemplar, Family, Histogram, Kind, Series, Value};

/// Families, one after the other. Writing to a string does not fail.
pub(super) fn encode<'a>(families: impl Iterator<Item = &'a Family>, is_open: bool) -> String {
    let mut out = String::new();
    for family in families {
        head(&mut out, family, is_open);
        let name = family.sample_name();
        for series in &family.series {
            sample(&mut out, &name, series, is_open);
        }
    }
    if is_open {
        out.push_str("# EOF\n");
    }
    out
}

fn head(out: &mut String, family: &Family, is_open: bool) {
    let sample_name = family.sample_name();
    let (name, kind) = match (family.kind, is_open) {
        (Kind::Counter, true) => (family.name, "counter"),
        (Kind::Counter, false) => (sample_name.as_str(), "counter"),
        (Kind::Info, true) => (family.name, "info"),
        (Kind::Info, false) => (sample_name.as_str(), "gauge"),
        (Kind::Gauge, _) => (family.name, "gauge"),
        (Kind::Histogram, _) => (family.name, "histogram"),
    };
    let _ = writeln!(out, "# HELP {name} {}", family.help);
    let _ = writeln!(out, "# TYPE {name} {kind}");
    if is_open && !family.unit.is_empty() {
        let _ = writeln!(out, "# UNIT {name} {}", family.unit);
    }
}

fn sample(out: &mut String, name: &str, series: &Series, is_open: bool) {
    let labels = labels(series);
    match &series.value {
        Value::Count(count, one) => {
            braced(out, name, &labels);
            let _ = write!(out, " {count}");
            end(out, one.as_ref().filter(|_| is_open));
        }
        Value::Number(number) => {
            braced(out, name, &labels);
            let _ = writeln!(out, " {}", float(*number));
        }
        Value::Histogram(histogram) => of_histogram(out, name, &labels, histogram, is_open),
    }
}

fn of_histogram(out: &mut String, name: &str, labels: &str, of: &Histogram, is_open: bool) {
    let mut up_to = 0;
    let comma = if labels.is_empty() { "" } else { "," };
    for bucket in &of.classic {
        up_to += bucket.count;
        let upper = float(bucket.upper);
        let _ = write!(out, "{name}_bucket{{{labels}{comma}le=\"{upper}\"}} {up_to}");
        end(out, bucket.exemplar.as_ref().filter(|_| is_open));
    }
    for (part, text) in [("_sum", float(of.sum)), ("_count", up_to.to_string())] {
        out.push_str(name);
        braced(out, part, labels);
        let _ = writeln!(out, " {text}");
    }
}

fn braced(out: &mut String, name: &str, labels: &str) {
    let _ = match labels {
        "" => out.write_str(name),
        _ => write!(out, "{name}{{{labels}}}"),
    };
}

fn labels(series: &Series) -> String {
    let mut out = String::new();
    for (name, value) in series.labels() {
        if !out.is_empty() {
            out.push(',');
        }
        let _ = write!(out, "{name}=\"");
        for character in value.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    out
}

/// The end of a line, with an exemplar if there is one.
fn end(out: &mut String, exemplar: Option<&Exemplar>) {
    if let Some(exemplar) = exemplar {
        let labels = exemplar.labels();
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let (seconds, ms) = (exemplar.at_ms / 1_000, exemplar.at_ms % 1_000);
        let value = float(exemplar.value);
        let _ = write!(out, " # {{{}}} {value} {seconds}.{ms:03}", labels.join(","));
    }
    out.push('\n');
}

/// A number as Prometheus itself writes it, so that a bound of a bucket is the same series however
/// it is scraped.
pub(super) fn float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    if number.is_nan() {
        return "NaN".into();
    }
    if number != 0.0 && !(1e-4..1e21).contains(&number.abs()) {
        let text = format!("{number:e}");
        let Some((digits, power)) = text.split_once('e') else { return text };
        let (sign, power) =
            power.strip_prefix('-').map_or(('+', power), |positive| ('-', positive));
        return format!("{digits}e{sign}{power:0>2}");
    }
    // With a point, as OpenMetrics wants it.
    let text = number.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

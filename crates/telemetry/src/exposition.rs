//! Reads metrics as Prometheus and OpenMetrics write them in text. What is not understood is passed
//! over.

/// Metrics of the same name.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Family {
    /// Without `_total`.
    pub name: String,
    /// What it measures.
    pub help: String,
    /// Such as `seconds`; empty if it has none.
    pub unit: String,
    /// `counter`, `gauge`, `histogram`, …
    pub kind: String,
    /// In the order of the text.
    pub samples: Vec<Sample>,
}

/// One value.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// What follows the family's name: `_bucket`, `_total`, or nothing.
    pub suffix: String,
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

/// What may follow the name of a family.
const SUFFIXES: [&str; 6] = ["_total", "_bucket", "_sum", "_count", "_created", ""];

/// Reads all families of a text that have samples.
pub fn families(text: &str) -> Vec<Family> {
    let mut families: Vec<Family> = vec![];
    for line in text.lines() {
        match line.strip_prefix("# ") {
            Some(comment) => {
                let mut words = comment.splitn(3, ' ');
                let (Some(what), Some(name)) = (words.next(), words.next()) else { continue };
                let rest = words.next().unwrap_or_default();
                let name = name.strip_suffix("_total").unwrap_or(name);
                if !matches!(what, "HELP" | "TYPE" | "UNIT") {
                    continue;
                }
                if families.last().is_none_or(|family| family.name != name) {
                    families.push(Family { name: name.into(), ..Family::default() });
                }
                let Some(family) = families.last_mut() else { continue };
                match what {
                    "HELP" => family.help = rest.trim_end_matches('.').into(),
                    "TYPE" => family.kind = rest.into(),
                    _ => family.unit = rest.into(),
                }
            }
            None => {
                let Some(family) = families.last_mut() else { continue };
                family.samples.extend(sample(line, &family.name));
            }
        }
    }
    families.retain(|family| !family.samples.is_empty());
    families
}

fn sample(line: &str, family: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let suffix = line[..end].strip_prefix(family)?;
    if !SUFFIXES.contains(&suffix) {
        return None;
    }
    let (labels, rest) = match line[end..].strip_prefix('{') {
        Some(inner) => labels(inner)?,
        None => (vec![], &line[end..]),
    };
    // A time and an exemplar may follow.
    let value = rest.split_ascii_whitespace().next()?;
    Some(Sample { suffix: suffix.into(), labels, value: number(value)? })
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

type Labels = Vec<(String, String)>;

/// Labels up to the closing brace, and what follows it.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let (mut labels, mut rest) = (vec![], text);
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name.into(), value));
        rest = after;
    }
}

/// A value up to its closing quote, and what follows that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP decalog_requests Requests, by status.
# TYPE decalog_requests counter
decalog_requests_total{model="a\"b\\c\nd",status="200"} 17 # {trace_id="4bf9"} 1 1700000000
# HELP decalog_request_duration_seconds Time.
# TYPE decalog_request_duration_seconds histogram
# UNIT decalog_request_duration_seconds seconds
decalog_request_duration_seconds_sum{part="total"} 0.5
decalog_request_duration_seconds_count{part="total"} 3
decalog_request_duration_seconds_bucket{le="0.1",part="total"} 2
decalog_request_duration_seconds_bucket{le="+Inf",part="total"} 3
# TYPE decalog_empty gauge
# TYPE decalog_replicas gauge
decalog_replicas 4
# EOF
"#;

    #[test]
    fn what_prometheus_reads_is_read() {
        let families = families(TEXT);
        let names: Vec<_> =
            families.iter().map(|it| (it.name.as_str(), it.kind.as_str())).collect();
        assert_eq!(
            names,
            [
                ("decalog_requests", "counter"),
                ("decalog_request_duration_seconds", "histogram"),
                ("decalog_replicas", "gauge")
            ]
        );
        let counted = &families[0].samples[0];
        assert_eq!((counted.value, counted.labels[0].1.as_str()), (17.0, "a\"b\\c\nd"));
        assert_eq!(
            (counted.suffix.as_str(), families[0].help.as_str()),
            ("_total", "Requests, by status")
        );
        let buckets = &families[1];
        assert_eq!((buckets.unit.as_str(), buckets.samples.len()), ("seconds", 4));
        assert_eq!(buckets.samples[3].labels[0], ("le".into(), "+Inf".into()));
    }

    #[test]
    fn the_older_format_is_read_too_and_nonsense_is_passed_over() {
        let text = "# HELP x_total X\n# TYPE x_total counter\nx_total 3 1700000000\ny 1\nx_total{a=\"b} 1\nx_total{\nx_total\nx_what 1\n";
        let families = families(text);
        assert_eq!((families.len(), families[0].name.as_str()), (1, "x"));
        assert_eq!(families[0].samples.len(), 1);
    }
}

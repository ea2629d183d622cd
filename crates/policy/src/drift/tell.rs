//! What is found, as an alarm says it: one sentence with numbers, and what to run next.

use domain::alarm::{AlarmKey, AlarmKind, Confidence, Finding, Severity, quoted};
use domain::id::VersionNumber;

use super::detector::{Blamed, Found};
use super::season::Stage;
use super::share::ShareFound;

fn next(key: &AlarmKey, verb: &str) -> String {
    key.target.as_ref().map_or_else(|| "decalog alarms".into(), |target| target.command(verb))
}

/// Of columns. `bin_name` says what a bin of a column is called, as `Reference::bin_name` does.
pub fn drift_finding(
    key: &AlarmKey,
    version: Option<VersionNumber>,
    found: &Found,
    bin_name: impl Fn(&Blamed) -> String,
) -> Finding {
    let confidence = match found.stage {
        Stage::Learning => Confidence::WarnsOnly,
        Stage::Envelope | Stage::OwnHour => {
            Confidence::Evidence { value: found.value, threshold: found.threshold }
        }
    };
    let columns: Vec<String> = found.blamed.iter().map(|blamed| blamed.column.clone()).collect();
    let mut finding = Finding {
        version,
        severity: Severity::Notice,
        what: "values changed".into(),
        since_ms: found.blamed.iter().map(|blamed| blamed.since_ms).min().unwrap_or(0),
        confidence,
        size: 0.0,
        next: next(key, "drift"),
        columns,
    };
    let Some(first) = found.blamed.first() else { return finding };
    let where_to = match key.kind {
        AlarmKind::Missing => "missing".to_string(),
        AlarmKind::Unseen => "in no category of the reference".to_string(),
        AlarmKind::OutOfRange => "outside the reference".to_string(),
        _ => format!("in `{}`", bin_name(first)),
    };
    let others = match found.blamed.len() {
        1 => String::new(),
        2 => "; another column changed too".to_string(),
        more => format!("; {} other columns changed too", more - 1),
    };
    let (share, bound) = (percent(first.share), percent(first.bound));
    let column = &first.column;
    finding.what =
        format!("`{column}`: {share} of values are {where_to}, at most {bound} are usual{others}");
    finding.size = first.share;
    finding.next.push_str(&format!(" --column {}", quoted(column)));
    finding
}

/// Of what runs the model. `unit` says what is counted for a kind that needs it, such as the limit
/// that requests are slower than: `15 ms`; of losses, what a share is of: `of predictions are wrong`.
pub fn share_finding(
    key: &AlarmKey,
    version: Option<VersionNumber>,
    found: &ShareFound,
    unit: &str,
) -> Finding {
    let (share, bound) = (percent(found.share), percent(found.bound));
    let (severity, what, verb) = match key.kind {
        AlarmKind::Errors => (Severity::Alert, "of requests fail".into(), "why"),
        AlarmKind::Latency => {
            (Severity::Alert, format!("of requests take longer than {unit}"), "why")
        }
        AlarmKind::TailLatency => {
            (Severity::Warning, format!("of requests take longer than {unit}"), "why")
        }
        AlarmKind::CrashLoop => {
            (Severity::Alert, "of minutes had a worker that ended by itself".into(), "logs")
        }
        AlarmKind::QueueGrowth => (Severity::Warning, "of the time the queue grew".into(), "why"),
        AlarmKind::RecordsLost => (Severity::Warning, "of records are lost".into(), "records"),
        AlarmKind::EstimatedQuality => (Severity::Warning, unit.into(), "quality"),
        AlarmKind::Quality => (Severity::Alert, unit.into(), "why"),
        _ => (Severity::Warning, format!("is the share of {}", key.kind), "show"),
    };
    Finding {
        version,
        severity,
        what: format!("{share} {what}, at most {bound} is usual"),
        since_ms: found.since_ms,
        confidence: Confidence::Evidence { value: found.value, threshold: found.threshold },
        size: found.share,
        columns: vec![],
        next: next(key, verb),
    }
}

/// A share to two digits or so.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        10.0.. => format!("{percent:.0}%"),
        1.0.. => format!("{percent:.1}%"),
        _ => format!("{percent:.2}%"),
    }
}

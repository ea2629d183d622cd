//! What receivers are sent: a signed webhook (Standard Webhooks), a text for Slack and those like it,
//! and alerts for Alertmanager (version 2 of its API).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::alarm::{Alarm, AlarmChange, AlarmStatus, AlarmStep, Severity, Target};
use domain::{ReceiverKind, ReceiverSecret};
use serde_json::{Value, json};

use crate::alarms::Change;

/// So many changes are sent as one text at most.
const TEXT_CHANGES_MAX: usize = 10;
/// So many alerts are sent to Alertmanager at a time.
pub const ALERTS_MAX: usize = 64;
/// The longest text of a change, in characters.
const TEXT_CHARS_MAX: usize = 280;
/// Alertmanager forgets an alert that it is not told again for so long, in milliseconds.
pub const FORGOTTEN_MS: u64 = 300_000;
/// Before the key of a webhook.
const KEY_PREFIX: &str = "whsec_";

/// One message, but for its address.
pub struct Message {
    /// Beside the type of the content.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

/// A time as RFC 3339 writes it, in UTC.
fn time(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().to_string()
}

/// A time as people read it, in UTC.
fn clock(at_ms: u64) -> String {
    time(at_ms).get(..16).unwrap_or_default().replace('T', " ")
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Alert => "alert",
    }
}

fn step(step: AlarmStep) -> &'static str {
    match step {
        AlarmStep::Opened => "opened",
        AlarmStep::Updated => "updated",
        AlarmStep::Resolved => "resolved",
        AlarmStep::Unsilenced => "unsilenced",
    }
}

/// How many of these changes go into one message, at least one if there is any.
pub fn together(kind: ReceiverKind, changes: &[Change]) -> usize {
    let Some(first) = changes.first() else { return 0 };
    let of = |change: &Change| change.change.alarm.key.target.clone();
    let count = match kind {
        ReceiverKind::Webhook => 1,
        // What befell one model at a time is one text.
        ReceiverKind::Slack => {
            let alike = changes.iter().take_while(|change| of(change) == of(first));
            alike.take(TEXT_CHANGES_MAX).count()
        }
        // Of one alarm it keeps the last: each of its steps is sent by itself.
        ReceiverKind::Alertmanager => {
            let is_new = |at: &usize| {
                let id = &changes[*at].change.alarm.id;
                !changes[..*at].iter().any(|before| before.change.alarm.id == *id)
            };
            (0..changes.len().min(ALERTS_MAX)).take_while(is_new).count()
        }
    };
    count.max(1)
}

/// The message of these changes, that [`together`] go into one; `id` is the same each time that they
/// are sent.
pub fn of_changes(
    kind: ReceiverKind,
    changes: &[Change],
    id: &str,
    secret: &ReceiverSecret,
    now_ms: u64,
) -> Message {
    let body = match kind {
        ReceiverKind::Webhook => {
            let change = changes.first().map(|change| {
                json!({
                    "type": format!("alarm.{}", step(change.change.change)),
                    "timestamp": time(change.at_ms),
                    "data": change.change,
                })
            });
            change.unwrap_or_default()
        }
        ReceiverKind::Slack => text(changes),
        ReceiverKind::Alertmanager => {
            changes.iter().map(|change| alert(&change.change.alarm, now_ms)).collect()
        }
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let headers = match kind {
        ReceiverKind::Webhook => signature(id, now_ms / 1_000, &body, secret),
        _ => vec![],
    };
    Message { headers, body }
}

/// Tells Alertmanager again what is open.
pub fn of_open(alarms: &[Alarm], now_ms: u64) -> Message {
    let alerts: Value = alarms.iter().map(|alarm| alert(alarm, now_ms)).collect();
    Message { headers: vec![], body: serde_json::to_vec(&alerts).unwrap_or_default() }
}

/// As Standard Webhooks 1.0 has it: HMAC-SHA256 over `id.timestamp.body`.
fn signature(
    id: &str,
    at_s: u64,
    body: &[u8],
    secret: &ReceiverSecret,
) -> Vec<(&'static str, String)> {
    let encoded = secret.key.strip_prefix(KEY_PREFIX).unwrap_or(&secret.key);
    let key = STANDARD.decode(encoded).unwrap_or_else(|_| encoded.as_bytes().to_vec());
    let signed = [format!("{id}.{at_s}.").as_bytes(), body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
    vec![
        ("webhook-id", id.into()),
        ("webhook-timestamp", at_s.to_string()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(tag))),
    ]
}

/// What Slack takes for markup is none.
fn plain(text: &str) -> String {
    let short: String = text.chars().take(TEXT_CHARS_MAX).collect();
    short.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn line(AlarmChange { change, alarm, .. }: &AlarmChange) -> String {
    let what = plain(&alarm.finding.what);
    let since = clock(alarm.finding.since_ms);
    match change {
        AlarmStep::Resolved => format!("*resolved*: {what} (since {since} UTC)"),
        _ => {
            let severity = severity(alarm.finding.severity);
            let next = plain(&alarm.finding.next).replace('`', "'");
            format!("*{severity}*: {what} (since {since} UTC)\n`{next}`")
        }
    }
}

fn text(changes: &[Change]) -> Value {
    let Some(first) = changes.first() else { return Value::Null };
    let lines: Vec<String> = changes.iter().map(|change| line(&change.change)).collect();
    let section =
        |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    let head = format!("*{}*", first.change.alarm.key.whose());
    // A block each: the text of one is limited.
    let blocks: Vec<Value> =
        std::iter::once(&head).chain(&lines).map(|text| section(text)).collect();
    json!({ "text": format!("{head}\n{}", lines.join("\n")), "blocks": blocks })
}

/// `DecalogTailLatency` of `tail_latency`.
fn alert_name(kind: &str) -> String {
    let words = kind.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    format!("Decalog{}", words.collect::<String>())
}

fn alert(alarm: &Alarm, now_ms: u64) -> Value {
    let (key, finding) = (&alarm.key, &alarm.finding);
    let mut labels = json!({
        "alertname": alert_name(key.kind.label()),
        "severity": severity(finding.severity),
        "kind": key.kind.label(),
    });
    if let Some(Target { model, environment }) = &key.target {
        labels["project"] = model.project.as_str().into();
        labels["model"] = model.model.as_str().into();
        labels["environment"] = environment.as_str().into();
    }
    // It takes no empty labels.
    if !key.subject.is_empty() {
        labels["subject"] = key.subject.as_str().into();
    }
    let mut annotations = json!({
        "summary": finding.what,
        "description": format!("since {}", time(finding.since_ms)),
        "next": finding.next,
        "alarm": alarm.id,
    });
    if let Some(version) = finding.version {
        annotations["version"] = version.to_string().into();
    }
    let ends_ms = match alarm.status {
        AlarmStatus::Open => now_ms.saturating_add(FORGOTTEN_MS),
        AlarmStatus::Resolved => alarm.resolved_at_ms.unwrap_or(now_ms).max(alarm.opened_at_ms),
    };
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": time(alarm.opened_at_ms),
        "endsAt": time(ends_ms),
    })
}

#[cfg(test)]
mod tests;

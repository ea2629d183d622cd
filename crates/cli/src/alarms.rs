//! `decalog alarms`, `silence`, `unsilence` and `slo`.

use domain::alarm::{Alarm, Confidence, Silence};
use domain::{Code, ModelKey, Problem, Severity};
use monitor::alarms::Change;
use monitor::slo::{SloKind, SloView};
use serde_json::{Value, json};
use server::{AlarmListed, AlarmsListed, SilencesEnded, Slos};

use crate::Failure;
use crate::args::{AlarmOptions, AlarmsVerb, SilenceOptions};
use crate::client::{Client, encoded};
use crate::duration::milliseconds;
use crate::layout::{Column, list, wrapped};
use crate::show::{path_of, reference, time};
use crate::terminal::{one_line, print_json, width};

/// Where a line of an alarm goes on below itself, in columns.
const INDENT: usize = 11;

/// Runs one of the verbs.
pub fn run(client: &Client, verb: AlarmsVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        AlarmsVerb::Alarms(options) => alarms(client, options, as_json),
        AlarmsVerb::Silence(options) => silence(client, options, as_json),
        AlarmsVerb::Unsilence { what } => unsilence(client, &what, as_json),
        AlarmsVerb::Slo { model } => slo(client, &model, as_json),
        AlarmsVerb::Alerts { verb } => crate::alerts::run(client, verb, as_json),
    }
}

/// `decalog alarms`
fn alarms(client: &Client, options: AlarmOptions, as_json: bool) -> Result<(), Failure> {
    let model = options.model.as_deref().map(reference).transpose()?;
    let of = model.map_or(String::new(), |reference| format!("&model={}", reference.model));
    let path = format!("/v1/alarms?all={}{of}", options.all);
    let listed: AlarmsListed = client.get(&path)?;
    match as_json {
        true if options.follow => {}
        true => print_json(&listed),
        false => print(&listed),
    }
    if options.follow {
        follow(client, &format!("after={}{of}", listed.next), as_json)?;
    }
    Ok(())
}

fn print(listed: &AlarmsListed) {
    let columns = width();
    let mut before: Option<&domain::AlarmKey> = None;
    for AlarmListed { alarm, silence } in &listed.open {
        let key = &alarm.key;
        if before.is_none_or(|before| before.target != key.target) {
            println!("{}", key.whose());
        }
        before = Some(key);
        let said = silence.as_ref().map_or(String::new(), silenced);
        print_alarm(alarm, severity(alarm.finding.severity), &said, columns);
    }
    if listed.open.is_empty() {
        eprintln!("no alarm is open");
    }
    if !listed.resolved.is_empty() {
        println!("over");
    }
    for alarm in &listed.resolved {
        let name = format!(" · {}", alarm.key.whose());
        print_alarm(alarm, "over", &name, columns);
    }
    for sentence in listed.undelivered.iter().chain(&listed.trouble) {
        println!("{}", wrapped(&one_line(sentence), 2, columns));
    }
}

fn print_alarm(alarm: &Alarm, word: &str, more: &str, columns: Option<usize>) {
    let finding = &alarm.finding;
    let until = alarm.resolved_at_ms.map_or(String::new(), |at| format!(" to {}", minute(at)));
    let since = minute(finding.since_ms);
    let line = format!("  {word:<7}  {} (since {since}{until})", one_line(&finding.what));
    println!("{}", wrapped(&line, INDENT, columns));
    let line = format!(
        "           {} · {} · {}{more}",
        alarm.id,
        sure(&finding.confidence),
        one_line(&finding.next)
    );
    println!("{}", wrapped(&line, INDENT, columns));
}

fn silenced(silence: &Silence) -> String {
    let why = match silence.reason.is_empty() {
        true => String::new(),
        false => format!(": {}", silence.reason),
    };
    let by = &silence.by;
    one_line(&format!(" · silenced until {} by {by}{why}", minute(silence.until_ms))).into_owned()
}

/// How sure it is, in a few words.
fn sure(confidence: &Confidence) -> String {
    match confidence {
        Confidence::Evidence { value, threshold } => {
            format!("evidence {:.1} times its threshold", value / threshold.max(f64::MIN_POSITIVE))
        }
        Confidence::EValue { value } => format!("by chance once in {value:.0}"),
        Confidence::PValue { p } => format!("by chance with p {p:.2e}"),
        Confidence::Measured => "measured".into(),
        Confidence::WarnsOnly => "the reference is too young to be sure".into(),
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Alert => "alert",
    }
}

/// The model without the project that is meant if none is named.
fn short(model: &ModelKey) -> String {
    let text = model.to_string();
    text.strip_prefix("default/").unwrap_or(&text).to_string()
}

/// Local time without year and seconds.
fn minute(at_ms: u64) -> String {
    time(at_ms).get(5..16).unwrap_or_default().to_string()
}

fn follow(client: &Client, query: &str, as_json: bool) -> Result<(), Failure> {
    for line in client.lines(&format!("/v1/alarms/changes?follow=true&{query}"))? {
        let line = line.map_err(|error| {
            Problem::new(Code::Interrupted, format!("the connection broke: {error}"))
        })?;
        match serde_json::from_str::<Change>(&line) {
            Ok(change) if !as_json => {
                let alarm = &change.change.alarm;
                let step = serde_json::to_value(change.change.change).unwrap_or_default();
                let quiet = if change.change.silenced { " (silenced)" } else { "" };
                let line = format!(
                    "{}  {}{quiet}  {}  {}: {}",
                    minute(change.at_ms),
                    step.as_str().unwrap_or_default(),
                    alarm.key.whose(),
                    severity(alarm.finding.severity),
                    one_line(&alarm.finding.what)
                );
                println!("{}", wrapped(&line, INDENT, width()));
            }
            _ => std::println!("{line}"),
        }
    }
    Ok(())
}

/// Whether it may be the beginning of an alarm's id, which is twelve hexadecimal digits.
fn is_id(text: &str) -> bool {
    (4..=12).contains(&text.len())
        && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

/// `decalog silence`
fn silence(client: &Client, options: SilenceOptions, as_json: bool) -> Result<(), Failure> {
    let SilenceOptions { what, how_long, reason } = options;
    let mut body = json!({ "for_ms": milliseconds(&how_long)?, "reason": reason });
    // A model may be called like an id: then it is written with its project.
    match is_id(&what) {
        true => body["alarm"] = what.into(),
        false => {
            let reference = reference(&what)?;
            body["model"] = reference.model.to_string().into();
            if what.contains('@') {
                body["environment"] = reference.environment().to_string().into();
            }
        }
    }
    let silence: Silence = client.post("/v1/silences", &body)?;
    if as_json {
        print_json(&silence);
        return Ok(());
    }
    let model = silence.model.as_ref().map_or("everything".into(), short);
    let what = silence.alarm.map_or(model, |id| format!("alarm {id}"));
    eprintln!("nobody is told of {what} until {}", time(silence.until_ms));
    Ok(())
}

/// `decalog unsilence`
fn unsilence(client: &Client, what: &str, as_json: bool) -> Result<(), Failure> {
    let query = match is_id(what) {
        true => format!("alarm={}", encoded(what)),
        false => format!("model={}", encoded(&reference(what)?.model.to_string())),
    };
    let ended: Value = client.delete(&format!("/v1/silences?{query}"))?;
    let ended: SilencesEnded = serde_json::from_value(ended)
        .map_err(|error| Problem::new(Code::Failed, error.to_string()))?;
    match as_json {
        true => print_json(&ended),
        false => eprintln!("{} silences ended", ended.ended),
    }
    Ok(())
}

/// `decalog slo`
fn slo(client: &Client, model: &str, as_json: bool) -> Result<(), Failure> {
    let named = reference(model)?;
    let mut slos: Slos = client.get(&format!("{}/slo", path_of(&named)))?;
    if model.contains('@') {
        slos.objectives.retain(|view| view.environment == named.environment());
    }
    if as_json {
        print_json(&slos);
        return Ok(());
    }
    if slos.objectives.is_empty() {
        eprintln!("{} has had no requests to count yet", named.model);
        return Ok(());
    }
    let columns = [
        Column::words("OBJECTIVE"),
        Column::words("ENV").down_to(8),
        Column::figures("TARGET"),
        Column::figures("BAD"),
        Column::figures("BUDGET LEFT"),
        Column::figures("BURN 1H"),
        Column::figures("BURN 6H"),
        Column::words("STATE"),
    ];
    let rows: Vec<Vec<String>> = slos.objectives.iter().map(row).collect();
    for line in list(&columns, &rows, &["BURN 6H", "BAD"], width()) {
        println!("{line}");
    }
    eprintln!("over 30 days; a burn of 1 spends the budget in just that time");
    Ok(())
}

fn row(view: &SloView) -> Vec<String> {
    let objective = match view.objective {
        SloKind::Availability => "availability",
        SloKind::Latency => "latency",
        SloKind::Records => "records",
    };
    vec![
        objective.into(),
        view.environment.to_string(),
        format!("{}%", (view.target * 1e6).round() / 1e4),
        format!("{} of {}", view.bad, view.events),
        format!("{:.1}%", view.budget_left * 100.0),
        format!("{:.1}", view.burn_rate_1h),
        format!("{:.1}", view.burn_rate_6h),
        if view.burning { "burning" } else { "" }.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_models() {
        for id in ["9f31", "0123456789ab", "beef"] {
            assert!(is_id(id), "{id}");
        }
        for model in ["churn", "9f3", "default/beef", "beef@staging", "0123456789abc", "BEEF"] {
            assert!(!is_id(model), "{model}");
        }
    }

    #[test]
    fn what_an_alarm_says_to_do_next_can_be_done() {
        use clap::Parser;
        use domain::alarm::Target;

        for verb in ["drift", "logs", "quality", "records", "show", "slo"] {
            for (model, environment) in
                [("default/churn", "production"), ("payments/fraud", "staging")]
            {
                let (model, environment) = (model.parse().unwrap(), environment.parse().unwrap());
                let command = Target { model, environment }.command(verb);
                let words = command.split(' ');
                assert!(crate::args::Arguments::try_parse_from(words).is_ok(), "{command}");
            }
        }
        let (model, environment) = ("payments/fraud".parse().unwrap(), "staging".parse().unwrap());
        let command = Target { model, environment }.command("drift");
        assert_eq!(command, "decalog drift payments/fraud@staging");
    }
}

//! `decalog why`: what a change of a number comes from.

use domain::problem::excerpt;
use domain::{Code, Problem};
use jiff::civil::Time;
use jiff::{Timestamp, ToSpan, Zoned};
use policy::why::{Outcome, Unit, Visible, figure};
use server::{WhyCause, WhyView};

use crate::args::{WhyMetric, WhyOptions};
use crate::client::{Client, encoded};
use crate::layout::wrapped;
use crate::show::{path_of, reference};
use crate::terminal::{one_line, print_json, width};
use crate::{Failure, trace};

/// Before the id of a request.
const PREDICTION: &str = "prediction";
/// Columns before what goes on in another line.
const INDENT: usize = 5;
/// What was ruled out is listed up to this many.
const RULED_OUT_MAX: usize = 8;

/// Runs the verb.
pub fn run(client: &Client, options: &WhyOptions, as_json: bool) -> Result<(), Failure> {
    if let Some(id) = &options.id {
        if options.model == PREDICTION {
            return trace::why(client, id, as_json);
        }
        let text = format!("`{}` and `{}`: one of them is too many", options.model, excerpt(id));
        let help = format!("decalog why {}, or decalog why {PREDICTION} ID", options.model);
        return Err(Problem::new(Code::BadOption, text).help(help).into());
    }
    let of = reference(&options.model)?;
    let environment = of.environment.clone().unwrap_or_default();
    let mut path = format!("{}/why?environment={environment}", path_of(&of));
    if let Some(at) = &options.at {
        let at = moment(at, &Zoned::now())?;
        path += &format!("&at={}", encoded(&at));
    }
    if let Some(metric) = options.metric {
        path += match metric {
            WhyMetric::Errors => "&metric=errors",
            WhyMetric::Latency => "&metric=latency",
            WhyMetric::Accuracy => "&metric=accuracy",
            WhyMetric::Drift => "&metric=drift",
        };
    }
    let view: WhyView = client.get(&path)?;
    if as_json {
        print_json(&view);
        return Ok(());
    }
    let columns = width();
    for (indent, line) in lines(&view, &options.model) {
        println!("{}", wrapped(&one_line(&line), indent, columns));
    }
    Ok(())
}

/// A time of day as the last moment at which it was so; other times as the server reads them.
fn moment(text: &str, now: &Zoned) -> Result<String, Problem> {
    let Ok(time) = text.parse::<Time>() else { return Ok(text.into()) };
    let wrong = |error: jiff::Error| {
        Problem::new(Code::BadOption, format!("--at {text}: {error}")).help("write 14:05, or 20m")
    };
    let mut at = now.with().time(time).build().map_err(wrong)?;
    if at > *now {
        at = at.checked_sub(1.day()).map_err(wrong)?;
    }
    Ok(at.timestamp().to_string())
}

/// What is shown, each with how far it goes in where it goes on.
fn lines(view: &WhyView, model: &str) -> Vec<(usize, String)> {
    let answer = &view.answer;
    let mut lines = vec![(2, headline(view))];
    if answer.outcome == Outcome::Nothing {
        let visible = answer.smallest_visible.as_ref().filter(|visible| visible.to > visible.from);
        lines.extend(visible.map(|visible| (2, smallest(visible))));
        lines.push((2, looked(view)));
        lines.extend(next_line(view));
        lines.push((2, format!("Next: decalog why {model} --at TIME, if it was at another time; decalog events {model}")));
        return lines;
    }
    let mut number = 0;
    for (cause, told) in answer.causes.iter().zip(&view.told) {
        number += 1;
        let share = match cause.follows_from {
            Some(of) => format!("follows from {of}"),
            None => figure(cause.share, Unit::Share),
        };
        lines.push((INDENT, format!("  {number}  {}: {share}", cause_line(told))));
        if !told.detail.is_empty() {
            lines.push((INDENT, format!("     {}", told.detail)));
        }
    }
    let mut out: Vec<&str> = vec![];
    for told in &view.told_out {
        if !out.contains(&told.as_str()) {
            out.push(told);
        }
    }
    let shown = &out[..out.len().min(RULED_OUT_MAX)];
    if !shown.is_empty() {
        let more = out.len() - shown.len();
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        lines.push((INDENT, format!("  ·  ruled out: {}{more}", shown.join(", "))));
    }
    if answer.outcome == Outcome::TooLittle {
        lines.push((2, looked(view)));
        lines.extend(next_line(view));
    }
    let mut known: Vec<&str> = vec![];
    for told in &view.told {
        if !known.contains(&told.next.command.as_str()) {
            known.push(&told.next.command);
            lines.push((2, format!("Next: {}   ({})", told.next.command, told.next.says)));
        }
    }
    lines
}

fn next_line(view: &WhyView) -> Option<(usize, String)> {
    let next = view.next.as_ref()?;
    Some((2, format!("Next: {}   ({})", next.command, next.says)))
}

fn headline(view: &WhyView) -> String {
    let answer = &view.answer;
    let at = answer.changed_at.map(|at_ms| format!(" at {}", clock(at_ms))).unwrap_or_default();
    let records = |level: &Option<policy::why::Level>| {
        level.as_ref().map_or(0.0, |level| level.records).round()
    };
    let n = match answer.outcome {
        Outcome::Explained => {
            let (after, before) = (records(&answer.after), records(&answer.before));
            let sure = match answer.p {
                Some(p) if p < 0.001 => "; beyond noise, p < 0.001".to_string(),
                Some(p) => format!("; beyond noise, p = {p:.3}"),
                None => "; an alarm says so".into(),
            };
            format!(" (n = {after} against {before}{sure})")
        }
        _ => String::new(),
    };
    format!("{}{at}{n}", view.headline)
}

fn cause_line(told: &WhyCause) -> String {
    match &told.event {
        Some(event) => format!("{}, {event}", told.title),
        None => told.title.clone(),
    }
}

fn smallest(visible: &Visible) -> String {
    let share = |share| figure(share, Unit::Share);
    let minutes = visible.for_ms / 60_000;
    format!(
        "The smallest change that would have been seen: {} from {} to {} of requests, for {minutes} min",
        visible.measure,
        share(visible.from),
        share(visible.to)
    )
}

fn looked(view: &WhyView) -> String {
    let looked = &view.looked;
    format!(
        "Looked at: {} records from {} to {}",
        looked.records,
        clock(looked.from_ms),
        clock(looked.to_ms)
    )
}

/// When, by the clock of this machine; with the day unless it is today.
fn clock(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let at = at.unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
    match at.date() == Zoned::now().date() {
        true => at.strftime("%H:%M:%S").to_string(),
        false => at.strftime("%-d %b %H:%M:%S").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_last_one() {
        let now: Zoned = "2026-11-28T01:30:00+00:00[UTC]".parse().unwrap();
        assert_eq!(moment("01:05", &now).unwrap(), "2026-11-28T01:05:00Z");
        assert_eq!(moment("23:50", &now).unwrap(), "2026-11-27T23:50:00Z");
        assert_eq!(moment("20m", &now).unwrap(), "20m");
        assert_eq!(moment("2026-11-01", &now).unwrap(), "2026-11-01");
        assert!(moment("01:05:07", &now).unwrap().ends_with("01:05:07Z"));
    }
}

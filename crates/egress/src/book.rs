//! What models reached and tried to: counts by destination, and lines of the log, of which a model
//! causes only so many. Time comes as an argument.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;

/// Over how long repetitions are summed up, in milliseconds.
const WINDOW_MS: u64 = 60_000;
/// Stands for the destinations above those that are told apart.
const OTHERS: &str = "others";

/// What became of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was made.
    Allowed,
    /// The policy or a limit did not let it be made.
    Refused,
    /// It could not be made.
    Failed,
}

/// A connection that is over.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The model that asked for it.
    pub model: String,
    /// The sandbox that it came out of.
    pub id: String,
    /// As it was asked for.
    pub destination: String,
    /// The address that it was made to; or the one that it was refused for.
    pub address: Option<IpAddr>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was refused or failed, or how it ended, if not by itself.
    pub why: String,
    /// From the model.
    pub up_bytes: u64,
    /// To the model.
    pub down_bytes: u64,
    /// From its coming to its end.
    pub duration_ms: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    time_ms: u64,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    destination: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
    /// So many connections, in the time before this line; one if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    up_bytes: u64,
    down_bytes: u64,
    duration_ms: u64,
}

/// How often a model got or did not get a connection to a destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Count {
    /// The model.
    pub model: String,
    /// As it was asked for; `others` sums up those above a limit.
    pub destination: String,
    /// What became of the connections.
    pub verdict: Verdict,
    /// How many there were.
    pub times: u64,
    /// From the model, of those that are over.
    pub up_bytes: u64,
    /// To the model, of those that are over.
    pub down_bytes: u64,
}

#[derive(Default, Clone, Debug)]
struct Sums {
    times: u64,
    up_bytes: u64,
    down_bytes: u64,
    duration_ms: u64,
    why: String,
}

impl Sums {
    fn add(&mut self, ended: &Ended) {
        self.up_bytes += ended.up_bytes;
        self.down_bytes += ended.down_bytes;
        self.duration_ms = self.duration_ms.max(ended.duration_ms);
    }
}

type Key = (String, Verdict);

#[derive(Default)]
struct Account {
    counts: BTreeMap<Key, Sums>,
    window_start_ms: u64,
    lines: u32,
    /// In this window: how many had lines of their own, and what there was beside those.
    recent: HashMap<Key, (u32, Sums)>,
}

/// The counts and the present minute of all models.
pub struct Book {
    repeats_max: u32,
    lines_max: u32,
    destinations_max: usize,
    accounts: BTreeMap<String, Account>,
}

impl Book {
    /// An empty one.
    pub fn new(limits: &Limits) -> Book {
        let Limits { repeats_max, lines_max, destinations_max, .. } = *limits;
        Book { repeats_max, lines_max, destinations_max, accounts: BTreeMap::new() }
    }

    /// Counts a connection, when it is known what becomes of it.
    pub fn count(&mut self, model: &str, destination: &str, verdict: Verdict) {
        self.sums(model, destination, verdict).times += 1;
    }

    /// Notes a connection that is over. Gives the line that it has in the log, if it has its own.
    pub fn note(&mut self, ended: &Ended, now_ms: u64) -> Option<String> {
        self.sums(&ended.model, &ended.destination, ended.verdict).add(ended);
        let account = self.accounts.entry(ended.model.clone()).or_default();
        if account.recent.is_empty() {
            account.window_start_ms = now_ms;
        }
        let is_full = account.recent.len() >= self.destinations_max;
        let mut key = (ended.destination.clone(), ended.verdict);
        if is_full && !account.recent.contains_key(&key) {
            key.0 = OTHERS.into();
        }
        let is_other = key.0 == OTHERS;
        let (own, more) = account.recent.entry(key).or_default();
        if !is_other && *own < self.repeats_max && account.lines < self.lines_max {
            *own += 1;
            account.lines += 1;
            return Some(line(&Line {
                time_ms: now_ms,
                model: &ended.model,
                id: Some(&ended.id),
                destination: &ended.destination,
                address: ended.address,
                verdict: ended.verdict,
                why: &ended.why,
                times: None,
                up_bytes: ended.up_bytes,
                down_bytes: ended.down_bytes,
                duration_ms: ended.duration_ms,
            }));
        }
        more.times += 1;
        more.add(ended);
        more.why.clone_from(&ended.why);
        None
    }

    /// The lines that sum up the minutes that are over; with `all`, also those that are not.
    pub fn sum_up(&mut self, now_ms: u64, all: bool) -> Vec<String> {
        let mut lines = vec![];
        for (model, account) in &mut self.accounts {
            if !all && now_ms < account.window_start_ms + WINDOW_MS {
                continue;
            }
            account.lines = 0;
            for ((destination, verdict), (_, more)) in account.recent.drain() {
                if more.times > 0 {
                    lines.push(line(&Line {
                        time_ms: now_ms,
                        model,
                        id: None,
                        destination: &destination,
                        address: None,
                        verdict,
                        why: &more.why,
                        times: Some(more.times),
                        up_bytes: more.up_bytes,
                        down_bytes: more.down_bytes,
                        duration_ms: more.duration_ms,
                    }));
                }
            }
        }
        lines
    }

    /// All counts, by model, destination and verdict.
    pub fn counts(&self) -> Vec<Count> {
        let of = |model: &String, (key, sums): (&Key, &Sums)| Count {
            model: model.clone(),
            destination: key.0.clone(),
            verdict: key.1,
            times: sums.times,
            up_bytes: sums.up_bytes,
            down_bytes: sums.down_bytes,
        };
        let accounts = self.accounts.iter();
        accounts
            .flat_map(|(model, account)| account.counts.iter().map(move |count| of(model, count)))
            .collect()
    }

    fn sums(&mut self, model: &str, destination: &str, verdict: Verdict) -> &mut Sums {
        let counts = &mut self.accounts.entry(model.to_string()).or_default().counts;
        let mut key = (destination.to_string(), verdict);
        if counts.len() >= self.destinations_max && !counts.contains_key(&key) {
            key.0 = OTHERS.into();
        }
        counts.entry(key).or_default()
    }
}

fn line(line: &Line<'_>) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(destination: &str) -> Ended {
        Ended {
            model: "m".into(),
            id: "r1".into(),
            destination: destination.into(),
            address: None,
            verdict: Verdict::Refused,
            why: "not named".into(),
            up_bytes: 1,
            down_bytes: 2,
            duration_ms: 3,
        }
    }

    fn read(line: &str) -> serde_json::Value {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn repetitions_are_summed_up_by_the_minute() {
        let limits = Limits { repeats_max: 2, ..Limits::default() };
        let mut book = Book::new(&limits);
        let lines: Vec<String> =
            (0..10).filter_map(|at| book.note(&ended("a:1"), 1_000 + at)).collect();
        assert_eq!(lines.len(), 2);
        let first = read(&lines[0]);
        assert_eq!((&first["id"], &first["times"]), (&"r1".into(), &serde_json::Value::Null));
        assert!(book.note(&ended("b:1"), 1_000).is_some());
        assert_eq!(book.sum_up(60_999, false), Vec::<String>::new());
        let sums = book.sum_up(61_000, false);
        assert_eq!(sums.len(), 1);
        let sum = read(&sums[0]);
        assert_eq!((&sum["times"], &sum["down_bytes"]), (&8.into(), &16.into()));
        assert_eq!(sum["why"], "not named");
        assert!(book.note(&ended("a:1"), 61_000).is_some());
    }

    #[test]
    fn a_model_causes_a_bounded_number_of_lines_and_counts() {
        let limits = Limits { lines_max: 30, destinations_max: 50, ..Limits::default() };
        let mut book = Book::new(&limits);
        let mut lines = 0;
        for at in 0..10_000 {
            let asked = format!("h{at}.example.org:443");
            book.count("m", &asked, Verdict::Refused);
            lines += book.note(&ended(&asked), 1_000).iter().len();
        }
        assert_eq!(lines, 30);
        let sums = book.sum_up(2_000, true);
        assert_eq!(sums.len(), 21);
        let times = |sums: &String| read(sums)["times"].as_u64().unwrap();
        assert_eq!(sums.iter().map(times).sum::<u64>(), 9_970);
        let counts = book.counts();
        assert_eq!(counts.len(), 51);
        assert_eq!(counts.iter().map(|count| count.times).sum::<u64>(), 10_000);
        let others = counts.iter().find(|count| count.destination == OTHERS).unwrap();
        assert_eq!((others.times, others.up_bytes), (9_950, 9_950));
    }
}

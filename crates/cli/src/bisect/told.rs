//! What `decalog bisect` prints: each try as it goes, then what was found.

use control::view::{ModelView, VersionView};
use domain::{EnvironmentName, VersionNumber};
use policy::bisect::Mark;
use policy::paired::Estimate;
use serde::Serialize;

use super::data::Data;
use super::judge::By;
use crate::Failure;
use crate::answers::{figure, signed};
use crate::client::Client;
use crate::diff::{Difference, brief};
use crate::layout::{cut, wrapped};
use crate::provenance;
use crate::show::time;
use crate::terminal::{one_line, print_json, width};

/// The longest reason on a line, in characters.
const WHY_CHARS: usize = 200;

/// An end of the search.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Good,
    Bad,
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    NoDifference,
    First(VersionNumber),
    /// One of these: all but the last could not be tried or did not tell.
    Between(VersionNumber, VersionNumber),
}

/// A version that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    version: String,
    /// `good`, `bad` or `skipped`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Estimate>,
    is_cached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_ms: Option<u64>,
}

impl Tried {
    /// Not judged yet; without a time it was remembered.
    pub fn new(number: VersionNumber, elapsed_ms: Option<u64>) -> Tried {
        let version = number.to_string();
        let is_cached = elapsed_ms.is_none();
        Tried { version, verdict: "skipped", why: None, value: None, is_cached, elapsed_ms }
    }

    /// It is passed over.
    pub fn cannot(&mut self, why: String) -> Mark {
        self.why = Some(why);
        Mark::Skipped
    }

    /// With what was found.
    pub fn marked(self, mark: Mark) -> Tried {
        let verdict = match mark {
            Mark::Good => "good",
            Mark::Bad => "bad",
            Mark::Skipped | Mark::Untried => "skipped",
        };
        Tried { verdict, ..self }
    }

    fn line(&self, mark: &str) -> String {
        let took = match self.elapsed_ms {
            Some(ms) => format!("{:.1} s", ms as f64 / 1e3),
            None => "cached".into(),
        };
        let value = self.value.map_or(String::new(), with_interval);
        let why = self.why.as_deref().map(|why| format!(": {}", cut(&one_line(why), WHY_CHARS)));
        let (version, verdict) = (&self.version, self.verdict);
        format!(
            "{mark:>4}  {version:<6} {value:<26} {verdict:<7} {took}{}",
            why.unwrap_or_default()
        )
    }
}

fn with_interval(of: Estimate) -> String {
    format!("{} [{}, {}]", figure(of.value), figure(of.low), figure(of.high))
}

/// All that is told, as it is found.
pub struct Told {
    as_json: bool,
    project: String,
    model: String,
    environment: EnvironmentName,
    data: String,
    is_recorded: bool,
    by: String,
    ends: Vec<(End, Tried)>,
    difference: Option<Estimate>,
    tries: Vec<Tried>,
    /// Versions that are gone.
    pub removed: Vec<String>,
    /// What was found.
    pub outcome: Outcome,
    /// The last version that is known to be good.
    pub last_good: Option<VersionNumber>,
    culprit: Option<(VersionView, Option<Difference>)>,
}

impl Told {
    /// Nothing yet.
    pub fn begin(
        view: &ModelView,
        environment: &EnvironmentName,
        data: &Data,
        as_json: bool,
    ) -> Told {
        Told {
            as_json,
            project: view.project.to_string(),
            model: view.name.to_string(),
            environment: environment.clone(),
            data: data.words.clone(),
            is_recorded: data.is_recorded(),
            by: String::new(),
            ends: vec![],
            difference: None,
            tries: vec![],
            removed: vec![],
            outcome: Outcome::NoDifference,
            last_good: None,
            culprit: None,
        }
    }

    fn say(&self, line: &str) {
        if !self.as_json {
            println!("{}", wrapped(line, 6, width()));
        }
    }

    /// The name of the model in commands.
    fn reference(&self) -> String {
        let model = match self.project.as_str() {
            "default" => self.model.clone(),
            project => format!("{project}/{}", self.model),
        };
        match self.environment == EnvironmentName::default() {
            true => model,
            false => format!("{model}@{}", self.environment),
        }
    }

    /// By what versions are judged.
    pub fn judged(&mut self, by: &By, good: &str) {
        self.by = by.words();
        self.say(&format!("{}: {}, asked {}", self.reference(), by.explained(good), self.data));
    }

    /// What an end was found to be.
    pub fn end_is(
        &mut self,
        end: End,
        number: VersionNumber,
        value: Option<Estimate>,
        elapsed_ms: Option<u64>,
    ) {
        let verdict = if end == End::Good { "good" } else { "bad" };
        let tried = Tried { value, verdict, ..Tried::new(number, elapsed_ms) };
        self.say(&tried.line("end"));
        self.ends.push((end, tried));
    }

    /// Something that is worth knowing of the ends.
    pub fn note(&self, text: &str) {
        self.say(&format!("      {}", cut(&one_line(text), WHY_CHARS)));
    }

    /// By how much the ends differ.
    pub fn differ(&mut self, difference: Estimate) {
        self.difference = Some(difference);
        let interval = format!(
            "{} [{}, {}], n = {}",
            signed(difference.value),
            signed(difference.low),
            signed(difference.high),
            difference.n
        );
        match difference.is_beyond_noise() {
            true => self.say(&format!("      they differ by {interval}")),
            false => {
                self.say(&format!("they do not differ beyond noise ({interval}): nothing to find"))
            }
        }
    }

    /// How many tries there will be.
    pub fn begin_tries(&mut self, tries: u32) {
        if !self.removed.is_empty() {
            self.say(&format!("      removed: {}", self.removed.join(", ")));
        }
        if tries == 0 {
            return;
        }
        self.say(&format!(
            "      {tries} {} at most, but for those passed over",
            plural(tries, "try", "tries")
        ));
    }

    /// A try has ended.
    pub fn tried(&mut self, tried: Tried) {
        self.say(&tried.line(&(self.tries.len() + 1).to_string()));
        self.tries.push(tried);
    }

    /// Finds out what the version that was found is.
    pub fn conclude(&mut self, client: &Client, view: &ModelView) -> Result<(), Failure> {
        let (Outcome::First(number) | Outcome::Between(_, number)) = self.outcome else {
            return Ok(());
        };
        let of = |number: VersionNumber| {
            let name = number.to_string();
            view.versions.iter().find(|version| version.version == name)
        };
        let Some(culprit) = of(number) else { return Ok(()) };
        let before = self.last_good.and_then(of);
        let difference = match before {
            Some(before) => Some(Difference::read(client, view, before, culprit)?),
            None => None,
        };
        self.culprit = Some((culprit.clone(), difference));
        Ok(())
    }

    /// What was found.
    pub fn end(&self, as_json: bool) {
        if as_json {
            print_json(&self.json());
            return;
        }
        let tries = self.tries.len();
        let count = format!("{tries} {} besides the ends", plural(tries as u32, "try", "tries"));
        match self.outcome {
            Outcome::NoDifference => {
                self.say("ask more rows, or other ones, if there is a difference all the same");
            }
            Outcome::First(number) => self.say(&format!("{number} is the first bad version ({count})")),
            Outcome::Between(first, last) => self.say(&format!(
                "the first bad version is one of {first} to {last}: those before {last} could not be told ({count})"
            )),
        }
        if let Some((version, difference)) = &self.culprit {
            let author = match version.provenance.author.as_str() {
                "" => String::new(),
                author => format!(" by {author}"),
            };
            self.say(&format!(
                "  {} was pushed{author} at {}",
                version.version,
                time(version.at_ms)
            ));
            if let Some(code) = provenance::code(&version.provenance) {
                self.say(&format!("  code      {code}"));
            }
            for line in difference.iter().flat_map(brief) {
                self.say(&format!("  {line}"));
            }
        }
        for (at, command) in self.next().iter().enumerate() {
            let word = if at == 0 { "Next:" } else { "     " };
            self.say(&format!("{word} {command}"));
        }
    }

    fn next(&self) -> Vec<String> {
        let (Outcome::First(number) | Outcome::Between(_, number)) = self.outcome else {
            return vec![];
        };
        let model = self.reference();
        let replay = if self.is_recorded { " --replay 1000" } else { "" };
        let before =
            self.last_good.map(|good| format!("decalog diff {model}@{good} {number}{replay}"));
        before.into_iter().chain([format!("decalog lineage {model}@{number}")]).collect()
    }

    fn json(&self) -> serde_json::Value {
        let end = |end: End| self.ends.iter().find(|(of, _)| *of == end).map(|(_, tried)| tried);
        let (outcome, first, last) = match self.outcome {
            Outcome::NoDifference => ("no_difference", None, None),
            Outcome::First(number) => ("first", Some(number), Some(number)),
            Outcome::Between(first, last) => ("between", Some(first), Some(last)),
        };
        let name = |number: Option<VersionNumber>| number.map(|number| number.to_string());
        serde_json::json!({
            "project": self.project,
            "model": self.model,
            "environment": self.environment,
            "by": self.by,
            "data": self.data,
            "good": end(End::Good),
            "bad": end(End::Bad),
            "difference": self.difference,
            "removed": self.removed,
            "tries": self.tries,
            "outcome": outcome,
            "first_bad": if outcome == "first" { name(first) } else { None },
            "between": if outcome == "between" { Some([name(first), name(last)]) } else { None },
            "last_good": name(self.last_good),
            "version": self.culprit.as_ref().map(|(version, _)| version),
            "difference_to_last_good": self.culprit.as_ref().and_then(|(_, of)| of.as_ref()),
            "next": self.next(),
        })
    }
}

fn plural(count: u32, one: &'static str, more: &'static str) -> &'static str {
    if count == 1 { one } else { more }
}

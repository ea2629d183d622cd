//! How one prediction stands among others: how long it waited and ran, what its inputs and outputs
//! are like, and which requests before it were the most like it. All of it is asked of the records,
//! by SQL.

use domain::EnvironmentName;
use serde::Serialize;
use serde_json::{Map, Value};
use server::TruthKnown;

use super::{Found, text};
use crate::Failure;
use crate::client::{Client, encoded};
use crate::rows::Row;

/// Its times are compared with those of requests so long before and after it, in minutes.
pub const AROUND_MINUTES: u32 = 15;
/// Its values are compared with those of requests so long before it, in hours.
pub const BEFORE_HOURS: u32 = 24;
/// Values of columns that are compared.
const COLUMNS_MAX: usize = 40;
/// Fewer others say nothing of what is usual.
pub const OTHERS_MIN: f64 = 30.0;
/// A number is unusual if so few others are at least as far out on its side.
const TAIL: f64 = 0.02;
/// A text is unusual if so few others have it.
const RARE: f64 = 0.02;
/// A time is long, a batch large, if it is so many times the usual one.
const MUCH_TIMES: f64 = 1.5;
/// Where it was is told of what has so much of the whole.
const PART_MIN: f64 = 0.2;
/// Requests that are listed as like it.
const NEAREST: usize = 3;
/// One number counts for so many standard deviations at most.
const APART_MAX: u32 = 3;

/// One figure of a prediction among those of others.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Standing {
    /// A column of the records, such as `queue_us` or `in.age`.
    pub column: String,
    /// What it is here.
    pub value: Value,
    /// The part of the others that is less, and that is more; of texts both are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The part of the others that has just this.
    pub same: f64,
    /// The middle of the others, of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<f64>,
    /// How far numbers spread.
    #[serde(skip)]
    spread: Option<f64>,
    /// Requests that it is compared with.
    pub others: f64,
}

impl Standing {
    /// Whether few others are like this.
    pub fn is_unusual(&self) -> bool {
        if self.others < OTHERS_MIN {
            return false;
        }
        match (self.below, self.above) {
            (Some(below), Some(above)) => {
                (above + self.same <= TAIL || below + self.same <= TAIL)
                    && self.value.as_f64() != self.median
            }
            _ => self.same <= RARE,
        }
    }

    /// Whether it is much, such as a long time. Little is nothing to explain.
    pub fn is_much(&self) -> bool {
        self.is_unusual()
            && self.above.is_some_and(|above| above + self.same <= TAIL)
            && self.number() >= MUCH_TIMES * self.median.unwrap_or(0.0)
    }

    /// Whether it is much, and a good part of so much.
    pub fn is_part_of(&self, whole: f64) -> bool {
        self.is_much() && self.number() - self.median.unwrap_or(0.0) >= PART_MIN * whole
    }

    /// The value as a number.
    pub fn number(&self) -> f64 {
        self.value.as_f64().unwrap_or(0.0)
    }
}

/// A request that was like this one.
#[derive(Clone, Debug, Serialize)]
pub struct Near {
    pub id: String,
    pub row: u64,
    pub version: String,
    /// How far apart they are: columns that differ, a number by its standard deviations.
    pub apart: f64,
    /// Its inputs and outputs.
    pub values: Map<String, Value>,
    /// What turned out to be true of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<Value>,
}

/// What is usual, and what of a prediction is not.
#[derive(Debug, Default, Serialize)]
pub struct Usual {
    pub times: Vec<Standing>,
    pub values: Vec<Standing>,
    pub nearest: Vec<Near>,
}

/// Which requests a prediction is compared with.
struct Others<'a> {
    found: &'a Found,
}

impl Others<'_> {
    fn of_model(&self) -> String {
        let Found { id, project, model, environment, .. } = self.found;
        format!(
            "project = {} and model = {} and environment = {} and not copy and id <> {}",
            text(project),
            text(model),
            text(environment.as_str()),
            text(id)
        )
    }

    fn around(&self) -> String {
        let (of, at) = (self.of_model(), text(&self.found.time));
        format!(
            "{of} and version = {} and row = 0 and time > timestamp {at} - interval \
             '{AROUND_MINUTES} minutes' and time < timestamp {at} + interval \
             '{AROUND_MINUTES} minutes'",
            text(&self.found.version)
        )
    }

    fn before(&self) -> String {
        let (of, at) = (self.of_model(), text(&self.found.time));
        format!(
            "{of} and status = 200 and payload = 'whole' and time > timestamp {at} - interval \
             '{BEFORE_HOURS} hours' and time <= timestamp {at}"
        )
    }
}

/// Looks at what others were like.
pub fn look(client: &Client, found: &Found, record: &Row) -> Result<Usual, Failure> {
    let others = Others { found };
    let named = ["total_us", "queue_us", "worker_us", "batch_rows"];
    let of = |name: &&str| Some((name.to_string(), record.get(name)?.clone()));
    let times: Vec<(String, Value)> = named.iter().filter_map(of).collect();
    let is_value =
        |name: &str| (name.starts_with("in.") || name.starts_with("out.")) && !name.contains(':');
    let values: Vec<(String, Value)> = record
        .0
        .iter()
        .filter(|(name, value)| is_value(name) && !value.is_array() && !value.is_object())
        .take(COLUMNS_MAX)
        .cloned()
        .collect();
    let times = standings(client, &times, &others.around())?;
    let values = standings(client, &values, &others.before())?;
    let nearest = nearest(client, found, &values, &others.before())?;
    Ok(Usual { times, values, nearest })
}

/// How values stand among those of others.
fn standings(
    client: &Client,
    columns: &[(String, Value)],
    others: &str,
) -> Result<Vec<Standing>, Failure> {
    if columns.is_empty() {
        return Ok(vec![]);
    }
    let told: Vec<String> =
        columns.iter().enumerate().map(|(at, (name, value))| aggregates(at, name, value)).collect();
    let sql =
        format!("select sum(weight) as others, {} from records where {others}", told.join(", "));
    let answer: Vec<Map<String, Value>> = client.sql(&sql)?;
    let answer = answer.into_iter().next().unwrap_or_default();
    let number = |name: &str| answer.get(name).and_then(Value::as_f64);
    let all = number("others").unwrap_or(0.0);
    let standing = |(at, (name, value)): (usize, &(String, Value))| {
        let part = |of: &str| number(&format!("{of}{at}")).unwrap_or(0.0) / all.max(1.0);
        let is_number = value.is_number();
        Standing {
            column: name.clone(),
            value: value.clone(),
            below: is_number.then(|| part("l")),
            above: is_number.then(|| part("g")),
            same: part("e"),
            median: if is_number { number(&format!("m{at}")) } else { None },
            spread: number(&format!("s{at}")).filter(|spread| *spread > 0.0),
            others: all,
        }
    };
    Ok(columns.iter().enumerate().map(standing).collect())
}

/// What is asked of one column.
fn aggregates(at: usize, name: &str, value: &Value) -> String {
    let column = quoted(name);
    let sum =
        |of: &str, condition: String| format!("sum(weight) filter (where {condition}) as {of}{at}");
    match literal(value) {
        None => sum("e", format!("{column} is null")),
        Some(literal) if value.is_number() => [
            sum("l", format!("{column} < {literal}")),
            sum("g", format!("{column} > {literal}")),
            sum("e", format!("{column} = {literal}")),
            format!("approx_percentile_cont(0.5) within group (order by {column}) as m{at}"),
            format!("stddev({column}) as s{at}"),
        ]
        .join(", "),
        Some(literal) => sum("e", format!("{column} = {literal}")),
    }
}

/// The requests whose inputs are the most like those of a prediction.
fn nearest(
    client: &Client,
    found: &Found,
    values: &[Standing],
    others: &str,
) -> Result<Vec<Near>, Failure> {
    let inputs: Vec<&Standing> =
        values.iter().filter(|value| value.column.starts_with("in.")).collect();
    if inputs.is_empty() {
        return Ok(vec![]);
    }
    let apart: Vec<String> = inputs.iter().map(|input| distance(input)).collect();
    let shown: Vec<String> =
        values.iter().map(|value| format!("{0} as {0}", quoted(&value.column))).collect();
    let sql = format!(
        "select id, row, version, {} as apart, {} from records where {others} \
         order by apart, id desc limit {NEAREST}",
        apart.join(" + "),
        shown.join(", ")
    );
    let answer: Vec<Map<String, Value>> = client.sql(&sql)?;
    Ok(answer.into_iter().filter_map(|row| near(client, found, row)).collect())
}

fn near(client: &Client, found: &Found, mut row: Map<String, Value>) -> Option<Near> {
    let Some(Value::String(id)) = row.remove("id") else { return None };
    let Some(Value::String(version)) = row.remove("version") else { return None };
    let number = row.remove("row")?.as_u64()?;
    let apart = row.remove("apart")?.as_f64()?;
    let truth = truth(client, found, &id, number);
    Some(Near { id, row: number, version, apart, values: row, truth })
}

/// How far a row is from a value: 0 if it is the same.
fn distance(input: &Standing) -> String {
    let column = quoted(&input.column);
    let Some(literal) = literal(&input.value) else {
        return format!("case when {column} is null then 0 else 1 end");
    };
    let Some(spread) = input.spread.filter(|_| input.value.is_number()) else {
        return format!("case when {column} = {literal} then 0 else 1 end");
    };
    let apart = format!("abs({column} - {literal}) / {spread:e}");
    format!(
        "case when {column} is null then {APART_MAX} when {apart} > {APART_MAX} then {APART_MAX} \
         else {apart} end"
    )
}

/// What turned out to be true of a row, if that is known.
fn truth(client: &Client, of: &Found, id: &str, row: u64) -> Option<Value> {
    let environment: &EnvironmentName = &of.environment;
    let path = format!(
        "/v1/projects/{}/models/{}/truth?id={}&environment={environment}",
        of.project,
        of.model,
        encoded(id)
    );
    let known: TruthKnown = client.get(&path).ok()?;
    let of_row = known.rows.iter().find(|known| known.row.map(u64::from) == Some(row));
    serde_json::to_value(&of_row?.truth).ok()
}

/// A value in SQL; `None` for none.
fn literal(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(it) => Some(text(it)),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// A column in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing(value: Value, below: Option<f64>, above: Option<f64>, same: f64) -> Standing {
        Standing {
            column: "in.age".into(),
            value,
            below,
            above,
            same,
            median: below.map(|_| 40.0),
            spread: Some(9.5),
            others: 1_000.0,
        }
    }

    #[test]
    fn what_few_others_are_like_is_unusual() {
        let number =
            |below, same: f64| standing(json!(93), Some(below), Some(1.0 - below - same), same);
        assert!(number(0.99, 0.0).is_unusual() && number(0.99, 0.0).is_much());
        assert!(number(0.0, 0.01).is_unusual() && !number(0.0, 0.01).is_much());
        // Of 1,000 ms, these 93 are little; of 200 they are not.
        assert!(!number(0.99, 0.0).is_part_of(1_000.0) && number(0.99, 0.0).is_part_of(200.0));
        // Many others have just this.
        assert!(!number(0.9, 0.1).is_unusual());
        assert!(!number(0.5, 0.0).is_unusual());
        let city = |same| standing(json!("Delft"), None, None, same);
        assert!(city(0.01).is_unusual() && !city(0.2).is_unusual());
        let few = Standing { others: 12.0, ..number(1.0, 0.0) };
        assert!(!few.is_unusual());
    }

    #[test]
    fn names_and_values_stay_what_they_are() {
        let sql = aggregates(0, "in.a\"b", &json!("x' or 1=1"));
        assert_eq!(sql, "sum(weight) filter (where \"in.a\"\"b\" = 'x'' or 1=1') as e0");
        let near = distance(&standing(json!(93), Some(0.5), Some(0.5), 0.0));
        assert!(near.contains("abs(\"in.age\" - 93) / 9.5e0"), "{near}");
        assert!(distance(&standing(Value::Null, None, None, 0.0)).contains("is null then 0"));
    }
}

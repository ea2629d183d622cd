//! One line of feedback, whatever form it comes in: whose truth it is, and what is true.

use domain::outcome::{OUTCOME_BYTES_MAX, Outcome, OutcomeError};
use domain::problem::excerpt;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{KEY_BYTES_MAX, Subject, TruthRow};

/// The most rows of a request that one line says the truth of.
pub const LIST_MAX: usize = 4_096;
/// Truth may be dated so far ahead, in milliseconds: clocks differ.
const AHEAD_MS_MAX: u64 = 86_400_000;

/// How columns are called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Naming {
    /// Columns that may have the truth, the first that has one counts.
    pub truth: Vec<String>,
    /// A column that has the values of a key, and is its name: `customer` for keys `customer=42`.
    pub key: Option<String>,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
}

/// What a line of feedback is.
#[derive(Clone, PartialEq, Debug)]
pub enum Line {
    /// What it says; several rows of one request if it has a list.
    Rows(Vec<TruthRow>),
    /// It says nothing of the truth: it is not known yet.
    Empty,
    /// It cannot be understood, because of this.
    Refused(String),
}

/// Whoever takes lines, with their numbers from 1; `false` ends the reading.
pub type Take<'a> = dyn FnMut(u64, Line) -> bool + 'a;

/// Ends a reading that cannot go on.
pub fn cut(line: u64, why: impl std::fmt::Display, take: &mut Take<'_>) {
    take(line, Line::Refused(format!("{why}; what comes after it is not read")));
}

/// What a column is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The id of a request.
    Id,
    /// Which of its rows.
    Row,
    /// A key as records have it.
    Key,
    /// The value of the key that the column names.
    KeyValue,
    /// Since when it is true.
    At,
    /// The truth, and how many other columns come before.
    Truth(usize),
}

/// Whether such columns say of what something is true, and what.
pub fn can_tell(roles: &[Option<Role>]) -> bool {
    let has = |wanted: fn(&Role) -> bool| roles.iter().flatten().any(wanted);
    has(|role| matches!(role, Role::Id | Role::Key | Role::KeyValue))
        && has(|role| matches!(role, Role::Truth(_)))
}

impl Naming {
    /// What a column is for, if for anything.
    pub fn role(&self, name: &str) -> Option<Role> {
        Some(match name {
            "id" => Role::Id,
            "row" => Role::Row,
            "key" => Role::Key,
            "at" => Role::At,
            _ if self.key.as_deref() == Some(name) => Role::KeyValue,
            _ => Role::Truth(self.truth.iter().position(|truth| truth == name)?),
        })
    }

    /// What a file must have, in words.
    pub fn needs(&self) -> String {
        let truth: Vec<String> = self.truth.iter().map(|name| format!("`{name}`")).collect();
        let key = self.key.as_deref().unwrap_or("key");
        format!("it has `id` (and `row`) or `{key}`, and {}", truth.join(" or "))
    }
}

/// A value as it came.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A value.
    Of(Outcome),
    /// Several.
    List(Vec<Cell>),
    /// What is no value, or a wrong one.
    Wrong(OutcomeError),
}

impl Cell {
    /// Of a value that may be wrong.
    pub fn new(outcome: Result<Option<Outcome>, OutcomeError>) -> Cell {
        match outcome {
            Ok(Some(outcome)) => Cell::Of(outcome),
            Ok(None) => Cell::Null,
            Err(error) => Cell::Wrong(error),
        }
    }

    fn some(&self) -> Option<&Cell> {
        Some(self).filter(|cell| **cell != Cell::Null)
    }
}

/// The cells of a line that are for something.
#[derive(Default)]
pub struct Fields {
    id: Option<Cell>,
    row: Option<Cell>,
    key: Option<Cell>,
    key_value: Option<Cell>,
    at: Option<Cell>,
    truth: Option<(usize, Cell)>,
}

impl Fields {
    /// Adds a cell.
    pub fn set(&mut self, role: Role, cell: Cell) {
        if cell == Cell::Null {
            return;
        }
        match role {
            Role::Id => self.id = Some(cell),
            Role::Row => self.row = Some(cell),
            Role::Key => self.key = Some(cell),
            Role::KeyValue => self.key_value = Some(cell),
            Role::At => self.at = Some(cell),
            Role::Truth(rank) => {
                if self.truth.as_ref().is_none_or(|(known, _)| rank < *known) {
                    self.truth = Some((rank, cell));
                }
            }
        }
    }

    /// What the line says.
    pub fn line(self, naming: &Naming) -> Line {
        self.rows(naming).unwrap_or_else(Line::Refused)
    }

    fn rows(self, naming: &Naming) -> Result<Line, String> {
        let at_ms = self.at.as_ref().map(|at| at_ms(at, naming.now_ms)).transpose()?;
        let Some((_, truth)) = &self.truth else { return Ok(Line::Empty) };
        let key = match (&self.key, &self.key_value, &naming.key) {
            (Some(key), ..) => Some(text(key, "key")?),
            (None, Some(value), Some(name)) => Some(format!("{name}={}", text(value, name)?)),
            _ => None,
        };
        let row = |subject, truth: &Cell| match truth {
            Cell::Of(Outcome::Text(text)) if text.len() > OUTCOME_BYTES_MAX => {
                Err(OutcomeError::Long.to_string())
            }
            Cell::Of(truth) => Ok(TruthRow { subject, truth: truth.clone(), at_ms }),
            Cell::Wrong(error) => Err(error.to_string()),
            Cell::Null | Cell::List(_) => Err(OutcomeError::Form.to_string()),
        };
        let rows = match (&self.id, key, truth) {
            (Some(id), None, Cell::List(truths)) => {
                let id = id_of(&text(id, "id")?)?;
                let some = truths.iter().zip(0..).filter(|(truth, _)| truth.some().is_some());
                let rows = some.map(|(truth, at)| row(Subject::Request { id, row: at }, truth));
                rows.collect::<Result<Vec<_>, _>>()?
            }
            (Some(id), None, truth) => {
                let id = id_of(&text(id, "id")?)?;
                let at = self.row.as_ref().map_or(Ok(0), row_of)?;
                vec![row(Subject::Request { id, row: at }, truth)?]
            }
            (None, Some(key), truth) => {
                if key.is_empty() || key.len() > KEY_BYTES_MAX {
                    return Err(format!("a key has from 1 to {KEY_BYTES_MAX} bytes"));
                }
                vec![row(Subject::Key(key), truth)?]
            }
            (Some(_), Some(_), _) => return Err("it has an id and a key: which is it?".into()),
            (None, None, _) => return Err("it has neither an id nor a key".into()),
        };
        Ok(if rows.is_empty() { Line::Empty } else { Line::Rows(rows) })
    }
}

fn text(cell: &Cell, name: &str) -> Result<String, String> {
    match cell {
        Cell::Of(outcome) => Ok(outcome.class().into_owned()),
        _ => Err(format!("`{name}` is neither a text nor a number")),
    }
}

fn row_of(cell: &Cell) -> Result<u32, String> {
    let number = match cell {
        Cell::Of(outcome) => outcome.number(),
        _ => None,
    };
    let whole = number.filter(|row| row.fract() == 0.0 && (0.0..4e9).contains(row));
    whole.map(|row| row as u32).ok_or_else(|| "`row` is not a whole number from 0".into())
}

/// The id of a request, as answers have it in `Decalog-Request-Id`.
pub fn id_of(text: &str) -> Result<[u8; 16], String> {
    let mut digits = text.to_string();
    digits.retain(|c| c != '-');
    let mut id = [0; 16];
    let is_read = text.len() <= 36 && hex::decode_to_slice(&digits, &mut id).is_ok();
    match is_read && id[6] >> 4 == 7 {
        true => Ok(id),
        false => Err(format!(
            "`{}` is not the id of a request: answers have it as Decalog-Request-Id",
            excerpt(text)
        )),
    }
}

/// A time: RFC 3339, a date, or milliseconds since 1970.
fn at_ms(cell: &Cell, now_ms: u64) -> Result<u64, String> {
    let wrong =
        || "`at` is not a time: write 2026-11-27T14:05:00Z, or milliseconds since 1970".to_string();
    let ms = match cell {
        Cell::Of(Outcome::Integer(ms)) => *ms,
        Cell::Of(Outcome::Text(text)) if text.parse::<i64>().is_ok() => {
            text.parse().map_err(|_| wrong())?
        }
        Cell::Of(Outcome::Text(text)) => {
            let local = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
            let time = text.parse::<Timestamp>().ok();
            time.or_else(|| Some(local()?.timestamp())).ok_or_else(wrong)?.as_millisecond()
        }
        _ => return Err(wrong()),
    };
    match u64::try_from(ms) {
        Ok(ms) if ms <= now_ms.saturating_add(AHEAD_MS_MAX) => Ok(ms),
        Ok(_) => Err("`at` is in the future".into()),
        Err(_) => Err(wrong()),
    }
}

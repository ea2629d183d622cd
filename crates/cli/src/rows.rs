//! Rows whose columns are known only when they come: read in the order of their columns, and laid
//! out for people.

use std::fmt;

use domain::{Code, Problem};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use textwrap::core::display_width;

use crate::layout::{cut, padded};
use crate::terminal::one_line;

/// The widest cell, in columns of the terminal.
const CELL_WIDTH_MAX: usize = 60;

/// A row, in the order of its columns.
pub struct Row(pub Vec<(String, Value)>);

impl Row {
    /// Of a line of JSON.
    pub fn read(line: &str) -> Result<Row, Problem> {
        let mut reader = serde_json::Deserializer::from_str(line);
        reader.deserialize_map(InOrder).map(Row).map_err(|error| {
            Problem::new(Code::Failed, format!("the server's answer is not understood: {error}"))
                .help("is it another version of Decalog?")
        })
    }

    /// The value of a column.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = vec![];
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// A value as people read it, on one line.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => one_line(text).into_owned(),
        other => other.to_string(),
    }
}

/// The lines of a table. On a terminal that is too narrow for it, each row has a line for each
/// column instead.
pub fn grid(rows: &[Row], width: Option<usize>) -> Vec<String> {
    let Some(first) = rows.first() else { return vec![] };
    let titles: Vec<String> = first.0.iter().map(|(name, _)| one_line(name).into_owned()).collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            row.0.iter().map(|(_, value)| cut(&cell(value), CELL_WIDTH_MAX).into_owned()).collect()
        })
        .collect();
    let widths: Vec<usize> = (0..titles.len())
        .map(|at| {
            let own = cells.iter().filter_map(|row| row.get(at)).map(|cell| display_width(cell));
            own.chain([display_width(&titles[at])]).max().unwrap_or(0)
        })
        .collect();
    let whole = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    if width.is_some_and(|width| whole > width) {
        return blocks(&titles, rows, width.unwrap_or(usize::MAX));
    }
    let is_figures = |at: usize| {
        rows.iter().all(|row| matches!(row.0.get(at), Some((_, Value::Number(_) | Value::Null))))
    };
    let figures: Vec<bool> = (0..titles.len()).map(is_figures).collect();
    let line = |cells: &[String]| {
        let aligned = cells.iter().enumerate().map(|(at, cell)| match figures.get(at) {
            Some(true) => {
                format!("{}{cell}", " ".repeat(widths[at].saturating_sub(display_width(cell))))
            }
            _ => padded(cell, widths.get(at).copied().unwrap_or(0)),
        });
        aligned.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    std::iter::once(line(&titles)).chain(cells.iter().map(|row| line(row))).collect()
}

fn blocks(titles: &[String], rows: &[Row], width: usize) -> Vec<String> {
    let widest = titles.iter().map(|title| display_width(title)).max().unwrap_or(0).min(width / 2);
    let mut lines = vec![];
    for (count, row) in rows.iter().enumerate() {
        if count > 0 {
            lines.push(String::new());
        }
        let own = titles.iter().zip(&row.0).filter(|(_, (_, value))| !value.is_null());
        lines.extend(own.map(|(title, (_, value))| {
            let line = format!("{}  {}", padded(&cut(title, widest), widest), cell(value));
            cut(&line, width).into_owned()
        }));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(lines: &[&str]) -> Vec<Row> {
        lines.iter().map(|line| Row::read(line).unwrap()).collect()
    }

    #[test]
    fn a_table_has_the_columns_in_their_order() {
        let rows = rows(&[r#"{"z":"Delft","a":1.5}"#, r#"{"z":null,"a":12}"#]);
        assert_eq!(grid(&rows, None), ["z        a", "Delft  1.5", "        12"]);
        assert_eq!(grid(&[], None), Vec::<String>::new());
    }

    #[test]
    fn what_is_too_wide_is_shown_row_by_row() {
        let rows =
            rows(&[r#"{"name":"a\u001b[2J\nb","other":[1,2]}"#, r#"{"name":null,"other":3}"#]);
        let lines = grid(&rows, Some(16));
        assert_eq!(lines, ["name   a\\u{1b}[…", "other  [1,2]", "", "other  3"]);
    }
}

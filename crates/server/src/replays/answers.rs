//! What versions answered, as values that can be compared. Pure.

use std::collections::BTreeSet;

use domain::outcome::Outcome;
use policy::paired::Cell;
use records::element_of;
use serde_json::{Map, Value};

/// Elements of a list that are compared one by one; a longer list is compared as a whole.
const ELEMENTS_MAX: usize = 16;

/// The outputs of a row, those of lists element by element, as `probability[1]`.
pub fn cells(outputs: &Map<String, Value>) -> Vec<(String, Cell)> {
    let mut cells = vec![];
    for (name, value) in outputs {
        match value {
            Value::Array(list)
                if !list.is_empty()
                    && list.len() <= ELEMENTS_MAX
                    && list.iter().all(|it| it.is_number() || it.is_null()) =>
            {
                let elements = list.iter().enumerate();
                cells.extend(elements.map(|(at, value)| (format!("{name}[{at}]"), cell(value))));
            }
            value => cells.push((name.clone(), cell(value))),
        }
    }
    cells
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Missing,
        Value::Number(number) => number.as_f64().map_or(Cell::Missing, Cell::Number),
        Value::String(text) => Cell::Label(text.clone()),
        other => Cell::Label(other.to_string()),
    }
}

/// One output of a row, as it is compared with its truth: an element if one is named; of a list of
/// one that, of several numbers, such as the probabilities of classes, the place of the greatest.
pub fn outcome(outputs: &Map<String, Value>, output: &str) -> Option<Outcome> {
    let (name, element) = match outputs.contains_key(output) {
        true => (output, None),
        false => element_of(output),
    };
    let value = match (outputs.get(name)?, element) {
        (Value::Array(list), Some(at)) => list.get(at)?,
        (_, Some(_)) => return None,
        (Value::Array(list), None) if list.len() == 1 => &list[0],
        (Value::Array(list), None) => {
            let numbers = list.iter().enumerate().filter_map(|(at, it)| Some((at, it.as_f64()?)));
            let (at, _) = numbers.reduce(|a, b| if b.1 > a.1 { b } else { a })?;
            return Some(Outcome::Integer(at as i64));
        }
        (value, None) => value,
    };
    Outcome::of_json(value).ok().flatten()
}

/// The outputs that rows have, and those of them that are no lists.
pub fn names<'a>(rows: impl Iterator<Item = &'a Map<String, Value>>) -> (Vec<String>, Vec<String>) {
    let (mut all, mut scalars) = (BTreeSet::new(), BTreeSet::new());
    for outputs in rows {
        for (name, value) in outputs {
            all.insert(name.clone());
            if !value.is_array() {
                scalars.insert(name.clone());
            }
        }
    }
    (all.into_iter().collect(), scalars.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outputs(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn lists_are_compared_element_by_element() {
        let answered =
            outputs(json!({ "p": [0.25, 0.75], "label": "yes", "x": null, "deep": [[1]] }));
        let cells = cells(&answered);
        assert!(cells.contains(&("p[1]".into(), Cell::Number(0.75))));
        assert!(cells.contains(&("deep".into(), Cell::Label("[[1]]".into()))));
        assert!(cells.contains(&("x".into(), Cell::Missing)));
        assert_eq!(outcome(&answered, "p"), Some(Outcome::Integer(1)));
        assert_eq!(outcome(&answered, "p[0]"), Some(Outcome::Number(0.25)));
        assert_eq!(outcome(&answered, "label"), Some(Outcome::Text("yes".into())));
        assert_eq!((outcome(&answered, "x"), outcome(&answered, "none")), (None, None));
        let (all, scalars) = names([answered].iter());
        assert_eq!(all, ["deep", "label", "p", "x"]);
        assert_eq!(scalars, ["label", "x"]);
    }
}

//! Whether those who call one version can call another: what would break is named column by column.

use serde_json::Value;

use crate::schema::{Column, Datatype, Schema};

/// What breaks callers of `old` when `new` takes its place; empty if nothing does.
pub fn breaks(old: &Schema, new: &Schema) -> Vec<String> {
    let mut found = vec![];
    for column in &old.inputs {
        match new.inputs.iter().find(|other| other.name == column.name) {
            None => found.push(format!(
                "input {}  is gone: rows that hold it would be refused",
                column.name
            )),
            Some(other) => input(column, other, &mut found),
        }
    }
    for column in &new.inputs {
        let known = old.inputs.iter().any(|other| other.name == column.name);
        if !known && !column.is_optional() {
            found.push(format!(
                "input {}  is new and required: rows without it would be refused",
                column.name
            ));
        }
    }
    // Outputs that only a run can tell cannot be compared.
    if !old.promised().is_empty() && !new.promised().is_empty() {
        for column in old.promised() {
            match new.promised().iter().find(|other| other.name == column.name) {
                None => found.push(format!("output {}  is gone", column.name)),
                Some(other) => output(column, other, &mut found),
            }
        }
    }
    match (old.streams, new.streams) {
        (false, true) => found.push("answers  would come as a stream".into()),
        (true, false) => found.push("answers  would not come as a stream any more".into()),
        _ => {}
    }
    if old.batches && !new.batches {
        found.push("requests of tensors  could hold only one row".into());
    }
    found
}

fn input(old: &Column, new: &Column, found: &mut Vec<String>) {
    let name = &old.name;
    if old.datatype != new.datatype && !widens(old.datatype, new.datatype) {
        found.push(format!("input {name}  was {}, would be {}", old.datatype, new.datatype));
    }
    if old.is_optional() && !new.is_optional() {
        found.push(format!("input {name}  may be left out now, and could not be any more"));
    } else if old.nullable && !new.nullable {
        found.push(format!("input {name}  may be null now, and could not be any more"));
    }
    if !shape_takes(old.shape.as_deref(), new.shape.as_deref()) {
        found.push(format!(
            "input {name}  had the shape {}, would have {}",
            shape(&old.shape),
            shape(&new.shape)
        ));
    }
    if !new.categories.is_empty() {
        let refused: Vec<String> = old
            .categories
            .iter()
            .filter(|value| !new.categories.contains(value))
            .map(Value::to_string)
            .collect();
        if old.categories.is_empty() {
            found.push(format!(
                "input {name}  took any value, would take one of {}",
                new.categories.len()
            ));
        } else if !refused.is_empty() {
            found.push(format!("input {name}  would not take {} any more", refused.join(", ")));
        }
    }
}

fn output(old: &Column, new: &Column, found: &mut Vec<String>) {
    let name = &old.name;
    if old.datatype != new.datatype {
        found.push(format!("output {name}  was {}, would be {}", old.datatype, new.datatype));
    }
    if !old.nullable && new.nullable {
        found.push(format!("output {name}  could be null"));
    }
    if !shape_takes(new.shape.as_deref(), old.shape.as_deref()) {
        found.push(format!(
            "output {name}  had the shape {}, would have {}",
            shape(&old.shape),
            shape(&new.shape)
        ));
    }
}

/// Whether a column takes every value that another took, as simple JSON and the protocol's JSON
/// write it.
fn widens(old: Datatype, new: Datatype) -> bool {
    use Datatype::*;
    let rank = |datatype: Datatype| match datatype {
        Uint8 | Int8 => Some((datatype == Uint8, 8)),
        Uint16 | Int16 => Some((datatype == Uint16, 16)),
        Uint32 | Int32 => Some((datatype == Uint32, 32)),
        Uint64 | Int64 => Some((datatype == Uint64, 64)),
        _ => None,
    };
    match (rank(old), rank(new)) {
        (Some((true, from)), Some((true, to))) | (Some((false, from)), Some((false, to))) => {
            to >= from
        }
        (Some((true, from)), Some((false, to))) => to > from,
        (Some((_, bits)), None) => (new == Fp64 && bits <= 32) || new == Json,
        (None, None) => {
            matches!(
                (old, new),
                (Fp16, Fp32 | Fp64) | (Bf16, Fp32 | Fp64) | (Fp32, Fp64) | (Timestamp, Bytes)
            ) || new == Json
        }
        _ => false,
    }
}

/// Whether a column of shape `new` takes every row of shape `old`.
fn shape_takes(old: Option<&[i64]>, new: Option<&[i64]>) -> bool {
    match (old, new) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(old), Some(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| *new == -1 || old == new)
        }
    }
}

fn shape(shape: &Option<Vec<i64>>) -> String {
    shape.as_ref().map_or("any".into(), |shape| format!("{shape:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &str, new: &str, expected: &[&str]) {
        let schema = |inputs: &str| -> Schema {
            let columns: Vec<Column> = serde_json::from_str(inputs).unwrap();
            Schema {
                inputs: columns,
                outputs: vec![Column::scalar("y", Datatype::Fp64)],
                batches: true,
                ..Schema::default()
            }
        };
        let found = breaks(&schema(old), &schema(new));
        assert_eq!(found.len(), expected.len(), "{old} {new}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} has no {expected}");
        }
    }

    const AGE: &str = r#"{"name": "age", "datatype": "INT32", "shape": []}"#;

    #[test]
    fn what_callers_would_notice() {
        let age = format!("[{AGE}]");
        check(&age, &age, &[]);
        check(&age, r#"[{"name": "age", "datatype": "INT64", "shape": []}]"#, &[]);
        check(&age, r#"[{"name": "age", "datatype": "FP64", "shape": []}]"#, &[]);
        check(
            &age,
            r#"[{"name": "age", "datatype": "INT16", "shape": []}]"#,
            &["was INT32, would be INT16"],
        );
        check(
            &age,
            r#"[{"name": "age", "datatype": "UINT64", "shape": []}]"#,
            &["was INT32, would be UINT64"],
        );
        check(&age, "[]", &["input age  is gone"]);
        check(
            &age,
            &format!(r#"[{AGE}, {{"name": "b", "datatype": "BOOL", "shape": []}}]"#),
            &["b  is new and required"],
        );
        check(
            &age,
            &format!(
                r#"[{AGE}, {{"name": "b", "datatype": "BOOL", "shape": [], "nullable": true}}]"#
            ),
            &[],
        );
        check(
            &age,
            r#"[{"name": "age", "datatype": "INT32", "shape": [2]}]"#,
            &["had the shape []"],
        );
        check(&age, r#"[{"name": "age", "datatype": "INT32"}]"#, &[]);
        let city = |values: &str| {
            format!(
                r#"[{{"name": "city", "datatype": "BYTES", "shape": [], "categories": {values}}}]"#
            )
        };
        check(&city(r#"["a", "b"]"#), &city(r#"["a", "b", "c"]"#), &[]);
        check(&city(r#"["a", "b"]"#), &city(r#"["a"]"#), &[r#"would not take "b""#]);
        check(&city("[]"), &city(r#"["a"]"#), &["took any value"]);
    }

    #[test]
    fn outputs_and_forms() {
        let old = Schema {
            outputs: vec![Column::scalar("y", Datatype::Int64)],
            batches: true,
            ..Schema::default()
        };
        let mut new = old.clone();
        new.outputs[0].datatype = Datatype::Fp64;
        assert_eq!(breaks(&old, &new).len(), 1);
        new.outputs.clear();
        assert!(breaks(&old, &new).is_empty(), "known when it runs");
        new.outputs = vec![Column::scalar("z", Datatype::Int64)];
        (new.streams, new.batches) = (true, false);
        assert_eq!(breaks(&old, &new).len(), 3);
    }
}

//! One row that is not written in JSON: the parts of a form, or bytes that are the whole body.

use domain::schema::{Column, Schema};
use domain::{Code, Datatype, Problem};
use serde_json::value::RawValue;

use super::{builders, explain};
use crate::cells::{Allowance, CellsBuilder};
use crate::columns::ColumnIndex;
use crate::limits::{DETAILS_MAX, SENTENCE_CHARS_MAX, VALUE_SHOWN_CHARS_MAX, cut, shown_value};
use crate::multipart::{self, Part};
use crate::payload::{Payload, expected, mismatch, shape_fits, unknown_column};
use crate::typed;

/// Reads a form of one row: each part is named after a column. Files are bytes; texts are what they
/// are in a cell of a CSV file; several parts of one name are a list.
pub fn decode_form(body: &[u8], boundary: &str, schema: &Schema) -> Result<Payload, Problem> {
    let parts = multipart::parts(body, boundary)?;
    let index = ColumnIndex::new(&schema.inputs);
    let mut by_column: Vec<Vec<&Part>> = schema.inputs.iter().map(|_| vec![]).collect();
    let mut details = vec![];
    for part in &parts {
        match index.find(&part.name, usize::MAX) {
            Some(at) => by_column[at].push(part),
            None => details.push(unknown_column(&part.name, schema)),
        }
        if details.len() == DETAILS_MAX {
            return Err(mismatch(details));
        }
    }
    row(body.len(), schema, details, |at, builder| match by_column[at].as_slice() {
        [] => Ok(false),
        parts => field(builder, parts),
    })
}

/// Reads a body that is the bytes of the one column of BYTES, beside which none is needed.
pub fn decode_bytes(body: &[u8], kind: &str, schema: &Schema) -> Result<Payload, Problem> {
    let takes = |column: &&Column| column.datatype == Datatype::Bytes && shape_fits(column, &[]);
    let of_bytes: Vec<&Column> = schema.inputs.iter().filter(takes).collect();
    let [only] = of_bytes.as_slice() else {
        let text = format!(
            "a body of {} is the bytes of a model's one column of BYTES, and this model has {}",
            cut(kind, SENTENCE_CHARS_MAX),
            if of_bytes.is_empty() { "none" } else { "several" }
        );
        let help = match of_bytes.is_empty() {
            true => "send JSON, with Content-Type: application/json".into(),
            false => format!(
                "name the column: curl -F {}=@FILE …, or {{\"{}\": {{\"b64\": \"…\"}}, …}} in JSON",
                of_bytes[0].name, of_bytes[0].name
            ),
        };
        return Err(Problem::new(Code::UnsupportedType, text).help(help));
    };
    row(body.len(), schema, vec![], |_, builder| {
        if builder.column.name != only.name {
            return Ok(false);
        }
        taken(builder.push_bytes(&[body], false), builder, || format!("{} bytes", body.len()))
    })
}

/// A row out of what `put` makes of each column, which says whether there was something; the rest is
/// what rows without these columns get.
fn row(
    body_bytes: usize,
    schema: &Schema,
    mut details: Vec<String>,
    put: impl Fn(usize, &mut CellsBuilder) -> Result<bool, String>,
) -> Result<Payload, Problem> {
    let allowance = Allowance::new(body_bytes);
    let mut builders = builders(schema, &allowance);
    for (at, builder) in builders.iter_mut().enumerate() {
        let column = builder.column;
        match put(at, builder) {
            Ok(true) => {}
            Ok(false) if builder.push_default() => {}
            Ok(false) => {
                details.push(format!("{}  is missing: expected {}", column.name, expected(column)))
            }
            Err(detail) => details.push(detail),
        }
        if details.len() == DETAILS_MAX {
            break;
        }
    }
    if !details.is_empty() {
        return Err(mismatch(details));
    }
    Ok(Payload { rows: 1, columns: builders.into_iter().map(CellsBuilder::finish).collect() })
}

/// The value of a column out of the parts of its name; `false` if they say that there is none.
fn field(builder: &mut CellsBuilder, parts: &[&Part]) -> Result<bool, String> {
    let column = builder.column;
    let is_scalar = shape_fits(column, &[]);
    let is_bytes = |part: &Part| {
        column.datatype == Datatype::Bytes
            && (part.is_file || std::str::from_utf8(part.content).is_err())
    };
    let contents = || parts.iter().map(|part| part.content).collect::<Vec<_>>();
    let shown = || format!("{} bytes", parts.iter().map(|part| part.content.len()).sum::<usize>());
    match parts {
        [part] if is_bytes(part) => {
            taken(builder.push_bytes(&[part.content], !is_scalar), builder, shown)
        }
        [part] => text(builder, part),
        _ if column.datatype == Datatype::Bytes && shape_fits(column, &[parts.len()]) => {
            taken(builder.push_bytes(&contents(), true), builder, shown)
        }
        _ => Err(format!(
            "{}  is there {} times: expected {}",
            column.name,
            parts.len(),
            expected(column)
        )),
    }
}

/// A text: JSON where it says so or the column is no scalar, else what it is in a cell.
fn text(builder: &mut CellsBuilder, part: &Part) -> Result<bool, String> {
    let column = builder.column;
    let named = |why: &str| format!("{}  {}", column.name, cut(why, SENTENCE_CHARS_MAX));
    let Ok(text) = std::str::from_utf8(part.content) else {
        return Err(named(&format!("expected {}, got bytes that are no text", expected(column))));
    };
    let shown = || format!("the text {:?}", cut(text, VALUE_SHOWN_CHARS_MAX));
    let is_scalar = column.shape.as_deref() == Some(&[]) && column.datatype != Datatype::Json;
    if part.is_json || !is_scalar {
        return match json(builder, text, part.is_json) {
            Some(result) => result,
            None if typed::is_left_out(column, text) => Ok(false),
            None if column.datatype == Datatype::Json => {
                taken(builder.push_value(&text.into()), builder, shown)
            }
            None => Err(named(&format!("expected {}, got {}", expected(column), shown()))),
        };
    }
    match typed::value(column, text).map_err(|why| named(&why))? {
        None => Ok(false),
        Some(value) => taken(builder.push_value(&value), builder, shown),
    }
}

/// Reads JSON, which takes no more memory than the column; `None` if it is none, and need not be.
/// Python writes `True`.
fn json(builder: &mut CellsBuilder, text: &str, is_json: bool) -> Option<Result<bool, String>> {
    let error = match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) => return Some(taken(builder.push_raw(raw), builder, || shown_value(raw))),
        Err(error) => error,
    };
    if is_json {
        let error = cut(&error.to_string(), SENTENCE_CHARS_MAX);
        return Some(Err(format!("{}  is no JSON: {error}", builder.column.name)));
    }
    let lower = text.to_lowercase();
    let raw = serde_json::from_str::<&RawValue>(&lower).ok()?;
    Some(taken(builder.push_raw(raw), builder, || shown_value(raw)))
}

/// What became of a value.
fn taken(
    is_taken: bool,
    builder: &CellsBuilder,
    got: impl FnOnce() -> String,
) -> Result<bool, String> {
    match is_taken {
        true => Ok(true),
        false => Err(explain::misfit(builder, got).unwrap_or_else(|refusal| refusal.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let column =
            |name: &str, datatype, shape| Column { shape, ..Column::scalar(name, datatype) };
        let inputs = vec![
            Column::scalar("image", Datatype::Bytes),
            Column { default: Some(3.into()), ..Column::scalar("top", Datatype::Int64) },
            Column { nullable: true, ..column("more", Datatype::Bytes, Some(vec![-1])) },
            Column { nullable: true, ..column("box", Datatype::Fp32, Some(vec![2])) },
        ];
        Schema { inputs, batches: true, ..Schema::default() }
    }

    fn form(parts: &[(&str, &[u8])]) -> Result<Payload, Problem> {
        let mut body = vec![];
        for (name, content) in parts {
            let file = if name.starts_with('@') { "; filename=f" } else { "" };
            let name = name.trim_start_matches('@');
            let head = format!("--X\r\nContent-Disposition: form-data; name={name}{file}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--X--");
        decode_form(&body, "X", &schema())
    }

    fn json(text: &str) -> Payload {
        super::super::decode(text.as_bytes(), &schema()).unwrap().0
    }

    #[test]
    fn a_form_is_the_row_that_json_is() {
        let all: [(&str, &[u8]); 5] = [
            ("@image", b"\xff\0"),
            ("top", b" 5 "),
            ("@more", b"a"),
            ("@more", b"\xfe"),
            ("box", b"[0.5, 1]"),
        ];
        let same = r#"{"image": {"b64": "/wA="}, "top": 5, "more": ["a", {"b64": "/g"}], "box": [0.5, 1]}"#;
        assert_eq!(form(&all).unwrap(), json(same));
        assert_eq!(form(&[("image", b" NA ")]).unwrap(), json(r#"{"image": " NA "}"#));
        assert_eq!(form(&[("@image", b""), ("top", b"")]).unwrap(), json(r#"{"image": ""}"#));
        let one = form(&[("@image", b"x"), ("@more", b"y")]).unwrap();
        assert_eq!(one, json(r#"{"image": "x", "more": ["y"]}"#));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let told = |parts: &[(&str, &[u8])]| form(parts).unwrap_err().details;
        assert_eq!(told(&[]), ["image  is missing: expected BYTES"]);
        let wrong = told(&[("@image", b""), ("top", b"many"), ("imge", b"")]);
        assert!(wrong[0].contains("did you mean `image`?"), "{wrong:?}");
        assert_eq!(wrong[1], "top  expected INT64, got \"many\"");
        let twice = told(&[("@image", b"a"), ("@image", b"b")]);
        assert_eq!(twice, ["image  is there 2 times: expected BYTES"]);
        let ragged = told(&[("image", b"a"), ("box", b"[1, 2, 3]")]);
        assert!(ragged[0].starts_with("box  expected FP32 of shape [2]"), "{ragged:?}");
        let bytes = told(&[("image", b"a"), ("@top", b"\xff")]);
        assert_eq!(bytes, ["top  expected INT64, got bytes that are no text"]);
    }

    #[test]
    fn a_body_is_the_one_column_of_bytes() {
        let read = |body: &[u8], schema: &Schema| decode_bytes(body, "image/png", schema);
        assert_eq!(read(b"\xff\0", &schema()).unwrap(), json(r#"{"image": {"b64": "/wA"}}"#));
        assert_eq!(read(b"", &schema()).unwrap(), json(r#"{"image": ""}"#));
        let mut needs_more = schema();
        needs_more.inputs[1].default = None;
        let problem = read(b"a", &needs_more).unwrap_err();
        assert_eq!(problem.details, ["top  is missing: expected INT64"]);
        let mut of_two = schema();
        of_two.inputs.push(Column::scalar("mask", Datatype::Bytes));
        assert!(read(b"a", &of_two).unwrap_err().help.contains("curl -F image=@FILE"));
        let mut of_none = schema();
        of_none.inputs.remove(0);
        assert_eq!(read(b"a", &of_none).unwrap_err().code, Code::UnsupportedType);
    }
}

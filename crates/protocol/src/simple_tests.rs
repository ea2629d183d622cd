//! Bodies against a schema, as data.

use super::*;
use domain::schema::Column;

fn schema() -> Schema {
    let mut city = Column::scalar("city", Datatype::Bytes);
    city.categories = vec!["Utrecht".into(), "Delft".into()];
    let mut income = Column::scalar("income", Datatype::Fp64);
    income.nullable = true;
    let mut level = Column::scalar("level", Datatype::Int32);
    level.default = Some(3.into());
    Schema { inputs: vec![Column::scalar("age", Datatype::Int64), city, income, level], batches: true, ..Schema::default() }
}

fn array(shape: Option<Vec<i64>>) -> Schema {
    Schema { inputs: vec![Column { shape, ..Column::scalar("x", Datatype::Fp64) }], batches: true, ..Schema::default() }
}

fn refused(body: &str, schema: &Schema) -> String {
    decode(body.as_bytes(), schema).unwrap_err().to_string()
}

#[test]
fn a_row_and_rows() {
    let (payload, form) = decode(br#"{"city": "Utrecht", "age": 42}"#, &schema()).unwrap();
    assert_eq!((payload.rows, form), (1, Form::Row));
    assert_eq!(payload.columns[0].data[..], 42i64.to_le_bytes());
    assert_eq!(payload.columns[1].data[..], *b"\x07\0\0\0Utrecht");
    assert_eq!(payload.columns[2].valid.as_deref(), Some(&[0][..]));
    assert_eq!(payload.columns[3].data[..], 3i32.to_le_bytes());

    let body =
        br#"{"rows": [{"age": 1, "city": "Delft", "income": 1.5}, {"age": 2, "city": "Delft", "income": null, "level": 4}]}"#;
    let (payload, form) = decode(body, &schema()).unwrap();
    assert_eq!((payload.rows, form), (2, Form::Rows));
    assert_eq!(payload.columns[2].valid.as_deref(), Some(&[1, 0][..]));
    assert_eq!(payload.columns[3].data[..], [3, 0, 0, 0, 4, 0, 0, 0]);
}

#[test]
fn refusals_say_all_that_is_wrong() {
    let text = refused(r#"{"age": "42", "city": "Rome"}"#, &schema());
    assert!(text.contains("age  expected INT64, got the string \"42\""), "{text}");
    assert!(text.contains("city  expected one of \"Utrecht\", \"Delft\", got the string \"Rome\""), "{text}");
    let cases = [
        ("{", "not JSON"),
        ("[1]", "not a row"),
        ("{\"rows\": 3}", "not a row"),
        ("{\"rows\": []}", "no rows"),
        (r#"{"age": 42}"#, "city  is missing"),
        (r#"{"age": 42.5, "city": "Delft"}"#, "got 42.5"),
        (r#"{"age": 42, "city": "Delft", "agee": 1}"#, "did you mean `age`"),
        (r#"{"age": 42, "age": 43, "city": "Delft"}"#, "twice"),
        (r#"{"age": null, "city": "Delft"}"#, "expected INT64, got null"),
        (r#"{"rows": [{"age": 1, "city": "Delft"}, {"age": 1}]}"#, "row 1: city  is missing"),
        (r#"{"age": 42, "city": "Delft"} x"#, "not JSON"),
        (r#"{"age": [42], "city": "Delft"}"#, "got the array [42]"),
    ];
    for (body, expected) in cases {
        let text = refused(body, &schema());
        assert!(text.contains(expected), "{body}: {text}");
    }
}

#[test]
fn arrays_of_any_shape() {
    let shape = |body: &str, schema: &Schema| decode(body.as_bytes(), schema).unwrap().0.columns[0].shape.clone();
    assert_eq!(shape(r#"{"x": [1, 2, 3, 4]}"#, &array(None)), [4]);
    assert_eq!(shape(r#"{"x": [[1, 2], [3, 4], [5, 6]]}"#, &array(None)), [3, 2]);
    assert_eq!(shape(r#"{"x": 1}"#, &array(None)), Vec::<usize>::new());
    assert_eq!(shape(r#"{"x": []}"#, &array(None)), [0]);
    assert_eq!(shape(r#"{"x": [[1], [2]]}"#, &array(Some(vec![-1, 1]))), [2, 1]);
    for (body, schema) in [
        (r#"{"x": [[1, 2], [3]]}"#, array(None)),
        (r#"{"x": [1, [2]]}"#, array(None)),
        (r#"{"x": [1, 2]}"#, array(Some(vec![3]))),
        (r#"{"x": [[1]]}"#, array(Some(vec![1]))),
        (r#"{"x": [1, null]}"#, array(None)),
        (r#"{"rows": [{"x": [1, 2]}, {"x": [1]}]}"#, array(None)),
    ] {
        assert!(decode(body.as_bytes(), &schema).is_err(), "{body}");
    }
}

#[test]
fn json_columns_are_kept_as_written() {
    let schema = Schema { inputs: vec![Column::scalar("x", Datatype::Json)], batches: true, ..Schema::default() };
    let (payload, _) = decode(br#"{"x": {"a": [1, 2.50]}}"#, &schema).unwrap();
    assert_eq!(&payload.columns[0].data[4..], br#"{"a": [1, 2.50]}"#);
}

#[test]
fn synthetic_rows_fit() {
    for schema in [schema(), array(None), array(Some(vec![2, -1]))] {
        let row = synthetic_row(&schema).to_string();
        decode(row.as_bytes(), &schema).unwrap_or_else(|problem| panic!("{row}: {problem}"));
    }
}

//! Bodies against a schema, as data.

use super::*;
use domain::Datatype;
use domain::schema::Column;

fn schema() -> Schema {
    let mut city = Column::scalar("city", Datatype::Bytes);
    city.categories = vec!["Utrecht".into(), "Delft".into()];
    let mut income = Column::scalar("income", Datatype::Fp64);
    income.nullable = true;
    let mut level = Column::scalar("level", Datatype::Int32);
    level.default = Some(3.into());
    Schema {
        inputs: vec![Column::scalar("age", Datatype::Int64), city, income, level],
        batches: true,
        ..Schema::default()
    }
}

fn array(shape: Option<Vec<i64>>) -> Schema {
    Schema {
        inputs: vec![Column { shape, ..Column::scalar("x", Datatype::Fp64) }],
        batches: true,
        ..Schema::default()
    }
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
    assert!(
        text.contains("city  expected one of \"Utrecht\", \"Delft\", got the string \"Rome\""),
        "{text}"
    );
    let cases = [
        ("{", "not JSON"),
        ("[1]", "not a row"),
        ("{\"rows\": 3}", "not a row"),
        (r#"{"rows": [{"age": 1, "city": "Delft"}], "age": 1}"#, "must stand alone"),
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
    let shape = |body: &str, schema: &Schema| {
        decode(body.as_bytes(), schema).unwrap().0.columns[0].shape.clone()
    };
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
    let schema = Schema {
        inputs: vec![Column::scalar("x", Datatype::Json)],
        batches: true,
        ..Schema::default()
    };
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

/// A column of lists, or of nothing.
fn nullable(shape: Option<Vec<i64>>) -> Schema {
    let column = Column { shape, nullable: true, ..Column::scalar("x", Datatype::Fp32) };
    Schema { inputs: vec![column], batches: true, ..Schema::default() }
}

#[test]
fn a_row_without_a_list_may_come_before_one_with() {
    for schema in [nullable(None), nullable(Some(vec![-1]))] {
        let cells = |body: &str| decode(body.as_bytes(), &schema).unwrap().0.columns.remove(0);
        let first = cells(r#"{"rows": [{"x": null}, {}, {"x": [1, 2]}]}"#);
        assert_eq!(
            (&first.shape[..], first.data.len(), first.valid.as_deref()),
            (&[2][..], 24, Some(&[0, 0, 1][..]))
        );
        assert_eq!(first.data[16..], cells(r#"{"x": [1, 2]}"#).data[..]);
        let last = cells(r#"{"rows": [{"x": [1, 2]}, {"x": null}]}"#);
        assert_eq!((last.shape, last.data.len()), (vec![2], 16));
    }
}

#[test]
fn empty_lists_have_the_shape_that_they_were_sent_in() {
    let cells = |body: &str, shape: Option<Vec<i64>>| {
        decode(body.as_bytes(), &array(shape)).unwrap().0.columns.remove(0)
    };
    for shape in [None, Some(vec![-1, -1])] {
        assert_eq!(cells(r#"{"x": [[], []]}"#, shape.clone()).shape, [2, 0]);
        assert_eq!(cells(r#"{"rows": [{"x": [[]]}, {"x": [[]]}]}"#, shape.clone()).shape, [1, 0]);
        for body in [
            r#"{"x": [[], 3]}"#,
            r#"{"x": [3, []]}"#,
            r#"{"rows": [{"x": []}, {"x": 3}]}"#,
            r#"{"x": [[], [1]]}"#,
        ] {
            assert!(decode(body.as_bytes(), &array(shape.clone())).is_err(), "{body}");
        }
    }
}

#[test]
fn ragged_rows_are_told_their_lengths() {
    let text = refused(r#"{"rows": [{"x": [1, 2, 3]}, {"x": [1, 2]}]}"#, &array(Some(vec![-1])));
    assert!(text.contains("row 1: x  has the length 2 in dimension 0 where row 0 has 3"), "{text}");
    let text = refused(r#"{"x": [[1, 2], [3]]}"#, &array(None));
    assert!(
        text.contains("x  is ragged: in dimension 1, one array has the length 2 and another 1"),
        "{text}"
    );
    let text = refused(r#"{"rows": [{"x": [1]}, {"x": [[1]]}]}"#, &array(None));
    assert!(text.contains("row 1: x  has another number of dimensions than in row 0"), "{text}");
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let nested =
        |levels: usize| format!(r#"{{"x": {}1{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(decode(nested(16).as_bytes(), &array(None)).is_ok());
    for levels in [17, 65, 127, 1_000, 100_000] {
        assert!(
            refused(&nested(levels), &array(None)).contains("more than 16 dimensions"),
            "{levels}"
        );
    }
    let json = Schema {
        inputs: vec![Column::scalar("x", Datatype::Json)],
        batches: true,
        ..Schema::default()
    };
    assert!(decode(nested(128).as_bytes(), &json).is_ok());
    assert!(refused(&nested(1_000), &json).contains("nested deeper than 128"));
}

proptest::proptest! {
    /// However many digits a number has, it is the one that its text is nearest to.
    #[test]
    fn numbers_are_what_they_say_to_the_last_bit(bits: u64, digits in 1_usize..40) {
        let number = f64::from_bits(bits);
        proptest::prop_assume!(number.is_finite());
        for text in [format!("{number:?}"), format!("{number:e}"), format!("{number:.digits$e}")] {
            let said: f64 = text.parse().unwrap();
            let body = format!("{{\"x\": [{text}]}}");
            let (payload, _) = decode(body.as_bytes(), &array(Some(vec![1]))).unwrap();
            let read = f64::from_le_bytes(payload.columns[0].data[..].try_into().unwrap());
            proptest::prop_assert_eq!(read.to_bits(), said.to_bits(), "{}", text);
        }
    }
}

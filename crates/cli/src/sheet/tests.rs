//! CSV as people have it.

use domain::Datatype;
use serde_json::json;

use super::*;

fn schema() -> Schema {
    let column = |name: &str, datatype, nullable, categories: &[&str]| Column {
        nullable,
        categories: categories.iter().map(|text| Value::from(*text)).collect(),
        ..Column::scalar(name, datatype)
    };
    Schema {
        inputs: vec![
            column("age", Datatype::Int64, false, &[]),
            column("city", Datatype::Bytes, true, &[]),
            column("member", Datatype::Bool, true, &[]),
            column("income", Datatype::Fp64, true, &[]),
            column("kind", Datatype::Bytes, true, &["NA", "EU"]),
        ],
        ..Schema::default()
    }
}

fn rows(bytes: &[u8]) -> Result<Value, Problem> {
    let sheet = read(bytes, "f.csv", &schema())?;
    let mapping = mapping(&sheet, "f.csv", &schema(), "m")?;
    mapping.rows(&sheet, "f.csv", &schema(), "m").map(Value::Array)
}

fn refusal(text: &str) -> String {
    rows(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn whatever_a_program_writes_is_the_same_rows() {
    let wanted = json!([{ "age": 1, "city": "Delft" }, { "age": 2, "city": "x, \"y\"\nz" }]);
    let plain = "age,city\n1,Delft\n2,\"x, \"\"y\"\"\nz\"\n";
    let utf16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [
        plain.as_bytes().to_vec(),
        plain.replace('\n', "\r\n").replace("\r\nz", "\nz").into_bytes(),
        [b"\xef\xbb\xbf", plain.as_bytes()].concat(),
        [&b"\xff\xfe"[..], &utf16].concat(),
        plain.replace("e,c", "e;c").replace("1,", "1;").replace("2,", "2;").into_bytes(),
        plain.replace("e,c", "e\tc").replace("1,", "1\t").replace("2,", "2\t").into_bytes(),
        format!("sep=;\n{}", plain.replace("e,c", "e;c").replace("1,", "1;").replace("2,", "2;"))
            .into_bytes(),
        format!("{plain}\n\n,\n").into_bytes(),
        plain.replace("age", " age ").into_bytes(),
    ] {
        assert_eq!(rows(&bytes).unwrap(), wanted, "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn cells_are_what_their_columns_say() {
    let text = "age,city,member,income,kind\n\
                7,NA,1,NaN,NA\n\
                007,,yes,-1.5e3,\n\
                42.0,\"\",F,,EU\n\
                9007199254740993,x,<NA>,NA,nan\n";
    let wanted = json!([
        { "age": 7, "city": "NA", "member": true, "kind": "NA" },
        { "age": 7, "member": true, "income": -1500.0 },
        { "age": 42, "member": false, "kind": "EU" },
        { "age": 9_007_199_254_740_993_i64, "city": "x" },
    ]);
    assert_eq!(rows(text.as_bytes()).unwrap(), wanted);
}

#[test]
fn what_does_not_fit_is_named_by_its_line() {
    let told = refusal("age,member\n1,1\nx,0\n\n3,maybe\n,1\n");
    for line in [
        "line 3: age  expected INT64, got \"x\"",
        "line 5: member  expected BOOL, got \"maybe\"",
        "line 6: age  is missing: expected INT64",
    ] {
        assert!(told.contains(line), "{told}");
    }
    assert!(told.contains("3 rows of f.csv do not fit m"), "{told}");
    let told = refusal("age,city\n1\n2,x\n3,x,y\n");
    assert!(told.contains("line 2 has 1 cell, and the first line names 2 columns"), "{told}");
    assert!(told.contains("line 4 has 3 cells"), "{told}");
    let told = refusal("age,kind\n1,US\n");
    assert!(told.contains("line 2: kind  expected one of \"NA\", \"EU\", got \"US\""), "{told}");
    let told = refusal("age,city,age\n1,x,2\n");
    assert!(told.contains("`age` twice: as its 1 and its 3"), "{told}");
    let told = refusal("Age,city\n1,x\n");
    assert!(told.contains("no column `age`") && told.contains("it has `Age`, `city`"), "{told}");
    let told = rows(b"age,city\n1,Malm\xf6\n").unwrap_err().to_string();
    assert!(told.contains("line 2") && told.contains("iconv"), "{told}");
    assert_eq!(rows(b"").unwrap_err().code, Code::NoInput);
    let many: String = (0..50).map(|_| "x\n").collect();
    let told = refusal(&format!("age\n{many}"));
    assert!(told.contains("… and 30 more"), "{told}");
}

#[test]
fn columns_that_the_model_does_not_know_are_left_out_and_named() {
    let sheet = read(b"id,age,,note\n9,1,,x\n", "f.csv", &schema()).unwrap();
    let mapping = mapping(&sheet, "f.csv", &schema(), "m").unwrap();
    assert_eq!(mapping.notes, ["`id`, `note` are no columns of m, which does not get them"]);
    let rows = mapping.rows(&sheet, "f.csv", &schema(), "m").unwrap();
    assert_eq!(rows, [json!({ "age": 1 })]);
}

#[test]
fn a_model_of_one_vector_takes_all_columns() {
    let vector = Column { shape: Some(vec![3]), ..Column::scalar("x", Datatype::Fp32) };
    let schema = Schema { inputs: vec![vector], ..Schema::default() };
    let rows = |text: &str| {
        let sheet = read(text.as_bytes(), "f.csv", &schema)?;
        mapping(&sheet, "f.csv", &schema, "m")?.rows(&sheet, "f.csv", &schema, "m")
    };
    assert_eq!(rows("a,b,c\n1,2.5,3\n").unwrap(), [json!({ "x": [1.0, 2.5, 3.0] })]);
    assert_eq!(rows("x\n\"[1,2,3]\"\n").unwrap(), [json!({ "x": [1, 2, 3] })]);
    assert!(rows("a,b\n1,2\n").is_err());
}

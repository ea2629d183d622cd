//! What is left of values, keys and errors.

use std::sync::Arc;

use domain::Column;
use domain::manifest::RecordsSection;
use protocol::tensor::byte_elements;

use super::*;

fn recorded(redact: &[(&str, Redact)], key: Option<&str>) -> Recorded {
    let redact = redact.iter().map(|(name, rule)| (name.to_string(), *rule)).collect();
    let recording = Recording {
        section: RecordsSection { redact, key: key.map(Into::into), log_rows: false },
        pseudonyms: Some(Arc::new(Pseudonyms::new([1; 32]))),
    };
    Recorded { number: 1, redacts: recording.redacts(), recording }
}

fn schema() -> Schema {
    let mut image = Column::scalar("image", Datatype::Uint16);
    image.shape = Some(vec![2]);
    Schema {
        inputs: vec![
            Column::scalar("customer", Datatype::Int64),
            Column::scalar("city", Datatype::Bytes),
            image,
        ],
        batches: true,
        ..Schema::default()
    }
}

fn texts(of: &[&str]) -> Bytes {
    let mut data = vec![];
    of.iter().for_each(|text| push_byte_element(&mut data, text.as_bytes()));
    data.into()
}

fn cells(shape: &[usize], data: Bytes, valid: Option<&[u8]>) -> Cells {
    Cells { shape: shape.to_vec(), data, valid: valid.map(Bytes::copy_from_slice) }
}

fn payload() -> Payload {
    let customers = [42_i64, 7, 42].map(i64::to_le_bytes).concat();
    let images = [1_u16, 2, 3, 4, 1, 2].map(u16::to_le_bytes).concat();
    Payload {
        rows: 3,
        columns: vec![
            cells(&[], customers.into(), Some(&[1, 0, 1])),
            cells(&[], texts(&["Delft", "42", ""]), None),
            cells(&[2], images.into(), None),
        ],
    }
}

fn shown(data: &[u8]) -> Vec<&str> {
    byte_elements(data).map(|text| std::str::from_utf8(text).unwrap()).collect()
}

#[test]
fn equal_values_become_equal_texts_whatever_their_type() {
    let all = [("customer", Redact::Hmac), ("city", Redact::Hmac), ("image", Redact::Hmac)];
    let redacted = recorded(&all, None).inputs(&schema(), payload());
    let [customers, cities, images] = [0, 1, 2].map(|at| shown(&redacted.columns[at].data));
    let wanted = Pseudonyms::new([1; 32]).of(b"42");
    assert_eq!((customers.len(), customers[0], customers[2]), (3, &*wanted, &*wanted));
    assert_eq!(redacted.columns[0].valid.as_deref(), Some(&[1, 0, 1][..]), "null stays null");
    assert_eq!(cities[1], wanted, "an int and its text");
    assert_ne!(cities[0], cities[2]);
    assert_eq!(images[0], images[2]);
    assert_ne!(images[0], images[1]);
    assert!(redacted.columns.iter().all(|cells| cells.shape.is_empty()));
    assert_eq!(wanted.len(), 32);
}

#[test]
fn what_is_dropped_is_null_in_each_row() {
    let all = [("customer", Redact::Drop), ("city", Redact::Drop), ("image", Redact::Drop)];
    let redacted = recorded(&all, None).inputs(&schema(), payload());
    for cells in &redacted.columns {
        assert_eq!(cells.valid.as_deref(), Some(&[0; 3][..]));
        assert!(cells.data.iter().all(|byte| *byte == 0));
    }
    let mut without_key = recorded(&[("city", Redact::Hmac)], None);
    without_key.recording.pseudonyms = None;
    let redacted = without_key.inputs(&schema(), payload());
    assert_eq!(redacted.columns[1].valid.as_deref(), Some(&[0; 3][..]), "rather nothing");
    assert_eq!(redacted.columns[0], payload().columns[0]);
}

#[test]
fn outputs_are_redacted_by_their_names() {
    let tensor = |name: &str, datatype, shape: &[usize], data: Bytes| Tensor {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
        data,
    };
    let valid = || Bytes::from_static(&[1, 0]);
    let outputs = || {
        vec![
            tensor("leave", Datatype::Fp32, &[2], Bytes::from_static(&[0; 8])),
            tensor("name", Datatype::Bytes, &[2], texts(&["Ann", "Bob"])),
            tensor("name:valid", Datatype::Bool, &[2], valid()),
            tensor("city", Datatype::Bytes, &[2], texts(&["Delft", "Ede"])),
            tensor("city:valid", Datatype::Bool, &[2], valid()),
            tensor("all", Datatype::Bytes, &[1], texts(&["Ann and Bob"])),
        ]
    };
    let rules = [("name", Redact::Hmac), ("city", Redact::Drop), ("all", Redact::Hmac)];
    let kept = recorded(&rules, None).outputs(outputs(), 2);
    let names: Vec<&str> = kept.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(names, ["leave", "name", "name:valid"]);
    assert_eq!(kept[0], outputs()[0]);
    let name = Pseudonyms::new([1; 32]).of(b"Ann");
    assert_eq!((shown(&kept[1].data)[0], kept[1].datatype), (&*name, Datatype::Bytes));
}

#[test]
fn one_row_has_a_key_also_without_its_values() {
    let one = |at: usize| payload().each_row(&schema()).nth(at).unwrap();
    let plain = recorded(&[], Some("customer"));
    assert_eq!(plain.key_of_row(&schema(), &one(0)).as_deref(), Some("customer=42"));
    assert_eq!(plain.key_of_row(&schema(), &one(1)), None, "null");
    assert_eq!(plain.key_of_row(&schema(), &payload()), None, "each row has its own");
    let text = recorded(&[], Some("city"));
    assert_eq!(text.key_of_row(&schema(), &one(0)).as_deref(), Some("city=Delft"));
    let hidden = recorded(&[("customer", Redact::Hmac)], Some("customer"));
    let wanted = format!("customer={}", Pseudonyms::new([1; 32]).of(b"42"));
    assert_eq!(hidden.key_of_row(&schema(), &one(0)), Some(wanted));
    assert_eq!(recorded(&[], None).key_of_row(&schema(), &one(0)), None);
}

#[test]
fn another_redaction_is_another_lane_in_records() {
    let placement = Placement {
        model: domain::state::default_model("m").unwrap(),
        environment: Default::default(),
        version: domain::VersionNumber(1),
        digest: domain::Digest::ZERO,
        revision: 0,
    };
    let number = |rules: &[(&str, Redact)], key| {
        let recording = recorded(rules, key).recording;
        Recorded::new(&placement, &schema(), &recording).number
    };
    let plain = number(&[], None);
    assert_ne!(plain, number(&[("customer", Redact::Hmac)], None));
    assert_ne!(plain, number(&[], Some("customer")));
    assert_eq!(plain, Recorded::new(&placement, &schema(), &Recording::default()).number);
}

//! Truth that comes twice, corrected, in part, in any form, and what holds for a prediction.

use std::io::Write;

use super::found::of_prediction;
use super::*;

const HOUR: u64 = HOUR_MS;
const NOW: u64 = 1_800_000_000_000;

fn model() -> ModelKey {
    "default/churn".parse().unwrap()
}

fn id(time_ms: u64, n: u8) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    id[6] = 0x70;
    id[15] = n;
    id
}

fn of_request(n: u8, row: u32, truth: impl Into<f64>) -> TruthRow {
    let subject = Subject::Request { id: id(NOW, n), row };
    TruthRow { subject, truth: Outcome::Number(truth.into()), at_ms: None }
}

fn of_key(key: &str, truth: &str, at_ms: Option<u64>) -> TruthRow {
    TruthRow { subject: Subject::Key(key.into()), truth: Outcome::Text(truth.into()), at_ms }
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> Truths {
        self.limited(1_000)
    }

    fn limited(&self, truths_max: u64) -> Truths {
        Truths::with_limit(&self.directory.path().join("truth.sqlite"), truths_max).unwrap()
    }
}

fn added(accepted: u64, repeated: u64, corrected: u64) -> Added {
    Added { accepted, repeated, corrected }
}

#[test]
fn the_last_truth_of_a_row_wins_and_the_same_again_changes_nothing() {
    let place = Place::new();
    let truths = place.open();
    let add = |rows: &[TruthRow], now_ms| truths.add(&model(), "person:1", rows, now_ms).unwrap();
    assert_eq!(add(&[of_request(1, 0, 1), of_request(1, 1, 0)], NOW + 5), added(2, 0, 0));
    let hours = truths.dirty(&model(), 10).unwrap();
    assert_eq!(hours.len(), 1);
    truths.looked_at(&model(), &hours).unwrap();
    // The same again: nothing has to be looked at.
    assert_eq!(add(&[of_request(1, 0, 1)], NOW + 6), added(0, 1, 0));
    assert_eq!(truths.dirty(&model(), 10).unwrap(), []);
    assert_eq!(add(&[of_request(1, 0, 0)], NOW + 7), added(1, 0, 1));
    let again = truths.dirty(&model(), 10).unwrap();
    assert_eq!(again[0].hour_ms, NOW / HOUR * HOUR);
    // What was marked before does not take off what was marked since.
    truths.looked_at(&model(), &hours).unwrap();
    assert_eq!(truths.dirty(&model(), 10).unwrap(), again);
    drop(truths);

    let truths = place.open();
    let found = truths.of_requests(&model(), &id(NOW, 0), &id(NOW, 9)).unwrap();
    assert_eq!(found.len(), 2);
    let first = &found[&(id(NOW, 1), 0)];
    // Known since the first one came.
    assert_eq!((first.truth.number(), first.at_ms), (Some(0.0), NOW + 5));
    assert_eq!(truths.seen(&model()).unwrap().count(), 3);
    assert_eq!(truths.models().unwrap(), [model()]);
    let other: ModelKey = "default/other".parse().unwrap();
    assert!(truths.of_requests(&other, &id(NOW, 0), &id(NOW, 9)).unwrap().is_empty());
}

#[test]
fn a_key_is_true_of_predictions_before_it() {
    let place = Place::new();
    let truths = place.open();
    let add = |row: TruthRow, now_ms| truths.add(&model(), "", &[row], now_ms).unwrap();
    let day = 24 * HOUR;
    let of = |key: &str, time_ms: u64| {
        let said = truths.of_keys(&model(), [key].into_iter()).unwrap();
        let found = of_prediction(said.get(key).map_or(&[], Vec::as_slice), time_ms, 30 * day);
        found.map(|found| found.truth.class().into_owned())
    };
    // Without a date, the last one wins for all within thirty days.
    assert_eq!(add(of_key("a=1", "stayed", None), NOW), added(1, 0, 0));
    assert_eq!(of("a=1", NOW - day).as_deref(), Some("stayed"));
    assert_eq!(of("a=1", NOW - 31 * day), None, "too long ago");
    assert_eq!(of("a=1", NOW + 1), None, "not predicted yet");
    assert_eq!(add(of_key("a=1", "left", None), NOW + day), added(1, 0, 1));
    assert_eq!(of("a=1", NOW - day).as_deref(), Some("left"));
    assert_eq!(of("a=1", NOW - 30 * day).as_deref(), Some("stayed"), "the other came too late");
    assert_eq!(add(of_key("a=1", "left", None), NOW + 40 * day), added(0, 1, 0));
    assert_eq!(of("a=1", NOW + 39 * day).as_deref(), Some("left"), "what is repeated holds longer");
    // With a date, the next one after the prediction.
    for (truth, at) in [("stayed", 10), ("left", 20), ("back", 60)] {
        add(of_key("b=1", truth, Some(NOW + at * day)), NOW + 90 * day);
    }
    assert_eq!(of("b=1", NOW + 5 * day).as_deref(), Some("stayed"));
    assert_eq!(of("b=1", NOW + 15 * day).as_deref(), Some("left"));
    assert_eq!(of("b=1", NOW + 21 * day), None, "the next is 39 days later");
    let corrected = add(of_key("b=1", "moved", Some(NOW + 10 * day)), NOW + 91 * day);
    assert_eq!(corrected, added(1, 0, 1));
    assert_eq!(of("b=1", NOW + 5 * day).as_deref(), Some("moved"));
    let keys = truths.dirty_keys(&model(), 100).unwrap();
    assert_eq!(keys.len(), 7, "one for each that may change something");
    let last = keys.last().unwrap().mark;
    truths.spread(&model(), &[NOW + 5 * day], last).unwrap();
    assert!(truths.dirty_keys(&model(), 100).unwrap().is_empty());
    assert_eq!(truths.dirty(&model(), 10).unwrap().len(), 1);
}

#[test]
fn there_is_a_limit_and_what_is_old_or_erased_is_gone() {
    let place = Place::new();
    let truths = place.limited(3);
    let rows = [of_request(1, 0, 1), of_request(2, 0, 1), of_key("customer=42", "stayed", None)];
    truths.add(&model(), "", &rows, NOW).unwrap();
    let full = truths.add(&model(), "", &[of_request(3, 0, 1)], NOW);
    assert!(matches!(full, Err(TruthError::Many)), "{full:?}");
    assert_eq!(truths.erase("other", None, "customer=42").unwrap(), 0);
    assert_eq!(truths.erase("default", None, "customer=42").unwrap(), 1);
    for entry in std::fs::read_dir(place.directory.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let has = bytes.windows(11).any(|window| window == b"customer=42");
        assert!(!has, "an erased key is still there");
    }
    truths.retain(NOW + 1).unwrap();
    assert!(truths.of_requests(&model(), &[0; 16], &[255; 16]).unwrap().is_empty());
    assert_eq!(truths.add(&model(), "", &rows, NOW).unwrap(), added(3, 0, 0));
}

fn lines(form: Form, content: &[u8], naming: &Naming) -> Vec<(u64, Line)> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    let mut lines = vec![];
    read(form, file, naming, &mut |number, line| {
        lines.push((number, line));
        lines.len() < 10_000
    });
    lines
}

fn naming() -> Naming {
    let truth = vec!["churned".into(), "truth".into()];
    Naming { truth, key: Some("customer".into()), now_ms: NOW }
}

const ID: &str = "0199a3f2-0000-7000-8000-000000000001";

fn refusals(lines: &[(u64, Line)]) -> Vec<(u64, &str)> {
    let some = lines.iter().filter_map(|(number, line)| match line {
        Line::Refused(why) => Some((*number, why.as_str())),
        _ => None,
    });
    some.collect()
}

#[test]
fn feedback_is_read_as_json_in_every_form() {
    let one = format!(r#"{{"id": "{ID}", "truth": "stayed", "age": [1, {{}}]}}"#);
    let row = Subject::Request { id: *uuid(), row: 0 };
    let stayed = TruthRow { subject: row, truth: Outcome::Text("stayed".into()), at_ms: None };
    for (form, content) in [
        (Form::Json, one.clone()),
        (Form::Json, format!(" [{one}]")),
        (Form::Json, format!("{one}\n")),
        (Form::JsonLines, format!("{one}\n\n")),
    ] {
        let read = lines(form, content.as_bytes(), &naming());
        assert_eq!(read, [(1, Line::Rows(vec![stayed.clone()]))], "{content}");
    }
    let several = format!(
        r#"{{"id": "{ID}", "truth": [1, null, 0.5]}}
        {{"id": "{ID}", "row": 2, "truth": null}}
        {{"key": "customer=7", "truth": true, "at": "2026-11-01"}}
        {{"customer": 7, "truth": "x", "churned": 1, "at": 1700000000000}}"#
    );
    let read = lines(Form::Json, several.as_bytes(), &naming());
    let Line::Rows(rows) = &read[0].1 else { panic!("{read:?}") };
    let at: Vec<_> = rows.iter().map(|row| row.subject.clone()).collect();
    assert_eq!(at[1], Subject::Request { id: *uuid(), row: 2 });
    assert_eq!(read[1].1, Line::Empty);
    let Line::Rows(rows) = &read[2].1 else { panic!("{read:?}") };
    assert_eq!(rows[0].at_ms, Some(1_793_491_200_000));
    let Line::Rows(rows) = &read[3].1 else { panic!("{read:?}") };
    assert_eq!(rows[0].subject, Subject::Key("customer=7".into()));
    assert_eq!((&rows[0].truth, rows[0].at_ms), (&Outcome::Integer(1), Some(1_700_000_000_000)));
}

fn uuid() -> &'static [u8; 16] {
    &[1, 0x99, 0xa3, 0xf2, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]
}

#[test]
fn a_line_that_is_wrong_is_refused_and_the_others_are_read() {
    let content = format!(
        "{{\"id\": \"{ID}\", \"truth\": 1}}\nnonsense\n{{\"id\": 3, \"truth\": 1}}\n[]\n\
         {{\"truth\": 1}}\n{{\"id\": \"{ID}\", \"key\": \"a\", \"truth\": 1}}\n\
         {{\"id\": \"{ID}\", \"truth\": {{\"a\": 1}}}}\n{{\"id\": \"{ID}\", \"row\": -1, \"truth\": 1}}\n\
         {{\"id\": \"{ID}\", \"truth\": \"{}\"}}\n{{\"key\": \"\", \"truth\": 1}}\n\
         {{\"key\": \"a\", \"truth\": 1, \"at\": \"soon\"}}\n{{\"key\": \"a\", \"truth\": 1, \"at\": \"2999-01-01\"}}\n\
         {{\"id\": \"{}\", \"truth\": 1}}\n{{\"id\": \"{ID}\", \"truth\": 0}}",
        "x".repeat(300),
        "00000000-0000-4000-8000-000000000000",
    );
    let read = lines(Form::JsonLines, content.as_bytes(), &naming());
    let refused = refusals(&read);
    assert_eq!(read.len(), 14);
    let numbers: Vec<u64> = refused.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (2..=13).collect::<Vec<_>>(), "{refused:?}");
    for (at, word) in
        [(1, "not the id"), (3, "neither an id"), (4, "which is it"), (7, "256"), (10, "future")]
    {
        assert!(refused[at].1.contains(word), "{}", refused[at].1);
    }
    // What is no list any more ends there, and says so.
    let broken = format!("[{{\"id\": \"{ID}\", \"truth\": 1}}, {{\"id\"");
    let read = lines(Form::Json, broken.as_bytes(), &naming());
    assert!(matches!(read[0].1, Line::Rows(_)), "{read:?}");
    assert!(refusals(&read)[0].1.contains("not read"), "{read:?}");
    let deep = format!("{{\"truth\": {}1", "[".repeat(100_000));
    assert_eq!(refusals(&lines(Form::Json, deep.as_bytes(), &naming())).len(), 1);
    assert_eq!(lines(Form::Json, b"", &naming()), []);
    assert_eq!(refusals(&lines(Form::Parquet, b"PAR1nonsense", &naming())).len(), 1);
}

#[test]
fn a_csv_file_has_its_columns_in_any_order() {
    let content = format!(
        "\u{feff}age,churned,id\r\n41,yes,{ID}\r\n42,,{ID}\r\n\"4,3\",007,{ID}\r\n44,1\r\n"
    );
    let read = lines(Form::Csv, content.as_bytes(), &naming());
    let Line::Rows(rows) = &read[0].1 else { panic!("{read:?}") };
    assert_eq!(rows[0].truth, Outcome::Text("yes".into()));
    assert_eq!(read[1].1, Line::Empty);
    let Line::Rows(rows) = &read[2].1 else { panic!("{read:?}") };
    assert_eq!(rows[0].truth, Outcome::Text("007".into()));
    assert_eq!(refusals(&read).len(), 1, "{read:?}");
    let keyed = lines(Form::Csv, b"customer,truth\n0042,1.0\n", &naming());
    let Line::Rows(rows) = &keyed[0].1 else { panic!("{keyed:?}") };
    assert_eq!(rows[0].subject, Subject::Key("customer=0042".into()));
    let useless = lines(Form::Csv, b"a,b\n1,2\n", &naming());
    assert!(refusals(&useless)[0].1.contains("`churned`"), "{useless:?}");
}

#[test]
fn a_form_is_known_by_what_it_is_called() {
    assert_eq!(Form::of_content_type("text/CSV; charset=utf-8"), Some(Form::Csv));
    assert_eq!(Form::of_content_type("image/png"), None);
    assert_eq!(Form::of_name("truth.2026.pq"), Some(Form::Parquet));
    assert_eq!(Form::of_name("truth"), None);
    for form in [Form::Json, Form::JsonLines, Form::Csv, Form::Parquet] {
        assert_eq!(Form::of_content_type(form.content_type()), Some(form));
    }
}

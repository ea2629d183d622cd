//! What is a place for a ledger, and what is refused.

use super::*;

fn parse(text: &str) -> Result<String, LocationError> {
    Location::parse(text, &DataDirectory::new("/data")).map(|location| location.to_string())
}

#[test]
fn a_path_and_a_url_lead_to_the_same_file() {
    let same = |text: &str, path: &str| assert_eq!(parse(text).unwrap(), format!("sqlite:{path}"));
    same("/data/ledger.sqlite", "/data/ledger.sqlite");
    same("sqlite:/data/ledger.sqlite", "/data/ledger.sqlite");
    same("data/ledger.sqlite", "data/ledger.sqlite");
    // A colon alone makes no URL.
    same("/data/a:b", "/data/a:b");
    same("./a:b", "./a:b");
    let data = DataDirectory::new("/data");
    assert_eq!(Location::parse("/data/ledger.sqlite", &data).unwrap(), Location::of(&data));
    assert_eq!(Location::parse(&Location::of(&data).to_string(), &data), Ok(Location::of(&data)));
}

#[test]
fn what_is_kept_beside_it_stays_in_the_data_directory() {
    let elsewhere = Location::parse("sqlite:/fast/l", &DataDirectory::new("/data")).unwrap();
    assert_eq!(elsewhere.head(), PathBuf::from("/data/ledger.head"));
    assert_eq!(elsewhere.snapshot(), PathBuf::from(format!("/data/ledger.fold{FOLD_VERSION}")));
    assert_eq!(elsewhere.telemetry(), PathBuf::from("/data/telemetry.sqlite"));
}

#[test]
fn an_unknown_store_is_refused_with_what_is_known_and_without_its_password() {
    let error = parse("mysql://ann:hush@host/ledger").unwrap_err();
    assert_eq!(error, LocationError::UnknownScheme("mysql".into()));
    let text = error.to_string();
    assert!(text.contains("mysql") && text.contains("sqlite:/PATH") && !text.contains("hush"));
    assert_eq!(parse("sqlite:ledger"), Err(LocationError::NotAbsolute));
    assert_eq!(parse("sqlite:"), Err(LocationError::NotAbsolute));
    assert_eq!(parse(""), Err(LocationError::Empty));
}

//! The OpenAPI document says what the table of endpoints says, and is the one that is committed.

use std::collections::BTreeSet;

use serde_json::Value;
use server::ENDPOINTS;
use server::openapi::{REFERENCE, document};

#[test]
fn the_committed_document_is_todays() {
    let committed = include_str!("../../../docs/openapi.json");
    let committed: Value = serde_json::from_str(committed).unwrap();
    // Not shown: the two are long.
    assert!(committed == document(), "run `decalog openapi > docs/openapi.json`");
}

#[test]
fn each_endpoint_is_described_with_all_that_its_path_names() {
    let document = document();
    let mut names = BTreeSet::new();
    for endpoint in ENDPOINTS {
        let described = &document["paths"][endpoint.path][endpoint.method];
        assert!(names.insert(described["operationId"].to_string()), "{}", endpoint.name);
        let in_path: BTreeSet<&str> =
            endpoint.path.split('{').skip(1).filter_map(|part| part.split('}').next()).collect();
        let parameters = described["parameters"].as_array().unwrap();
        let of_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let named: BTreeSet<&str> =
            of_path.filter_map(|parameter| parameter["name"].as_str()).collect();
        assert_eq!(named, in_path, "{}", endpoint.path);
    }
    let paths = document["paths"].as_object().unwrap().values();
    let described: usize = paths.filter_map(|path| Some(path.as_object()?.len())).sum();
    assert_eq!(described, ENDPOINTS.len());
}

#[test]
fn what_a_schema_refers_to_is_there_and_reads_well() {
    let document = document();
    let text = document.to_string();
    for name in text.split(REFERENCE).skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    assert!(!text.contains("[`"), "a description links to what only the code has");
}

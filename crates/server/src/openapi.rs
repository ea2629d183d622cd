//! The OpenAPI document, made from the table of endpoints and the signatures of their handlers, so
//! that the three cannot disagree.

use std::collections::{BTreeMap, BTreeSet};

use domain::code::Retry;
use domain::{Code, Problem};
use serde_json::{Map, Value, json};

use crate::access::Asks;
use crate::describe::{Operation, Schemas};
use crate::{ENDPOINTS, Endpoint};

/// With which any request may be refused, before or after its handler runs.
const ANYWHERE: &[Code] =
    &[Code::Failed, Code::ForeignHost, Code::ForeignOrigin, Code::Internal, Code::ServerBusy];
/// The one way to prove who one is.
const TOKEN: &str = "token";
/// What a reference to a schema of the document begins with.
pub const REFERENCE: &str = "#/components/schemas/";
/// What the name of a type ends with as it is read, where it is written otherwise: what has a
/// default may be left out, and is always answered.
const READ: &str = "Input";

/// The document.
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let problem = schemas.written.subschema_for::<Problem>().to_value();
    let operations: Vec<Value> = ENDPOINTS
        .iter()
        .map(|endpoint| {
            let mut operation = Operation::new(&mut schemas);
            (endpoint.describe)(&mut operation);
            describe(endpoint, operation, &problem)
        })
        .collect();
    let mut read = schemas.read.take_definitions(true);
    let mut written = schemas.written.take_definitions(true);
    let renamed = read_otherwise(&read, &written);
    let mut paths: Map<String, Value> = Map::new();
    for (endpoint, mut operation) in ENDPOINTS.iter().zip(operations) {
        for part in ["parameters", "requestBody"] {
            operation.get_mut(part).into_iter().for_each(|part| rename(part, &renamed));
        }
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method] = operation;
    }
    read.values_mut().for_each(|schema| rename(schema, &renamed));
    for (name, schema) in read {
        let suffix = if renamed.contains(&name) { READ } else { "" };
        written.insert(format!("{name}{suffix}"), schema);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Decalog control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Models, versions, deployments, events and variables. Inference is described in docs/protocols.md.",
        },
        "paths": paths,
        "components": {
            "schemas": written,
            "securitySchemes": { TOKEN: {
                "type": "http",
                "scheme": "bearer",
                "description": "A token, as `decalog token create` gives it; also as `Token …`, or as the password of Basic",
            } },
        },
    })
}

/// What of the document's schemes a caller needs.
fn security(asks: Asks) -> Value {
    match asks {
        Asks::Everybody => json!([]),
        Asks::WatcherElsewhere => json!([{}, { TOKEN: [] }]),
        _ => json!([{ TOKEN: [] }]),
    }
}

fn describe(endpoint: &Endpoint, operation: Operation, problem: &Value) -> Value {
    let codes = endpoint.codes.iter().copied().flatten();
    let codes = codes.chain(ANYWHERE).chain(&operation.codes).chain(endpoint.asks.codes());
    let mut by_status: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
    let mut is_passing = BTreeSet::new();
    for code in codes {
        by_status.entry(code.http()).or_default().insert(code.as_str());
        if code.retry() == Retry::Soon {
            is_passing.insert(code.http());
        }
    }
    let refusal = |description: String| {
        let mut content = json!({ "application/json": { "schema": problem } });
        // Pages say what is wrong on a page.
        if let Some(page) = operation.answer.get("text/html") {
            content["text/html"] = page.clone();
        }
        json!({ "description": description, "content": content })
    };
    let mut responses = Map::new();
    responses.insert("200".into(), json!({ "description": "Done", "content": operation.answer }));
    for (status, codes) in by_status {
        let codes: Vec<String> = codes.into_iter().map(|code| format!("`{code}`")).collect();
        let mut response = refusal(codes.join(", "));
        if is_passing.contains(&status) {
            response["headers"] = json!({ "Retry-After": {
                "description": "When to try again, in seconds",
                "schema": { "type": "integer" },
            } });
        }
        responses.insert(status.to_string(), response);
    }
    responses.insert("default".into(), refusal("A problem of a newer Decalog".into()));
    let mut described = json!({
        "operationId": endpoint.name.replace("::", "_"),
        "tags": [endpoint.name.split("::").next()],
        "summary": endpoint.summary,
        "description": format!("For {}.", endpoint.asks.says()),
        "security": security(endpoint.asks),
        "parameters": operation.parameters,
        "responses": responses,
    });
    if !operation.body.is_empty() {
        described["requestBody"] = json!({ "required": true, "content": operation.body });
    }
    described
}

/// The types that are read otherwise than they are written, by what they have or by what is in
/// them.
fn read_otherwise(read: &Map<String, Value>, written: &Map<String, Value>) -> BTreeSet<String> {
    let mut differ: BTreeSet<String> = BTreeSet::new();
    loop {
        let more: Vec<String> = read
            .iter()
            .filter(|(name, schema)| {
                let is_other = || written.get(*name).is_some_and(|other| other != *schema);
                let holds_other = || written.contains_key(*name) && mentions(schema, &differ);
                !differ.contains(*name) && (is_other() || holds_other())
            })
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return differ;
        }
        differ.extend(more);
    }
}

fn referred(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.strip_prefix(REFERENCE)
}

fn mentions(value: &Value, names: &BTreeSet<String>) -> bool {
    referred(value).is_some_and(|name| names.contains(name))
        || match value {
            Value::Object(object) => object.values().any(|value| mentions(value, names)),
            Value::Array(values) => values.iter().any(|value| mentions(value, names)),
            _ => false,
        }
}

fn rename(value: &mut Value, names: &BTreeSet<String>) {
    if let Some(name) = referred(value).filter(|name| names.contains(*name)) {
        value["$ref"] = format!("{REFERENCE}{name}{READ}").into();
    }
    match value {
        Value::Object(object) => object.values_mut().for_each(|value| rename(value, names)),
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, names)),
        _ => {}
    }
}

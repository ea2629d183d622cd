//! The OpenAPI document, made from the table of endpoints, so that the two cannot disagree.

use serde_json::{Map, Value, json};

use crate::ENDPOINTS;

/// The document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let in_path = endpoint.path.split('{').skip(1).filter_map(|part| part.split('}').next());
        let parameter = |name: &str, place: &str, required: bool| json!({ "name": name, "in": place, "required": required, "schema": { "type": "string" } });
        let parameters: Vec<Value> = in_path
            .map(|name| parameter(name, "path", true))
            .chain(endpoint.query.iter().map(|name| parameter(name, "query", false)))
            .collect();
        let mut operation = json!({
            "summary": endpoint.summary,
            "parameters": parameters,
            "responses": {
                "200": { "description": "Done" },
                "default": {
                    "description": "A problem",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        });
        if ["post", "put"].contains(&endpoint.method) && endpoint.path != "/v1/gc" {
            operation["requestBody"] = json!({ "required": true, "content": { "application/json": { "schema": { "type": "object" } } } });
        }
        if endpoint.method == "patch" {
            operation["requestBody"] = json!({ "required": true, "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } } });
        }
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Decalog control API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Models, versions, deployments, events and variables. Inference is described in docs/protocols.md.",
        },
        "paths": paths,
        "components": { "schemas": { "Problem": {
            "type": "object",
            "required": ["code", "error"],
            "properties": {
                "code": { "type": "string", "description": "Stable, in snake_case" },
                "error": { "type": "string", "description": "One sentence: what was wrong with which input" },
                "details": { "type": "array", "items": { "type": "string" } },
                "help": { "type": "string", "description": "What to do" },
            },
        } } },
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_document_is_todays() {
        let committed = include_str!("../../../docs/openapi.json");
        let committed: serde_json::Value = serde_json::from_str(committed).unwrap();
        assert_eq!(committed, super::document(), "run `decalog openapi > docs/openapi.json`");
    }
}

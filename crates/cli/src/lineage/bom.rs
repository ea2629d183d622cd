//! A bill of materials of one version: CycloneDX 1.6 in JSON, with a model card, its packages and
//! its data.

use std::collections::BTreeMap;

use control::view::ModelView;
use domain::digest::Hasher;
use domain::lineage::{EdgeKind, LineageVersion};
use domain::{Digest, Lineage, Schema};
use serde_json::{Value, json};

use super::rfc3339;

fn sha256(digest: Digest) -> Value {
    json!([{ "alg": "SHA-256", "content": digest.to_string() }])
}

fn property(name: &str, value: impl ToString) -> Value {
    json!({ "name": format!("decalog:{name}"), "value": value.to_string() })
}

/// The whole document, as text.
pub fn of(lineage: &Lineage, version: &LineageVersion, model: &ModelView, now_ms: u64) -> String {
    let name = format!("{}/{}", lineage.project, lineage.model);
    let own = format!("pkg:generic/{name}@{}", version.version);
    let data = data(lineage, version);
    let packages = packages(lineage, version);
    let schema = model.versions.iter().find(|known| known.version == version.version.to_string());
    let schema = schema.and_then(|known| known.schema.as_ref());
    let mut component = json!({
        "type": "machine-learning-model",
        "bom-ref": own,
        "name": name,
        "version": version.version.to_string(),
        "purl": own,
        "hashes": sha256(version.digest),
        "modelCard": card(version, schema, &data),
        "properties": properties(version),
    });
    if !version.provenance.author.is_empty() {
        component["authors"] = json!([{ "name": version.provenance.author }]);
    }
    let references = references(version);
    if !references.is_empty() {
        component["externalReferences"] = references.into();
    }
    let needed: Vec<&String> = data.keys().chain(packages.keys()).collect();
    let mut dependencies = vec![json!({ "ref": own, "dependsOn": needed })];
    dependencies.extend(needed.iter().map(|needed| json!({ "ref": needed })));
    let tool =
        json!({ "type": "application", "name": "decalog", "version": env!("CARGO_PKG_VERSION") });
    let components: Vec<&Value> = packages.values().chain(data.values()).collect();
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(&own, version.digest, now_ms)),
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(now_ms),
            "tools": { "components": [tool] },
            "component": component,
        },
        "components": components,
        "dependencies": dependencies,
    });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// A UUID of version 8, which is made as its maker likes: of what the document is about, and when.
fn uuid(name: &str, digest: Digest, now_ms: u64) -> String {
    let mut hasher = Hasher::new();
    hasher.field(name.as_bytes());
    hasher.field(&digest.0);
    hasher.field(&now_ms.to_le_bytes());
    let hash = hasher.finish().to_string();
    format!(
        "{}-{}-8{}-a{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[13..16],
        &hash[17..20],
        &hash[20..32]
    )
}

/// What it was trained with and compared with, by what the document calls it.
fn data(lineage: &Lineage, version: &LineageVersion) -> BTreeMap<String, Value> {
    let mut components = BTreeMap::new();
    for edge in lineage.to(&version.id) {
        let Some(data) = lineage.data.iter().find(|data| data.id == edge.from) else { continue };
        let is = match edge.is {
            EdgeKind::Trained => "trained",
            _ => "compared",
        };
        let known = components.entry(data.id.clone()).or_insert_with(|| {
            let mut properties = vec![property("bytes", data.bytes), property("files", data.files)];
            properties.extend(data.rows.map(|rows| property("rows", rows)));
            json!({
                "type": "data",
                "bom-ref": data.id,
                "name": data.names.first(),
                "hashes": sha256(data.digest),
                "data": [{ "type": "dataset", "name": data.names.join(", ") }],
                "properties": properties,
            })
        });
        if let Some(properties) = known["properties"].as_array_mut() {
            properties.push(property("data", is));
        }
    }
    components
}

/// Its packages, by their package URLs.
fn packages(lineage: &Lineage, version: &LineageVersion) -> BTreeMap<String, Value> {
    let lock = lineage.packages.iter().find(|known| Some(known.digest) == version.lock);
    let packages = lock.into_iter().flat_map(|lock| &lock.packages);
    let of = |package: &String| {
        let (name, version) = package.split_once("==")?;
        let url = format!("pkg:pypi/{}@{}", plain(name), encoded(version));
        let component = json!({
            "type": "library",
            "bom-ref": url,
            "name": name,
            "version": version,
            "purl": url,
        });
        Some((url, component))
    };
    packages.filter_map(of).collect()
}

/// A name as package URLs have those of PyPI.
fn plain(name: &str) -> String {
    encoded(&name.to_ascii_lowercase().replace('_', "-"))
}

fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            byte => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// What is known of the model as a model. What nobody said is left out.
fn card(
    version: &LineageVersion,
    schema: Option<&Schema>,
    data: &BTreeMap<String, Value>,
) -> Value {
    let sets: Vec<Value> = data.keys().map(|name| json!({ "ref": name })).collect();
    let columns = |columns: &[domain::Column]| -> Vec<Value> {
        columns.iter().map(|column| json!({ "format": column.to_string() })).collect()
    };
    let mut parameters = json!({ "datasets": sets });
    if let Some(schema) = schema {
        parameters["inputs"] = columns(&schema.inputs).into();
        parameters["outputs"] = columns(&schema.outputs).into();
    }
    let mut card = json!({ "modelParameters": parameters });
    let metrics = version.provenance.metrics.iter();
    let metrics: Vec<Value> =
        metrics.map(|(name, value)| json!({ "type": name, "value": value.to_string() })).collect();
    if !metrics.is_empty() {
        card["quantitativeAnalysis"] = json!({ "performanceMetrics": metrics });
    }
    card
}

fn properties(version: &LineageVersion) -> Vec<Value> {
    let provenance = &version.provenance;
    let mut properties = vec![
        property("runtime", version.runtime),
        property("pushed_by", &version.by),
        property("pushed_at", rfc3339(version.at_ms)),
        property("git_dirty", provenance.git_dirty),
    ];
    properties.extend(version.lock.map(|lock| property("lock", lock)));
    properties.extend(provenance.git_diff.map(|diff| property("git_diff", diff)));
    properties.extend(provenance.parent.map(|parent| property("parent", parent.version)));
    properties.extend(version.live.iter().map(|environment| property("live", environment)));
    properties
}

fn references(version: &LineageVersion) -> Vec<Value> {
    let provenance = &version.provenance;
    let (Some(remote), Some(commit)) = (&provenance.git_remote, &provenance.git_commit) else {
        return vec![];
    };
    // An address of ssh without a scheme would be read as one of a scheme `git@host`.
    let url = match remote.split_once(':') {
        Some((host, path)) if !remote.contains("://") && !host.contains('/') => {
            format!("ssh://{host}/{path}")
        }
        _ => remote.replace(' ', "%20"),
    };
    vec![json!({ "type": "vcs", "url": url, "comment": format!("commit {commit}") })]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_data_are_components_once() {
        let digest = "ab".repeat(32);
        let (lock, data) = (format!("packages:{digest}"), format!("data:{digest}"));
        let version = json!({
            "id": "version:v1", "version": "v1", "digest": digest, "at_ms": 0, "by": "ann",
            "runtime": "python", "live": ["production"], "is_removed": false, "lock": digest,
            "provenance": { "author": "ann" },
        });
        let edges = [("trained", &data), ("compared", &data), ("runs", &lock)];
        let edges = edges.map(|(is, from)| json!({ "from": from, "to": "version:v1", "is": is }));
        let lineage: Lineage = serde_json::from_value(json!({
            "project": "default", "model": "churn", "versions": [version], "releases": [],
            "data": [{
                "id": data, "digest": digest, "names": ["a.csv"], "kind": "file",
                "bytes": 10, "files": 1, "rows": 3,
            }],
            "code": [], "requests": [], "edges": edges,
            "packages": [{
                "id": lock, "digest": digest, "python": "3.11",
                "packages": ["scikit_learn==1.9.1", "torch==2.9.0+cpu"],
            }],
            "versions_left_out": 0, "releases_left_out": 0,
        }))
        .unwrap();
        let model: ModelView = serde_json::from_value(json!({
            "project": "default", "name": "churn", "live": [], "targets": [], "versions": [],
            "replicas": [], "parked": [], "deployments": [],
        }))
        .unwrap();
        let text = of(&lineage, &lineage.versions[0], &model, 0);
        let document: Value = serde_json::from_str(&text).unwrap();
        let of = |name: &str| -> Vec<&Value> {
            document["components"].as_array().unwrap().iter().map(|part| &part[name]).collect()
        };
        let urls = ["pkg:pypi/scikit-learn@1.9.1", "pkg:pypi/torch@2.9.0%2Bcpu"];
        assert_eq!(of("bom-ref"), [urls[0], urls[1], data.as_str()]);
        assert_eq!(of("type"), ["library", "library", "data"]);
        let properties = document["components"][2]["properties"].to_string();
        assert!(properties.contains("trained") && properties.contains("compared"));
        let own = &document["dependencies"][0];
        assert_eq!(own["ref"], "pkg:generic/default/churn@v1");
        assert_eq!(own["dependsOn"].as_array().unwrap().len(), 3);
        assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn package_urls_are_those_of_the_index() {
        assert_eq!(plain("Scikit_Learn"), "scikit-learn");
        assert_eq!(encoded("2.4.0+cpu"), "2.4.0%2Bcpu");
        let uuid = uuid("a", Digest::ZERO, 1);
        assert_eq!((uuid.len(), &uuid[14..15], &uuid[19..20]), (36, "8", "a"));
    }
}

//! The graph as events of OpenLineage (core 2-0-2): one for each data set, for each version that was
//! made of some, and for each environment that a version is live in. Data are named by their
//! digests, because two files of one name need not be the same.

use domain::Lineage;
use domain::lineage::{EdgeKind, LineageData, LineageRelease, LineageVersion};
use domain::{Code, Problem};
use serde_json::{Map, Value, json};

use super::rfc3339;
use crate::Failure;
use crate::client::Client;
use crate::servers::Server;

/// Who says it.
const PRODUCER: &str = "https://github.com/decalog/decalog";
/// Where the schemas are that it is said by.
const CORE: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/";
const FACETS: &str = "https://openlineage.io/spec/facets/";

/// A facet with its fields.
fn facet(schema: &str, fields: Value) -> Value {
    let mut facet = json!({ "_producer": PRODUCER, "_schemaURL": format!("{FACETS}{schema}") });
    if let (Some(facet), Value::Object(fields)) = (facet.as_object_mut(), fields) {
        facet.extend(fields);
    }
    facet
}

fn tags(of: &str, tags: Vec<(&str, String)>) -> Value {
    let tag =
        |(key, value): (&str, String)| json!({ "key": key, "value": value, "source": "DECALOG" });
    let tags: Vec<Value> = tags.into_iter().map(tag).collect();
    let schema = format!("1-0-0/Tags{of}Facet.json#/$defs/Tags{of}Facet");
    facet(&schema, json!({ "tags": tags }))
}

fn version_facet(version: &str) -> Value {
    let schema = "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet";
    facet(schema, json!({ "datasetVersion": version }))
}

fn event(kind: &str, at_ms: u64, fields: Value) -> Value {
    let mut event = json!({
        "eventTime": rfc3339(at_ms),
        "producer": PRODUCER,
        "schemaURL": format!("{CORE}{kind}"),
    });
    if let (Some(event), Value::Object(fields)) = (event.as_object_mut(), fields) {
        event.extend(fields);
    }
    event
}

/// What the events are about.
struct Naming<'l> {
    lineage: &'l Lineage,
    namespace: String,
}

/// All events, what was there first first. `url` is the server's.
pub fn of(lineage: &Lineage, url: &str, now_ms: u64) -> Vec<Value> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let naming =
        Naming { lineage, namespace: format!("decalog://{}", place.trim_end_matches('/')) };
    let mut events: Vec<Value> =
        lineage.data.iter().map(|data| naming.of_data(data, now_ms)).collect();
    events.extend(lineage.versions.iter().rev().map(|version| naming.of_version(version)));
    for version in &lineage.versions {
        for environment in &version.live {
            let here = |release: &&LineageRelease| {
                release.environment == *environment && release.live_ms.is_some()
            };
            let release = lineage.releases.iter().filter(here).max_by_key(|of| of.live_ms);
            let own = release.filter(|release| release.version == version.version);
            events.extend(own.map(|release| naming.of_release(version, release)));
        }
    }
    events
}

impl Naming<'_> {
    fn model(&self) -> String {
        format!("{}/{}", self.lineage.project, self.lineage.model)
    }

    fn dataset(&self, data: &LineageData) -> Value {
        json!({ "namespace": self.namespace, "name": format!("sha256:{}", data.digest) })
    }

    /// Data, since they were first used.
    fn of_data(&self, data: &LineageData, now_ms: u64) -> Value {
        let used = |version: &&LineageVersion| {
            self.lineage.to(&version.id).any(|edge| edge.from == data.id)
        };
        let since = self.lineage.versions.iter().filter(used).map(|version| version.at_ms).min();
        let mut dataset = self.dataset(data);
        let mut said = vec![("bytes", data.bytes.to_string()), ("files", data.files.to_string())];
        said.extend(data.rows.map(|rows| ("rows", rows.to_string())));
        said.extend(data.names.iter().map(|name| ("name", name.clone())));
        dataset["facets"] = json!({
            "version": version_facet(&data.digest.to_string()),
            "tags": tags("Dataset", said),
        });
        event("DatasetEvent", since.unwrap_or(now_ms), json!({ "dataset": dataset }))
    }

    /// A version, and what it was made of.
    fn of_version(&self, version: &LineageVersion) -> Value {
        let trained = self.lineage.to(&version.id).filter(|edge| edge.is == EdgeKind::Trained);
        let inputs: Vec<Value> = trained
            .filter_map(|edge| self.lineage.data.iter().find(|data| data.id == edge.from))
            .map(|data| {
                let mut input = self.dataset(data);
                input["facets"] = json!({ "version": version_facet(&data.digest.to_string()) });
                input
            })
            .collect();
        let sources: Vec<Value> = inputs
            .iter()
            .map(|input| {
                json!({ "type": "DATASET", "namespace": input["namespace"], "name": input["name"] })
            })
            .collect();
        let output = json!({
            "namespace": self.namespace,
            "name": self.model(),
            "facets": { "version": version_facet(&version.version.to_string()) },
        });
        let entry = json!({
            "type": "DATASET",
            "namespace": self.namespace,
            "name": self.model(),
            "inputs": sources,
        });
        let mut facets = Map::new();
        let lineage = "1-0-0/LineageFacet.json#/$defs/LineageJobFacet";
        facets.insert("lineage".into(), facet(lineage, json!({ "entries": [entry] })));
        facets.insert("jobType".into(), job_type("BATCH", "MODEL"));
        facets.insert("tags".into(), tags("Job", said_of(version)));
        if let Some(location) = location(version) {
            let schema = "1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet";
            facets.insert("sourceCodeLocation".into(), facet(schema, location));
        }
        let name = format!("{}@{}", self.model(), version.version);
        let job = json!({ "namespace": self.namespace, "name": name, "facets": facets });
        let fields = json!({ "job": job, "inputs": inputs, "outputs": [output] });
        event("JobEvent", version.at_ms, fields)
    }

    /// What answers in an environment.
    fn of_release(&self, version: &LineageVersion, release: &LineageRelease) -> Value {
        let said = vec![
            ("version", version.version.to_string()),
            ("digest", version.digest.to_string()),
            ("deployment", release.deployment.0.to_string()),
            ("by", release.by.clone()),
        ];
        let facets = json!({
            "jobType": job_type("SERVICE", "ENVIRONMENT"),
            "tags": tags("Job", said),
        });
        let input = json!({
            "namespace": self.namespace,
            "name": self.model(),
            "facets": { "version": version_facet(&version.version.to_string()) },
        });
        let name = format!("{}@{}", self.model(), release.environment);
        let job = json!({ "namespace": self.namespace, "name": name, "facets": facets });
        let at_ms = release.live_ms.unwrap_or(release.at_ms);
        event("JobEvent", at_ms, json!({ "job": job, "inputs": [input], "outputs": [] }))
    }
}

fn job_type(processing: &str, job: &str) -> Value {
    let schema = "2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet";
    let fields = json!({ "processingType": processing, "integration": "DECALOG", "jobType": job });
    facet(schema, fields)
}

fn said_of(version: &LineageVersion) -> Vec<(&'static str, String)> {
    let provenance = &version.provenance;
    let mut said = vec![
        ("digest", version.digest.to_string()),
        ("runtime", version.runtime.to_string()),
        ("by", version.by.clone()),
    ];
    said.extend(version.lock.map(|lock| ("lock", lock.to_string())));
    said.extend(provenance.git_diff.map(|diff| ("git_diff", diff.to_string())));
    said.extend(provenance.parent.map(|parent| ("parent", parent.version.to_string())));
    said.extend(provenance.reference.iter().map(|set| ("reference", set.digest.to_string())));
    said.extend(
        provenance.metrics.iter().map(|(name, value)| ("metric", format!("{name}={value}"))),
    );
    said
}

/// Where the code is, if that is an address.
fn location(version: &LineageVersion) -> Option<Value> {
    let provenance = &version.provenance;
    let (commit, remote) = (provenance.git_commit.as_ref()?, provenance.git_remote.as_ref()?);
    let url = match remote.split_once("://") {
        Some(_) => remote.clone(),
        None if remote.starts_with('/') => format!("file://{remote}"),
        None => {
            // user@host:path
            let (host, path) = remote.split_once(':').filter(|(host, _)| !host.contains('/'))?;
            format!("ssh://{host}/{path}")
        }
    };
    let mut location = json!({ "type": "git", "url": url.replace(' ', "%20"), "repoUrl": remote, "version": commit });
    if let Some(branch) = &provenance.git_branch {
        location["branch"] = branch.as_str().into();
    }
    Some(location)
}

/// Writes the events to a file, one a line, or sends them to a server.
pub fn send(events: &[Value], to: &str) -> Result<(), Failure> {
    if !to.starts_with("http://") && !to.starts_with("https://") {
        let lines: Vec<String> = events.iter().map(Value::to_string).collect();
        return super::write(to.as_ref(), &(lines.join("\n") + "\n"));
    }
    // As clients of OpenLineage have it.
    let token = std::env::var("OPENLINEAGE_API_KEY").ok().filter(|key| !key.is_empty());
    let known = Server { token: token.clone(), ca: None };
    let to = to.trim_end_matches('/').trim_end_matches("/api/v1/lineage");
    let client = match token {
        Some(_) => Client::as_remembered(to, known),
        None => Client::as_stranger(to, known),
    };
    for (sent, event) in events.iter().enumerate() {
        client.post_text("/api/v1/lineage", &event.to_string()).map_err(|failure| {
            let (Failure::Problem(problem) | Failure::Unreachable(problem)) = failure;
            let text = format!("{to} took {sent} of {} events: {}", events.len(), problem.message);
            Problem::new(Code::Failed, text).help(
                "its API of OpenLineage is at /api/v1/lineage; OPENLINEAGE_API_KEY is its key",
            )
        })?;
    }
    eprintln!("{to}: {} events", events.len());
    Ok(())
}

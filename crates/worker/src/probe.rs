//! Asks a worker whether it is ready, and what it is.

use domain::route::{Address, WorkerProtocol};
use domain::{Code, Column, Datatype, Problem, Schema};
use serde::{Deserialize, Serialize};

use crate::client::{Connection, ConnectionError};

/// What a worker is expected to speak.
#[derive(Clone, PartialEq, Debug)]
pub enum ProbeAs {
    /// Open Inference Protocol v2.
    OpenInference,
    /// Plain JSON at this path: whatever answers HTTP is ready.
    Plain(String),
}

/// What a worker says of itself. Kept beside its process, so that another platform knows it too.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its columns, if it tells.
    pub schema: Option<Schema>,
    /// What it speaks.
    pub protocol: WorkerProtocol,
    /// Whether one more connection may carry the next batch.
    #[serde(default)]
    pub prefetch: bool,
    /// Batches that it takes at the same time, if it tells.
    #[serde(default)]
    pub concurrency: Option<u32>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    inputs: Vec<MetadataColumn>,
    #[serde(default)]
    outputs: Vec<MetadataColumn>,
    #[serde(default)]
    decalog: Option<Extension>,
}

#[derive(Deserialize)]
struct MetadataColumn {
    name: String,
    datatype: String,
    #[serde(default)]
    shape: Vec<i64>,
}

/// What Decalog's own shims add to the protocol's metadata.
#[derive(Deserialize)]
struct Extension {
    #[serde(default)]
    schema: Option<Schema>,
    #[serde(default)]
    prefetch: bool,
    #[serde(default)]
    concurrency: Option<u32>,
    #[serde(default)]
    binary: bool,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody answers yet.
    #[error("the worker does not answer yet: {0}")]
    NotYet(String),
    /// It answers, but cannot be used.
    #[error("{0}")]
    Unusable(Problem),
}

impl From<ConnectionError> for ProbeError {
    fn from(error: ConnectionError) -> ProbeError {
        ProbeError::NotYet(error.to_string())
    }
}

/// Connects, asks for readiness and metadata.
pub async fn probe(
    address: &Address,
    model: &str,
    probe_as: &ProbeAs,
) -> Result<WorkerInfo, ProbeError> {
    let mut connection = Connection::connect(address)
        .await
        .map_err(|error| ProbeError::NotYet(error.to_string()))?;
    if let ProbeAs::Plain(path) = probe_as {
        connection.get(path).await?;
        let protocol = WorkerProtocol::Plain(path.clone());
        return Ok(WorkerInfo { schema: None, protocol, prefetch: false, concurrency: None });
    }
    let ready = connection.get("/v2/health/ready").await?;
    if ready.status != 200 {
        return Err(ProbeError::NotYet(format!("/v2/health/ready gives {}", ready.status)));
    }
    if connection.is_stale() {
        connection = Connection::connect(address)
            .await
            .map_err(|error| ProbeError::NotYet(error.to_string()))?;
    }
    let answer = connection.get(&format!("/v2/models/{model}")).await?;
    if answer.status != 200 {
        let message =
            format!("the worker is ready, but answers {} to /v2/models/{model}", answer.status);
        return Err(ProbeError::Unusable(
            Problem::new(Code::BadWorker, message)
                .help("serve the model under the name in DECALOG_MODEL, or set [model] path if it speaks plain JSON"),
        ));
    }
    let metadata: Metadata = serde_json::from_slice(&answer.body).map_err(|error| {
        ProbeError::Unusable(Problem::new(
            Code::BadWorker,
            format!("the worker's metadata cannot be read: {error}"),
        ))
    })?;
    Ok(info(metadata))
}

fn info(metadata: Metadata) -> WorkerInfo {
    let (schema, extension) = match metadata.decalog {
        Some(extension) => (extension.schema.clone(), Some(extension)),
        None => (schema_of(&metadata.inputs, &metadata.outputs), None),
    };
    let binary = extension.as_ref().is_some_and(|extension| extension.binary);
    WorkerInfo {
        schema,
        protocol: if binary { WorkerProtocol::Binary } else { WorkerProtocol::Json },
        prefetch: extension.as_ref().is_some_and(|extension| extension.prefetch),
        concurrency: extension.and_then(|extension| extension.concurrency),
    }
}

/// The schema of a server that only speaks the standard: the first dimension is the rows if all
/// inputs leave it open, and no output fixes it. Many note the 1 that they were tried with.
fn schema_of(inputs: &[MetadataColumn], outputs: &[MetadataColumn]) -> Option<Schema> {
    let may_be_rows = |column: &MetadataColumn| !matches!(column.shape.first(), Some(0 | 2..));
    let batches = inputs.iter().all(|column| column.shape.first() == Some(&-1))
        && outputs.iter().all(may_be_rows);
    let column = |column: &MetadataColumn| {
        let shape = column.shape.get(batches as usize..).unwrap_or_default().to_vec();
        let shape = if shape == [1] && batches { vec![] } else { shape };
        Some(Column {
            shape: Some(shape),
            ..Column::scalar(&column.name, Datatype::from_name(&column.datatype)?)
        })
    };
    let inputs = inputs.iter().map(column).collect::<Option<Vec<_>>>()?;
    let outputs = outputs.iter().map(column).collect::<Option<Vec<_>>>()?;
    (!inputs.is_empty()).then_some(Schema { inputs, outputs, batches, ..Schema::default() })
}

//! Receivers of alarms: only whoever looks after the platform names them, as this server then calls
//! their addresses.

use axum::Json;
use axum::extract::State;
use control::ReceiverSetting;
use domain::{AlertReceiver, Code, ModelKey, Problem, ReceiverKind, Severity};
use monitor::alarms::ReceiverStatus;
use monitor::delivery::Address;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::extract::{Body, By, Path};
use crate::path::ReceiverPath;
use crate::{Api, ApiError, aside};

/// A receiver and how it stands with it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverListed {
    /// The receiver.
    #[serde(flatten)]
    pub receiver: AlertReceiver,
    /// What it was told, and what not.
    pub status: ReceiverStatus,
}

/// All receivers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Receivers {
    /// By name.
    pub receivers: Vec<ReceiverListed>,
}

/// What a receiver becomes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiverRequest {
    /// Its address: `https://`, or `http://` on this machine or in a private network.
    url: String,
    /// How it is told.
    #[serde(default)]
    kind: ReceiverKind,
    /// Only alarms of this model; of all if unsaid.
    #[serde(default)]
    model: Option<ModelKey>,
    /// Only alarms that are so severe, or more; warnings and alerts if unsaid.
    #[serde(default)]
    severity: Option<Severity>,
}

/// A receiver that was made or replaced.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverSet {
    /// The receiver.
    pub receiver: AlertReceiver,
    /// What signs its messages, if it is a webhook: `whsec_…`, shown this once.
    pub key: Option<String>,
}

/// A receiver that is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverRemoved {
    /// Its name.
    pub removed: String,
}

/// A test that a receiver took.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReceiverTested {
    /// Its name.
    pub delivered: String,
}

pub async fn list(State(api): State<Api>) -> Result<Json<Receivers>, ApiError> {
    let listed = aside(move || {
        let status = |receiver: AlertReceiver| {
            let status = api.alarms.receiver(&receiver);
            ReceiverListed { receiver, status }
        };
        api.control.receivers().into_iter().map(status).collect()
    });
    Ok(Json(Receivers { receivers: listed.await? }))
}

pub async fn set(
    State(api): State<Api>,
    Path(path): Path<ReceiverPath>,
    By(caller): By,
    Body(request): Body<ReceiverRequest>,
) -> Result<Json<ReceiverSet>, ApiError> {
    let ReceiverRequest { url, kind, model, severity } = request;
    let address: Address = url.parse().map_err(|error| {
        Problem::new(Code::BadReceiver, error).help("write it as https://hooks.example.org/…")
    })?;
    let setting = ReceiverSetting {
        name: path.name,
        kind,
        model,
        severity: severity.unwrap_or(Severity::Warning),
        host: address.host(),
        address: url,
    };
    let (receiver, key) = api.control.set_receiver(&caller, setting).await?;
    let (telling, told) = (api.clone(), receiver.clone());
    // From now on, and not from when its thread has begun.
    aside(move || telling.alarms.add_receiver(&told)).await?;
    let key = (kind == ReceiverKind::Webhook).then_some(key);
    Ok(Json(ReceiverSet { receiver, key }))
}

pub async fn remove(
    State(api): State<Api>,
    Path(path): Path<ReceiverPath>,
    By(caller): By,
) -> Result<Json<ReceiverRemoved>, ApiError> {
    api.control.remove_receiver(&caller, &path.name).await?;
    Ok(Json(ReceiverRemoved { removed: path.name.into() }))
}

pub async fn test(
    State(api): State<Api>,
    Path(path): Path<ReceiverPath>,
) -> Result<Json<ReceiverTested>, ApiError> {
    let receiver = api.control.receiver(&path.name)?;
    let name = receiver.name.clone();
    match aside(move || api.delivery.test(&receiver)).await? {
        Ok(()) => Ok(Json(ReceiverTested { delivered: name.into() })),
        Err(why) => {
            let text = format!("receiver `{name}` did not take the test: {why}");
            Err(Problem::new(Code::NotDelivered, text)
                .help("correct its address: decalog alerts add NAME URL")
                .into())
        }
    }
}

//! Where alarms go: who receives them, and by which protocol. The address may hold a secret, so that
//! only the host is here; the rest is kept like a secret.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, Severity};
use crate::digest::Digest;
use crate::id::{ModelKey, NAME_CHARS_MAX, NameError, ProjectName};

/// So many receivers there may be.
pub const RECEIVERS_MAX: usize = 32;

/// What a receiver is called.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[a-z0-9][a-z0-9._-]{0,62}$", "examples" = ["ops"]))]
pub struct ReceiverName(String);

impl ReceiverName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReceiverName {
    type Error = NameError;

    fn try_from(text: String) -> Result<ReceiverName, NameError> {
        // The same letters as in all names.
        match text.parse::<ProjectName>() {
            Ok(_) => Ok(ReceiverName(text)),
            Err(_) => {
                let excerpt = text.chars().take(NAME_CHARS_MAX + 1).collect();
                Err(NameError::Form(excerpt, "receiver"))
            }
        }
    }
}

impl FromStr for ReceiverName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<ReceiverName, NameError> {
        text.to_string().try_into()
    }
}

impl From<ReceiverName> for String {
    fn from(name: ReceiverName) -> String {
        name.0
    }
}

impl fmt::Display for ReceiverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a receiver is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReceiverKind {
    /// JSON, signed as Standard Webhooks has it.
    #[default]
    Webhook,
    /// A text, as Slack and those like it take it.
    Slack,
    /// Version 2 of the API of Prometheus' Alertmanager.
    Alertmanager,
}

impl ReceiverKind {
    /// As it is written in JSON and on the command line.
    pub fn label(self) -> &'static str {
        match self {
            ReceiverKind::Webhook => "webhook",
            ReceiverKind::Slack => "slack",
            ReceiverKind::Alertmanager => "alertmanager",
        }
    }
}

/// Who is told of which alarms.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AlertReceiver {
    /// What it is called.
    pub name: ReceiverName,
    /// How it is told.
    pub kind: ReceiverKind,
    /// Scheme, host and port of its address: what may be shown of it.
    pub host: String,
    /// Only alarms of this model; of all if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelKey>,
    /// Only alarms that are so severe, or more.
    pub severity: Severity,
    /// The file of its address and its key among the secrets.
    pub secret: Digest,
}

impl AlertReceiver {
    /// Whether it is told of this alarm.
    pub fn takes(&self, alarm: &Alarm) -> bool {
        self.model.as_ref().is_none_or(|model| Some(model) == alarm.key.model())
            && alarm.finding.severity >= self.severity
    }
}

/// What only the receiver and this server know: kept like a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverSecret {
    /// Where messages go, whole.
    pub address: String,
    /// By which they are signed: `whsec_` and base64. Only webhooks use it.
    pub key: String,
}

impl fmt::Debug for ReceiverSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address of a receiver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_like_all_names() {
        assert_eq!("ops".parse::<ReceiverName>().map(String::from), Ok("ops".into()));
        for wrong in ["", "Ops", "a b", "../x", &"a".repeat(64)] {
            let error = wrong.parse::<ReceiverName>().map_err(|error| error.to_string());
            assert!(error.is_err_and(|text| text.contains("receiver name")), "{wrong}");
        }
    }
}

//! Kinds of events, and their bodies as the ledger keeps them.

use serde_json::value::RawValue;

use super::Event;

/// The shape of bodies that this program writes and reads.
pub const BODY_VERSION: u32 = 1;

/// An event that this program does not know: written by a newer one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the ledger holds an event `{kind}` (version {version}) that this program cannot read: {reason}"
)]
pub struct UnknownEvent {
    /// Its kind.
    pub kind: String,
    /// Its body's version.
    pub version: u32,
    /// The parser's message.
    pub reason: String,
}

impl Event {
    /// All kinds that this program knows.
    pub const KINDS: [&str; 50] = [
        "writer_started",
        "writer_handed_over",
        "version_pushed",
        "deploy_started",
        "signature_judged",
        "environment_built",
        "schema_recorded",
        "candidate_ready",
        "tests_passed",
        "gates_passed",
        "determinism_probed",
        "rehearsal_started",
        "rehearsed",
        "traffic_shifted",
        "guards_judged",
        "release_paused",
        "release_resumed",
        "released",
        "deploy_failed",
        "variable_set",
        "variable_reference_set",
        "variable_removed",
        "scale_changed",
        "replica_ready",
        "replica_failed",
        "version_removed",
        "model_removed",
        "access_began",
        "principal_added",
        "principal_removed",
        "groups_changed",
        "grant_given",
        "grant_withdrawn",
        "token_created",
        "token_rotated",
        "token_revoked",
        "tokens_revoked",
        "tokens_required",
        "keys_rotated",
        "alert_receiver_set",
        "alert_receiver_removed",
        "records_erased",
        "environment_protected",
        "environment_unprotected",
        "signatures_required",
        "trust_given",
        "trust_withdrawn",
        "proposed",
        "proposal_approved",
        "proposal_rejected",
    ];

    /// Its kind, in snake_case.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::WriterStarted { .. } => "writer_started",
            Event::WriterHandedOver { .. } => "writer_handed_over",
            Event::VersionPushed(_) => "version_pushed",
            Event::DeployStarted { .. } => "deploy_started",
            Event::SignatureJudged { .. } => "signature_judged",
            Event::EnvironmentBuilt { .. } => "environment_built",
            Event::SchemaRecorded { .. } => "schema_recorded",
            Event::CandidateReady { .. } => "candidate_ready",
            Event::TestsPassed { .. } => "tests_passed",
            Event::GatesPassed { .. } => "gates_passed",
            Event::DeterminismProbed { .. } => "determinism_probed",
            Event::RehearsalStarted { .. } => "rehearsal_started",
            Event::Rehearsed { .. } => "rehearsed",
            Event::TrafficShifted { .. } => "traffic_shifted",
            Event::GuardsJudged { .. } => "guards_judged",
            Event::ReleasePaused { .. } => "release_paused",
            Event::ReleaseResumed { .. } => "release_resumed",
            Event::Released { .. } => "released",
            Event::DeployFailed { .. } => "deploy_failed",
            Event::VariableSet { .. } => "variable_set",
            Event::VariableReferenceSet { .. } => "variable_reference_set",
            Event::VariableRemoved { .. } => "variable_removed",
            Event::ScaleChanged { .. } => "scale_changed",
            Event::ReplicaReady { .. } => "replica_ready",
            Event::ReplicaFailed { .. } => "replica_failed",
            Event::VersionRemoved { .. } => "version_removed",
            Event::ModelRemoved { .. } => "model_removed",
            Event::AccessBegan {} => "access_began",
            Event::PrincipalAdded { .. } => "principal_added",
            Event::PrincipalRemoved { .. } => "principal_removed",
            Event::GroupsChanged { .. } => "groups_changed",
            Event::GrantGiven { .. } => "grant_given",
            Event::GrantWithdrawn { .. } => "grant_withdrawn",
            Event::TokenCreated { .. } => "token_created",
            Event::TokenRotated { .. } => "token_rotated",
            Event::TokenRevoked { .. } => "token_revoked",
            Event::TokensRevoked {} => "tokens_revoked",
            Event::TokensRequired { .. } => "tokens_required",
            Event::KeysRotated { .. } => "keys_rotated",
            Event::AlertReceiverSet { .. } => "alert_receiver_set",
            Event::AlertReceiverRemoved { .. } => "alert_receiver_removed",
            Event::RecordsErased { .. } => "records_erased",
            Event::EnvironmentProtected { .. } => "environment_protected",
            Event::EnvironmentUnprotected { .. } => "environment_unprotected",
            Event::SignaturesRequired { .. } => "signatures_required",
            Event::TrustGiven { .. } => "trust_given",
            Event::TrustWithdrawn { .. } => "trust_withdrawn",
            Event::Proposed(_) => "proposed",
            Event::ProposalApproved { .. } => "proposal_approved",
            Event::ProposalRejected { .. } => "proposal_rejected",
        }
    }

    /// Whether load and processes alone make it happen, as often as they please: such events are
    /// kept for a time, outside the ledger. In ledgers of earlier programs they are entries.
    pub fn is_telemetry(&self) -> bool {
        matches!(
            self,
            Event::ScaleChanged { .. } | Event::ReplicaReady { .. } | Event::ReplicaFailed { .. }
        )
    }

    /// Where a change that may need approval says which proposal it carries out.
    fn proposal_mut(&mut self) -> Option<&mut Option<u64>> {
        match self {
            Event::DeployStarted { proposal, .. }
            | Event::VariableSet { proposal, .. }
            | Event::VariableReferenceSet { proposal, .. }
            | Event::VariableRemoved { proposal, .. }
            | Event::VersionRemoved { proposal, .. }
            | Event::ModelRemoved { proposal }
            | Event::GrantGiven { proposal, .. }
            | Event::EnvironmentProtected { proposal, .. }
            | Event::EnvironmentUnprotected { proposal, .. }
            | Event::SignaturesRequired { proposal, .. }
            | Event::TrustGiven { proposal, .. } => Some(proposal),
            _ => None,
        }
    }

    /// The proposal that this change carries out, if it needed approval.
    pub fn carries_out(&self) -> Option<u64> {
        match self {
            Event::DeployStarted { proposal, .. }
            | Event::VariableSet { proposal, .. }
            | Event::VariableReferenceSet { proposal, .. }
            | Event::VariableRemoved { proposal, .. }
            | Event::VersionRemoved { proposal, .. }
            | Event::ModelRemoved { proposal }
            | Event::GrantGiven { proposal, .. }
            | Event::EnvironmentProtected { proposal, .. }
            | Event::EnvironmentUnprotected { proposal, .. }
            | Event::SignaturesRequired { proposal, .. }
            | Event::TrustGiven { proposal, .. } => *proposal,
            _ => None,
        }
    }

    /// This change, as what carries out a proposal.
    pub fn carrying_out(mut self, id: u64) -> Event {
        if let Some(proposal) = self.proposal_mut() {
            *proposal = Some(id);
        }
        self
    }

    /// The body as the exact bytes that are hashed and kept.
    pub fn body(&self) -> Vec<u8> {
        let value = serde_json::to_value(self).unwrap_or_default();
        serde_json::to_vec(&value["body"]).unwrap_or_default()
    }

    /// The event of this kind with this body.
    pub fn from_parts(kind: &str, version: u32, body: &[u8]) -> Result<Event, UnknownEvent> {
        let unknown = |reason: String| UnknownEvent { kind: kind.to_string(), version, reason };
        if version != BODY_VERSION {
            return Err(unknown(format!("this program reads version {BODY_VERSION}")));
        }
        // Read in one pass: a ledger of years has many entries. The kind comes first, so that the
        // body is read as what it is.
        let body: &RawValue =
            serde_json::from_slice(body).map_err(|error| unknown(error.to_string()))?;
        let whole = format!("{{\"kind\":{},\"body\":{body}}}", serde_json::Value::from(kind));
        serde_json::from_str(&whole).map_err(|error| unknown(error.to_string()))
    }
}

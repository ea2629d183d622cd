//! The events of the ledger: all that ever changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::grant::{Grant, GroupName};
use crate::guard::{GuardInputs, Judgements};
use crate::id::{DeploymentId, EnvironmentName, ModelName, Placement, ReplicaId, VersionNumber};
use crate::manifest::Configuration;
use crate::principal::{Principal, PrincipalId};
use crate::problem::Problem;
use crate::proposal::{Party, Proposed, Protection};
use crate::release::{Phase, Plan};
use crate::scale::ScaleRecord;
use crate::schema::Schema;
use crate::token::{TokenId, TokenRecord};

mod candidate;
mod pushed;

pub use candidate::{MadeUpRow, Measurement};
pub use pushed::{Lock, Provenance, VersionPushed};

/// The subject of events that concern the whole platform.
pub const PLATFORM: &str = "decalog";

/// The shape of bodies that this program writes and reads.
pub const BODY_VERSION: u32 = 1;

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum Event {
    /// A process became the one writer of this ledger.
    WriterStarted {
        /// Of the program.
        program_version: String,
    },
    /// The one writer stopped writing, in favour of another process.
    WriterHandedOver {
        /// Of the process that takes over.
        pid: u32,
    },
    /// A version came into being.
    VersionPushed(Box<VersionPushed>),
    /// A deployment of this version was requested; its sequence number is the deployment's id.
    DeployStarted {
        /// The version that is to go live.
        version: VersionNumber,
        /// The environment that it is to go live in.
        environment: EnvironmentName,
        /// How the traffic is to move.
        #[serde(default, skip_serializing_if = "is_default")]
        plan: Plan,
        /// What the environment's configuration becomes with it; absent if it stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        configuration: Option<Box<Configuration>>,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// The packages of the version's lock are installed.
    EnvironmentBuilt {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// Of the lock.
        lock: Digest,
        /// Whether it had been there already.
        cached: bool,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// What the columns of a version are; once per version.
    SchemaRecorded {
        /// The version that has it.
        version: VersionNumber,
        /// From the code itself.
        schema: Schema,
    },
    /// A candidate replica has loaded the model.
    CandidateReady {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// From its start to being ready; 0 if it was ready before the attempt began.
        elapsed_ms: u64,
    },
    /// All cases under `tests/` gave what they must.
    TestsPassed {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// How many.
        cases: u32,
        /// How long they took.
        elapsed_ms: u64,
        /// What became of the made-up row; absent where there are cases.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made_up: Option<MadeUpRow>,
    },
    /// The candidate was measured, and is within its gates.
    GatesPassed {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// Of the candidate.
        candidate: Measurement,
        /// Of the version that was live then.
        live: Option<Measurement>,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// The version takes a part of the traffic, or copies of it; the rest goes where it went.
    TrafficShifted {
        /// The deployment that did it.
        deployment: DeploymentId,
        /// The version that takes a part of the traffic.
        version: VersionNumber,
        /// The environment whose traffic it is.
        environment: EnvironmentName,
        /// What the rest goes to.
        baseline: VersionNumber,
        /// Its place among the phases of the plan, from 0.
        step: u32,
        /// Which part.
        phase: Phase,
    },
    /// The guards of a release came to another verdict, on these numbers.
    GuardsJudged {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// At which step.
        step: u32,
        /// All that the verdict depends on.
        inputs: Box<GuardInputs>,
        /// What it is.
        judgements: Box<Judgements>,
    },
    /// The release stays where it is until it is resumed.
    ReleasePaused {
        /// The deployment.
        deployment: DeploymentId,
    },
    /// The release goes on.
    ReleaseResumed {
        /// The deployment.
        deployment: DeploymentId,
    },
    /// The version takes the traffic of the environment.
    Released {
        /// The deployment that did it.
        deployment: DeploymentId,
        /// The version that is live from now on.
        version: VersionNumber,
        /// The environment that it is live in.
        environment: EnvironmentName,
        /// What took it before.
        previous: Option<VersionNumber>,
        /// Since the attempt began.
        elapsed_ms: u64,
    },
    /// The version was not released; what was live stays so.
    DeployFailed {
        /// The deployment.
        deployment: DeploymentId,
        /// `build`, `start`, `test`, `gate`, `compatibility`, `guard`, `aborted`, `superseded`.
        step: String,
        /// What went wrong, as a caller reads it.
        problem: Problem,
    },
    /// A variable of an environment, or of one model in it, got a value.
    VariableSet {
        /// The environment whose models get it.
        environment: EnvironmentName,
        /// For which model of the subject's project; all if none.
        model: Option<ModelName>,
        /// Its name.
        name: String,
        /// Its value; `None` for a secret, whose value is kept elsewhere.
        value: Option<String>,
        /// The file of the secret store that holds a secret's value; older entries name none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<Digest>,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// A secret of an environment, or of one model in it, is read from the operator's vault whenever
    /// a replica starts.
    VariableReferenceSet {
        /// The environment whose models get it.
        environment: EnvironmentName,
        /// For which model of the subject's project; all if none.
        model: Option<ModelName>,
        /// Its name.
        name: String,
        /// Where its value is: `vault:kv/data/churn#password`.
        reference: String,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// A variable is gone.
    VariableRemoved {
        /// The environment whose models lose it.
        environment: EnvironmentName,
        /// For which model of the subject's project; all if none.
        model: Option<ModelName>,
        /// Its name.
        name: String,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// Another number of replicas is wanted of a placement.
    ScaleChanged {
        /// The placement that has it.
        placement: Placement,
        /// The decision, with all that it depends on.
        record: Box<ScaleRecord>,
    },
    /// A replica of a live placement is ready, after the first.
    ReplicaReady {
        /// The replica.
        replica: ReplicaId,
        /// The placement that it runs.
        placement: Placement,
        /// From its start to being ready.
        elapsed_ms: u64,
    },
    /// A replica of a live placement ended by itself.
    ReplicaFailed {
        /// The replica.
        replica: ReplicaId,
        /// The placement that it runs.
        placement: Placement,
        /// Exit status, signal, last words.
        reason: String,
        /// When the next one starts.
        restart_in_ms: u64,
    },
    /// A version is gone; its number is not used again.
    VersionRemoved {
        /// The version that is gone.
        version: VersionNumber,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// The model and all its versions are gone.
    ModelRemoved {
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// From here on the actor of an entry is proved; in those before, it is what was claimed.
    AccessBegan {},
    /// Somebody can be given rights.
    PrincipalAdded {
        /// Who.
        principal: Principal,
        /// Who answers for it, if it is no person and somebody in particular does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        person: Option<PrincipalId>,
    },
    /// Somebody is gone, with all rights and tokens.
    PrincipalRemoved {
        /// Who.
        principal: Principal,
    },
    /// Whoever logs somebody in says that they are in other groups than before.
    GroupsChanged {
        /// Who.
        principal: Principal,
        /// All of theirs.
        groups: Vec<GroupName>,
    },
    /// Somebody has a role somewhere, in place of the one that they had there.
    GrantGiven {
        /// The role.
        grant: Grant,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// Somebody does not have a role any more.
    GrantWithdrawn {
        /// The role.
        grant: Grant,
    },
    /// A token was made.
    TokenCreated {
        /// All but its text.
        token: Box<TokenRecord>,
    },
    /// Another token took the place of one.
    TokenRotated {
        /// As it is from now on.
        token: Box<TokenRecord>,
    },
    /// A token is not valid any more.
    TokenRevoked {
        /// Which.
        id: TokenId,
    },
    /// No token that was made before is valid any more: the ledger was restored, and may not know
    /// of those that were revoked since.
    TokensRevoked {},
    /// Predictions need a token also on loopback, or do not any more.
    TokensRequired {
        /// Whether they do.
        required: bool,
    },
    /// Changes of an environment of the subject's project need approval.
    EnvironmentProtected {
        /// Which.
        environment: EnvironmentName,
        /// How many.
        protection: Protection,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// Changes of an environment of the subject's project need no approval any more.
    EnvironmentUnprotected {
        /// Which.
        environment: EnvironmentName,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// Somebody wants a change of a protected environment; its number is the proposal's id.
    Proposed(Box<Proposed>),
    /// Somebody agreed to a proposal.
    ProposalApproved {
        /// Which.
        proposal: u64,
        /// Who.
        by: Party,
    },
    /// Nothing comes of a proposal.
    ProposalRejected {
        /// Which.
        proposal: u64,
        /// Who ended it.
        by: Party,
        /// Why, in their words.
        why: String,
    },
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One entry of the ledger.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who, as a principal; in entries of before there were any, what was claimed.
    pub actor: String,
    /// What it concerns: `project/model`, `project`, or `decalog`.
    pub subject: String,
    /// Its place among the entries of its subject, from 1.
    pub subject_seq: u64,
    /// Which writer wrote it.
    pub writer_epoch: u64,
    /// Of all before and this.
    pub hash: Digest,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

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
    pub const KINDS: [&str; 39] = [
        "writer_started",
        "writer_handed_over",
        "version_pushed",
        "deploy_started",
        "environment_built",
        "schema_recorded",
        "candidate_ready",
        "tests_passed",
        "gates_passed",
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
        "environment_protected",
        "environment_unprotected",
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
            Event::EnvironmentBuilt { .. } => "environment_built",
            Event::SchemaRecorded { .. } => "schema_recorded",
            Event::CandidateReady { .. } => "candidate_ready",
            Event::TestsPassed { .. } => "tests_passed",
            Event::GatesPassed { .. } => "gates_passed",
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
            Event::EnvironmentProtected { .. } => "environment_protected",
            Event::EnvironmentUnprotected { .. } => "environment_unprotected",
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
            | Event::EnvironmentUnprotected { proposal, .. } => Some(proposal),
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
            | Event::EnvironmentUnprotected { proposal, .. } => *proposal,
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

#[cfg(test)]
mod tests;

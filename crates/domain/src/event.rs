//! The events of the ledger: all that ever changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::Credential;
use crate::determinism::Probe;
use crate::digest::Digest;
use crate::grant::{Grant, GroupName};
use crate::guard::{GuardInputs, Judgements};
use crate::id::{
    DeploymentId, EnvironmentName, KeyName, ModelName, Placement, ReplicaId, VersionNumber,
};
use crate::launch::Sandbox;
use crate::manifest::Configuration;
use crate::principal::{Principal, PrincipalId};
use crate::problem::Problem;
use crate::proposal::{Party, Protection};
use crate::receiver::{AlertReceiver, ReceiverName};
use crate::rehearsal::Rehearsal;
use crate::release::{Phase, Plan};
use crate::scale::ScaleRecord;
use crate::schema::Schema;
use crate::token::{TokenId, TokenRecord};
use crate::trust::{Signature, TrustedKey};

mod candidate;
mod entry;
mod kind;
mod proposed;
mod pushed;

pub use candidate::{MadeUpRow, Measurement};
pub use entry::Entry;
pub use kind::{BODY_VERSION, UnknownEvent};
pub use proposed::Proposed;
pub use pushed::{Lock, VersionPushed};

/// The subject of events that concern the whole platform.
pub const PLATFORM: &str = "decalog";

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
    /// The signature of a version was checked, by the keys that its project trusted just then.
    SignatureJudged {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// The version that is signed.
        version: VersionNumber,
        /// The environment that it is to go live in.
        environment: EnvironmentName,
        /// What came of it.
        signature: Signature,
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
    /// The candidate was asked for the same rows in different calls.
    DeterminismProbed {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// The version that was asked.
        version: VersionNumber,
        /// The environment whose variables it had.
        environment: EnvironmentName,
        /// What was found.
        probe: Box<Probe>,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// Recorded requests are about to be asked of the candidate and of the live version. It comes
    /// again if the server ends in the middle.
    RehearsalStarted {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// The candidate.
        version: VersionNumber,
        /// The environment whose requests they are.
        environment: EnvironmentName,
        /// The live version, which answered them.
        baseline: VersionNumber,
        /// Requests that were wanted.
        wanted: u32,
        /// Requests that were found.
        found: u32,
    },
    /// Recorded requests were asked of the candidate and of the live version.
    Rehearsed {
        /// The deployment that it belongs to.
        deployment: DeploymentId,
        /// The candidate.
        version: VersionNumber,
        /// The environment whose requests they were.
        environment: EnvironmentName,
        /// The live version, which answered them.
        baseline: VersionNumber,
        /// What came of it.
        rehearsal: Box<Rehearsal>,
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
        /// `signature`, `build`, `start`, `test`, `gate`, `compatibility`, `rehearsal`, `guard`, `aborted`, `superseded`.
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
        /// How far it is confined; `None` of a platform that did not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sandbox: Option<Sandbox>,
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
        /// By what they are known without a token of ours.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<Box<Credential>>,
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
    /// What wraps secrets is another key: all that the one before wrapped is wrapped anew. The ids
    /// are known from the keys, and tell nothing of them.
    KeysRotated {
        /// The id of the key that wrapped until then, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// The id of the key that wraps from then on.
        to: String,
        /// The ids of keys that were deleted, as nothing needed them any more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<String>,
    },
    /// Somebody is told of alarms.
    AlertReceiverSet {
        /// Who, and of which.
        receiver: Box<AlertReceiver>,
    },
    /// Somebody is told of alarms no more.
    AlertReceiverRemoved {
        /// Who.
        name: ReceiverName,
    },
    /// Records of requests of the subject's project were erased by a key.
    RecordsErased {
        /// Of this model only; absent if of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<ModelName>,
        /// What stands for the key: an HMAC-SHA-256 by a key that the ledger does not have.
        key: Digest,
        /// Requests of which at least one row is gone.
        records: u64,
        /// Rows that are gone.
        rows: u64,
        /// Files that had some.
        files: u64,
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
    /// An environment of the subject's project takes only versions that are signed by a key which the
    /// project trusts, or any version again.
    SignaturesRequired {
        /// Which.
        environment: EnvironmentName,
        /// Whether it does.
        required: bool,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// The subject's project trusts a key: its signatures of models count.
    TrustGiven {
        /// The key.
        key: Box<TrustedKey>,
        /// The proposal that it carries out, if it needed approval.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proposal: Option<u64>,
    },
    /// The subject's project does not trust a key any more.
    TrustWithdrawn {
        /// Which.
        key: Digest,
        /// What it was called.
        name: KeyName,
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

#[cfg(test)]
mod tests;

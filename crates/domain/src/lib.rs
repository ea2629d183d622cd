//! The nouns of Decalog, its events, and the messages between its planes.
//! Everything here is plain serialisable data: no input or output, no clock, no async.

pub mod action;
pub mod alarm;
pub mod caller;
pub mod certificate;
pub mod code;
pub mod compatibility;
pub mod credential;
pub mod data_directory;
pub mod determinism;
pub mod digest;
pub mod drift;
pub mod event;
pub mod grant;
pub mod guard;
pub mod happened;
pub mod id;
pub mod latency;
pub mod launch;
pub mod lineage;
pub mod manifest;
pub mod near;
pub mod outcome;
pub mod parts;
pub mod principal;
pub mod problem;
pub mod proposal;
pub mod provenance;
pub mod quality;
pub mod receiver;
pub mod record;
pub mod recording;
pub mod reference;
pub mod rehearsal;
pub mod release;
pub mod route;
pub mod rule;
pub mod scale;
pub mod schema;
pub mod scope;
pub mod state;
pub mod token;
pub mod tree;
pub mod trust;

pub use action::{Action, Object};
pub use alarm::{
    Alarm, AlarmChange, AlarmKey, AlarmKind, AlarmStatus, AlarmStep, Severity, Silence, Target,
};
pub use caller::{Caller, CallerToken};
pub use certificate::CertificateNames;
pub use code::Code;
pub use credential::{CertificateName, Credential, CredentialError};
pub use data_directory::DataDirectory;
pub use determinism::{Determinism, Distance, Probe};
pub use digest::Digest;
pub use event::{Entry, Event, Proposed};
pub use grant::{Grant, Grantee, GroupName, Reach, Role};
pub use guard::{ArmWindow, Guard, GuardInputs, Judgement, Judgements, Verdict};
pub use happened::{After, Happened};
pub use id::{
    DeploymentId, EnvironmentName, KeyName, ModelKey, ModelName, Placement, ProjectName, ReplicaId,
    VersionNumber,
};
pub use latency::LatencyHistogram;
pub use lineage::Lineage;
pub use manifest::Manifest;
pub use principal::{Actor, Principal, PrincipalId, PrincipalKind};
pub use problem::Problem;
pub use proposal::{Party, Proposal, Protection};
pub use provenance::Provenance;
pub use receiver::{AlertReceiver, ReceiverKind, ReceiverName, ReceiverSecret};
pub use recording::{Pseudonyms, Recording};
pub use reference::Reference;
pub use rehearsal::Rehearsal;
pub use rule::Rule;
pub use schema::{Column, Datatype, Schema};
pub use scope::{Scope, Scopes};
pub use state::State;
pub use token::{TokenId, TokenKind, TokenOrigin, TokenRecord};
pub use tree::{Tree, TreeFile};
pub use trust::{Curve, Signature, TrustedKey};

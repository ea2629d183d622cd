//! The table of endpoints: what each is called by, who may call it, and with which codes it refuses.
//! The router and the OpenAPI document are made from it.

use axum::routing::{MethodRouter, delete, get, patch, post, put};
use domain::{Action, Code};

use crate::access::Asks::{self, Everybody, May, Somebody, WatcherElsewhere};
use crate::access::Place::{Environment, Model, Platform, Project, SomeProject};
use crate::describe::{Handler, Operation};
use crate::{
    Api, alarms, audit, blobs, changes, dashboard, drift, erasures, events, feedback, keys,
    lineage, live, login, members, metrics, models, platform, proposals, receivers, records,
    reference, releases, replays, sandbox, tokens, trust, truth, variables, why,
};

/// One endpoint. What it takes and gives is read from its handler.
pub struct Endpoint {
    /// `get`, `post`, …
    pub method: &'static str,
    /// With its parameters in braces.
    pub path: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// As `models::list`.
    pub name: &'static str,
    /// Who may call it.
    pub asks: Asks,
    /// With which it refuses, beside those that reading the request has.
    pub codes: &'static [&'static [Code]],
    pub(crate) describe: fn(&mut Operation),
    pub(crate) handler: fn() -> MethodRouter<Api>,
}

/// With which whatever changes the ledger may refuse.
const CHANGES: &[Code] = &[
    Code::Proposed,
    Code::Conflict,
    Code::Fenced,
    Code::Ledger,
    Code::LedgerCutOff,
    Code::NewerLedger,
    Code::NoSpace,
    Code::ReadOnly,
];
/// With which whatever asks the store may refuse.
const STORE: &[Code] =
    &[Code::Conflict, Code::LostContent, Code::MissingBlobs, Code::NoSpace, Code::Store];
/// With which a plan is refused.
const PLAN: &[Code] = &[
    Code::BadPlan,
    Code::NoSuchVersion,
    Code::NotSigned,
    Code::NothingToCompare,
    Code::ReleaseRunning,
];
/// With which the packages of a version are refused.
const PACKAGES: &[Code] = &[
    Code::LockFailed,
    Code::MissingPackages,
    Code::NoPython,
    Code::NoUv,
    Code::BuildFailed,
    Code::Engine,
];

macro_rules! endpoint {
    ($method:ident $path:literal $handler:path, $asks:expr, [$($code:ident),*] $(+ $codes:ident)*,
     $summary:literal) => {
        Endpoint {
            method: stringify!($method),
            path: $path,
            summary: $summary,
            name: stringify!($handler),
            asks: $asks,
            codes: &[&[$(Code::$code),*], $($codes),*],
            describe: |operation| $handler.describe(operation),
            handler: || $method($handler),
        }
    };
}

/// With which a query is refused.
const QUERY: &[Code] = &[
    Code::BadQuery,
    Code::Conflict,
    Code::NoRecords,
    Code::QueryLimit,
    Code::ServerBusy,
    Code::Store,
];

/// What it can be to take a version live: which of them it is depends on what was live before.
const MAKES_LIVE: &[Action] = &[Action::Release, Action::Rollback];
/// What it can be to set a variable: which of them it is depends on whether it is a secret.
const SETS_VARIABLE: &[Action] = &[Action::Configure, Action::Secret];

/// Whoever may see something, in at least one project.
const SEES: Asks = May(&[Action::Read], SomeProject);
/// Whoever may see the model.
const SEES_MODEL: Asks = May(&[Action::Read], Model);
/// Whoever steers a model, in at least one project.
const SILENCES: Asks = May(&[Action::Steer], SomeProject);
/// Whoever may push, in at least one project.
const PUSHES: Asks = May(&[Action::Push], SomeProject);
/// Whoever may remove the model, or versions of it.
const REMOVES: Asks = May(&[Action::Remove], Model);
/// Whoever may read records of the model, in at least one environment.
const READS_RECORDS: Asks = May(&[Action::Records], Model);
/// Whoever may ask the model, in at least one environment.
const ASKS_MODEL: Asks = May(&[Action::Predict], Model);
/// Whoever may have it proved what happened.
const AUDITS: Asks = May(&[Action::Audit], Platform);
/// Whoever looks after the platform.
const ADMINISTERS: Asks = May(&[Action::Administer], Platform);

/// All endpoints of the control plane.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint!(get "/healthz" platform::healthz, Everybody, [],
        "Whether the process runs"),
    endpoint!(get "/readyz" platform::readyz, Everybody, [NotReady],
        "Whether every live model can answer"),
    endpoint!(get "/metrics" platform::metrics, WatcherElsewhere, [],
        "Metrics in the format of Prometheus that `Accept` asks for"),
    endpoint!(get "/openapi.json" platform::openapi, Everybody, [],
        "This document"),
    endpoint!(get "/v1/server" platform::server, Everybody, [],
        "What answers here, and how its owner gets to it from the same machine"),
    endpoint!(get "/" dashboard::home, Everybody, [],
        "The dashboard; where it was not built, a page that says who one is here"),
    endpoint!(get "/login" login::account, Everybody, [],
        "A page: how to log in; with a code, the terminal that waits"),
    endpoint!(get "/login/start" login::start, Everybody, [NoSuchPath, ServerBusy, IdentityProvider],
        "Sends a browser to the identity provider"),
    endpoint!(get "/login/callback" login::callback, Everybody, [LoginOver, ServerBusy, TokenLimit, IdentityProvider, Forbidden, BadName],
        "Takes a browser back from the identity provider, and opens its session"),
    endpoint!(get "/login/link" login::link, Everybody, [LoginOver],
        "A page that asks whether to open a session by a link"),
    endpoint!(post "/login/link" login::open_link, Everybody, [LoginOver, ForeignOrigin, Forbidden, TokenLimit] + CHANGES,
        "Opens the session of a browser by a link, once"),
    endpoint!(post "/login/device" login::decide, Somebody, [LoginOver],
        "Lets a terminal that waits act for whoever looks at its code, or not"),
    endpoint!(post "/logout" login::log_out, Somebody, [] + CHANGES,
        "Ends the session of a browser"),
    endpoint!(post "/v1/login/devices" login::begin_device, Everybody, [ServerBusy],
        "A terminal begins to wait for a browser (RFC 8628)"),
    endpoint!(post "/v1/login/devices/poll" login::poll_device, Everybody, [LoginOver, Forbidden, TokenLimit, BadToken, Unauthenticated] + CHANGES,
        "Whether somebody has allowed the terminal; then its token, this once"),
    endpoint!(post "/v1/login/links" login::make_link, Somebody, [ServerBusy],
        "A link that opens a session in a browser once, as the caller"),
    endpoint!(post "/v1/login/exchange" login::exchange, Everybody, [Unauthenticated, ForeignHost, ServerBusy, TokenLimit, IdentityProvider, BadToken] + CHANGES,
        "Gives a job a token for that of its platform (RFC 8693)"),
    endpoint!(delete "/v1/login" login::end, Somebody, [] + CHANGES,
        "Ends the login that the caller came with"),
    endpoint!(get "/v1/status" platform::status, SEES, [Ledger],
        "Version, address, ledger and load of this server"),
    endpoint!(get "/v1/models" models::list, SEES, [],
        "All models with what is live and their last minute"),
    endpoint!(get "/v1/projects/{project}/models/{model}" models::show, SEES_MODEL, [NoSuchModel],
        "One model: versions, replicas, deployments"),
    endpoint!(delete "/v1/projects/{project}/models/{model}" models::remove, REMOVES, [NoSuchModel] + CHANGES,
        "Removes a model with all its versions"),
    endpoint!(post "/v1/projects/{project}/models/{model}/versions" models::push, May(&[Action::Push], Model), [BadManifest, BadSignature, BadTree] + STORE + PACKAGES + CHANGES,
        "Makes a version of uploaded files"),
    endpoint!(post "/v1/projects/{project}/models/{model}/deployments" models::deploy, May(MAKES_LIVE, Model), [] + PLAN + CHANGES,
        "Asks for a version to go live"),
    endpoint!(delete "/v1/projects/{project}/models/{model}/versions/{version}" models::remove_version, REMOVES, [NoSuchModel, NoSuchVersion, InUse] + CHANGES,
        "Removes a version that is not in use"),
    endpoint!(get "/v1/projects/{project}/models/{model}/release" releases::status, SEES_MODEL, [NoSuchModel, NoRelease],
        "The release on its way, or the last one"),
    endpoint!(post "/v1/projects/{project}/models/{model}/release/{action}" releases::act, May(&[Action::Steer], Model), [NoSuchAction, NoSuchModel, NoRelease] + CHANGES,
        "Holds a release (pause), lets it go on (resume) or ends it (abort)"),
    endpoint!(post "/v1/projects/{project}/models/{model}/promotions" releases::promote, May(MAKES_LIVE, Model), [NoSuchModel, NotLive] + PLAN + CHANGES,
        "Takes what is live in one environment live in another"),
    endpoint!(post "/v1/projects/{project}/models/{model}/rollbacks" releases::rollback, May(&[Action::Rollback], Model), [NoSuchModel, NotLive, NothingBefore, NoRelease] + PLAN + CHANGES,
        "Goes back to what was live before"),
    endpoint!(get "/v1/projects/{project}/models/{model}/logs" models::logs, SEES_MODEL, [NoSuchModel, NoSuchVersion, NotLive],
        "The last lines that the processes of a model printed, in the order in which they came"),
    endpoint!(post "/v1/projects/{project}/models/{model}/feedback" feedback::take, May(&[Action::Feedback], Model), [NoSuchModel, NoRecords, BadFeedback, NoSpace, ReadOnly],
        "Takes what turned out to be true of predictions, one or many, by the id of a request or by a key"),
    endpoint!(get "/v1/projects/{project}/models/{model}/quality" feedback::quality, SEES_MODEL, [NoSuchModel, NoRecords],
        "How good a model's predictions were, by version and time"),
    endpoint!(get "/v1/projects/{project}/models/{model}/lineage" lineage::show, SEES_MODEL, [NoSuchModel, Ledger, Store],
        "Where a model's versions come from and where they went: data, code, packages, releases and requests, as a graph"),
    endpoint!(get "/v1/projects/{project}/models/{model}/truth" truth::of_request, READS_RECORDS, [NoSuchModel, NoRecords],
        "What turned out to be true of one request, by its id and its key"),
    endpoint!(get "/v1/projects/{project}/models/{model}/records" records::list, READS_RECORDS, [NoSuchModel] + QUERY,
        "Records of a model's requests, newest first"),
    endpoint!(post "/v1/projects/{project}/models/{model}/replay" replays::run, READS_RECORDS, [NoSuchModel, NoSuchVersion, NoRecords, ServerBusy],
        "Asks recorded requests again, off the traffic, and compares the answers"),
    endpoint!(post "/v1/projects/{project}/models/{model}/evaluate" replays::evaluate, ASKS_MODEL, [NoSuchModel, NoSuchVersion, NoRecords, ServerBusy, LoadFailed, NoSchema, BadSchema, Streams, NotReady, WorkerDied] + PACKAGES + STORE,
        "Asks one version for rows, or for what recorded requests asked, off the traffic, and gives all that it answers"),
    endpoint!(post "/v1/projects/{project}/models/{model}/test" replays::test, ASKS_MODEL, [NoSuchModel, NoSuchVersion, BadCase, ServerBusy, LoadFailed, NoSchema, BadSchema, NotReady] + PACKAGES + STORE,
        "Asks one version its test cases, off the traffic and without deploying it"),
    endpoint!(post "/v1/projects/{project}/models/{model}/sandbox" sandbox::test, May(&[Action::Steer], Model), [NoSuchModel, NoSuchVersion, NotLive] + PACKAGES + STORE,
        "Tries known attacks within the walls that a model's replicas have, each first where nothing is confined"),
    endpoint!(post "/v1/projects/{project}/models/{model}/compare" replays::compare, READS_RECORDS, [NoSuchModel, NoSuchVersion, NoRecords, ServerBusy, LoadFailed, NoSchema, BadSchema, Streams, NotReady, WorkerDied] + PACKAGES + STORE,
        "Asks two versions what recorded requests asked, off the traffic, and says what differs in their answers"),
    endpoint!(get "/v1/projects/{project}/models/{model}/changes" changes::between, SEES_MODEL, [NoSuchModel, NoSuchVersion] + STORE,
        "What differs between the files and the manifests of two versions"),
    endpoint!(post "/v1/sql" records::sql, May(&[Action::Records], SomeProject), [] + QUERY,
        "Asks in SQL about records of all models that the caller may read them of"),
    endpoint!(get "/v1/projects/{project}/models/{model}/drift" drift::status, SEES_MODEL, [NoSuchModel, NothingWatched],
        "How the values of the last day compare with what is usual, column by column"),
    endpoint!(get "/v1/projects/{project}/models/{model}/why" why::explained, READS_RECORDS, [NoSuchModel] + QUERY,
        "Why a number changed: what accounts for it, by how much, and what was ruled out"),
    endpoint!(get "/v1/projects/{project}/models/{model}/metrics" metrics::read, SEES_MODEL, [NoSuchModel, NoRecords, Store],
        "What columns and requests were like, by version and minute, hour or day"),
    endpoint!(get "/v1/projects/{project}/models/{model}/reference" reference::show, SEES_MODEL, [NoSuchModel, NoReference] + STORE,
        "The file that the values of a version are compared with, and what size of change it can find"),
    endpoint!(post "/v1/blobs/missing" blobs::missing, PUSHES, [] + STORE,
        "Which blobs are not here, and how far their uploads are"),
    endpoint!(patch "/v1/blobs/{digest}" blobs::upload, PUSHES, [WrongOffset, WrongContent] + STORE,
        "Appends a chunk to a blob's upload; the last one publishes it"),
    endpoint!(get "/v1/events" events::read, SEES, [Ledger],
        "What happened after a place: entries of the ledger, and telemetry; a page says how far it was looked (next) and whether there is more; with follow=true a line each, without end"),
    endpoint!(get "/v1/live" live::follow, SEES, [],
        "What changes, as it changes: a stream of events for a page"),
    endpoint!(get "/v1/alarms" alarms::list, SEES, [],
        "Alarms that are open, and with all=true the last ones that are over"),
    endpoint!(get "/v1/alarms/changes" alarms::changes, SEES, [],
        "How alarms changed after a number; with follow=true a line each, without end"),
    endpoint!(get "/v1/silences" alarms::silences, SEES, [],
        "What nobody is told of at this time"),
    endpoint!(post "/v1/silences" alarms::silence, SILENCES, [NoSuchAlarm, NoSuchModel, BadSilence],
        "Nobody is told of an alarm, or of a model's alarms, for a time"),
    endpoint!(delete "/v1/silences" alarms::unsilence, SILENCES, [NoSuchAlarm],
        "Ends the silences of an alarm or of a model"),
    endpoint!(get "/v1/projects/{project}/models/{model}/slo" alarms::slo, SEES_MODEL, [NoSuchModel],
        "The model's objectives, and how much of each error budget is left"),
    endpoint!(get "/v1/alert-receivers" receivers::list, ADMINISTERS, [],
        "Where alarms go, and what was not told"),
    endpoint!(put "/v1/alert-receivers/{name}" receivers::set, ADMINISTERS, [BadReceiver, Secrets, Vault] + CHANGES,
        "Makes or replaces a receiver of alarms; a webhook's key is shown this once"),
    endpoint!(delete "/v1/alert-receivers/{name}" receivers::remove, ADMINISTERS, [NoSuchReceiver] + CHANGES,
        "Removes a receiver of alarms"),
    endpoint!(post "/v1/alert-receivers/{name}/tests" receivers::test, ADMINISTERS, [NoSuchReceiver, NotDelivered],
        "Sends a made-up alarm to a receiver, once"),
    endpoint!(get "/v1/projects/{project}/environments/{environment}/variables" variables::list, May(&[Action::Read], Environment), [Secrets],
        "Variables and names of secrets"),
    endpoint!(put "/v1/projects/{project}/environments/{environment}/variables/{name}" variables::set, May(SETS_VARIABLE, Environment), [BadVariable, NoSuchModel, Secrets, Vault] + CHANGES,
        "Sets a variable or a secret"),
    endpoint!(delete "/v1/projects/{project}/environments/{environment}/variables/{name}" variables::remove, May(SETS_VARIABLE, Environment), [NoSuchVariable] + CHANGES,
        "Removes a variable or a secret"),
    endpoint!(delete "/v1/records" erasures::erase, Somebody, [NoRecords, NotReady, Secrets, NoSuchProject] + STORE + CHANGES,
        "Erases the records of a key, such as a customer, in one project; also those that are not in files yet"),
    endpoint!(get "/v1/keys" keys::list, ADMINISTERS, [Secrets],
        "The keys that wrap secrets, how many each wraps, and how far a rotation is"),
    endpoint!(get "/v1/keys/rotation" keys::rotation, ADMINISTERS, [],
        "How far the rotation of keys is that runs or ran last; null if this process was asked for none"),
    endpoint!(post "/v1/keys/rotation" keys::rotate, ADMINISTERS, [Secrets, Vault, Conflict, ReadOnly, NoSpace, Fenced],
        "Begins to wrap all secrets with a new key"),
    endpoint!(post "/v1/gc" platform::collect, ADMINISTERS, [Gc, Ledger] + STORE,
        "Removes what no version refers to"),
    endpoint!(get "/v1/backup" platform::backup, ADMINISTERS, [Backup, Ledger] + STORE,
        "A tar file with ledger, blobs and encrypted secrets"),
    endpoint!(get "/v1/ledger/verify" platform::verify, AUDITS, [LedgerBroken],
        "Verifies the whole hash chain, and the tree over it"),
    endpoint!(get "/v1/audit/checkpoint" audit::checkpoint, AUDITS, [LedgerBroken, Secrets] + CHANGES,
        "The newest signed checkpoint of the ledger (C2SP tlog-checkpoint); a new one if entries came since the last"),
    endpoint!(get "/v1/audit/checkpoints" audit::checkpoints, AUDITS, [Ledger],
        "All checkpoints that were signed"),
    endpoint!(get "/v1/audit/proof/{seq}" audit::proof, AUDITS, [LedgerBroken, NoSuchEntry, Secrets] + CHANGES,
        "A receipt for an entry (C2SP tlog-proof): that it is in the ledger, to be checked without this server"),
    endpoint!(get "/v1/audit/consistency" audit::consistency, AUDITS, [Ledger, NoSuchEntry],
        "That a ledger of some entries is an earlier one with entries added"),
    endpoint!(get "/v1/audit/key" audit::key, AUDITS, [Secrets] + CHANGES,
        "The key that checks the signatures of checkpoints (C2SP signed-note)"),
    endpoint!(get "/v1/audit/export" audit::export, AUDITS, [Ledger],
        "All entries after one, as they are stored or as OCSF events, a line each"),
    endpoint!(get "/v1/whoami" members::who_am_i, Somebody, [],
        "Who the caller is, and what they may do"),
    endpoint!(get "/v1/can" members::can, Somebody, [NoSuchMember, NoSuchProject, NoSuchModel],
        "Whether the caller, or somebody whom they decide about, may do something, and by which grant"),
    endpoint!(get "/v1/members" members::list, Somebody, [],
        "Everybody with a role in what the caller decides about"),
    endpoint!(post "/v1/members" members::add, Somebody, [NoSuchProject] + CHANGES,
        "Gives somebody a role, and makes them known if they are not"),
    endpoint!(delete "/v1/members/{name}" members::remove, Somebody, [NoSuchMember, NoSuchProject] + CHANGES,
        "Takes a role away, or all roles and tokens of somebody"),
    endpoint!(delete "/v1/people/{name}" members::erase, ADMINISTERS, [NoSuchMember] + CHANGES,
        "Removes somebody and erases their name for ever; what they did stays, by their id"),
    endpoint!(get "/v1/tokens" tokens::list, Somebody, [],
        "The caller's tokens, and those of whom they may make some for"),
    endpoint!(post "/v1/tokens" tokens::create, Somebody, [BadToken, NoSuchMember, NoSuchProject] + CHANGES,
        "Makes a token; it is shown this once"),
    endpoint!(post "/v1/tokens/{id}/rotations" tokens::rotate, Somebody, [BadToken, NoSuchToken] + CHANGES,
        "Gives a token another text; that of before stays valid for a time"),
    endpoint!(delete "/v1/tokens/{id}" tokens::revoke, Somebody, [NoSuchToken] + CHANGES,
        "Ends a token"),
    endpoint!(get "/v1/proposals" proposals::list, Somebody, [],
        "Changes that wait for approval in what the caller may see, and how the last ones ended"),
    endpoint!(get "/v1/proposals/{id}" proposals::show, Somebody, [NoSuchProposal],
        "One proposal, with the change that it is for"),
    endpoint!(post "/v1/proposals/{id}/approvals" proposals::approve, Somebody, [NoSuchProposal, NotApproved, NoSuchModel, NoSuchProject] + PLAN + CHANGES,
        "Agrees to a proposal; it is carried out with the last approval"),
    endpoint!(post "/v1/proposals/{id}/rejections" proposals::reject, Somebody, [NoSuchProposal, NotApproved, NoSuchModel, NoSuchProject] + CHANGES,
        "Ends a proposal: whoever proposed it takes it back, others reject it"),
    endpoint!(put "/v1/projects/{project}/environments/{environment}/protection" proposals::protect, May(&[Action::Protect], Environment), [BadRequest] + CHANGES,
        "Says how many people must approve changes of an environment, 0 for none, and whether versions must be signed there"),
    endpoint!(get "/v1/projects/{project}/trusted-keys" trust::list, May(&[Action::Read], Project), [],
        "The keys whose signatures of models count in a project, and where one is needed"),
    endpoint!(post "/v1/projects/{project}/trusted-keys" trust::add, May(&[Action::Protect], Project), [BadKey] + CHANGES,
        "Trusts a key: its signatures of models count from now on"),
    endpoint!(delete "/v1/projects/{project}/trusted-keys/{id}" trust::remove, May(&[Action::Expel], Project), [NoSuchKey] + CHANGES,
        "Takes the trust in a key away, from the next release and the next start of a replica on"),
    endpoint!(put "/v1/access/tokens" tokens::require, ADMINISTERS, [] + CHANGES,
        "Says whether predictions need a token wherever they come from"),
];

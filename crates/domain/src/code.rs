//! The codes of problems: the one table of what can go wrong, with what each means over HTTP and
//! gRPC and whether to try again. docs/errors.md is printed from it. A code is stable once it is
//! released: programs rely on it.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A status of gRPC, with its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Grpc {
    /// The request is wrong, whatever the state of the platform.
    InvalidArgument = 3,
    /// The time is up.
    DeadlineExceeded = 4,
    /// What is named does not exist.
    NotFound = 5,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit is reached: of rows, bytes, disk.
    ResourceExhausted = 8,
    /// The request does not fit the state of the platform.
    FailedPrecondition = 9,
    /// Something else changed the same thing meanwhile.
    Aborted = 10,
    /// There is no such thing to do.
    Unimplemented = 12,
    /// Something failed on this side.
    Internal = 13,
    /// For a moment.
    Unavailable = 14,
    /// What was kept is lost or changed.
    DataLoss = 15,
    /// The caller has not proved who they are.
    Unauthenticated = 16,
}

impl fmt::Display for Grpc {
    /// As gRPC writes it: `INVALID_ARGUMENT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = format!("{self:?}");
        let starts =
            words.char_indices().filter(|(at, c)| *at > 0 && c.is_uppercase()).map(|(at, _)| at);
        let mut written = 0;
        for start in starts {
            write!(f, "{}_", words[written..start].to_uppercase())?;
            written = start;
        }
        f.write_str(&words[written..].to_uppercase())
    }
}

/// Whether the same request may succeed when it is sent again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Not before something is changed: the request, the model or the platform.
    Change,
    /// In a second: an answer with such a code says `Retry-After: 1`.
    Soon,
}

/// Who gives a code, as docs/errors.md groups them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// Answers to requests for models.
    Requests,
    /// Answers of the control API, and why deployments and releases failed.
    Changes,
    /// Answers to models that want to reach something outside of their sandbox.
    Egress,
    /// The command line alone; such a code is in no answer.
    CommandLine,
}

macro_rules! codes {
    ($($variant:ident $text:literal $http:literal $grpc:ident $retry:ident $area:ident $meaning:literal;)*) => {
        /// A code of a problem.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
            /// One that this program does not know: of a newer Decalog.
            Other(Box<str>),
        }

        impl Code {
            /// All that this program knows, in the order of docs/errors.md.
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            /// In snake_case, as programs read it.
            pub fn as_str(&self) -> &str {
                match self {
                    Code::Other(text) => text,
                    known => known.label(),
                }
            }

            /// The same for whom the number of different codes must be bounded, as in metrics:
            /// `other` for those unknown.
            pub fn label(&self) -> &'static str {
                match self {
                    $(Code::$variant => $text,)*
                    Code::Other(_) => "other",
                }
            }

            /// The status of an HTTP answer with it.
            pub fn http(&self) -> u16 {
                match self {
                    $(Code::$variant => $http,)*
                    Code::Other(_) => 500,
                }
            }

            /// The status of a gRPC answer with it.
            pub fn grpc(&self) -> Grpc {
                match self {
                    $(Code::$variant => Grpc::$grpc,)*
                    Code::Other(_) => Grpc::Internal,
                }
            }

            /// Whether to try again.
            pub fn retry(&self) -> Retry {
                match self {
                    $(Code::$variant => Retry::$retry,)*
                    Code::Other(_) => Retry::Change,
                }
            }

            /// Who gives it.
            pub fn area(&self) -> Area {
                match self {
                    $(Code::$variant => Area::$area,)*
                    Code::Other(_) => Area::Changes,
                }
            }

            /// What it says, in one sentence.
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(Code::$variant => $meaning,)*
                    Code::Other(_) => "Of a newer Decalog.",
                }
            }

            fn known(text: &str) -> Option<Code> {
                match text {
                    $($text => Some(Code::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    BadJson "bad_json" 400 InvalidArgument Change Requests "The body is not JSON.";
    BadForm "bad_form" 400 InvalidArgument Change Requests "The JSON is neither a row, nor rows, nor columns.";
    BadRequest "bad_request" 400 InvalidArgument Change Requests "The request cannot be read as what its path expects.";
    BadValue "bad_value" 400 InvalidArgument Change Requests "A value is not of its column's datatype.";
    BadShape "bad_shape" 400 InvalidArgument Change Requests "A tensor's shape does not fit its data.";
    ShapeMismatch "shape_mismatch" 400 InvalidArgument Change Requests "A tensor's shape does not fit the model's.";
    SchemaMismatch "schema_mismatch" 422 InvalidArgument Change Requests "The columns are not those that the model takes.";
    NoRows "no_rows" 400 InvalidArgument Change Requests "The request has no rows.";
    BadInput "bad_input" 422 InvalidArgument Change Requests "The model refuses the input, and says why.";
    BadReference "bad_reference" 400 InvalidArgument Change Requests "The reference to a model cannot be read.";
    BadTimeout "bad_timeout" 400 InvalidArgument Change Requests "The requested time limit cannot be one.";
    NoSuchOutput "no_such_output" 400 InvalidArgument Change Requests "The request names an output that the model does not have.";
    Streams "streams" 400 InvalidArgument Change Requests "The model answers in pieces, and this path or form cannot.";
    PlainText "plain_text" 400 InvalidArgument Change Requests "The request came unencrypted, where that is not accepted.";
    Unauthenticated "unauthenticated" 401 Unauthenticated Change Requests "The request does not prove who sends it, or not any more.";
    Forbidden "forbidden" 403 PermissionDenied Change Requests "The caller lacks a role, or the token a scope.";
    TokenLimit "token_limit" 429 ResourceExhausted Soon Requests "The token has been used as much as it may; `Retry-After` says when to go on.";
    ForeignHost "foreign_host" 403 PermissionDenied Change Requests "The `Host` is not a name of this server.";
    ForeignOrigin "foreign_origin" 403 PermissionDenied Change Requests "A page of another site sent the request.";
    NoSuchModel "no_such_model" 404 NotFound Change Requests "There is no model of that name.";
    NoSuchVersion "no_such_version" 404 NotFound Change Requests "The model has no such version, or it does not run.";
    NotLive "not_live" 404 NotFound Change Requests "The model has no version that is live.";
    NoSuchPath "no_such_path" 404 Unimplemented Change Requests "There is nothing at that path.";
    MethodNotAllowed "method_not_allowed" 405 Unimplemented Change Requests "The path is there, but not for that method.";
    BodyTimeout "body_timeout" 408 DeadlineExceeded Change Requests "The body did not arrive in time.";
    BodyTooLarge "body_too_large" 413 ResourceExhausted Change Requests "The body is longer than `--body-bytes-max`.";
    UnsupportedEncoding "unsupported_encoding" 415 InvalidArgument Change Requests "The body is compressed in a way that its path does not take.";
    UnsupportedType "unsupported_type" 415 InvalidArgument Change Requests "The model takes no body of that content type.";
    QueueFull "queue_full" 429 ResourceExhausted Soon Requests "The queue of the model is full, in rows or in bytes.";
    NoCapacity "no_capacity" 503 Unavailable Soon Requests "No replica was ready in time, or the queue is too long for the deadline.";
    NotRunning "not_running" 503 Unavailable Soon Requests "The version has no replicas in this environment.";
    LoadFailed "load_failed" 503 Unavailable Soon Requests "The model could not be loaded; its traceback is in the details.";
    ServerBusy "server_busy" 503 Unavailable Soon Requests "The server has no memory, connection or descriptor to spare.";
    Deadline "deadline" 504 DeadlineExceeded Change Requests "The request's own time limit passed.";
    PredictTimeout "predict_timeout" 504 DeadlineExceeded Change Requests "The model took longer than `predict_ms_max`.";
    ModelRaised "model_raised" 500 Internal Change Requests "The model raised an exception; its traceback is in the details.";
    BadOutput "bad_output" 500 Internal Change Requests "The model answered something that its schema does not allow.";
    BadWorker "bad_worker" 500 Internal Change Requests "The worker's answer is not understood.";
    WorkerDied "worker_died" 500 Internal Change Requests "The worker ended while it ran the request.";
    Internal "internal" 500 Internal Change Requests "The server itself failed; its log says more.";
    Abandoned "abandoned" 499 Aborted Change Requests "The caller hung up; only records and metrics have it.";

    BadName "bad_name" 400 InvalidArgument Change Changes "A name has characters that a name may not have.";
    BadManifest "bad_manifest" 422 InvalidArgument Change Changes "`decalog.toml` has a mistake.";
    BadTree "bad_tree" 422 InvalidArgument Change Changes "The directory cannot be a version.";
    BadPlan "bad_plan" 422 InvalidArgument Change Changes "The plan of the release cannot be carried out.";
    BadVariable "bad_variable" 422 InvalidArgument Change Changes "The name or the value of the variable is not allowed.";
    BadCase "bad_case" 422 InvalidArgument Change Changes "A test case cannot be read.";
    BadSchema "bad_schema" 422 InvalidArgument Change Changes "The columns of the model are not possible.";
    NoSchema "no_schema" 422 InvalidArgument Change Changes "The model does not tell its input columns.";
    Breaking "breaking" 422 FailedPrecondition Change Changes "The new version would break callers of the live one.";
    MissingBlobs "missing_blobs" 409 FailedPrecondition Change Changes "The version names content that was not uploaded.";
    WrongOffset "wrong_offset" 409 FailedPrecondition Change Changes "An upload does not continue where it stopped.";
    WrongContent "wrong_content" 400 InvalidArgument Change Changes "What was uploaded does not have the digest that it should have.";
    LockFailed "lock_failed" 422 InvalidArgument Change Changes "The packages that the model needs could not be resolved.";
    BuildFailed "build_failed" 500 Internal Change Changes "The environment of the model could not be built.";
    MissingPackages "missing_packages" 422 InvalidArgument Change Changes "The model imports modules that none of its packages brings.";
    NoPython "no_python" 422 FailedPrecondition Change Changes "The Python that the model needs is not installed.";
    NoUv "no_uv" 500 FailedPrecondition Change Changes "`uv`, which builds environments, is missing.";
    NoOnnxruntime "no_onnxruntime" 500 FailedPrecondition Change Changes "The library of ONNX Runtime is missing.";
    BadSignature "bad_signature" 422 InvalidArgument Change Changes "The signature of the version cannot be read, or is not one of these files.";
    NotSigned "not_signed" 422 FailedPrecondition Change Changes "The environment takes only versions that are signed by a key which the project trusts.";
    BadKey "bad_key" 422 InvalidArgument Change Changes "The key cannot be trusted, or cannot sign.";
    NoSuchKey "no_such_key" 404 NotFound Change Changes "The project trusts no such key, or not for the caller.";
    TestFailed "test_failed" 422 FailedPrecondition Change Changes "A test case of the version gave another answer.";
    GateFailed "gate_failed" 422 FailedPrecondition Change Changes "The version missed a gate of its manifest.";
    Guard "guard" 422 FailedPrecondition Change Changes "A guard rolled the release back.";
    Aborted "aborted" 409 Aborted Change Changes "Somebody ended the release.";
    Superseded "superseded" 409 Aborted Change Changes "A newer deployment began, or the model was removed.";
    ReleaseRunning "release_running" 409 FailedPrecondition Change Changes "A release of the model is running.";
    NoReference "no_reference" 404 NotFound Change Changes "The version came without a file that its values are compared with.";
    NoRecords "no_records" 409 FailedPrecondition Change Changes "The server keeps no records of requests.";
    NothingWatched "nothing_watched" 404 NotFound Change Changes "No values of the model were seen yet, or no records of requests are kept.";
    NoRelease "no_release" 409 FailedPrecondition Change Changes "No release of the model is running.";
    NothingBefore "nothing_before" 409 FailedPrecondition Change Changes "There is no earlier version to go back to.";
    NothingToCompare "nothing_to_compare" 409 FailedPrecondition Change Changes "A release in phases needs a version that is live.";
    InUse "in_use" 409 FailedPrecondition Change Changes "What should be removed is in use.";
    LoginOver "login_over" 400 FailedPrecondition Change Changes "The login, the link or the code is over, or was used.";
    IdentityProvider "identity_provider" 502 Unavailable Soon Changes "The identity provider does not do its part.";
    Proposed "proposed" 202 FailedPrecondition Change Changes "The change needs approval, and waits for it as a proposal.";
    NotApproved "not_approved" 409 FailedPrecondition Change Changes "The proposal cannot be approved, rejected or carried out.";
    NoSuchProposal "no_such_proposal" 404 NotFound Change Changes "There is no proposal of that number, or not for the caller.";
    BadToken "bad_token" 422 InvalidArgument Change Changes "The token cannot be made or rotated so.";
    NoSuchProject "no_such_project" 404 NotFound Change Changes "There is no project of that name, or not for the caller.";
    NoSuchMember "no_such_member" 404 NotFound Change Changes "There is nobody of that name.";
    NoSuchToken "no_such_token" 404 NotFound Change Changes "There is no token of that id, or not for the caller.";
    NoSuchVariable "no_such_variable" 404 NotFound Change Changes "There is no variable of that name.";
    NoSuchColumn "no_such_column" 404 NotFound Change Changes "No column of that name is watched.";
    NoSuchEntry "no_such_entry" 404 NotFound Change Changes "The ledger has no entry of that number.";
    NoSuchAction "no_such_action" 404 Unimplemented Change Changes "There is no such action on a release.";
    BadReceiver "bad_receiver" 422 InvalidArgument Change Changes "Alarms cannot be sent to that address.";
    NoSuchReceiver "no_such_receiver" 404 NotFound Change Changes "There is no receiver of alarms of that name.";
    NoSuchAlarm "no_such_alarm" 404 NotFound Change Changes "There is no open alarm of that id, or no such silence.";
    BadSilence "bad_silence" 422 InvalidArgument Change Changes "The silence cannot be one.";
    NotDelivered "not_delivered" 502 Unavailable Change Changes "A receiver of alarms did not take the test.";
    Conflict "conflict" 409 Aborted Soon Changes "Something else changed the same thing meanwhile.";
    Fenced "fenced" 503 Unavailable Soon Changes "This process is being replaced by another.";
    NotReady "not_ready" 503 Unavailable Soon Changes "The platform, or what the request is for, is not ready.";
    Stopping "stopping" 503 Unavailable Soon Changes "The platform is stopping.";
    BadFeedback "bad_feedback" 422 InvalidArgument Change Changes "Nothing of the feedback can be used.";
    BadQuery "bad_query" 400 InvalidArgument Change Changes "The query is no question, or not one that these records answer.";
    QueryLimit "query_limit" 422 ResourceExhausted Change Changes "The query needs more memory, time or rows than one may.";
    Store "store" 503 Unavailable Soon Changes "The store of artifacts does not answer.";
    NoSpace "no_space" 507 ResourceExhausted Change Changes "The disk is full.";
    ReadOnly "read_only" 507 FailedPrecondition Change Changes "The data directory cannot be written.";
    LostContent "lost_content" 500 DataLoss Change Changes "Content of a version is missing or damaged.";
    Ledger "ledger" 500 Internal Change Changes "The ledger could not be read or written.";
    LedgerBroken "ledger_broken" 422 DataLoss Change Changes "The ledger is not as it was written.";
    LedgerCutOff "ledger_cut_off" 500 DataLoss Change Changes "The end of the ledger is missing.";
    LedgerMissing "ledger_missing" 500 DataLoss Change Changes "The ledger is missing beside what it described.";
    NewerLedger "newer_ledger" 500 FailedPrecondition Change Changes "A newer Decalog wrote the ledger.";
    Secrets "secrets" 500 Internal Change Changes "A secret could not be read or written.";
    Vault "vault" 503 Unavailable Soon Changes "The vault that keeps keys or secrets does not do its part.";
    Backup "backup" 500 Internal Change Changes "A backup could not be made or read.";
    Gc "gc" 500 Internal Change Changes "What nothing refers to could not be deleted.";
    Engine "engine" 500 Internal Change Changes "Processes could not be started or watched.";
    OtherSupervisor "other_supervisor" 500 FailedPrecondition Change Changes "The running supervisor is of another version.";
    Failed "failed" 500 Internal Change Changes "The command failed; the sentence says why.";

    EgressRefused "egress_refused" 403 PermissionDenied Change Egress "The `[egress]` of the model does not name that destination.";
    EgressRequest "egress_request" 400 InvalidArgument Change Egress "The request cannot be forwarded as it is written.";
    EgressSlow "egress_slow" 408 DeadlineExceeded Change Egress "The head of the request did not arrive in time.";
    EgressName "egress_name" 502 Unavailable Change Egress "The name of the destination cannot be resolved.";
    EgressFailed "egress_failed" 502 Unavailable Change Egress "The destination does not accept the connection, or breaks it off.";
    EgressTimeout "egress_timeout" 504 DeadlineExceeded Change Egress "The destination does not answer in time.";
    EgressBusy "egress_busy" 503 Unavailable Soon Egress "The model has as many connections to the outside as it may.";

    BadModel "bad_model" 500 InvalidArgument Change CommandLine "The directory's model cannot be understood.";
    BadOption "bad_option" 500 InvalidArgument Change CommandLine "Options do not fit together.";
    NotProved "not_proved" 500 FailedPrecondition Change CommandLine "A receipt or a checkpoint does not prove what it should.";
    NoInput "no_input" 500 InvalidArgument Change CommandLine "There is nothing to read.";
    Exists "exists" 500 FailedPrecondition Change CommandLine "What should be created exists already.";
    NotEmpty "not_empty" 500 FailedPrecondition Change CommandLine "The directory to restore into is not empty.";
    Removed "removed" 500 NotFound Change CommandLine "The model was removed meanwhile.";
    Unreachable "unreachable" 500 Unavailable Soon CommandLine "No platform answers at the address.";
    Interrupted "interrupted" 500 Unavailable Soon CommandLine "The connection to the platform broke.";
    Tls "tls" 500 FailedPrecondition Change CommandLine "A certificate or a key cannot be used, or is not the expected one.";
    DataDirectory "data_directory" 500 FailedPrecondition Change CommandLine "The data directory cannot be used.";
    Clock "clock" 500 FailedPrecondition Change CommandLine "The machine's clock is not set.";
    Handover "handover" 500 Unavailable Change CommandLine "The running platform could not be taken over.";
    Upgrade "upgrade" 500 FailedPrecondition Change CommandLine "The running platform cannot be upgraded.";
}

/// docs/errors.md.
pub fn document() -> String {
    let mut text = String::from(DOCUMENT_HEAD);
    for (area, heading) in [
        (Area::Requests, "Answers to requests for models"),
        (Area::Changes, "Answers of the control API, and why a deployment or release failed"),
        (Area::Egress, "Answers to models that reach outside of their sandbox"),
        (Area::CommandLine, "The command line alone"),
    ] {
        let sent = area != Area::CommandLine;
        let (head, line) =
            if sent { ("| HTTP | gRPC | try again |", "| --- | --- | --- |") } else { ("|", "|") };
        text += &format!("\n## {heading}\n\n| code | meaning {head}\n| --- | --- {line}\n");
        for code in Code::ALL.iter().filter(|code| code.area() == area) {
            text += &format!("| `{code}` | {} |", code.meaning());
            if sent {
                let again = if code.retry() == Retry::Soon { "in a second" } else { "" };
                text += &format!(" {} | `{}` | {again} |", code.http(), code.grpc());
            }
            text.push('\n');
        }
    }
    text
}

const DOCUMENT_HEAD: &str = "# Errors

Every error has the same form, in answers, in the ledger and on the terminal with `--json`:

```json
{\"code\": \"queue_full\", \"error\": \"one sentence\", \"details\": [\"a line each\"], \"help\": \"what to do\"}
```

`code` is stable: programs may rely on it. `details` and `help` may be missing. Answers that say *try again* carry `Retry-After: 1`.
A code that is missing from this page comes from a newer Decalog. The page is printed from `crates/domain/src/code.rs`.
";

impl FromStr for Code {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Code, Infallible> {
        Ok(Code::known(text).unwrap_or_else(|| Code::Other(text.into())))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Stable, in snake_case; docs/errors.md lists those of this version",
            "type": "string",
            "examples": [Code::BadName.as_str()],
        })
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Code::known(&text).unwrap_or_else(|| Code::Other(text.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_text_and_one_from_elsewhere_is_kept() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(code.clone()));
            assert!(code.meaning().ends_with('.'), "{code}");
        }
        let foreign: Code = serde_json::from_str(r#""of_tomorrow""#).unwrap();
        assert_eq!(
            (foreign.as_str(), foreign.label(), foreign.http()),
            ("of_tomorrow", "other", 500)
        );
        assert_eq!(serde_json::to_string(&foreign).unwrap(), r#""of_tomorrow""#);
    }

    #[test]
    fn the_page_is_todays() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let committed = std::fs::read_to_string(page).unwrap_or_default();
        assert_eq!(committed, document(), "cargo run -p domain --example errors > docs/errors.md");
    }

    #[test]
    fn a_status_does_not_contradict_its_code() {
        for code in Code::ALL {
            let soon = matches!(code.http(), 429 | 503);
            assert!(!soon || code.retry() == Retry::Soon, "{code}");
            assert_eq!(
                code.http() == 504 || code.http() == 408,
                code.grpc() == Grpc::DeadlineExceeded,
                "{code}"
            );
        }
    }
}

//! Signatures of versions: read when a version is pushed, and checked again before each release and
//! whenever its files are laid out for a replica, by the keys that its project trusts just then.

use artifacts::{ArtifactError, NeverPushed};
use domain::event::VersionPushed;
use domain::manifest::{MANIFEST_FILE, PROFILE_FILE};
use domain::state::{Deployment, Version};
use domain::trust::SIGNATURE_FILE;
use domain::{
    Code, EnvironmentName, Event, Manifest, ModelKey, Problem, ProjectName, Signature, State, Tree,
    VersionNumber,
};
use signing::{Bundle, Files, PublicKey, SIGNATURE_BYTES_MAX, SigningError, check_files};

use crate::Control;
use crate::failure::StepFailure;
use crate::version::Push;

/// The longest manifest that is compared with the signed one, in bytes.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// Why a signature was not found to be right.
#[derive(Debug)]
pub(crate) enum JudgeError {
    /// The store is to blame.
    Store(ArtifactError),
    /// The signature is, or nobody whom the project trusts signed.
    Problem(Problem),
}

impl JudgeError {
    fn problem(self) -> Problem {
        match self {
            JudgeError::Store(error) => error.problem(),
            JudgeError::Problem(problem) => problem,
        }
    }
}

impl From<ArtifactError> for JudgeError {
    fn from(error: ArtifactError) -> JudgeError {
        JudgeError::Store(error)
    }
}

impl From<SigningError> for JudgeError {
    fn from(error: SigningError) -> JudgeError {
        JudgeError::Problem(error.problem())
    }
}

/// What is said where a version would need a signature that counts, and has none.
fn not_signed(
    version: VersionNumber,
    environment: &EnvironmentName,
    project: &ProjectName,
    signature: Option<&Signature>,
) -> Problem {
    let why = match signature {
        None => "it is not signed".into(),
        Some(Signature { key: Some(key), .. }) => format!(
            "it is signed by the key {}, which project {project} does not trust",
            key.short()
        ),
        Some(_) => format!("it is signed by nobody whom project {project} trusts"),
    };
    let text = format!("{environment} takes only signed versions, and {version} is none: {why}");
    Problem::new(Code::NotSigned, text).help(
        "sign the directory and deploy it again (decalog sign . --key KEY.pem), or let an owner \
         trust the key: decalog trust add PUB.pem; decalog trust ls lists those that count",
    )
}

/// Refuses a version for an environment that takes only signed ones if it names no key that its
/// project trusts. Whether that key made the signature is found out where the files can be read.
pub(crate) fn check_named(
    state: &State,
    key: &ModelKey,
    environment: &EnvironmentName,
    version: VersionNumber,
) -> Result<(), Problem> {
    if !state.access.needs_signature(&key.project, environment) {
        return Ok(());
    }
    let known = state.models.get(key).and_then(|model| model.versions.get(&version));
    let signature = known.and_then(|known| known.signature.as_ref());
    let counts = signature.is_some_and(|signature| match signature.key {
        Some(named) => state.access.trusted.contains_key(&(key.project.clone(), named)),
        // It names none: one of them may have made it.
        None => state.access.keys_of(&key.project).next().is_some(),
    });
    match counts {
        true => Ok(()),
        false => Err(not_signed(version, environment, &key.project, signature)),
    }
}

/// Refuses a signed version whose manifest is not the one that was signed.
fn check_manifest(manifest: &Manifest, signed: Option<&[u8]>) -> Result<(), SigningError> {
    let line = match signed {
        Some(text) => match Manifest::parse(&String::from_utf8_lossy(text)) {
            Ok(read) if read == *manifest => return Ok(()),
            Ok(_) => format!("{MANIFEST_FILE} says something else than what was pushed with it"),
            Err(error) => error.to_string(),
        },
        None if *manifest == Manifest::default() => return Ok(()),
        None => format!("{MANIFEST_FILE} is not signed"),
    };
    Err(SigningError::Differs(vec![line]))
}

impl Control {
    /// What the signature among these files says by the keys that a project trusts in this state;
    /// `None` if there is none. Fails if it is one of other files, or damaged.
    async fn read_signature(
        &self,
        state: &State,
        project: &ProjectName,
        tree: &Tree,
        manifest: &Manifest,
    ) -> Result<Option<Signature>, JudgeError> {
        let Some(file) = tree.get(SIGNATURE_FILE) else { return Ok(None) };
        if file.size > SIGNATURE_BYTES_MAX as u64 {
            return Err(SigningError::TooLong.into());
        }
        let content = self.store.get(&file.digest, SIGNATURE_BYTES_MAX).await?;
        let signed_manifest = match tree.get(MANIFEST_FILE) {
            Some(file) if file.size > MANIFEST_BYTES_MAX as u64 => {
                let line = format!("{MANIFEST_FILE} has more than {MANIFEST_BYTES_MAX} bytes");
                return Err(SigningError::Differs(vec![line]).into());
            }
            Some(file) => Some(self.store.get(&file.digest, MANIFEST_BYTES_MAX).await?),
            None => None,
        };
        let keys: Vec<_> = state.access.keys_of(project).cloned().collect();
        let (tree, manifest) = (tree.clone(), manifest.clone());
        // Thousands of files take their time.
        let judged = tokio::task::spawn_blocking(move || {
            let bundle = Bundle::read(&content)?;
            let never = NeverPushed::new().map_err(JudgeError::Store)?;
            let made = manifest.data.reference.is_some().then_some(PROFILE_FILE);
            let is_never_pushed = |path: &str| never.has(path);
            check_manifest(&manifest, signed_manifest.as_deref())?;
            let files = Files { tree: &tree, made, is_never_pushed: &is_never_pushed };
            check_files(&bundle.statement, files)?;
            for key in keys {
                if bundle.is_by(&PublicKey::from_pem(&key.pem)?)? {
                    let trusted_as = Some(key.name.clone());
                    return Ok(Signature { key: Some(key.id), trusted_as });
                }
            }
            Ok::<_, JudgeError>(Signature { key: bundle.key, trusted_as: None })
        });
        let judged = judged.await.map_err(|error| {
            JudgeError::Problem(Problem::new(Code::Internal, error.to_string()))
        })?;
        judged.map(Some)
    }

    /// What the signature of a push says.
    pub(crate) async fn signature_of(
        &self,
        key: &ModelKey,
        push: &Push,
    ) -> Result<Option<Signature>, Problem> {
        let state = self.state();
        let read = self.read_signature(&state, &key.project, &push.tree, &push.manifest).await;
        read.map_err(JudgeError::problem)
    }

    /// Refuses a version whose signature is not right, and one without a signature that counts where
    /// the environment needs one. Gives what the signature says, if there is one.
    pub(crate) async fn check_signature(
        &self,
        state: &State,
        project: &ProjectName,
        environment: &EnvironmentName,
        pushed: &VersionPushed,
    ) -> Result<Option<Signature>, JudgeError> {
        let signature = self.read_signature(state, project, &pushed.tree, &pushed.manifest).await?;
        let counts = signature.as_ref().is_some_and(|signature| signature.trusted_as.is_some());
        if state.access.needs_signature(project, environment) && !counts {
            let problem = not_signed(pushed.version, environment, project, signature.as_ref());
            return Err(JudgeError::Problem(problem));
        }
        Ok(signature)
    }

    /// The first step of a deployment: what the version's signature says now goes into the ledger.
    pub(crate) async fn judge_signature(
        &self,
        key: &ModelKey,
        deployment: &Deployment,
        version: &Version,
    ) -> Result<(), StepFailure> {
        let (state, environment) = (self.state(), &deployment.environment);
        let pushed = &version.pushed;
        let judged = self.check_signature(&state, &key.project, environment, pushed).await;
        let judged =
            judged.map_err(|error| StepFailure { step: "signature", problem: error.problem() })?;
        let Some(signature) = judged else { return Ok(()) };
        let event = Event::SignatureJudged {
            deployment: deployment.id,
            version: deployment.version,
            environment: environment.clone(),
            signature,
        };
        self.step(key, deployment.id, event).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Digest, Entry};

    fn state(events: &[(&str, &str, String)]) -> State {
        let mut state = State::default();
        for (subject, kind, body) in events {
            let event = Event::from_parts(kind, 1, body.as_bytes()).unwrap();
            state.apply(&Entry {
                seq: state.seq + 1,
                at_ms: 1,
                actor: "local".into(),
                subject: (*subject).into(),
                subject_seq: state.entries_of(subject) + 1,
                writer_epoch: 1,
                hash: Digest::ZERO,
                event,
            });
        }
        state
    }

    #[test]
    fn a_signature_counts_as_long_as_the_key_that_it_names_is_trusted() {
        let id = Digest::of(b"key");
        let pushed = |number: u32, signature: &str| {
            let zero = Digest::ZERO;
            let body = format!(
                r#"{{"version":{number},"digest":"{zero}","tree":[],"manifest":{{}},"runtime":"python","file":null,"lock":null,"provenance":{{"author":"ann","git_dirty":false}}{signature}}}"#
            );
            ("fraud/churn", "version_pushed", body)
        };
        let required = r#"{"environment":"production","required":true}"#.to_string();
        let given = format!(r#"{{"key":{{"id":"{id}","name":"ann","curve":"p256","pem":""}}}}"#);
        let mut events = vec![
            pushed(1, ""),
            pushed(2, &format!(r#","signature":{{"key":"{id}"}}"#)),
            pushed(3, r#","signature":{}"#),
            ("fraud", "signatures_required", required),
        ];
        let key: ModelKey = "fraud/churn".to_string().try_into().unwrap();
        let counts = |state: &State, environment: &str| {
            [1, 2, 3].map(|version| {
                let environment = environment.parse().unwrap();
                check_named(state, &key, &environment, VersionNumber(version)).is_ok()
            })
        };
        assert_eq!(counts(&state(&events), "production"), [false, false, false]);
        assert_eq!(counts(&state(&events), "staging"), [true, true, true]);
        events.push(("fraud", "trust_given", given.clone()));
        assert_eq!(counts(&state(&events), "production"), [false, true, true]);
        events.push(("fraud", "trust_withdrawn", format!(r#"{{"key":"{id}","name":"ann"}}"#)));
        // What another project trusts makes no difference.
        events.push(("shop", "trust_given", given));
        let state = state(&events);
        assert_eq!(counts(&state, "production"), [false, false, false]);
        let refused = check_named(&state, &key, &"production".parse().unwrap(), VersionNumber(2));
        assert!(refused.unwrap_err().message.contains("which project fraud does not trust"));
    }

    #[test]
    fn the_manifest_is_the_one_that_was_signed() {
        let text = "[scale]\nmax = 2\n";
        let manifest = Manifest::parse(text).unwrap();
        assert_eq!(check_manifest(&manifest, Some(text.as_bytes())), Ok(()));
        assert_eq!(check_manifest(&Manifest::default(), None), Ok(()));
        for (manifest, signed) in [
            (&manifest, None),
            (&manifest, Some("[scale]\nmax = 3\n")),
            (&manifest, Some("[scale")),
            (&Manifest::default(), Some(text)),
        ] {
            assert!(check_manifest(manifest, signed.map(str::as_bytes)).is_err(), "{signed:?}");
        }
    }
}

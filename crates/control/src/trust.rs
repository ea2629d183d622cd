//! Trust: which keys' signatures of models count in a project, and which of its environments need
//! one.

use domain::trust::TRUSTED_KEYS_MAX;
use domain::{
    Action, Caller, Code, Digest, EnvironmentName, Event, KeyName, Object, Problem, ProjectName,
    Signature, State, TrustedKey,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signing::{PublicKey, SigningError};

use crate::Control;

/// What is known of a version's signature now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SignatureView {
    /// The key that it names; absent if it names none that Decalog can check.
    pub key: Option<Digest>,
    /// What the project calls that key, or called it when it was trusted.
    pub name: Option<KeyName>,
    /// Whether it was found to be right, and the project trusts the key now.
    pub trusted: bool,
    /// In one line.
    pub says: String,
}

impl SignatureView {
    /// Of a signature, by the keys that its project trusts in this state.
    pub(crate) fn of(state: &State, project: &ProjectName, signature: &Signature) -> SignatureView {
        let Signature { key, trusted_as } = signature;
        let known = key.and_then(|id| state.access.trusted.get(&(project.clone(), id)));
        let short = key.map(|key| key.short()).unwrap_or_default();
        let says = match (key, trusted_as, known) {
            (None, _, _) => {
                "signed in a way that Decalog cannot check, as by a certificate: not trusted".into()
            }
            (Some(_), Some(_), Some(known)) => format!("signed by {known}"),
            (Some(_), None, Some(known)) => format!(
                "signed by {known}, as it says: trusted since it was pushed, checked when it is released"
            ),
            (Some(_), Some(name), None) => {
                format!(
                    "signed by {name} ({short}), which project {project} does not trust any more"
                )
            }
            (Some(_), None, None) => {
                format!("signed by the key {short}, which project {project} does not trust")
            }
        };
        SignatureView {
            key: *key,
            name: known.map(|known| known.name.clone()).or_else(|| trusted_as.clone()),
            trusted: known.is_some() && trusted_as.is_some(),
            says,
        }
    }
}

fn no_such_key(project: &ProjectName, id: &Digest) -> Problem {
    let text = format!("project {project} trusts no key {}", id.short());
    Problem::new(Code::NoSuchKey, text).help("decalog trust ls lists those that it trusts")
}

/// Refuses a key that cannot be one more of a project's.
fn check_room(state: &State, project: &ProjectName, key: &TrustedKey) -> Result<(), Problem> {
    let others: Vec<_> = state.access.keys_of(project).filter(|other| other.id != key.id).collect();
    if others.len() >= TRUSTED_KEYS_MAX {
        let text = format!("project {project} trusts {TRUSTED_KEYS_MAX} keys already");
        return Err(Problem::new(Code::BadKey, text)
            .help("take the trust in one away first: decalog trust ls, decalog trust rm ID"));
    }
    match others.iter().find(|other| other.name == key.name) {
        Some(other) => {
            let text = format!("another key of project {project} is called {}", other.name);
            Err(Problem::new(Code::BadKey, text).help("decalog trust add PUB.pem --name NAME"))
        }
        None => Ok(()),
    }
}

impl Control {
    /// The keys that a project trusts, and the environments that need a signature by one.
    pub fn trusted(&self, project: &ProjectName) -> (Vec<TrustedKey>, Vec<EnvironmentName>) {
        let state = self.state();
        let keys = state.access.keys_of(project).map(|key| key.as_ref().clone()).collect();
        let signed = state.access.signed.keys().filter(|(other, _)| other == project);
        (keys, signed.map(|(_, environment)| environment.clone()).collect())
    }

    /// Trusts a key, or gives one that is trusted another name.
    pub async fn trust(
        &self,
        caller: &Caller,
        project: ProjectName,
        name: KeyName,
        pem: &str,
    ) -> Result<TrustedKey, Problem> {
        let key = PublicKey::from_pem(pem).map_err(SigningError::problem)?;
        let (id, curve, pem) = (key.id(), key.curve(), key.pem().to_string());
        let key = TrustedKey { id, name, curve, pem };
        let (given, of) = (key.clone(), project.clone());
        let decide = move |state: &State| {
            check_room(state, &of, &given)?;
            Ok(Event::TrustGiven { key: Box::new(given), proposal: None })
        };
        let object = Object::Project(project.clone());
        self.change(caller, project.as_str(), object, |_| Action::Protect, decide).await?;
        Ok(key)
    }

    /// Takes the trust in a key away, from the next release and the next start of a replica on.
    /// Nobody has to approve that.
    pub async fn distrust(
        &self,
        caller: &Caller,
        project: ProjectName,
        id: Digest,
    ) -> Result<TrustedKey, Problem> {
        let of = project.clone();
        let known = move |state: &State, of: &ProjectName| {
            let known = state.access.trusted.get(&(of.clone(), id)).cloned();
            known.ok_or_else(|| no_such_key(of, &id))
        };
        let object = Object::Project(project.clone());
        self.permit(caller, Action::Expel, &object)?;
        let key = known(&self.state(), &project)?;
        let decide = move |state: &State| {
            let key = known(state, &of)?;
            Ok(Event::TrustWithdrawn { key: key.id, name: key.name.clone() })
        };
        self.change(caller, project.as_str(), object, |_| Action::Expel, decide).await?;
        Ok(key.as_ref().clone())
    }

    /// Says whether an environment takes only versions that are signed by a key which its project
    /// trusts.
    pub async fn require_signatures(
        &self,
        caller: &Caller,
        project: ProjectName,
        environment: EnvironmentName,
        required: bool,
    ) -> Result<(), Problem> {
        let object = Object::Environment(project.clone(), environment.clone());
        let decide = move |_: &State| {
            Ok(Event::SignaturesRequired { environment, required, proposal: None })
        };
        self.change(caller, project.as_str(), object, |_| Action::Protect, decide).await.map(drop)
    }

    /// What is live in an environment and does not have the signature that the environment needs:
    /// its replicas go on, and no new ones start.
    pub fn unsigned_in(&self, project: &ProjectName, environment: &EnvironmentName) -> Vec<String> {
        let state = self.state();
        let of_project = state.models.iter().filter(|(key, _)| key.project == *project);
        let live = of_project.filter_map(|(key, model)| {
            let version = model.live.get(environment)?.version;
            let checked = crate::signature::check_named(&state, key, environment, version);
            checked.is_err().then(|| format!("{}@{version}", key.model))
        });
        live.collect()
    }
}

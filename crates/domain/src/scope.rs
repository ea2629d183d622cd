//! Scopes: what a token may be used for at most. What it can really do is its scopes cut down to
//! the roles that its owner has at that moment.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentName, ModelKey, ModelName, NameError, ProjectName};
use crate::problem::excerpt;

/// The most scopes of a token: each model that it may ask is one.
pub const SCOPES_MAX: usize = 64;

/// Any name, where a scope has one.
const ANY: &str = "*";

/// One thing that a token may be used for. None of them includes another, except that a wider scope
/// for predictions includes a narrower one.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("examples" = ["read", "predict:fraud/churn", "predict:fraud/*@staging"]))]
pub enum Scope {
    /// To ask models: `predict` for all, `predict:PROJECT/MODEL[@ENVIRONMENT]` for some. As in a
    /// reference, no environment means production; `*` stands for any model or environment.
    Predict(Askable),
    /// To see models, versions, events, logs and metrics.
    Read,
    /// To keep models running: roll back, pause, resume, restart.
    Operate,
    /// To push versions, release them, and change what they run with.
    Deploy,
    /// To set secrets; nobody can read them.
    Secrets,
    /// To read what callers asked and what they were answered.
    Records,
    /// To read who did what, and to have it proved.
    Audit,
    /// To decide who may do what.
    Admin,
}

/// Which models may be asked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Askable {
    /// All that the owner may ask.
    All,
    /// Those of a project.
    Of {
        /// Whose.
        project: ProjectName,
        /// Only this one; any if none.
        model: Option<ModelName>,
        /// Only in this one; in any if none.
        environment: Option<EnvironmentName>,
    },
}

/// The text is no scope.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScopeError {
    /// No such word.
    #[error(
        "`{0}` is not a scope: use predict, predict:PROJECT/MODEL[@ENVIRONMENT], read, operate, \
         deploy, secrets, records, audit or admin"
    )]
    Unknown(String),
    /// After `predict:` there is no project and model.
    #[error(
        "`{0}` does not say which model may be asked: write predict:PROJECT/MODEL[@ENVIRONMENT], \
         as in predict:default/churn, with * for any"
    )]
    Model(String),
    /// One of its names is wrong.
    #[error("`{0}`: {1}")]
    Name(String, NameError),
    /// None, or more than a token can have.
    #[error("a token has from 1 to {SCOPES_MAX} scopes, not {0}")]
    Count(usize),
}

impl Askable {
    /// Whether this model may be asked in this environment.
    pub fn allows(&self, key: &ModelKey, environment: &EnvironmentName) -> bool {
        self.touches(&key.project, Some(&key.model), Some(environment))
    }

    /// Whether anything may be asked of this project, or of this model or environment in it.
    pub fn touches(
        &self,
        project: &ProjectName,
        model: Option<&ModelName>,
        environment: Option<&EnvironmentName>,
    ) -> bool {
        match self {
            Askable::All => true,
            Askable::Of { project: own, model: only, environment: only_in } => {
                own == project
                    && agree(only.as_ref(), model)
                    && agree(only_in.as_ref(), environment)
            }
        }
    }

    /// Whether all that the other allows is allowed by this.
    pub fn includes(&self, other: &Askable) -> bool {
        match (self, other) {
            (Askable::All, _) => true,
            (Askable::Of { .. }, Askable::All) => false,
            (
                Askable::Of { project, model, environment },
                Askable::Of { project: theirs, model: their_model, environment: their_environment },
            ) => {
                project == theirs
                    && (model.is_none() || model == their_model)
                    && (environment.is_none() || environment == their_environment)
            }
        }
    }
}

/// Whether two names, of which either may be any, can be the same.
fn agree<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

impl Scope {
    /// Whether all that the other allows is allowed by this.
    pub fn includes(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::Predict(own), Scope::Predict(other)) => own.includes(other),
            _ => self == other,
        }
    }
}

fn parse_askable(text: &str, rest: &str) -> Result<Askable, ScopeError> {
    let model_missing = || ScopeError::Model(excerpt(text).into_owned());
    let name = |error| ScopeError::Name(excerpt(text).into_owned(), error);
    let (project, rest) = rest.split_once('/').ok_or_else(model_missing)?;
    let (model, environment) = match rest.split_once('@') {
        Some((model, environment)) => (model, Some(environment)),
        None => (rest, None),
    };
    Ok(Askable::Of {
        project: project.parse().map_err(name)?,
        model: any_or(model).map(str::parse).transpose().map_err(name)?,
        environment: match environment {
            None => Some(EnvironmentName::default()),
            Some(environment) => any_or(environment).map(str::parse).transpose().map_err(name)?,
        },
    })
}

fn any_or(text: &str) -> Option<&str> {
    (text != ANY).then_some(text)
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Scope, ScopeError> {
        Ok(match text {
            "predict" => Scope::Predict(Askable::All),
            "read" => Scope::Read,
            "operate" => Scope::Operate,
            "deploy" => Scope::Deploy,
            "secrets" => Scope::Secrets,
            "records" => Scope::Records,
            "audit" => Scope::Audit,
            "admin" => Scope::Admin,
            _ => match text.strip_prefix("predict:") {
                Some(rest) => Scope::Predict(parse_askable(text, rest)?),
                None => return Err(ScopeError::Unknown(excerpt(text).into_owned())),
            },
        })
    }
}

impl fmt::Display for Askable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Askable::Of { project, model, environment } = self else {
            return Ok(());
        };
        write!(f, ":{project}/{}", model.as_ref().map_or(ANY, ModelName::as_str))?;
        match environment {
            Some(environment) if *environment == EnvironmentName::default() => Ok(()),
            other => write!(f, "@{}", other.as_ref().map_or(ANY, EnvironmentName::as_str)),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Predict(askable) => write!(f, "predict{askable}"),
            Scope::Read => f.write_str("read"),
            Scope::Operate => f.write_str("operate"),
            Scope::Deploy => f.write_str("deploy"),
            Scope::Secrets => f.write_str("secrets"),
            Scope::Records => f.write_str("records"),
            Scope::Audit => f.write_str("audit"),
            Scope::Admin => f.write_str("admin"),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Scope, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.to_string()
    }
}

/// All scopes of a token, from 1 to 64, none of which another includes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeSet<Scope>", into = "BTreeSet<Scope>")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Every scope there is: what somebody who logged in has.
    pub fn all() -> Scopes {
        let predict = Scope::Predict(Askable::All);
        let others = [
            Scope::Read,
            Scope::Operate,
            Scope::Deploy,
            Scope::Secrets,
            Scope::Records,
            Scope::Audit,
            Scope::Admin,
        ];
        Scopes(others.into_iter().chain([predict]).collect())
    }

    /// These; what another includes is left out.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Scopes, ScopeError> {
        let all: BTreeSet<Scope> = scopes.into_iter().take(SCOPES_MAX + 1).collect();
        if !(1..=SCOPES_MAX).contains(&all.len()) {
            return Err(ScopeError::Count(all.len()));
        }
        let is_included =
            |scope: &Scope| all.iter().any(|other| other != scope && other.includes(scope));
        Ok(Scopes(all.iter().filter(|scope| !is_included(scope)).cloned().collect()))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether one of them includes this.
    pub fn include(&self, scope: &Scope) -> bool {
        self.0.iter().any(|own| own.includes(scope))
    }

    /// Whether nothing is allowed by these that the others do not allow. Names are without number,
    /// so that no list of names ever amounts to `*`, and one by one is enough.
    pub fn is_subset_of(&self, others: &Scopes) -> bool {
        self.0.iter().all(|scope| others.include(scope))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.0.iter().enumerate() {
            write!(f, "{}{scope}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl TryFrom<BTreeSet<Scope>> for Scopes {
    type Error = ScopeError;

    fn try_from(scopes: BTreeSet<Scope>) -> Result<Scopes, ScopeError> {
        Scopes::new(scopes)
    }
}

impl From<Scopes> for BTreeSet<Scope> {
    fn from(scopes: Scopes) -> BTreeSet<Scope> {
        scopes.0
    }
}

#[cfg(test)]
mod tests;

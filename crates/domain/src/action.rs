//! Actions and objects: what somebody may or may not do with what. Every route of the control API
//! and every kind of inference request is one action on one object. Which role an action needs is
//! decided in the crate `policy`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentName, ModelKey, NameError, ProjectName};
use crate::problem::excerpt;
use crate::reference::{Reference, ReferenceError};

macro_rules! actions {
    ($($variant:ident $text:literal $meaning:literal;)*) => {
        /// What somebody wants to do.
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize,
            JsonSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Action {
            $(#[doc = $meaning] $variant,)*
        }

        impl Action {
            /// All of them.
            pub const ALL: &[Action] = &[$(Action::$variant),*];

            /// As `decalog can` and JSON name it.
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$variant => $text,)* }
            }

            /// What it is, in a sentence without its end.
            pub fn meaning(self) -> &'static str {
                match self { $(Action::$variant => $meaning,)* }
            }
        }
    };
}

actions! {
    Predict "predict" "Ask a model";
    Feedback "feedback" "Say what turned out to be true of predictions";
    Read "read" "See models, versions, releases, events, logs and metrics";
    Rollback "rollback" "Make live again what was live before";
    Steer "steer" "Pause, resume or abort a release that is on its way";
    Restart "restart" "Start replicas anew";
    Push "push" "Upload a version";
    Release "release" "Make a version live, by whatever plan and under whatever guards";
    Configure "configure" "Set or remove variables, guards and other configuration";
    Scale "scale" "Change how many replicas there may be";
    Secret "secret" "Set or remove a secret";
    Remove "remove" "Remove versions or models";
    Token "token" "Make, rotate or revoke tokens of services that may look and ask";
    Member "member" "Give a role, or make a token of a service that may do more";
    Expel "expel" "Take a role, a token or the trust in a key away";
    Protect "protect" "Decide how many must approve changes of an environment, and whose signatures count";
    Records "records" "Read what callers asked and what they were answered";
    Audit "audit" "Export who did what, and have it proved";
    Administer "administer" "Rotate keys, erase names and records, back up, upgrade";
}

/// What somebody wants to do it with. Its text is `*`, `PROJECT/*`, `PROJECT/*@ENVIRONMENT`, or a
/// reference to a model without a version; in JSON it is that text.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("examples" = ["*", "fraud/*", "fraud/*@staging", "fraud/churn@production"]))]
pub enum Object {
    /// What belongs to no project.
    Platform,
    /// A project as a whole.
    Project(ProjectName),
    /// All models of an environment.
    Environment(ProjectName, EnvironmentName),
    /// A model as a whole.
    Model(ModelKey),
    /// A model in one environment.
    ModelIn(ModelKey, EnvironmentName),
}

/// A text that is neither.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ObjectError {
    /// No such action.
    #[error("`{0}` is not an action: use {list}", list = names())]
    Action(String),
    /// Not as a reference is written.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// One of its names is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A right is for a model, whatever its version.
    #[error("`{0}` names a version: rights are the same for all of them; leave it out")]
    Version(String),
}

fn names() -> String {
    Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ")
}

impl Object {
    /// Its project; that of what belongs to none is none.
    pub fn project(&self) -> Option<&ProjectName> {
        match self {
            Object::Platform => None,
            Object::Project(project) | Object::Environment(project, _) => Some(project),
            Object::Model(key) | Object::ModelIn(key, _) => Some(&key.project),
        }
    }

    /// The environment that it is limited to, if it is.
    pub fn environment(&self) -> Option<&EnvironmentName> {
        match self {
            Object::Environment(_, environment) | Object::ModelIn(_, environment) => {
                Some(environment)
            }
            Object::Platform | Object::Project(_) | Object::Model(_) => None,
        }
    }

    /// Its model, if it is one.
    pub fn model(&self) -> Option<&ModelKey> {
        match self {
            Object::Model(key) | Object::ModelIn(key, _) => Some(key),
            Object::Platform | Object::Project(_) | Object::Environment(..) => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = ObjectError;

    fn from_str(text: &str) -> Result<Action, ObjectError> {
        let found = Action::ALL.iter().find(|action| action.as_str() == text);
        found.copied().ok_or_else(|| ObjectError::Action(excerpt(text).into_owned()))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Platform => f.write_str("*"),
            Object::Project(project) => write!(f, "{project}/*"),
            Object::Environment(project, environment) => write!(f, "{project}/*@{environment}"),
            Object::Model(key) => write!(f, "{key}"),
            Object::ModelIn(key, environment) => write!(f, "{key}@{environment}"),
        }
    }
}

impl FromStr for Object {
    type Err = ObjectError;

    fn from_str(text: &str) -> Result<Object, ObjectError> {
        if text == "*" {
            return Ok(Object::Platform);
        }
        if let Some((project, rest)) = text.split_once("/*") {
            let project = project.parse()?;
            return match rest.strip_prefix('@') {
                Some(environment) => Ok(Object::Environment(project, environment.parse()?)),
                None if rest.is_empty() => Ok(Object::Project(project)),
                None => Err(ReferenceError::Form(excerpt(text).into_owned()).into()),
            };
        }
        let reference: Reference = text.parse()?;
        match (reference.selector, reference.environment) {
            (Some(_), _) => Err(ObjectError::Version(excerpt(text).into_owned())),
            (None, Some(environment)) => Ok(Object::ModelIn(reference.model, environment)),
            (None, None) => Ok(Object::Model(reference.model)),
        }
    }
}

impl TryFrom<String> for Object {
    type Error = ObjectError;

    fn try_from(text: String) -> Result<Object, ObjectError> {
        text.parse()
    }
}

impl From<Object> for String {
    fn from(object: Object) -> String {
        object.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_its_text() {
        for text in ["*", "fraud/*", "fraud/*@staging", "fraud/churn", "fraud/churn@production"] {
            let object: Object = text.parse().unwrap();
            assert_eq!(object.to_string(), text);
            assert_eq!(serde_json::from_value::<Object>(text.into()).unwrap(), object);
        }
        assert_eq!("churn@staging".parse::<Object>().unwrap().to_string(), "default/churn@staging");
        for bad in ["", "fraud/*x", "fraud/*@", "fraud/*@v1", "*/churn", "*@staging", "a/b/c"] {
            assert!(bad.parse::<Object>().is_err(), "{bad}");
        }
        let error = "churn@v3".parse::<Object>().unwrap_err().to_string();
        assert!(error.contains("leave it out"), "{error}");
    }

    #[test]
    fn an_action_is_its_name() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse::<Action>().unwrap(), *action);
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        let error = "delete".parse::<Action>().unwrap_err().to_string();
        assert!(error.contains("predict, feedback, read, rollback"), "{error}");
    }
}

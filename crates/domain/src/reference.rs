//! References: `[project/]model[@environment][@vN|@digest]`, the one grammar of CLI, URLs and
//! pipelines.

use std::fmt;
use std::str::FromStr;

use crate::id::{EnvironmentName, ModelKey, ModelName, NameError, ProjectName, VersionNumber};
use crate::problem::excerpt;

/// The fewest digits of a digest that select a version.
pub const DIGEST_DIGITS_MIN: usize = 12;

/// Which version of a model is meant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Selector {
    /// By number.
    Number(VersionNumber),
    /// By the first digits (at least twelve) of its digest.
    Digest(String),
}

/// A parsed reference. Without a selector it means the live version of the environment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reference {
    /// The model, in project `default` if unsaid.
    pub model: ModelKey,
    /// The environment, if named.
    pub environment: Option<EnvironmentName>,
    /// The version, if named.
    pub selector: Option<Selector>,
}

impl Reference {
    /// The live version of a model in production.
    pub fn live(model: ModelKey) -> Reference {
        Reference { model, environment: None, selector: None }
    }

    /// The environment that is meant.
    pub fn environment(&self) -> EnvironmentName {
        self.environment.clone().unwrap_or_default()
    }
}

/// The text does not follow the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// One of its names is wrong.
    #[error(transparent)]
    Name(#[from] NameError),
    /// More parts than the grammar has.
    #[error("`{0}` is not a reference: expected [project/]model[@environment][@vN|@digest]")]
    Form(String),
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        let form = || ReferenceError::Form(excerpt(text).into_owned());
        let mut parts = text.split('@');
        let path = parts.next().unwrap_or_default();
        let (project, model) = match path.split_once('/') {
            Some((project, model)) => (project.parse::<ProjectName>()?, model),
            None => (ProjectName::default(), path),
        };
        let model = ModelKey { project, model: model.parse::<ModelName>()? };
        let mut reference = Reference::live(model);
        for part in parts {
            if reference.selector.is_some() {
                return Err(form());
            }
            if let Ok(number) = part.parse::<VersionNumber>() {
                reference.selector = Some(Selector::Number(number));
            } else if part.len() >= DIGEST_DIGITS_MIN
                && part.len() <= 64
                && part.bytes().all(|c| c.is_ascii_hexdigit())
            {
                reference.selector = Some(Selector::Digest(part.to_ascii_lowercase()));
            } else if reference.environment.is_none() {
                reference.environment = Some(part.parse()?);
            } else {
                return Err(form());
            }
        }
        Ok(reference)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.model.project != ProjectName::default() {
            write!(f, "{}/", self.model.project)?;
        }
        write!(f, "{}", self.model.model)?;
        if let Some(environment) = &self.environment {
            write!(f, "@{environment}")?;
        }
        match &self.selector {
            Some(Selector::Number(number)) => write!(f, "@{number}"),
            Some(Selector::Digest(digits)) => write!(f, "@{digits}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        for text in [
            "churn",
            "churn@staging",
            "churn@v3",
            "team/churn@staging@v12",
            "churn@0123456789abcdef",
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
        assert_eq!("default/churn".parse::<Reference>().unwrap().to_string(), "churn");
        for bad in ["", "a/b/c", "churn@v1@v2", "churn@a@b", "churn@", "churn@v3@staging", "Ch"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}

//! Grants: who has which role where. What a role may do is decided in the crate `policy`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::{EnvironmentName, NameError, ProjectName};
use crate::principal::PrincipalId;
use crate::problem::excerpt;

/// The longest name of a group, in bytes.
pub const GROUP_BYTES_MAX: usize = 200;

/// What somebody may do; each role may do all that those before it may.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks, and asks models.
    Viewer,
    /// Keeps models running: rolls back, pauses, restarts.
    Operator,
    /// Pushes versions, releases them, and changes what they run with.
    Deployer,
    /// Decides who may do what.
    Owner,
}

/// Where a role holds. Its text is `*`, `fraud` or `fraud@staging`; in JSON it is that text.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("examples" = ["*", "fraud", "fraud@staging"]))]
pub enum Reach {
    /// In all projects, also those to come, and for what concerns none of them.
    Everything,
    /// In one project.
    Project(ProjectName),
    /// In one environment of a project.
    Environment(ProjectName, EnvironmentName),
}

/// A group of people, as whoever logs them in calls it.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

/// Who has a role.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// Somebody.
    Principal(PrincipalId),
    /// Everybody in a group.
    Group(GroupName),
}

/// A role that somebody has somewhere.
#[derive(
    Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
pub struct Grant {
    /// Who has it.
    pub to: Grantee,
    /// What they may do.
    pub role: Role,
    /// Where.
    #[serde(rename = "in")]
    pub reach: Reach,
}

/// A text that is none of these.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GrantError {
    /// No such role.
    #[error("`{0}` is not a role: use viewer, operator, deployer or owner")]
    Role(String),
    /// One of its names is wrong.
    #[error(
        "`{0}` does not say where a role holds: write PROJECT, PROJECT@ENVIRONMENT, or * for all: \
         {1}"
    )]
    Reach(String, NameError),
    /// Empty, too long, or with characters that cannot be seen.
    #[error(
        "`{0}` is not a group: a name has from 1 to {GROUP_BYTES_MAX} bytes and no line breaks"
    )]
    Group(String),
}

impl Role {
    /// All of them, from the least to the most.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Deployer, Role::Owner];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Deployer => "deployer",
            Role::Owner => "owner",
        }
    }
}

impl Reach {
    /// Whether a role that holds here holds in all of the other.
    pub fn includes(&self, other: &Reach) -> bool {
        match (self, other) {
            (Reach::Everything, _) => true,
            (Reach::Project(own), Reach::Project(other) | Reach::Environment(other, _)) => {
                own == other
            }
            (Reach::Environment(..), Reach::Environment(..)) => self == other,
            _ => false,
        }
    }

    /// Whether it has anything to do with this project.
    pub fn touches(&self, project: &ProjectName) -> bool {
        match self {
            Reach::Everything => true,
            Reach::Project(own) | Reach::Environment(own, _) => own == project,
        }
    }

    /// As people read it: `fraud@staging`, `all projects`.
    pub fn display(&self) -> String {
        match self {
            Reach::Everything => "all projects".into(),
            other => other.to_string(),
        }
    }
}

impl GroupName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Everything => f.write_str("*"),
            Reach::Project(project) => write!(f, "{project}"),
            Reach::Environment(project, environment) => write!(f, "{project}@{environment}"),
        }
    }
}

impl FromStr for Role {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Role, GrantError> {
        let found = Role::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| GrantError::Role(excerpt(text).into_owned()))
    }
}

impl FromStr for Reach {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Reach, GrantError> {
        let name = |error| GrantError::Reach(excerpt(text).into_owned(), error);
        match text.split_once('@') {
            _ if text == "*" => Ok(Reach::Everything),
            None => Ok(Reach::Project(text.parse().map_err(name)?)),
            Some((project, environment)) => Ok(Reach::Environment(
                project.parse().map_err(name)?,
                environment.parse().map_err(name)?,
            )),
        }
    }
}

impl TryFrom<String> for Reach {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Reach, GrantError> {
        text.parse()
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> String {
        reach.to_string()
    }
}

impl TryFrom<String> for GroupName {
    type Error = GrantError;

    fn try_from(text: String) -> Result<GroupName, GrantError> {
        let fits = (1..=GROUP_BYTES_MAX).contains(&text.len());
        match fits && !text.chars().any(char::is_control) {
            true => Ok(GroupName(text)),
            false => Err(GrantError::Group(excerpt(&text).into_owned())),
        }
    }
}

impl FromStr for GroupName {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<GroupName, GrantError> {
        GroupName::try_from(text.to_string())
    }
}

impl From<GroupName> for String {
    fn from(group: GroupName) -> String {
        group.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn where_a_role_holds_is_a_text() {
        for text in ["*", "fraud", "fraud@staging"] {
            assert_eq!(reach(text).to_string(), text);
        }
        for bad in ["", "@staging", "fraud@", "fraud@v1", "*@staging", "Fraud", "a@b@c", "a/b"] {
            let error = bad.parse::<Reach>().unwrap_err().to_string();
            assert!(error.contains("write PROJECT"), "{error}");
        }
        assert!("admin".parse::<Role>().unwrap_err().to_string().contains("viewer, operator"));
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
    }

    #[test]
    fn a_role_in_a_project_holds_in_its_environments() {
        let all = ["*", "fraud", "fraud@staging", "fraud@test", "other", "other@staging"];
        let included = [
            ("*", "*"),
            ("*", "fraud"),
            ("*", "fraud@staging"),
            ("*", "fraud@test"),
            ("*", "other"),
            ("*", "other@staging"),
            ("fraud", "fraud"),
            ("fraud", "fraud@staging"),
            ("fraud", "fraud@test"),
            ("fraud@staging", "fraud@staging"),
            ("fraud@test", "fraud@test"),
            ("other", "other"),
            ("other", "other@staging"),
            ("other@staging", "other@staging"),
        ];
        for wide in all {
            for narrow in all {
                let expected = included.contains(&(wide, narrow));
                assert_eq!(reach(wide).includes(&reach(narrow)), expected, "{wide} {narrow}");
            }
        }
    }

    #[test]
    fn a_grant_is_short_json() {
        let grant = Grant {
            to: Grantee::Group("ml-team".parse().unwrap()),
            role: Role::Deployer,
            reach: reach("fraud@staging"),
        };
        let json = serde_json::json!({
            "to": {"group": "ml-team"},
            "role": "deployer",
            "in": "fraud@staging",
        });
        assert_eq!(serde_json::to_value(&grant).unwrap(), json);
        assert_eq!(serde_json::from_value::<Grant>(json).unwrap(), grant);
        let json = r#"{"to": {"principal": "1f0c000000000001"}, "role": "viewer", "in": "*"}"#;
        assert_eq!(serde_json::from_str::<Grant>(json).unwrap().reach, Reach::Everything);
        for bad in ["", "a\nb", &"x".repeat(GROUP_BYTES_MAX + 1)] {
            assert!(bad.parse::<GroupName>().is_err());
        }
        assert!("CN=ml team,OU=x".parse::<GroupName>().is_ok());
    }
}

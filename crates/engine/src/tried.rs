//! What came of attacks that were tried within the walls of a model.

use domain::launch::Sandbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What came of an attack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttackOutcome {
    /// It got what it wanted.
    Possible,
    /// It was refused.
    Denied,
    /// It could not be tried.
    Broken,
}

/// An attack that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AttackTried {
    /// Its name.
    pub name: String,
    /// What it tries, as in `it could …`.
    pub what: String,
    /// What came of it where nothing is confined.
    pub outside: AttackOutcome,
    /// What came of it within the walls.
    pub inside: AttackOutcome,
    /// The kernel's words on why it was refused inside; empty if it was not.
    pub detail: String,
}

/// What a model's walls hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WallsTried {
    /// How strong they are.
    pub level: Sandbox,
    /// What was tried, in the order in which it was.
    pub attacks: Vec<AttackTried>,
}

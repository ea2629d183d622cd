//! Numbers about drift that people know, each with its method and how many values it is from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How two distributions are compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftMethod {
    /// The population stability index over the bins of the reference, less what chance adds. Below
    /// 0.1 is commonly called no shift, above 0.25 a large one.
    Psi,
    /// The greatest distance between the two cumulative distributions, from 0 to 1.
    KolmogorovSmirnov,
    /// The square root of the Jensen–Shannon divergence to base 2 over the bins, from 0 to 1.
    JensenShannon,
    /// How far values moved in the mean, in standard deviations of the reference.
    Wasserstein,
}

/// One number.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DriftNumber {
    /// How it was computed.
    pub method: DriftMethod,
    /// The number; none if there are too few values for it to mean anything.
    pub value: Option<f64>,
    /// Values that it is from, the missing ones not counted.
    pub n: u64,
    /// And of the reference.
    pub reference_n: u64,
}

//! What models are watched with.

use std::sync::Arc;

use control::Control;
use gateway::Gateway;
use monitor::Monitor;
use monitor::alarms::Desk;
use monitor::drift::Drift;
use monitor::slo::Objectives;
use records::Keeper;

/// What is watched with.
pub struct Senses {
    pub control: Arc<Control>,
    pub gateway: Arc<Gateway>,
    pub monitor: Arc<Monitor>,
    pub drift: Arc<Drift>,
    pub desk: Arc<Desk>,
    pub objectives: Arc<Objectives>,
    /// None if no records are kept.
    pub keeper: Option<Arc<Keeper>>,
}

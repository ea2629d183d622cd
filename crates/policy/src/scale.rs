//! How many replicas a placement should have.
//!
//! [`Scaler`] remembers the load of one placement and condenses it into [`ScaleInputs`]; [`decide`]
//! is a pure function of those, so that every decision can be taken again from its record. The
//! windows follow Knative's KPA; what differs, and why, stands in `docs/scaling.md`.

mod capacity;
mod decide;
mod hold;
mod scaler;
mod startup;
mod window;

pub use capacity::{Capacity, capacity};
pub use decide::decide;
pub use domain::scale::{
    LoadMeasure, LoadSample, ScaleDecision, ScaleInputs, ScaleRecord, ScaleRule, ServicePoint,
    TargetSource,
};
pub use scaler::{Counts, Scaler, Settings};
pub use startup::StartupTime;

/// To thousandths: JSON keeps such a number exactly.
fn rounded(number: f64) -> f64 {
    if number.is_finite() { (number.clamp(-1e12, 1e12) * 1e3).round() / 1e3 } else { 0.0 }
}

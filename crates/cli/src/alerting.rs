//! Alarms in `decalog up`: the desk that they live at, objectives, and whoever tells receivers.

use std::sync::Arc;
use std::time::Duration;

use control::Control;
use domain::{Code, DataDirectory, Problem};
use monitor::alarms::Desk;
use monitor::delivery::{Delivery, DeliveryConfig};
use monitor::slo::Objectives;

/// What is being told when this process ends may be told to its end for so long, in milliseconds.
const END_MS_MAX: u64 = 2_000;

/// Alarms and all that belongs to them.
#[derive(Clone)]
pub struct Alerting {
    pub desk: Arc<Desk>,
    pub objectives: Arc<Objectives>,
    pub delivery: Arc<Delivery>,
}

impl Alerting {
    /// Opens the desk and starts to tell. While another process decides, it only looks on.
    pub fn start(data: &DataDirectory, control: &Arc<Control>) -> Result<Alerting, Problem> {
        let (desk, trouble) = Desk::open(&data.alarms())?;
        if let Some(trouble) = trouble {
            tracing::error!("{trouble}");
        }
        let objectives = Objectives::new();
        let (listing, opening) = (control.clone(), control.clone());
        let config = DeliveryConfig {
            now_ms: control::now_ms,
            receivers: Box::new(move || listing.receivers()),
            secret: Box::new(move |receiver| opening.receiver_secret(receiver)),
            authorities: identity::system_authorities(),
        };
        let delivery = Delivery::start(desk.clone(), objectives.clone(), config);
        let delivery = delivery.map_err(|error| {
            Problem::new(Code::Failed, format!("starting the thread of alarms: {error}"))
        })?;
        Ok(Alerting { desk, objectives, delivery })
    }

    /// Lets another process decide and tell.
    pub fn pause(&self) {
        self.objectives.save(&self.desk, control::now_ms());
        self.desk.pause(control::now_ms());
    }

    /// Decides and tells again: the other process failed.
    pub fn resume(&self) {
        self.desk.resume();
    }

    /// Writes all that is not on the disk, and ends what is being told. Blocks.
    pub fn end(&self) {
        self.objectives.save(&self.desk, control::now_ms());
        self.desk.end(control::now_ms(), Duration::from_millis(END_MS_MAX));
    }
}

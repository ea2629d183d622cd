//! The load of a version in an environment, whatever placement carries it: while new variables are
//! rolled out, requests go where they went, and then to replicas that have the new ones. What is
//! counted goes on, so that no load seems to end.

use std::collections::BTreeMap;

use domain::Placement;
use domain::scale::LoadSample;

/// What was counted of a version so far.
#[derive(Default)]
pub struct Lanes {
    /// Requests, and the request-milliseconds of placements that carry nothing any more.
    past: (u64, f64),
    /// The last report of each placement that may carry requests, by revision.
    lanes: BTreeMap<u32, LoadSample>,
}

impl Lanes {
    /// The load of a placement and of those of the same version before it; `None` if nothing is
    /// known of any. `report` gives what is known of one now.
    pub fn load(
        &mut self,
        placement: &Placement,
        report: impl Fn(&Placement) -> Option<LoadSample>,
    ) -> Option<LoadSample> {
        self.lanes.entry(placement.revision).or_default();
        let past = &mut self.past;
        self.lanes.retain(|revision, last| {
            let now = match *revision == placement.revision {
                true => report(placement),
                false => report(&Placement { revision: *revision, ..placement.clone() }),
            };
            let goes_on = now.as_ref().is_some_and(|now| now.arrived >= last.arrived);
            if !goes_on {
                *past = (past.0 + last.arrived, past.1 + last.in_system_request_ms);
            }
            now.map(|now| *last = now).is_some()
        });
        let newest = self.lanes.values().next_back()?;
        let mut sum = LoadSample {
            arrived: self.past.0,
            in_system_request_ms: self.past.1,
            ..newest.clone()
        };
        (sum.queued, sum.in_flight) = (0, 0);
        let mut rows = 0.0;
        for lane in self.lanes.values() {
            sum.arrived += lane.arrived;
            sum.in_system_request_ms += lane.in_system_request_ms;
            sum.queued += lane.queued;
            sum.in_flight += lane.in_flight;
            rows += lane.rows_per_request * lane.arrived as f64;
        }
        let arrived: u64 = self.lanes.values().map(|lane| lane.arrived).sum();
        sum.rows_per_request = rows / arrived.max(1) as f64;
        // What was learned by those before holds until there is more.
        let learned = self.lanes.values().rev().find(|lane| !lane.service.is_empty());
        sum.service = learned.map(|lane| lane.service.clone()).unwrap_or_default();
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::placement;
    use domain::scale::ServicePoint;

    fn report(arrived: u64, queued: u64) -> LoadSample {
        let service =
            if arrived > 0 { vec![ServicePoint { rows: 1.0, mean_us: 5.0 }] } else { vec![] };
        let in_system_request_ms = 2.0 * arrived as f64;
        LoadSample {
            arrived,
            queued,
            in_system_request_ms,
            rows_per_request: 3.0,
            service,
            ..LoadSample::default()
        }
    }

    #[test]
    fn counts_go_on_when_other_variables_are_rolled_out() {
        let mut lanes = Lanes::default();
        assert!(lanes.load(&placement(0), |_| None).is_none());
        let load = lanes.load(&placement(0), |_| Some(report(100, 4))).unwrap();
        assert_eq!((load.arrived, load.queued, load.rows_per_request), (100, 4, 3.0));
        // The old one carries the requests, then both do, then only the new one is left.
        let both = |old: u64, new: u64| {
            move |of: &Placement| {
                Some(if of.revision == 0 { report(old, 1) } else { report(new, 2) })
            }
        };
        let load = lanes.load(&placement(1), both(120, 0)).unwrap();
        assert_eq!(
            (load.arrived, load.queued, load.service.len()),
            (120, 3, 1),
            "what was learned holds"
        );
        let load = lanes.load(&placement(1), both(130, 10)).unwrap();
        assert_eq!((load.arrived, load.in_system_request_ms), (140, 280.0));
        let load =
            lanes.load(&placement(1), |of| (of.revision == 1).then(|| report(30, 0))).unwrap();
        assert_eq!((load.arrived, load.queued), (160, 0));
        // A placement that left the routes and came back counts from zero.
        let load =
            lanes.load(&placement(1), |of| (of.revision == 1).then(|| report(5, 0))).unwrap();
        assert_eq!(load.arrived, 165);
        assert!(lanes.load(&placement(1), |_| None).is_none());
        assert_eq!(lanes.load(&placement(1), |_| Some(report(1, 0))).unwrap().arrived, 166);
    }
}

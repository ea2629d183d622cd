//! How many requests each model had in each of the last minutes: what a small picture in a list shows.

use std::collections::{HashMap, VecDeque};

use domain::alarm::Target;

use crate::columns::MINUTE_MS;
use crate::requests::SealedRequests;

/// So many minutes.
pub const MINUTES: usize = 60;

/// Minutes of all models. A model without requests for an hour takes no memory.
#[derive(Default)]
pub struct Recent {
    /// Whoever looks at an earlier minute learns that nothing is known of it.
    since_ms: u64,
    models: HashMap<Target, VecDeque<(u64, u64)>>,
}

impl Recent {
    /// Takes in minutes that are over.
    pub fn take(&mut self, sealed: &[SealedRequests], now_ms: u64) {
        if self.since_ms == 0 {
            self.since_ms = now_ms - now_ms % MINUTE_MS;
        }
        for minute in sealed {
            let minutes = self.models.entry(Target::of(&minute.placement)).or_default();
            let requests = minute.requests.requests;
            match minutes.iter_mut().rev().find(|(at_ms, _)| *at_ms == minute.minute_ms) {
                Some((_, sum)) => *sum += requests,
                None => minutes.push_back((minute.minute_ms, requests)),
            }
        }
        if !sealed.is_empty() {
            let from_ms = first_ms(now_ms);
            self.models.retain(|_, minutes| {
                minutes.retain(|(at_ms, _)| *at_ms >= from_ms);
                !minutes.is_empty()
            });
        }
    }

    /// The requests of each of the last [`MINUTES`] that are over, the oldest first; `None` of those
    /// before this process looked.
    pub fn of(&self, target: &Target, now_ms: u64) -> Vec<Option<u64>> {
        let known = self.models.get(target);
        let of_minute = |at_ms: u64| {
            let found = known.and_then(|all| all.iter().find(|(minute_ms, _)| *minute_ms == at_ms));
            let is_known = self.since_ms > 0 && at_ms >= self.since_ms;
            found.map(|(_, requests)| *requests).or(is_known.then_some(0))
        };
        (0..MINUTES as u64).map(|minute| of_minute(first_ms(now_ms) + minute * MINUTE_MS)).collect()
    }
}

/// The beginning of the first of the last minutes.
fn first_ms(now_ms: u64) -> u64 {
    (now_ms - now_ms % MINUTE_MS).saturating_sub(MINUTES as u64 * MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{Digest, Placement, VersionNumber};

    use super::*;
    use crate::requests::Requests;

    #[test]
    fn an_hour_is_known_minute_by_minute_and_nothing_of_before() {
        let placement = Arc::new(Placement {
            model: "default/churn".parse().unwrap(),
            environment: "production".parse().unwrap(),
            version: VersionNumber(1),
            digest: Digest::of(b""),
            revision: 0,
        });
        let begin_ms = 1_000 * MINUTE_MS;
        let sealed = |minute: u64, requests| SealedRequests {
            placement: placement.clone(),
            minute_ms: begin_ms + minute * MINUTE_MS,
            sequence: 0,
            requests: Requests { requests, ..Requests::default() },
        };
        let mut recent = Recent::default();
        recent.take(&[], begin_ms + 7);
        recent.take(&[sealed(0, 5), sealed(0, 2)], begin_ms + MINUTE_MS);
        recent.take(&[sealed(2, 9)], begin_ms + 3 * MINUTE_MS + 1);
        let of =
            |recent: &Recent, at| recent.of(&Target::of(&placement), begin_ms + at * MINUTE_MS);
        let found = of(&recent, 3);
        assert_eq!((found.len(), &found[56..]), (MINUTES, &[None, Some(7), Some(0), Some(9)][..]));
        recent.take(&[sealed(61, 1)], begin_ms + 62 * MINUTE_MS);
        assert_eq!(of(&recent, 62)[..2], [Some(9), Some(0)], "two hours are not kept");
    }
}

//! Looking through what happened, a bounded number of rows at a time: whoever looks for what hardly
//! ever happens learns how far it was looked.

use std::ops::ControlFlow;

use domain::event::Event;
use domain::happened::{After, Happened};

use crate::LedgerError;
use crate::log::{Entries, Range};

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What it concerns; anything if there are none.
    pub subjects: Vec<String>,
    /// Kinds of events; `None` for all.
    pub kinds: Option<Vec<String>>,
}

impl Selection {
    /// Whether events of a kind are looked for.
    pub fn takes(&self, kind: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|wanted| wanted == kind))
    }

    /// Each subject by itself, or all at once.
    pub(crate) fn parts(&self) -> Vec<Option<&str>> {
        match self.subjects.is_empty() {
            true => vec![None],
            false => self.subjects.iter().map(|subject| Some(subject.as_str())).collect(),
        }
    }
}

/// How far a look goes.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// It ends after so many rows,
    pub rows_max: usize,
    /// or when so much was found.
    pub found_max: usize,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Scan {
    /// All rows that were looked at, in order, each with what was looked for.
    pub rows: Vec<(After, Option<Happened>)>,
    /// Whether there may be more behind them.
    pub has_more: bool,
    found: usize,
}

fn order(place: &After) -> (u64, u64) {
    (place.seq, place.telemetry.unwrap_or(0))
}

impl Scan {
    /// Takes in the next row. Gives whether that is far enough.
    pub(crate) fn take(&mut self, place: After, found: Option<Happened>, reach: Reach) -> bool {
        self.found += found.is_some() as usize;
        self.rows.push((place, found));
        self.has_more = self.rows.len() >= reach.rows_max || self.found >= reach.found_max;
        self.has_more
    }

    /// What several looks have found together, as far as all of them have come.
    pub fn joined(scans: impl IntoIterator<Item = Scan>) -> Scan {
        let (mut rows, mut has_more, mut end) = (vec![], false, (u64::MAX, u64::MAX));
        for scan in scans {
            if scan.has_more {
                has_more = true;
                end = end.min(scan.rows.last().map_or((0, 0), |(place, _)| order(place)));
            }
            rows.extend(scan.rows);
        }
        rows.retain(|(place, _)| order(place) <= end);
        rows.sort_by_key(|(place, _)| order(place));
        let found = rows.iter().filter(|(_, found)| found.is_some()).count();
        Scan { rows, has_more, found }
    }

    /// The first `limit` of what was found, and how far somebody has read then who had read up to
    /// `after`.
    pub fn page(self, after: After, limit: usize) -> Page {
        let mut page = Page { events: vec![], next: after, more: self.has_more };
        for (place, found) in self.rows {
            if page.events.len() >= limit {
                page.more = true;
                break;
            }
            match place.telemetry {
                Some(telemetry) => page.next.telemetry = Some(telemetry),
                None => page.next.seq = place.seq,
            }
            page.events.extend(found);
        }
        page
    }
}

/// A part of what happened.
#[derive(Debug)]
pub struct Page {
    /// In order.
    pub events: Vec<Happened>,
    /// How far it was looked.
    pub next: After,
    /// Whether there may be more behind that.
    pub more: bool,
}

/// Looks at the entries of a ledger after `after_seq`.
pub(crate) fn entries(
    entries: &dyn Entries,
    after_seq: u64,
    selection: &Selection,
    reach: Reach,
) -> Result<Scan, LedgerError> {
    let scans = selection.parts().into_iter().map(|subject| {
        let mut scan = Scan::default();
        let after = match subject {
            None => after_seq,
            Some(subject) => entries_before(entries, subject, after_seq)?,
        };
        let kinds = selection.kinds.as_deref();
        let range = Range { subject, after, rows_max: reach.rows_max, kinds };
        entries.read(range, &mut |found| {
            let place = After { seq: found.seq, telemetry: None };
            let entry = found.stored.map(|(row, hash)| row.into_entry(hash)).transpose()?;
            match scan.take(place, entry.map(Happened::from), reach) {
                true => Ok(ControlFlow::Break(())),
                false => Ok(ControlFlow::Continue(())),
            }
        })?;
        Ok(scan)
    });
    Ok(Scan::joined(scans.collect::<Result<Vec<Scan>, LedgerError>>()?))
}

/// How many entries of a subject are no later than an entry. Both numbers rise together, so that
/// few entries are looked at.
fn entries_before(entries: &dyn Entries, subject: &str, seq: u64) -> Result<u64, LedgerError> {
    let (mut least, mut most) = (0, entries.count_of(subject)?);
    while least < most {
        let middle = least + (most - least).div_ceil(2);
        match entries.seq_of(subject, middle)?.is_some_and(|at| at <= seq) {
            true => least = middle,
            false => most = middle - 1,
        }
    }
    Ok(least)
}

/// The kinds of events that a name stands for: one of them, or `release`, `scale`, `version`,
/// `replica`, `variable`, `writer` for all of theirs.
pub fn kinds_of(name: &str) -> impl Iterator<Item = &'static str> + '_ {
    let group = |kind: &'static str| match kind {
        "deploy_started" | "signature_judged" | "environment_built" | "candidate_ready"
        | "tests_passed" | "gates_passed" | "determinism_probed" | "rehearsal_started"
        | "rehearsed" | "deploy_failed" | "traffic_shifted" | "guards_judged"
        | "release_paused" | "release_resumed" | "released" => "release",
        "access_began"
        | "principal_added"
        | "principal_removed"
        | "groups_changed"
        | "grant_given"
        | "grant_withdrawn"
        | "token_created"
        | "token_rotated"
        | "token_revoked"
        | "tokens_revoked"
        | "tokens_required"
        | "environment_protected"
        | "environment_unprotected"
        | "signatures_required"
        | "trust_given"
        | "trust_withdrawn"
        | "proposed"
        | "proposal_approved"
        | "proposal_rejected" => "access",
        _ => kind.split('_').next().unwrap_or_default(),
    };
    Event::KINDS.into_iter().filter(move |kind| *kind == name || group(kind) == name)
}

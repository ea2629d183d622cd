//! What happened, for whoever asks: the entries of the ledger and, between them, telemetry, which
//! is kept for a time beside it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use domain::{Action, After, Caller, Event, ModelKey, Object, Placement, Problem};
use ledger::{LedgerError, Location, Observed, Page, Reach, Scan, Selection, Telemetry};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{Control, aside};

/// The most entries of the ledger, and as many rows of telemetry, that are looked at for one
/// answer.
const ROWS_MAX: usize = 10_000;

/// Telemetry, if it can be kept: a disk that takes no writes keeps none, and nothing depends on it.
#[derive(Clone)]
pub(crate) struct Journal {
    ledger: Location,
    store: Arc<Mutex<Option<Telemetry>>>,
    added: watch::Sender<u64>,
}

/// How many replicas are wanted of versions, by [`version_key`].
pub(crate) type Targets = HashMap<String, u32>;

/// What a target is kept under: a version in an environment, whatever its variables.
pub(crate) fn version_key(placement: &Placement) -> String {
    format!(
        "{}@{}/{} {}",
        placement.model, placement.environment, placement.version, placement.digest
    )
}

impl Journal {
    /// Beside a ledger. Gives how many replicas were wanted last, too.
    pub async fn open(ledger: Location) -> Result<(Journal, Targets), Problem> {
        let journal = Journal { ledger, store: Arc::default(), added: watch::channel(0).0 };
        let targets = journal.with(|telemetry| telemetry.targets()).await?.unwrap_or_default();
        Ok((journal, targets))
    }

    /// Does something with it; `None` if it cannot be used at this moment, which is in the log.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Telemetry) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<Option<T>, Problem> {
        let (ledger, store) = (self.ledger.clone(), self.store.clone());
        let done = aside(move || {
            let mut store = store.lock();
            if store.is_none() {
                let (telemetry, made_anew) = Telemetry::open(&ledger)?;
                if let Some(reason) = made_anew {
                    tracing::warn!("telemetry is begun anew: {reason}");
                }
                *store = Some(telemetry);
            }
            store.as_mut().map(work).transpose()
        });
        Ok(done.await?.unwrap_or_else(|error| {
            tracing::warn!("telemetry: {error}");
            None
        }))
    }

    async fn scan(
        &self,
        after: After,
        selection: &Selection,
        reach: Reach,
    ) -> Result<Scan, Problem> {
        let selection = selection.clone();
        Ok(self
            .with(move |telemetry| telemetry.scan(after, &selection, reach))
            .await?
            .unwrap_or_default())
    }

    /// Writes a copy to a new file; `false` if there is nothing to copy.
    pub async fn backup_to(&self, path: &Path) -> Result<bool, Problem> {
        let path = path.to_path_buf();
        Ok(self.with(move |telemetry| telemetry.backup_to(&path)).await?.is_some())
    }
}

/// One row, whatever it is.
const ONE: Reach = Reach { rows_max: 1, found_max: 1 };

fn first_at_ms(scan: &Scan) -> Option<u64> {
    let (_, found) = scan.rows.first()?;
    found.as_ref().map(|found| found.at_ms)
}

impl Control {
    /// A place after which all that happened at a time or later stands. Few rows are looked at.
    pub async fn place_at(&self, at_ms: u64) -> Result<After, Problem> {
        let all = Selection::default();
        let (mut least, mut most) = (0, self.state().seq);
        while least < most {
            let middle = least + (most - least) / 2;
            let scan = self.state_store.scan(middle, all.clone(), ONE).await?;
            match first_at_ms(&scan).is_some_and(|first| first < at_ms) {
                true => least = middle + 1,
                false => most = middle,
            }
        }
        let mut place = After { seq: least, telemetry: None };
        let first = self.journal.scan(place, &all, ONE).await?;
        let Some((After { telemetry: Some(first), .. }, _)) = first.rows.first() else {
            return Ok(place);
        };
        // Numbers of telemetry rise with time, and it is not known how far they go.
        let (mut least, mut step) = (first.saturating_sub(1), 1);
        let is_before = async |number: u64| {
            let at = After { seq: place.seq, telemetry: Some(number) };
            let scan = self.journal.scan(at, &all, ONE).await?;
            Ok::<bool, Problem>(first_at_ms(&scan).is_some_and(|first| first < at_ms))
        };
        while is_before(least).await? {
            (least, step) = (least + step, step * 2);
        }
        let mut most = least;
        least = least.saturating_sub(step / 2);
        while least < most {
            let middle = least + (most - least) / 2;
            match is_before(middle).await? {
                true => least = middle + 1,
                false => most = middle,
            }
        }
        place.telemetry = Some(least);
        Ok(place)
    }

    /// What happened after a place, at most `limit` of it, and how far it was looked: no further
    /// than some thousand entries, so that who looks for what hardly ever happens asks again and
    /// again, and holds nobody up.
    pub async fn events(
        &self,
        caller: &Caller,
        after: After,
        selection: &Selection,
        limit: usize,
    ) -> Result<Page, Problem> {
        let Some(selection) = &self.readable(caller, selection)? else {
            return Ok(Page {
                events: vec![],
                next: After { seq: self.state().seq, ..after },
                more: false,
            });
        };
        // In this order: an entry that comes in between is not passed over.
        let reach = Reach { rows_max: ROWS_MAX, found_max: limit };
        let telemetry = self.journal.scan(after, selection, reach).await?;
        let entries = self.state_store.scan(after.seq, selection.clone(), reach).await?;
        let mut page = Scan::joined([telemetry, entries]).page(after, limit);
        let state = self.state();
        if self.permit(caller, Action::Read, &Object::Platform).is_err() {
            page.events.retain(|event| self.may_read_of(caller, &event.subject, &event.event));
        }
        for event in &mut page.events {
            let Some(entry) = &event.entry else { continue };
            let actor = state.access.actor(entry.seq, &event.actor);
            event.principal = actor.principal().copied();
            event.actor = self.actor_name(&state, entry.seq, &event.actor);
            event.about = self.about(&state, &event.event);
        }
        Ok(page)
    }

    /// Whether a caller may read an event that tells what an environment is configured with: a role
    /// in another environment shows nothing of this one.
    fn may_read_of(&self, caller: &Caller, subject: &str, event: &Event) -> bool {
        let environment = match event {
            Event::VariableSet { environment, .. }
            | Event::VariableReferenceSet { environment, .. }
            | Event::VariableRemoved { environment, .. }
            | Event::DeployStarted { environment, .. }
            | Event::EnvironmentProtected { environment, .. }
            | Event::EnvironmentUnprotected { environment, .. }
            | Event::SignaturesRequired { environment, .. }
            | Event::SignatureJudged { environment, .. } => Some(environment),
            Event::Proposed(proposed) => proposed.object.environment(),
            _ => None,
        };
        let project = subject.split('/').next().unwrap_or_default().parse();
        match (environment, project) {
            (Some(environment), Ok(project)) => {
                let object = Object::Environment(project, environment.clone());
                self.permit(caller, Action::Read, &object).is_ok()
            }
            _ => true,
        }
    }

    /// What of a selection a caller may read; `None` if that is nothing.
    fn readable(
        &self,
        caller: &Caller,
        selection: &Selection,
    ) -> Result<Option<Selection>, Problem> {
        self.permit_somewhere(caller, Action::Read, &Object::Platform)?;
        if self.permit(caller, Action::Read, &Object::Platform).is_ok() {
            return Ok(Some(selection.clone()));
        }
        let state = self.state();
        let is_readable = |subject: &&String| {
            let project = subject.split('/').next().unwrap_or_default().parse();
            project.is_ok_and(|project| {
                self.permit(caller, Action::Read, &Object::Project(project)).is_ok()
            })
        };
        let of_platform = |subject: &&String| subject.as_str() != domain::event::PLATFORM;
        let subjects: Vec<String> = match selection.subjects.is_empty() {
            true => {
                state.subjects.keys().filter(of_platform).filter(is_readable).cloned().collect()
            }
            false => {
                selection.subjects.iter().filter(of_platform).filter(is_readable).cloned().collect()
            }
        };
        let selection = Selection { subjects, kinds: selection.kinds.clone() };
        Ok((!selection.subjects.is_empty()).then_some(selection))
    }

    /// Ticks with each entry of the ledger.
    pub fn appended(&self) -> watch::Receiver<u64> {
        self.state_store.appended()
    }

    /// Ticks with each piece of telemetry.
    pub fn observed(&self) -> watch::Receiver<u64> {
        self.journal.added.subscribe()
    }

    /// Keeps what is good to know but changes nothing. Of a model that is gone there is nothing to
    /// know any more.
    pub(crate) async fn tell(&self, key: &ModelKey, event: Event) {
        if !self.state().models.contains_key(key) {
            return;
        }
        let (subject, last) = (key.to_string(), self.state_store.appended());
        let at_ms = self.clock.now_ms();
        let add = move |telemetry: &mut Telemetry| {
            let after = *last.borrow();
            telemetry.add(Observed { after, at_ms, subject: &subject, event: &event })
        };
        if let Ok(Some(())) = self.journal.with(add).await {
            self.journal.added.send_modify(|count| *count += 1);
        }
    }

    /// Keeps how many replicas are wanted of some placements now, so that they are wanted after a
    /// restart, too, and forgets other versions.
    pub(crate) async fn keep_targets(
        self: &Arc<Control>,
        changed: Vec<Placement>,
        forgotten: Vec<String>,
    ) {
        if changed.len() + forgotten.len() == 0 {
            return;
        }
        let control = self.clone();
        let keep = move |telemetry: &mut Telemetry| {
            // Asked for here, as what was decided later may have been kept earlier.
            let target = |placement: &Placement| {
                Some((version_key(placement), Some(control.scales.target(placement)?)))
            };
            let changed = changed.iter().filter_map(target);
            telemetry.set_targets(
                &forgotten
                    .into_iter()
                    .map(|version| (version, None))
                    .chain(changed)
                    .collect::<Vec<_>>(),
            )
        };
        if let Err(problem) = self.journal.with(keep).await {
            tracing::warn!("targets are not kept: {problem}");
        }
    }
}

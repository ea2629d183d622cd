//! What is kept of models that nobody asks, so that the next request finds more than a cold
//! machine: a spare replica that takes no requests, a parent that holds the model, a zygote that
//! holds its libraries; and what goes when memory is short.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::launch::{ProcessId, Role, Temperature, ZygoteKey};
use domain::{Placement, State};
use engine::{ReplicaState, ReplicaStatus, TemplateState, TemplateStatus};
use policy::budget::{self, Parked, ParkedKind};
use policy::replicas::Wanted;

use crate::Control;
use crate::memory::Memory;
use crate::wanted::AllWanted;
use crate::zygotes::Zygotes;

/// How often it is looked at.
const LOOK_MS: u64 = 2_000;
/// A placement whose zygote or parent could not be made is tried again after so long, in
/// milliseconds.
const RETRY_MS: u64 = 60_000;

/// The warmest that is kept of a model scaled to zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Park {
    /// Nothing: each start is a cold one.
    Nothing,
    /// A process with its libraries imported, for all models that use the same.
    Zygote,
    /// A process with the model loaded, too.
    Parent,
    /// A replica that was forked from it, too, which takes no requests.
    Spare,
}

/// Something that is kept, and can be ended.
enum Kept<'a> {
    Spare(&'a ReplicaStatus),
    Template(&'a ProcessId),
}

impl Control {
    /// Whether a replica may stay as the spare of a placement scaled to zero. Memory is what limits
    /// spares, however they were started.
    pub(crate) fn may_be_spare(&self, status: &ReplicaStatus) -> bool {
        self.config.park == Park::Spare && matches!(status.state, ReplicaState::Ready { .. })
    }

    pub(crate) async fn tend_parked_forever(self: Arc<Control>) {
        let mut tried: HashMap<ZygoteKey, u64> = HashMap::new();
        let (mut memory, mut zygotes) = (Memory::default(), Zygotes::default());
        loop {
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
            self.is_active().await;
            let (wanted, state) = (self.wanted(), self.state());
            zygotes.update(&wanted, |placement| self.zygote_key(&state, placement));
            self.drop_unneeded(&wanted, &zygotes).await;
            self.evict(&wanted, &mut memory).await;
            if self.config.park >= Park::Zygote {
                self.ensure_zygotes(&state, &zygotes, &mut tried, &memory).await;
            }
        }
    }

    /// Ends parents of what is not live any more, zygotes that nothing will be forked from soon,
    /// and what is not to be kept at all.
    async fn drop_unneeded(&self, wanted: &AllWanted, zygotes: &Zygotes) {
        let parents = self.engine.templates();
        let is_ready = |parent: &&TemplateStatus| {
            matches!(parent.state, TemplateState::Ready { can_fork: true, .. })
        };
        let placements =
            parents.iter().filter(is_ready).filter_map(|parent| parent.role.placement());
        let with_parent: HashSet<&Placement> = placements.collect();
        for parent in &parents {
            let is_needed = match &parent.role {
                Role::Parent(placement) => {
                    wanted.get(placement).is_some() && !self.is_surplus(placement)
                        || self.replays.uses(placement)
                }
                Role::Zygote(key) => {
                    let idle_ms = self.clock.now_ms().saturating_sub(parent.used_at_ms);
                    let is_of_use = zygotes
                        .is_of_use(key, idle_ms, |placement| with_parent.contains(placement));
                    self.config.park >= Park::Zygote && is_of_use
                }
                Role::Replica(_) => true,
            };
            if !is_needed {
                self.end_template(&parent.id).await;
            }
        }
    }

    /// Whether a parent is not to be kept although its model is live: it sleeps, and parents are
    /// not kept.
    fn is_surplus(&self, placement: &Placement) -> bool {
        self.config.park < Park::Parent && self.scales.target(placement) == Some(0)
    }

    /// Ends what is parked until the rest fits: spares, then parents, then zygotes, the least
    /// recently used first.
    async fn evict(self: &Arc<Control>, wanted: &AllWanted, memory: &mut Memory) {
        let statuses = self.replicas();
        let mut parents = self.engine.templates();
        // A parent whose replicas serve shares its memory with them: to end it would free little.
        parents.retain(|parent| {
            parent.role.placement().is_none_or(|placement| self.scales.target(placement) == Some(0))
        });
        let spares: Vec<_> = statuses
            .iter()
            .filter(|status| self.is_spare(status, wanted.get(&status.placement)))
            .collect();
        let of_spares = spares.iter().map(|spare| ProcessId::from(&spare.replica));
        let processes = of_spares.chain(parents.iter().map(|parent| parent.id.clone())).collect();
        memory.measure(&*self.engine, processes).await;
        let mut kept: Vec<(Kept, Parked)> = vec![];
        for spare in spares {
            let memory_mb = memory.of(&ProcessId::from(&spare.replica));
            let idle_ms = self.scales.idle_ms(&spare.placement);
            kept.push((Kept::Spare(spare), Parked { kind: ParkedKind::Spare, memory_mb, idle_ms }));
        }
        for TemplateStatus { id, role, used_at_ms, .. } in &parents {
            let kind = if matches!(role, Role::Zygote(_)) {
                ParkedKind::Zygote
            } else {
                ParkedKind::Parent
            };
            let idle_ms = self.clock.now_ms().saturating_sub(*used_at_ms);
            kept.push((Kept::Template(id), Parked { kind, memory_mb: memory.of(id), idle_ms }));
        }
        let parked: Vec<Parked> = kept.iter().map(|(_, parked)| *parked).collect();
        for at in budget::evict(&parked, self.config.parked_mb) {
            match &kept[at].0 {
                Kept::Spare(status) => self.send_away(&status.replica),
                Kept::Template(id) => self.end_template(id).await,
            }
        }
    }

    /// Whether a replica is kept although none is wanted; `role` is what its placement is for.
    pub(crate) fn is_spare(&self, status: &ReplicaStatus, role: Option<&Wanted>) -> bool {
        role.is_some()
            && self.scales.target(&status.placement) == Some(0)
            && self.may_be_spare(status)
            && !self.replicas.is_leaving(&status.replica)
    }

    pub(crate) async fn end_template(&self, id: &ProcessId) {
        if let Err(error) = self.engine.end_template(id).await {
            tracing::debug!("{id} could not be ended: {error}");
        }
    }

    /// Makes a zygote for the libraries of each live model that has none, while there is memory for
    /// it.
    async fn ensure_zygotes(
        &self,
        state: &State,
        zygotes: &Zygotes,
        tried: &mut HashMap<ZygoteKey, u64>,
        memory: &Memory,
    ) {
        let now_ms = self.clock.monotonic_ms();
        tried.retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < RETRY_MS);
        // A parent holds the same libraries: one that is forked from a zygote shares them, and for
        // another it would be a copy.
        let parents = self.engine.templates();
        let held =
            parents.iter().filter_map(|parent| self.zygote_key(state, parent.role.placement()?));
        let held: HashSet<ZygoteKey> = held.collect();
        for (key, placement) in zygotes.of_live() {
            if tried.contains_key(key) || held.contains(key) {
                continue;
            }
            tried.insert(key.clone(), now_ms);
            let used_mb: u64 =
                self.engine.templates().iter().map(|parent| memory.of(&parent.id)).sum();
            if used_mb >= self.config.parked_mb {
                return;
            }
            let made = match self
                .spec_without_variables(state, placement, domain::ReplicaId(String::new()))
                .await
            {
                Ok(spec) => self
                    .engine
                    .ensure_zygote(&spec)
                    .await
                    .map(|_| ())
                    .map_err(engine::EngineError::problem),
                Err(error) => Err(error.problem),
            };
            if let Err(problem) = made {
                tracing::debug!("no zygote for {placement}: {problem}");
            }
        }
    }

    fn zygote_key(&self, state: &State, placement: &Placement) -> Option<ZygoteKey> {
        let model = state.models.get(&placement.model)?;
        let pushed = &model.versions.get(&placement.version)?.pushed;
        let is_kept = engine::runtime::of(pushed.runtime).warmest().0 != Temperature::Cold;
        let project = placement.model.project.clone();
        let lock = pushed.lock.as_ref().filter(|_| is_kept)?;
        Some(ZygoteKey { project, lock: lock.digest, sandbox: String::new() })
    }
}

//! Parents, which have a model loaded, and zygotes, which have libraries imported: what replicas
//! are forked from. When there should be one, and when it should go, is not the engine's business.

use std::time::Duration;

use domain::launch::{Origin, ProcessId, Role, Sandbox, Temperature, ZygoteKey};
use domain::{Placement, ReplicaId};
use supervisor::protocol::{Process, Reply, Request};
use tokio::sync::watch;

use crate::EngineError;
use crate::handle::LocalEngine;
use crate::interface::Engine;
use crate::launch::{self, Plan};
use crate::replica::{self, ReplicaSpec};
use crate::runtime;
use crate::template::{Template, TemplateState};

/// How long a parent or zygote that another platform started may take to become ready, in
/// milliseconds.
const ADOPTED_START_MS_MAX: u64 = 180_000;

/// What a start finds when it looks for a parent.
pub(crate) enum Found {
    /// One to fork from.
    Forks(ProcessId),
    /// One that cannot fork, and is this start's alone from now on.
    Serves(ProcessId, String),
    /// One that loads the model.
    Starting(ProcessId, watch::Receiver<TemplateState>),
    /// None was there; this one has to be started now.
    Missing(ProcessId, watch::Receiver<TemplateState>),
}

/// Why a process does not fork; an error if only the system did not let it, which says nothing of
/// the process.
pub(crate) fn refused(reason: String) -> Result<String, EngineError> {
    match reason.strip_prefix("fork: ") {
        Some(error) => Err(EngineError::Local(format!("a process could not be forked: {error}"))),
        None => Ok(reason),
    }
}

impl LocalEngine {
    /// Starts a zygote that serves this spec, unless there is one. Gives its id; `None` if the
    /// runtime has no such level.
    pub(crate) async fn zygote(
        &self,
        spec: &ReplicaSpec,
    ) -> Result<Option<ProcessId>, EngineError> {
        if runtime::of(spec.runtime).warmest().0 < Temperature::Tepid {
            return Ok(None);
        }
        let Some(key) = launch::zygote_key(spec, self.inner.config.sandbox)
            .filter(|key| !self.inner.barren.lock().contains(key))
        else {
            return Ok(None);
        };
        let role = Role::Zygote(key);
        let id = {
            let mut templates = self.inner.templates.lock();
            if let Some((id, _)) = templates.iter().find(|(_, template)| template.role == role) {
                return Ok(Some(id.clone()));
            }
            let id = self.next_id("z");
            templates.insert(id.clone(), Template::starting(role.clone()));
            id
        };
        let plan = Plan {
            id: id.clone(),
            role,
            origin: None,
            temperature: Temperature::Cold,
            colder_because: None,
        };
        self.start_template(spec, plan).await?;
        Ok(Some(id))
    }

    /// Starts a parent for this spec's placement, unless there is one. Gives its id; `None` if the
    /// runtime has no such level.
    pub async fn ensure_parent(
        &self,
        spec: &ReplicaSpec,
    ) -> Result<Option<ProcessId>, EngineError> {
        if runtime::of(spec.runtime).warmest().0 < Temperature::Warm {
            return Ok(None);
        }
        let role = Role::Parent(spec.placement.clone());
        let id = {
            let mut templates = self.inner.templates.lock();
            if let Some((id, _)) = templates
                .iter()
                .find(|(_, template)| template.role == role && template.taken_by.is_none())
            {
                return Ok(Some(id.clone()));
            }
            let id = self.next_id("p");
            templates.insert(id.clone(), Template::starting(role));
            id
        };
        self.start_parent(spec, &id).await?;
        Ok(Some(id))
    }

    /// The parent of a placement for one replica; if there is none, makes room for one that the
    /// caller must start.
    pub(crate) fn find_parent(&self, placement: &Placement, replica: &ReplicaId) -> Found {
        let mut templates = self.inner.templates.lock();
        let mut starting = None;
        for (id, template) in templates.iter_mut() {
            if template.taken_by.is_some() || !template.is_parent_of(placement) {
                continue;
            }
            let state = template.state.borrow().clone();
            match state {
                TemplateState::Ready { can_fork: true, .. } => {
                    self.inner.unforkable.lock().remove(placement);
                    return Found::Forks(id.clone());
                }
                TemplateState::Ready { reason, .. } => {
                    template.taken_by = Some(replica.clone());
                    self.inner.unforkable.lock().insert(placement.clone());
                    return Found::Serves(id.clone(), reason);
                }
                TemplateState::Starting => {
                    starting = Some((id.clone(), template.state.subscribe()))
                }
                TemplateState::Ended { .. } => {}
            }
        }
        // Where each parent serves but one, each start needs its own, and none waits for another's.
        let is_shared = !self.inner.unforkable.lock().contains(placement);
        if let Some((id, state)) = starting.filter(|_| is_shared) {
            return Found::Starting(id, state);
        }
        let template = Template::starting(Role::Parent(placement.clone()));
        let (id, state) = (self.next_id("p"), template.state.subscribe());
        templates.insert(id.clone(), template);
        Found::Missing(id, state)
    }

    /// Ends a parent that was about to become a replica which has ended meanwhile.
    pub(crate) async fn drop_taken_by(&self, replica: &ReplicaId) {
        let is_taken =
            |(_, template): &(&ProcessId, &Template)| template.taken_by.as_ref() == Some(replica);
        let taken = self.inner.templates.lock().iter().find(is_taken).map(|(id, _)| id.clone());
        if let Some(id) = taken {
            let _ = self.end_template(&id).await;
        }
    }

    /// A zygote that can be forked from, or why there is none.
    fn find_zygote(&self, key: &ZygoteKey) -> Result<ProcessId, String> {
        let mut because = "no parent and no zygote yet".to_string();
        for (id, template) in self.inner.templates.lock().iter() {
            if !matches!(&template.role, Role::Zygote(of) if of == key) {
                continue;
            }
            match &*template.state.borrow() {
                TemplateState::Ready { can_fork: true, .. } => return Ok(id.clone()),
                TemplateState::Ready { reason, .. } => {
                    because = format!("no parent yet, and the zygote cannot fork: {reason}")
                }
                TemplateState::Starting => {
                    because = "no parent yet, and the zygote still imports".into()
                }
                TemplateState::Ended { .. } => {}
            }
        }
        Err(because)
    }

    /// A zygote to fork a parent from, how warm the parent is by it, and why not warmer. One that
    /// is made for it takes as long as a fresh program, but then both hold the libraries once.
    async fn zygote_for(
        &self,
        spec: &ReplicaSpec,
    ) -> Result<(ProcessId, Temperature, String), String> {
        if let Some(name) = launch::variable_read_on_import(spec) {
            return Err(format!(
                "no zygote: libraries may read the variable {name} when they are imported"
            ));
        }
        let key = launch::zygote_key(spec, self.inner.config.sandbox)
            .ok_or("no zygote without an environment")?;
        let because = match self.find_zygote(&key) {
            Ok(zygote) => return Ok((zygote, Temperature::Tepid, "no parent yet".into())),
            Err(because) => because,
        };
        let made = self.zygote(spec).await.map_err(|error| format!("{because}: {error}"))?;
        let state = made.and_then(|id| {
            Some((id.clone(), self.inner.templates.lock().get(&id)?.state.subscribe()))
        });
        let (id, mut state) = state.ok_or(because.clone())?;
        let limit = Duration::from_millis(spec.start_ms_max / 2);
        let _ =
            tokio::time::timeout(limit, state.wait_for(|state| *state != TemplateState::Starting))
                .await;
        let is_barren = matches!(*state.borrow(), TemplateState::Ready { can_fork: false, .. });
        if is_barren {
            // Its libraries would only be there twice.
            self.inner.barren.lock().insert(key.clone());
            let _ = self.end_template(&id).await;
        }
        self.find_zygote(&key).map(|zygote| (zygote, Temperature::Cold, because))
    }

    /// Starts the process of a parent that has its place already: from a zygote, else as a fresh
    /// program.
    pub(crate) async fn start_parent(
        &self,
        spec: &ReplicaSpec,
        id: &ProcessId,
    ) -> Result<(), EngineError> {
        let role = Role::Parent(spec.placement.clone());
        let because = match self.zygote_for(spec).await {
            Ok((zygote, temperature, because)) => {
                let origin = Some(Origin::Fork(zygote.clone()));
                let plan = Plan {
                    id: id.clone(),
                    role: role.clone(),
                    origin,
                    temperature,
                    colder_because: Some(because),
                };
                match self.try_template(spec, plan).await {
                    Ok(None) => return Ok(()),
                    Ok(Some(refused)) => {
                        self.cannot_fork(&zygote, &refused);
                        format!("the zygote did not fork: {refused}")
                    }
                    Err(error) if error.is_local() => {
                        self.template_ended(id, error.to_string(), true);
                        return Err(error);
                    }
                    Err(error) => {
                        let _ = self.end_template(&zygote).await;
                        format!("the zygote did not fork: {error}")
                    }
                }
            }
            Err(because) => because,
        };
        let plan = Plan {
            id: id.clone(),
            role,
            origin: None,
            temperature: Temperature::Cold,
            colder_because: Some(because),
        };
        self.start_template(spec, plan).await
    }

    /// Starts a parent or zygote that has its place; gives the place up if that fails.
    async fn start_template(&self, spec: &ReplicaSpec, plan: Plan) -> Result<(), EngineError> {
        let id = plan.id.clone();
        let result = self.try_template(spec, plan).await;
        let error = match result {
            Ok(None) => return Ok(()),
            Ok(Some(refused)) => EngineError::Supervisor(refused),
            Err(error) => error,
        };
        self.template_ended(&id, error.to_string(), error.is_local());
        Err(error)
    }

    /// Gives why it was refused, if it was.
    async fn try_template(
        &self,
        spec: &ReplicaSpec,
        plan: Plan,
    ) -> Result<Option<String>, EngineError> {
        if plan.origin.is_none() && self.inner.config.sandbox > Sandbox::Off {
            self.compile_worker(spec).await;
        }
        let mut launch = launch::launch(spec, plan, &self.inner.config, &self.inner.files, None)?;
        if matches!(launch.role, Role::Zygote(_)) {
            let imports = self.imports_of(spec).await;
            launch.variables.insert("DECALOG_IMPORTS".into(), imports.join(","));
        }
        let id = launch.id.clone();
        match self.inner.supervisor.call(Request::Spawn(Box::new(launch))).await? {
            Reply::Started(process) => {
                // It may have ended already, and be out of the list.
                let is_known = self.inner.templates.lock().contains_key(&id);
                if is_known {
                    self.template_changed(*process);
                }
                let (engine, spec) = (self.clone(), spec.clone());
                tokio::spawn(async move {
                    engine.limit_start(&id, Duration::from_millis(spec.start_ms_max)).await;
                    engine.learn_imports(&spec, &id).await;
                });
                Ok(None)
            }
            Reply::Refused(reason) => refused(reason).map(Some),
            other => Err(EngineError::Supervisor(format!("it answered {other:?} to a start"))),
        }
    }

    /// Ends a parent or zygote that is not ready in time.
    pub(crate) async fn limit_start(&self, id: &ProcessId, limit: Duration) {
        let Some(mut state) =
            self.inner.templates.lock().get(id).map(|template| template.state.subscribe())
        else {
            return;
        };
        let ready = state.wait_for(|state| *state != TemplateState::Starting);
        if tokio::time::timeout(limit, ready).await.is_err() {
            tracing::warn!("{id} is not ready after {} ms; it is ended", limit.as_millis());
            let _ = self.end_template(id).await;
        }
    }

    /// Takes note of what the supervisor says of a parent or zygote.
    pub(crate) fn template_changed(&self, process: Process) {
        if let Some(reason) = process.ended {
            let is_known = self.inner.templates.lock().contains_key(&process.id);
            if is_known {
                tracing::info!("{} ended: {reason}", process.id);
            }
            self.template_ended(&process.id, reason, false);
            let (engine, id) = (self.clone(), process.id);
            let is_zygote = process.role.placement().is_none();
            tokio::spawn(async move {
                engine.forget_process(&id).await;
                if is_zygote && let Some(logs) = engine.inner.files.data.zygote_log(&id).parent() {
                    engine.remove_old_logs(logs).await;
                }
            });
            return;
        }
        let sandbox = process.sandbox.unwrap_or(Sandbox::Off);
        if sandbox != self.inner.config.sandbox {
            // An earlier platform started it, with other walls: no replica is to come from it.
            let (engine, id) = (self.clone(), process.id);
            tokio::spawn(async move {
                let end = Request::Signal { id, kill: true };
                let _ = engine.inner.supervisor.call(end).await;
            });
            return;
        }
        let mut templates = self.inner.templates.lock();
        let (id, is_known) = (process.id.clone(), templates.contains_key(&process.id));
        let template =
            templates.entry(process.id).or_insert_with(|| Template::starting(process.role));
        template.pid = process.pid;
        template.temperature = process.temperature;
        template.colder_because = process.colder_because;
        template.used_at_ms = process.used_at_ms;
        if let Some(ready) = &process.ready {
            template.state.send_if_modified(|state| {
                let is_news = *state == TemplateState::Starting;
                if is_news {
                    *state = ready.into();
                }
                is_news
            });
        }
        drop(templates);
        if !is_known && process.ready.is_none() {
            // Started by another platform, which may be gone.
            let engine = self.clone();
            tokio::spawn(async move {
                engine.limit_start(&id, Duration::from_millis(ADOPTED_START_MS_MAX)).await
            });
        }
        self.tick();
    }

    /// Takes a parent or zygote out of the list, and tells those who wait for it.
    pub(crate) fn template_ended(&self, id: &ProcessId, reason: String, local: bool) {
        let removed = self.inner.templates.lock().remove(id);
        let Some(template) = removed else { return };
        let placement = template.role.placement();
        let details = placement
            .map(|placement| replica::last_words(&self.inner.files, placement, id))
            .unwrap_or_default();
        template.state.send_replace(TemplateState::Ended { reason, details, local });
        self.tick();
    }

    /// From now on it is not asked to fork any more.
    pub(crate) fn cannot_fork(&self, id: &ProcessId, why: &str) {
        if let Some(template) = self.inner.templates.lock().get(id) {
            template.state.send_modify(|state| {
                if let TemplateState::Ready { can_fork, reason, .. } = state {
                    (*can_fork, *reason) = (false, why.to_string());
                }
            });
        }
    }

    /// How a parent was started, and why not warmer.
    pub(crate) fn template_temperature(
        &self,
        id: &ProcessId,
    ) -> Option<(Temperature, Option<String>)> {
        self.inner
            .templates
            .lock()
            .get(id)
            .map(|template| (template.temperature, template.colder_because.clone()))
    }
}

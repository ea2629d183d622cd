//! The sandboxes that are served.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use domain::{Code, problem::Problem};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::control::Listed;
use crate::limits::Limits;
use crate::listener::{self, Service};
use crate::log::Log;
use crate::model::{Model, Places};
use crate::policy::Policy;
use crate::resolve::Resolve;

/// Makes what resolves the names of one sandbox.
pub type Resolvers = Box<dyn Fn() -> Arc<dyn Resolve> + Send + Sync>;

struct Open {
    model: Arc<Model>,
    policy: watch::Sender<Arc<Policy>>,
    services: Vec<Service>,
    /// The listeners; they end when this is dropped.
    _tasks: JoinSet<()>,
}

/// The sandboxes, by id.
pub struct Table {
    limits: Arc<Limits>,
    log: Arc<Log>,
    resolvers: Resolvers,
    open: BTreeMap<String, Open>,
    places: BTreeMap<String, Weak<Places>>,
}

impl Table {
    /// None.
    pub fn new(limits: Limits, log: Arc<Log>, resolvers: Resolvers) -> Table {
        let (open, places) = (BTreeMap::new(), BTreeMap::new());
        Table { limits: Arc::new(limits), log, resolvers, open, places }
    }

    /// Serves a sandbox from now on.
    pub fn open(
        &mut self,
        id: String,
        name: String,
        policy: Policy,
        services: Vec<Service>,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Problem> {
        let bad = |why: String| Problem::new(Code::BadRequest, why);
        if self.open.contains_key(&id) {
            let help = "close it first, or change its policy with `policy`";
            return Err(bad(format!("the sandbox `{id}` is served already")).help(help));
        }
        if services.len() != descriptors.len() {
            let (named, come) = (services.len(), descriptors.len());
            return Err(bad(format!("{named} listeners are named, but {come} descriptors came"))
                .help("send one descriptor for each listener, in their order"));
        }
        for service in &services {
            if let Service::Tcp(destination) = service
                && policy.allows_name(destination).is_none()
            {
                let help = format!("add it: `[egress] allow = [\"{destination}\"]`");
                return Err(bad(format!("the policy does not have `{destination}`")).help(help));
            }
        }
        let listeners: std::io::Result<Vec<_>> =
            descriptors.into_iter().map(listener::take).collect();
        let listeners = listeners.map_err(|error| {
            bad(error.to_string()).help("send TCP sockets that listen inside of the sandbox")
        })?;
        let (sender, receiver) = watch::channel(Arc::new(policy));
        let model = Arc::new(Model {
            id: id.clone(),
            policy: receiver,
            places: self.places_of(&name),
            name,
            resolver: (self.resolvers)(),
            limits: self.limits.clone(),
            log: self.log.clone(),
        });
        let mut tasks = JoinSet::new();
        for (listener, service) in listeners.into_iter().zip(&services) {
            tasks.spawn(listener::serve(listener, service.clone(), model.clone()));
        }
        self.open.insert(id, Open { model, policy: sender, services, _tasks: tasks });
        Ok(())
    }

    /// Gives a sandbox another policy.
    pub fn change(&mut self, id: &str, policy: Policy) -> Result<(), Problem> {
        let open = self.open.get(id).ok_or_else(|| not_open(id))?;
        open.policy.send_replace(Arc::new(policy));
        Ok(())
    }

    /// Ends a sandbox's listeners and connections.
    pub fn close(&mut self, id: &str) -> Result<(), Problem> {
        self.open.remove(id).map(|_| ()).ok_or_else(|| not_open(id))
    }

    /// Ends those of all.
    pub fn close_all(&mut self) {
        self.open.clear();
    }

    /// What is served.
    pub fn list(&self) -> Vec<Listed> {
        let listed = |(id, open): (&String, &Open)| Listed {
            id: id.clone(),
            model: open.model.name.clone(),
            listeners: open.services.clone(),
            connections: self
                .limits
                .connections_max
                .saturating_sub(open.model.places.connections.available_permits()),
        };
        self.open.iter().map(listed).collect()
    }

    fn places_of(&mut self, name: &str) -> Arc<Places> {
        self.places.retain(|_, places| places.strong_count() > 0);
        if let Some(places) = self.places.get(name).and_then(Weak::upgrade) {
            return places;
        }
        let places = Arc::new(Places::new(&self.limits));
        self.places.insert(name.to_string(), Arc::downgrade(&places));
        places
    }
}

fn not_open(id: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("no sandbox `{id}` is served"))
        .help("`list` tells which are")
}

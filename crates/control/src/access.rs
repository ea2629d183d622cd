//! Who may do what: the check that every change passes where it is appended, and the answers to
//! who asks what they may.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::state::Access;
use domain::token::TokenStatus;
use domain::{
    Action, Caller, Code, Grant, ModelKey, Object, Principal, Problem, ProjectName, State,
};
use policy::access::{Decision, Needs, caller_may, caller_may_somewhere, grants_of, needs};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Control;
use crate::names::nobody_called;

/// Who asks, as they are told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// As the ledger writes it.
    pub principal: Principal,
    /// As people read it.
    pub name: String,
    /// The token that they came with.
    pub token: Option<domain::TokenId>,
    /// What it may be used for at most; all that they may do themselves without one.
    pub scopes: Option<domain::Scopes>,
    /// Their roles, by themselves and by their groups. The local owner needs none.
    pub grants: Vec<Grant>,
}

/// Whether somebody may do something, and why.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Whether they may, at once and alone.
    pub allowed: bool,
    /// Whether they may propose it.
    pub may_propose: bool,
    /// In one line: by which grant, or what is missing.
    pub says: String,
}

/// Fails if a caller's token is not good any more, or may not do something now. It is asked where a
/// change is appended, so that nothing comes in between.
pub(crate) fn permit(
    state: &State,
    now_ms: u64,
    caller: &Caller,
    action: Action,
    object: &Object,
) -> Result<(), Problem> {
    check_token(&state.access, now_ms, caller)?;
    let decision = caller_may(&state.access, caller, action, object);
    refusal(decision, action, object)
}

/// Fails if a caller's token is not good any more, or may neither do something now nor propose it.
pub(crate) fn permit_proposing(
    state: &State,
    now_ms: u64,
    caller: &Caller,
    action: Action,
    object: &Object,
) -> Result<(), Problem> {
    check_token(&state.access, now_ms, caller)?;
    let decision = caller_may(&state.access, caller, action, object);
    match decision.may_propose() {
        true => Ok(()),
        false => refusal(decision, action, object),
    }
}

/// Fails if a caller came with a token that is not good any more.
pub(crate) fn check_token(access: &Access, now_ms: u64, caller: &Caller) -> Result<(), Problem> {
    let Some(token) = &caller.token else {
        let is_here = caller.principal == Principal::Platform || access.is_known(&caller.principal);
        return match is_here {
            true => Ok(()),
            false => Err(Problem::new(Code::Unauthenticated, "the client certificate is nobody's")),
        };
    };
    let status = access.token(&token.digest).map(|record| record.status(&token.digest, now_ms));
    let mut people = token.known_to.iter().chain([&caller.principal]);
    match status {
        Some(TokenStatus::Valid) if people.all(|one| access.is_known(one)) => Ok(()),
        _ => Err(Problem::new(Code::Unauthenticated, "the token is not valid any more")
            .help("send another: decalog token create makes one")),
    }
}

/// What is told of a decision, if it is not to do it at once.
pub(crate) fn refusal(decision: Decision, action: Action, object: &Object) -> Result<(), Problem> {
    let why = |help: &str| {
        let text = decision.explain("you", action, object);
        let text = text.strip_prefix("no: ").unwrap_or(&text).to_string();
        Problem::new(Code::Forbidden, text).help(help)
    };
    match &decision {
        Decision::Allowed(_) => Ok(()),
        // As for what is not there: the caller may not know that it is.
        Decision::NotFound(_) => Err(not_found(object)),
        Decision::Proposal { .. } => Err(why("somebody else has to approve it")),
        Decision::Forbidden(_) => {
            Err(why("decalog whoami shows what you may; an owner gives roles: decalog member add"))
        }
    }
}

/// What is not there, or not for the caller.
fn not_found(object: &Object) -> Problem {
    match (object.model(), object.project()) {
        (Some(key), _) => domain::near::no_such_model(key, None),
        (None, Some(project)) => {
            Problem::new(Code::NoSuchProject, format!("there is no project `{project}`"))
                .help("decalog ls lists what there is")
        }
        (None, None) => Problem::new(Code::NoSuchPath, "there is nothing at this path"),
    }
}

impl Control {
    /// Fails if a caller may not do something now.
    pub fn permit(&self, caller: &Caller, action: Action, object: &Object) -> Result<(), Problem> {
        permit(&self.state(), self.clock.now_ms(), caller, action, object)
    }

    /// Fails if a caller may not do something now, nor propose it.
    pub fn permit_proposing(
        &self,
        caller: &Caller,
        action: Action,
        object: &Object,
    ) -> Result<(), Problem> {
        permit_proposing(&self.state(), self.clock.now_ms(), caller, action, object)
    }

    /// Fails if a caller may do none of these now, nor propose one.
    pub(crate) fn permit_one_of(
        &self,
        caller: &Caller,
        actions: &[Action],
        object: &Object,
    ) -> Result<(), Problem> {
        let tried = actions.iter().map(|action| self.permit_proposing(caller, *action, object));
        tried.reduce(Result::or).unwrap_or(Ok(()))
    }

    /// Fails if a caller may not do something in any place that belongs to the object: in some
    /// environment of a project, in some project. What passes is decided again once the place is
    /// known.
    pub fn permit_somewhere(
        &self,
        caller: &Caller,
        action: Action,
        object: &Object,
    ) -> Result<(), Problem> {
        let state = self.state();
        check_token(&state.access, self.clock.now_ms(), caller)?;
        refusal(caller_may_somewhere(&state.access, caller, action, object), action, object)
    }

    /// The models with a version in projects that a caller may see.
    pub fn models_seen(&self, caller: &Caller) -> HashSet<ModelKey> {
        let state = self.state();
        // By project, so that it is decided once for each.
        let mut seen: HashMap<&ProjectName, bool> = HashMap::new();
        let mut is_seen = |project| {
            *seen.entry(project).or_insert_with(|| {
                self.permit(caller, Action::Read, &Object::Project(project.clone())).is_ok()
            })
        };
        let models = state.models.iter().filter(|(_, model)| !model.versions.is_empty());
        models.filter(|(key, _)| is_seen(&key.project)).map(|(key, _)| key.clone()).collect()
    }

    /// What a caller is told about themselves.
    pub fn who_am_i(&self, caller: &Caller) -> WhoAmI {
        WhoAmI {
            principal: caller.principal,
            name: self.names.display(&caller.principal),
            token: caller.token.as_ref().map(|token| token.id),
            scopes: caller.scopes().cloned(),
            grants: grants_of(&self.state().access, &caller.principal),
        }
    }

    /// Whether somebody may do something: the caller, or whom they name, if the caller may decide
    /// about rights there.
    pub fn can(
        &self,
        caller: &Caller,
        who: Option<&str>,
        action: Action,
        object: &Object,
    ) -> Result<Verdict, Problem> {
        let Needs { is_in_one_environment, .. } = needs(action);
        let object = &match (object, is_in_one_environment) {
            (Object::Model(key), true) => Object::ModelIn(key.clone(), Default::default()),
            (Object::Project(project), true) => {
                Object::Environment(project.clone(), Default::default())
            }
            _ => object.clone(),
        };
        let state = self.state();
        let asked = match who {
            None => caller.clone(),
            Some(name) => {
                let principal = self.principal_named(&state, name)?;
                // Of whom a caller decides nothing about, they learn nothing.
                if principal != caller.principal
                    && self.permit_proposing(caller, Action::Member, object).is_err()
                {
                    return Err(nobody_called(name));
                }
                Caller { principal, token: None }
            }
        };
        let decision = caller_may(&state.access, &asked, action, object);
        let name = match who {
            Some(name) => name.to_string(),
            None => "you".into(),
        };
        let says = match (&decision, who) {
            // Why is only for those who may see it.
            (Decision::NotFound(_), None) => format!("no: {}", not_found(object).message),
            _ => decision.explain(&name, action, object),
        };
        Ok(Verdict { allowed: decision.is_allowed(), may_propose: decision.may_propose(), says })
    }

    /// Tells the data plane who may come in, if that has changed.
    pub(crate) fn publish_access(&self) {
        let state = self.state();
        let mut published = self.published_access.lock();
        if *published < Some(state.access.head.seq) {
            *published = Some(state.access.head.seq);
            (self.publish_access)(state.access.clone());
        }
    }

    /// Says in the ledger that actors are proved from here on; once.
    pub(crate) async fn begin_access(self: &Arc<Control>) {
        if self.state().access.head.began_seq.is_some() || self.refusal().is_some() {
            return;
        }
        let platform = domain::event::PLATFORM;
        let begin = |state: &State| match state.access.head.began_seq {
            None => Ok(domain::Event::AccessBegan {}),
            Some(_) => Err(Problem::new(Code::Conflict, "it began already")),
        };
        if let Err(problem) = self.state_store.append(&Principal::Platform, platform, begin).await {
            tracing::warn!("actors cannot be proved yet: {problem}");
        }
    }
}

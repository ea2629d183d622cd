//! Who may call which route: each says so in the table of endpoints, and it is decided before the
//! handler runs and before the body is read. Where the environment is named in the body, it is
//! decided here whether there is any for the caller, and once more where the change is appended.

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{Action, Caller, Code, ModelKey, Object, Problem};
use gateway::{Asking, Standing};

use crate::{Api, ApiError};

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// Whoever reaches the server: it says nothing about anybody.
    Everybody,
    /// Whoever proves who they are. What they get depends on what they may.
    Somebody,
    /// Whoever is at this machine, and elsewhere whoever may see all projects.
    WatcherElsewhere,
    /// Whoever may do one of these with what the path names; which of them it is, is decided where
    /// the body is known.
    May(&'static [Action], Place),
}

/// What the path of a route names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// What belongs to no project.
    Platform,
    /// Whatever the caller may see: in at least one project.
    SomeProject,
    /// A model, in whatever environment the body or the query names.
    Model,
    /// A project.
    Project,
    /// An environment of a project.
    Environment,
}

impl Asks {
    /// As the OpenAPI document says it.
    pub fn says(self) -> String {
        match self {
            Asks::Everybody => "anybody".into(),
            Asks::Somebody => "anybody with a token; what they get depends on their roles".into(),
            Asks::WatcherElsewhere => {
                "anybody at the machine of the server; elsewhere `read` of all projects".into()
            }
            Asks::May(actions, place) => {
                let actions: Vec<String> =
                    actions.iter().map(|action| format!("`{action}`")).collect();
                let place = match place {
                    Place::Platform => "of all projects",
                    Place::SomeProject => "of at least one project",
                    Place::Model => "of the model",
                    Place::Project => "of the project",
                    Place::Environment => "of the environment",
                };
                format!("{} {place}", actions.join(" or "))
            }
        }
    }

    /// With which it is refused to who may not.
    pub fn codes(self) -> &'static [Code] {
        match self {
            Asks::Everybody => &[],
            Asks::May(_, Place::Model) => {
                &[Code::Unauthenticated, Code::Forbidden, Code::TokenLimit, Code::NoSuchModel]
            }
            Asks::May(_, Place::Project) => {
                &[Code::Unauthenticated, Code::Forbidden, Code::TokenLimit, Code::NoSuchProject]
            }
            Asks::May(_, Place::Environment) => &[
                Code::Unauthenticated,
                Code::Forbidden,
                Code::TokenLimit,
                Code::NoSuchProject,
                Code::NoSuchModel,
            ],
            _ => &[Code::Unauthenticated, Code::Forbidden, Code::TokenLimit],
        }
    }
}

/// The 401 of who sends nothing that proves who they are.
pub fn unproved() -> Problem {
    Problem::new(Code::Unauthenticated, "this request needs a token")
        .help("at the machine of the server, use the decalog command; elsewhere send `Authorization: Bearer …`")
}

/// Lets a request through to its handler, or refuses it.
pub async fn at_the_door(
    State((api, asks)): State<(Api, Asks)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let asking = request.extensions().get::<Asking>().cloned();
    // A path that is no text is refused by whoever reads it.
    let params = params.iter().flat_map(|params| params.iter());
    let params: Vec<(String, String)> =
        params.map(|(key, text)| (key.into(), text.into())).collect();
    let is_let_in = move || {
        let text = |name: &str| {
            let found = params.iter().find(|(key, _)| key == name);
            found.map(|(_, text)| text.as_str()).unwrap_or_default()
        };
        decide(&api, asks, text, asking.as_ref())
    };
    if let Err(problem) = is_let_in() {
        return ApiError(problem).into_response();
    }
    let mut response = next.run(request).await;
    if response.body().size_hint().exact().is_none() {
        response.extensions_mut().insert(Standing::Control(Arc::new(is_let_in)));
    }
    response
}

fn decide<'a>(
    api: &Api,
    asks: Asks,
    text: impl Fn(&str) -> &'a str,
    asking: Option<&Asking>,
) -> Result<(), Problem> {
    let caller = asking.and_then(|asking| asking.caller.as_ref());
    let is_here = asking.is_some_and(|asking| asking.is_loopback);
    match asks {
        Asks::Everybody => Ok(()),
        Asks::Somebody => caller.map(|_| ()).ok_or_else(unproved),
        Asks::WatcherElsewhere if is_here => Ok(()),
        Asks::WatcherElsewhere => {
            let caller = caller.ok_or_else(unproved)?;
            api.control.permit(caller, Action::Read, &Object::Platform)
        }
        Asks::May(actions, place) => {
            let caller = caller.ok_or_else(unproved)?;
            let tried = actions.iter().map(|action| may(api, caller, *action, place, &text));
            tried.reduce(Result::or).unwrap_or(Ok(()))
        }
    }
}

fn may<'a>(
    api: &Api,
    caller: &Caller,
    action: Action,
    place: Place,
    text: &impl Fn(&str) -> &'a str,
) -> Result<(), Problem> {
    match place {
        Place::Platform => api.control.permit(caller, action, &Object::Platform),
        Place::SomeProject => api.control.permit_somewhere(caller, action, &Object::Platform),
        Place::Model => match (text("project").parse(), text("model").parse()) {
            (Ok(project), Ok(model)) => {
                let object = Object::Model(ModelKey { project, model });
                api.control.permit_somewhere(caller, action, &object)
            }
            // Names that cannot be are refused by whoever reads them.
            _ => Ok(()),
        },
        Place::Project => match text("project").parse() {
            Ok(project) => api.control.permit_proposing(caller, action, &Object::Project(project)),
            Err(_) => Ok(()),
        },
        Place::Environment => match (text("project").parse(), text("environment").parse()) {
            (Ok(project), Ok(environment)) => {
                let object = Object::Environment(project, environment);
                api.control.permit_proposing(caller, action, &object)
            }
            _ => Ok(()),
        },
    }
}

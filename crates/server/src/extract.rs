//! What handlers take from a request. Whatever cannot be read is a problem like any other, and
//! never repeats much of it.

use std::convert::Infallible;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use domain::{Caller, Code, Problem};
use gateway::{Asking, Peer, Source, Waiting};
use http::request::Parts;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::describe::{Input, Operation};
use crate::error::{bad_name, bad_request};
use crate::{ApiError, access};

/// A body, read as JSON, whatever Content-Type a client names: `curl -d` says it sends a form.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Body<T>, ApiError> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| bad_request(error.body_text()))?;
        serde_json::from_slice(&bytes)
            .map(Body)
            .map_err(|error| bad_request(format!("the body cannot be read: {error}")))
    }
}

impl<T: JsonSchema> Input for Body<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.read.subschema_for::<T>();
        operation.body.insert("application/json".into(), json!({ "schema": schema }));
        operation.codes.extend([Code::BadRequest, Code::BodyTimeout, Code::BodyTooLarge]);
    }
}

/// The query, each of its keys once.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, ApiError> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|query| Query(query.0)).map_err(|error| bad_request(error.body_text()))
    }
}

impl<T: JsonSchema> Input for Query<T> {
    fn describe(operation: &mut Operation) {
        operation.parameters::<T>("query");
        operation.codes.extend([Code::BadRequest, Code::BadName]);
    }
}

/// A name in a query or a body: one that cannot be is `bad_name`, as it is in a path.
#[derive(Clone)]
pub struct Name<T>(Result<T, String>);

impl<T: Default> Default for Name<T> {
    fn default() -> Name<T> {
        Name(Ok(T::default()))
    }
}

impl<T> Name<T> {
    /// The name.
    pub fn get(self) -> Result<T, ApiError> {
        self.0.map_err(bad_name)
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Name<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<T>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Name(text.parse().map_err(|error: T::Err| error.to_string())))
    }
}

/// The parts of a path that vary.
pub struct Segments<'a>(&'a RawPathParams);

impl Segments<'_> {
    /// One of them, as text.
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, text)| text)
    }

    /// One of them that names something.
    pub fn name<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, ApiError> {
        self.text(name).parse().map_err(bad_name)
    }
}

/// What a path names.
pub trait FromPath: Sized {
    /// Reads it.
    fn from_path(segments: &Segments) -> Result<Self, ApiError>;
}

/// The parameters of the path.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: FromPath> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, ApiError> {
        let segments = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| bad_request(error.body_text()))?;
        T::from_path(&Segments(&segments)).map(Path)
    }
}

impl<T: JsonSchema> Input for Path<T> {
    fn describe(operation: &mut Operation) {
        operation.parameters::<T>("path");
        operation.codes.extend([Code::BadName, Code::BadRequest]);
    }
}

/// Who asks: somebody who proved it.
pub struct By(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<By, ApiError> {
        let asking = parts.extensions.get::<Asking>();
        match asking.and_then(|asking| asking.caller.clone()) {
            Some(caller) => Ok(By(caller)),
            None => Err(access::unproved().into()),
        }
    }
}

impl Input for By {
    fn describe(_: &mut Operation) {}
}

/// Whether the caller still waits.
pub struct Patience(pub Option<Waiting>);

impl Patience {
    /// What comes of long work. It ends with the caller's patience, and what it holds, such as a
    /// replica of its own, with it.
    pub async fn while_waiting<T, E: Into<ApiError>>(
        self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ApiError> {
        let Some(waiting) = self.0 else { return work.await.map_err(Into::into) };
        tokio::select! {
            biased;
            done = work => done.map_err(Into::into),
            () = waiting.over() => {
                Err(Problem::new(Code::Abandoned, "the caller hung up").into())
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Patience, Infallible> {
        Ok(Patience(parts.extensions.get::<Waiting>().cloned()))
    }
}

impl Input for Patience {
    fn describe(_: &mut Operation) {}
}

/// Whether the caller is at this machine: others are told no names and no paths.
pub struct IsNear(pub bool);

impl<S: Send + Sync> FromRequestParts<S> for IsNear {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<IsNear, ApiError> {
        let asking = parts.extensions.get::<Asking>();
        Ok(IsNear(asking.is_some_and(|asking| asking.is_loopback)))
    }
}

impl Input for IsNear {
    fn describe(_: &mut Operation) {}
}

/// A form, as browsers and clients of OAuth send it.
pub struct Form<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Form<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Form<T>, ApiError> {
        let form = axum::extract::Form::<T>::from_request(request, state).await;
        form.map(|form| Form(form.0)).map_err(|error| bad_request(error.body_text()))
    }
}

impl<T: JsonSchema> Input for Form<T> {
    fn describe(operation: &mut Operation) {
        let schema = operation.schemas.read.subschema_for::<T>();
        let form = "application/x-www-form-urlencoded";
        operation.body.insert(form.into(), json!({ "schema": schema }));
        operation.codes.extend([Code::BadRequest, Code::BodyTimeout, Code::BodyTooLarge]);
    }
}

/// Who asks, if they proved it.
pub struct Who(pub Option<Caller>);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Who, Infallible> {
        let asking = parts.extensions.get::<Asking>();
        Ok(Who(asking.and_then(|asking| asking.caller.clone())))
    }
}

impl Input for Who {
    fn describe(_: &mut Operation) {}
}

/// Where a request comes from, and by which address it calls this server.
pub struct At {
    /// As `ml.example.org:8010`.
    pub authority: String,
    /// As `https://ml.example.org:8010`.
    pub origin: String,
    /// Whose request it is; nobody's over the local socket.
    pub ip: Option<IpAddr>,
}

impl At {
    /// Whose turn it is.
    pub fn source(&self) -> Source {
        self.ip.map_or(Source::Local, Source::of)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<At, Infallible> {
        let peer = parts.extensions.get::<Asking>().map(|asking| asking.peer.clone());
        let authority = gateway::authority(&parts.uri, &parts.headers).unwrap_or_default();
        let ip = match peer.as_deref() {
            Some(Peer::Tcp { ip, .. }) => Some(*ip),
            _ => None,
        };
        let encrypted = peer.is_some_and(|peer| peer.is_encrypted());
        let origin = gateway::own_origin(authority, encrypted);
        Ok(At { authority: authority.into(), origin, ip })
    }
}

impl Input for At {
    fn describe(_: &mut Operation) {}
}

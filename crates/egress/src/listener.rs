//! Listeners inside of sandboxes, and how many connections they take.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{SockType, getsockopt, sockopt};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::book::Verdict;
use crate::destination::Destination;
use crate::fixed;
use crate::http;
use crate::model::{Model, Visit};

/// How long nothing is accepted when the kernel has no descriptor or memory for it.
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener is for: `http`, or `tcp:HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Service {
    /// A proxy: CONNECT, and plain requests.
    Http,
    /// Everything goes to one destination.
    Tcp(Destination),
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Service, String> {
        match (text, text.strip_prefix("tcp:")) {
            ("http", _) => Ok(Service::Http),
            (_, Some(destination)) => Ok(Service::Tcp(destination.parse()?)),
            _ => Err(format!("a listener is `http` or `tcp:HOST:PORT`, not `{text}`")),
        }
    }
}

impl TryFrom<String> for Service {
    type Error = String;

    fn try_from(text: String) -> Result<Service, String> {
        text.parse()
    }
}

impl From<Service> for String {
    fn from(service: Service) -> String {
        service.to_string()
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Http => f.write_str("http"),
            Service::Tcp(destination) => write!(f, "tcp:{destination}"),
        }
    }
}

/// Takes over a descriptor that was handed to this process.
///
/// # Errors
///
/// If it is not a TCP socket that listens.
pub fn take(descriptor: OwnedFd) -> io::Result<TcpListener> {
    let is_stream = getsockopt(&descriptor, sockopt::SockType).ok() == Some(SockType::Stream);
    let listens = getsockopt(&descriptor, sockopt::AcceptConn).ok() == Some(true);
    if !is_stream || !listens {
        return Err(io::Error::other("a descriptor is not a socket that listens"));
    }
    let listener = std::net::TcpListener::from(descriptor);
    listener.local_addr().map_err(|_| io::Error::other("a socket does not listen on TCP"))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Accepts connections and serves them, until it is dropped; its connections end with it.
pub async fn serve(listener: TcpListener, service: Service, model: Arc<Model>) {
    let mut connections = JoinSet::new();
    let service = Arc::new(service);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => admit(stream, &service, &model, &mut connections),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn admit(
    stream: TcpStream,
    service: &Arc<Service>,
    model: &Arc<Model>,
    connections: &mut JoinSet<()>,
) {
    if let Ok(place) = model.places.connections.clone().try_acquire_owned() {
        let (service, model) = (service.clone(), model.clone());
        connections.spawn(async move {
            let _place = place;
            match &*service {
                Service::Http => http::serve(stream, &model).await,
                Service::Tcp(destination) => fixed::serve(stream, destination, &model).await,
            }
        });
        return;
    }
    let mut visit = Visit::new(model);
    if let Service::Tcp(destination) = &**service {
        visit.asks_for(destination);
    }
    visit.decided(Verdict::Refused, None, "too many connections");
    drop(visit);
    match (&**service, model.places.told.clone().try_acquire_owned()) {
        (Service::Http, Ok(place)) => {
            let model = model.clone();
            connections.spawn(async move {
                let _place = place;
                http::turn_away(stream, &model.limits).await;
            });
        }
        _ => drop(stream.set_zero_linger()),
    }
}

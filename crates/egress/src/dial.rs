//! Connecting to what a model asks for: the name is judged, then resolved once, then its addresses
//! are judged, and only such an address is connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};

use domain::problem::Problem;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::address::kind;
use crate::answer;
use crate::book::Verdict;
use crate::destination::{Destination, Host};
use crate::model::Model;
use crate::policy::Reach;

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why there is no connection.
#[derive(Debug)]
pub struct Undone {
    /// What the model is told.
    pub problem: Problem,
    /// Refused or failed.
    pub verdict: Verdict,
    /// An address that it was refused for; only the log has it.
    pub address: Option<IpAddr>,
    /// For the log.
    pub why: String,
}

/// Connects to a destination, at an address that the policy lets it be reached at.
pub async fn dial(
    model: &Model,
    destination: &Destination,
) -> Result<(TcpStream, IpAddr), Box<Undone>> {
    let policy = model.policy();
    let Some(reach) = policy.allows_name(destination) else {
        return Err(refused(answer::refused(destination), None, "not named in the policy".into()));
    };
    let limit = model.limits.connect_time;
    let deadline = Instant::now() + limit;
    let too_late = || {
        let problem = answer::timed_out(destination, limit.as_secs());
        failed(problem, None, "timed out".into())
    };
    let found = match &destination.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => match timeout_at(deadline, model.resolver.resolve(name)).await {
            Err(_) => return Err(too_late()),
            Ok(Ok(found)) if !found.is_empty() => found,
            Ok(result) => {
                let why = result.err().map_or("no address".into(), |error| error.to_string());
                let why = format!("not resolved: {why}");
                return Err(failed(answer::unresolved(destination), None, why));
            }
        },
    };
    let may = |address: &IpAddr| policy.allows_address(destination, *address);
    let open: Vec<IpAddr> = found.iter().copied().filter(may).take(ADDRESSES_MAX).collect();
    if open.is_empty() {
        let address = found.first().copied();
        let what = address.map_or("", |address| kind(address).as_str());
        let named = reach >= Reach::Named && matches!(destination.host, Host::Name(_));
        let problem = match named {
            true => answer::refused_although_named(destination),
            false => answer::refused(destination),
        };
        return Err(refused(problem, address, format!("the address is {what}")));
    }
    connect(destination, &open, deadline).await.map_err(|(address, error)| match error {
        None => Box::new(Undone { address: Some(address), ..*too_late() }),
        Some(error) => {
            let problem = answer::unreachable(destination, plain(&error));
            failed(problem, Some(address), error.to_string())
        }
    })
}

/// Tries one address after another; each has its part of the time that is left.
async fn connect(
    destination: &Destination,
    addresses: &[IpAddr],
    deadline: Instant,
) -> Result<(TcpStream, IpAddr), (IpAddr, Option<io::Error>)> {
    let mut last = (IpAddr::from([0, 0, 0, 0]), None);
    for (at, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now) / (addresses.len() - at) as u32;
        let socket = SocketAddr::new(*address, destination.port);
        match timeout_at(now + left, TcpStream::connect(socket)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok((stream, *address));
            }
            Ok(Err(error)) => last = (*address, Some(error)),
            Err(_) => last = (*address, None),
        }
    }
    Err(last)
}

/// An error of a connection without the address or numbers in it.
pub fn plain(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "it refuses connections on that port",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => "it broke off",
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => "it hung up",
        io::ErrorKind::HostUnreachable => "no way leads to it",
        io::ErrorKind::NetworkUnreachable => "this machine has no way to its network",
        io::ErrorKind::TimedOut => "it does not answer",
        _ => "the connection cannot be made",
    }
}

fn refused(problem: Problem, address: Option<IpAddr>, why: String) -> Box<Undone> {
    Box::new(Undone { problem, verdict: Verdict::Refused, address, why })
}

fn failed(problem: Problem, address: Option<IpAddr>, why: String) -> Box<Undone> {
    Box::new(Undone { problem, verdict: Verdict::Failed, address, why })
}

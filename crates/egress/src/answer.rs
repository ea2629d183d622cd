//! What the proxy itself answers: a problem as JSON, on a connection that is then closed.

use domain::{Code, problem::Problem};

use crate::destination::Destination;

/// A problem as an HTTP answer.
pub fn answer(problem: &Problem) -> Vec<u8> {
    let body = serde_json::to_string(problem).unwrap_or_default();
    let status = problem.code.http();
    let reason = match status {
        400 => "Bad Request",
        // Of the answer to a CONNECT, most clients tell nothing but this.
        403 => "Forbidden by [egress] of decalog.toml",
        408 => "Request Timeout",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    };
    let again = if status == 503 { "Retry-After: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{again}Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The policy does not let the destination be reached. It is told in the same words whether no
/// entry names it or its name leads to addresses that only an exact entry opens: what names inside
/// the network resolve to is not told.
pub fn refused(destination: &Destination) -> Problem {
    let message = format!("this model may not reach `{destination}`");
    Problem::new(Code::EgressRefused, message).help(format!(
        "if it should, add it to decalog.toml and deploy: `[egress] allow = [\"{destination}\"]`"
    ))
}

/// The policy has the very name, but that does not open what the name leads to.
pub fn refused_although_named(destination: &Destination) -> Problem {
    let message = format!("this model may not reach `{destination}` by its name");
    Problem::new(Code::EgressRefused, message).help(
        "link-local addresses and those where clouds keep credentials are reached only if \
         `[egress] allow` has the address itself",
    )
}

/// The request cannot be forwarded, for a reason that is a sentence without its end.
pub fn bad_request(why: &str) -> Problem {
    Problem::new(Code::EgressRequest, format!("the proxy cannot forward this: {why}")).help(
        "it takes `CONNECT HOST:PORT` and `GET http://HOST/…` of HTTP/1.1; clients do that on \
         their own with `HTTP_PROXY` and `HTTPS_PROXY`",
    )
}

/// The head of a request did not come.
pub fn slow(seconds: u64) -> Problem {
    Problem::new(Code::EgressSlow, format!("the request did not begin within {seconds} s"))
        .help("send the head of the request at once")
}

/// The model has too many connections.
pub fn busy(connections: usize) -> Problem {
    let message = format!("this model has {connections} connections to the outside already");
    Problem::new(Code::EgressBusy, message).help("close some, or keep fewer open at a time")
}

/// The name could not be resolved.
pub fn unresolved(destination: &Destination) -> Problem {
    let message = format!("the name of `{destination}` cannot be resolved on this machine");
    Problem::new(Code::EgressName, message)
        .help("see whether the name is spelt right, and whether the machine's DNS has it")
}

/// The destination cannot be connected to, for a reason in plain words.
pub fn unreachable(destination: &Destination, why: &str) -> Problem {
    Problem::new(Code::EgressFailed, format!("`{destination}` cannot be reached: {why}"))
        .help("see whether it runs, and whether this machine can reach it")
}

/// The destination broke off, or answered what is no HTTP.
pub fn broken(destination: &Destination, why: &str) -> Problem {
    Problem::new(Code::EgressFailed, format!("`{destination}` did not answer properly: {why}"))
        .help("see whether it speaks HTTP on that port; with TLS it is reached by CONNECT")
}

/// The destination took too long.
pub fn timed_out(destination: &Destination, seconds: u64) -> Problem {
    let message = format!("`{destination}` did not answer within {seconds} s");
    Problem::new(Code::EgressTimeout, message)
        .help("see whether it runs, and whether this machine can reach it")
}

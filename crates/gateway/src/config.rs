//! The gateway's settings: its names, and the limits that hold for connections, bodies and
//! memory.

use domain::Digest;

use crate::{Cors, Hosts};

/// The longest body of a request, in bytes, by default.
const BODY_BYTES_MAX: usize = 256 << 20;
/// Bytes of all requests in flight, by default.
const MEMORY_BYTES_MAX: usize = 1 << 30;
/// For a whole body, in milliseconds.
const BODY_MS_MAX: u64 = 60_000;
/// For a pause within a body, in milliseconds.
const BODY_STALL_MS_MAX: u64 = 15_000;
/// Connections at a time, where descriptors allow as many.
const CONNECTIONS_MAX: usize = 16_384;
/// For the head of the first request of a connection, in milliseconds.
const HEAD_MS_MAX: u64 = 30_000;
/// For the handshake of a connection over TLS, in milliseconds.
const HANDSHAKE_MS_MAX: u64 = 10_000;
/// For a connection without a request or an answer outstanding, in milliseconds.
const IDLE_MS_MAX: u64 = 120_000;
/// For a reader that takes nothing of its answer, in milliseconds.
const WRITE_STALL_MS_MAX: u64 = 20_000;
/// Requests that the control plane has at work at a time.
const CONTROL_REQUESTS_MAX: usize = 256;
/// Answers of the control plane without an end, such as of `events --follow`, at a time.
const CONTROL_STREAMS_MAX: usize = 256;

/// The limits of the data plane. Whoever stalls is cut off by one of them.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The names under which it may be called.
    pub hosts: Hosts,
    /// Pages from elsewhere that may request predictions.
    pub cors: Cors,
    /// SHA-256 of the cookie that requests on the local socket must have; without one, there are
    /// none.
    pub local_cookie: Option<Digest>,
    /// Whether whoever reaches this server may ask for predictions without saying who he is: only if
    /// it listens on loopback alone, and no proxy passes on what comes from elsewhere.
    pub open_predictions: bool,
    /// The longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Bytes of all requests in flight, from before a body is read until its rows are answered, and
    /// of answers until they are written. What a request takes while it is read and run is up to
    /// four times as much. One placement may have half.
    pub memory_bytes_max: usize,
    /// A body must arrive within it, in milliseconds.
    pub body_ms_max: u64,
    /// The longest pause within a body, in milliseconds.
    pub body_stall_ms_max: u64,
    /// Connections open at the same time. When there are as many, the one that is quiet for longest
    /// makes room for the next; while all are at work, the next is refused.
    pub connections_max: usize,
    /// From a connection's begin to the end of its first request's head, in milliseconds.
    pub head_ms_max: u64,
    /// From the begin of a connection over TLS to the end of its handshake, in milliseconds.
    pub handshake_ms_max: u64,
    /// How long a connection may stay open without a request or an answer outstanding, in
    /// milliseconds.
    pub idle_ms_max: u64,
    /// The longest that a reader may take nothing of an answer that is there, in milliseconds. A
    /// slow reader that goes on reading may take as long as it likes.
    pub write_stall_ms_max: u64,
    /// Requests that the control plane has at work at a time, from their head to their answer, but
    /// for the time in which they wait for the rest of their bodies. More are answered 503. Those
    /// that ask for health and metrics are not among them.
    pub control_requests_max: usize,
    /// Answers of the control plane without an end that are read at a time. More are answered 503.
    pub control_streams_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        GatewayConfig {
            hosts: Hosts::loopback(),
            cors: Cors::default(),
            local_cookie: None,
            open_predictions: true,
            body_bytes_max: BODY_BYTES_MAX,
            memory_bytes_max: MEMORY_BYTES_MAX,
            body_ms_max: BODY_MS_MAX,
            body_stall_ms_max: BODY_STALL_MS_MAX,
            connections_max: CONNECTIONS_MAX,
            head_ms_max: HEAD_MS_MAX,
            handshake_ms_max: HANDSHAKE_MS_MAX,
            idle_ms_max: IDLE_MS_MAX,
            write_stall_ms_max: WRITE_STALL_MS_MAX,
            control_requests_max: CONTROL_REQUESTS_MAX,
            control_streams_max: CONTROL_STREAMS_MAX,
        }
    }
}

//! What the gateway is told once: its names, and the limits that hold for connections, bodies and memory.

use crate::Hosts;

/// The limits of the data plane. Whoever stalls is cut off by one of them.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The names under which it may be called.
    pub hosts: Hosts,
    /// The longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Bytes of all requests in flight, from before a body is read until its rows are answered, and of answers until they are
    /// written. What a request takes while it is read and run is up to four times as much. One placement may have half.
    pub memory_bytes_max: usize,
    /// A body must arrive within it, in milliseconds.
    pub body_ms_max: u64,
    /// The longest pause within a body, in milliseconds.
    pub body_stall_ms_max: u64,
    /// Connections open at the same time. When there are as many, the one that is quiet for longest makes room for the
    /// next; while all are at work, the next is refused.
    pub connections_max: usize,
    /// From a connection's begin to the end of its first request's head, in milliseconds.
    pub head_ms_max: u64,
    /// How long a connection may stay open on which nothing is asked and nothing owed, in milliseconds.
    pub idle_ms_max: u64,
    /// The longest that a reader may take nothing of an answer that is there, in milliseconds. A slow reader that goes on
    /// reading may take as long as it likes.
    pub write_stall_ms_max: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        GatewayConfig {
            hosts: Hosts::loopback(),
            body_bytes_max: 256 << 20,
            memory_bytes_max: 1 << 30,
            body_ms_max: 60_000,
            body_stall_ms_max: 15_000,
            connections_max: 16_384,
            head_ms_max: 30_000,
            idle_ms_max: 120_000,
            write_stall_ms_max: 20_000,
        }
    }
}

//! How much a model may ask of the proxy.

use std::time::Duration;

/// Limits of the proxy. [`Limits::default`] has what `decalog egress` runs with.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest head of a request or an answer, in bytes.
    pub head_bytes_max: usize,
    /// The most fields that such a head may have.
    pub fields_max: usize,
    /// How long the head of a request may take to arrive.
    pub head_time: Duration,
    /// How long it may take to resolve a name and to connect, together.
    pub connect_time: Duration,
    /// How long a connection may carry nothing in either direction.
    pub idle_time: Duration,
    /// How many connections a model may have at once, those of all its replicas together.
    pub connections_max: usize,
    /// How many names may be resolved at once for one sandbox.
    pub lookups_max: usize,
    /// How many connections of one model to one destination are logged one by one each minute;
    /// those above are summed up in one line.
    pub repeats_max: u32,
    /// How many lines a model may cause each minute beside those that sum up.
    pub lines_max: u32,
    /// How many destinations of a model are told apart in counts, and each minute in the log; those
    /// above are summed up as `others`.
    pub destinations_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 16 * 1024,
            fields_max: 100,
            head_time: Duration::from_secs(10),
            connect_time: Duration::from_secs(10),
            // Pools of connections to databases leave some unused for long.
            idle_time: Duration::from_secs(60 * 60),
            connections_max: 256,
            lookups_max: 8,
            repeats_max: 20,
            lines_max: 600,
            destinations_max: 256,
        }
    }
}

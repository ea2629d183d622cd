//! Where to send, and what of.

use monitor::Counter;

use crate::endpoint::Endpoint;

/// What waits to be sent has at most so many bytes, unless it is said otherwise.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Gives all metrics of this process, as OpenMetrics writes them.
pub type Measure = Box<dyn Fn() -> String + Send + Sync>;

/// Where to send, and what of.
pub struct Config {
    /// The collector.
    pub endpoint: Endpoint,
    /// Headers of each request, by name.
    pub headers: Vec<(String, String)>,
    /// Attributes of this process, by name.
    pub resource: Vec<(String, String)>,
    /// Where this server is called, as callers write it: `https://ml.example.org:8010`.
    pub url: String,
    /// Authorities that the collector's certificate must lead to, in DER.
    pub authorities: Vec<Vec<u8>>,
    /// Bytes that may wait.
    pub queue_bytes_max: usize,
    /// How often metrics are sent, in milliseconds; 0 sends none.
    pub metrics_every_ms: u64,
    /// Counts spans that the collector took.
    pub sent: Counter,
    /// Counts spans that were dropped.
    pub dropped: Counter,
}

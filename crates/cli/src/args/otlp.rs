//! Options of `decalog up` for OpenTelemetry.

use clap::Args;

/// Where traces and metrics go.
#[derive(Args, Debug, Clone)]
pub struct OtlpOptions {
    /// Send traces and metrics to this OpenTelemetry collector, over OTLP with HTTP and protobuf:
    /// http://localhost:4318. Headers come from $OTEL_EXPORTER_OTLP_HEADERS
    /// [default: $OTEL_EXPORTER_OTLP_ENDPOINT; nothing is sent without]
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// The share of traces that are kept if they begin here, from 0 to 1; errors are kept always.
    /// Of those that callers began, callers say it
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub otlp_sample: f64,
    /// How often metrics are sent, in seconds; 0 sends none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub otlp_metrics_every: u64,
    /// Memory for what waits to be sent, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = telemetry::QUEUE_BYTES_MAX, hide = true)]
    pub otlp_queue_bytes: usize,
}

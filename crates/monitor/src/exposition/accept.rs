//! Which format a scrape gets, by its `Accept` header.

/// A format of Prometheus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The text format 0.0.4, which everything reads.
    Text,
    /// The text format of OpenMetrics 1.0: with units and exemplars.
    OpenMetrics,
    /// Messages `io.prometheus.client.MetricFamily`, each with its length before it: with exemplars
    /// and native histograms.
    Protobuf,
}

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str = "application/vnd.google.protobuf; \
                        proto=io.prometheus.client.MetricFamily; encoding=delimited";
/// The content types that are texts.
pub const TEXT_TYPES: [&str; 2] = [TEXT, OPENMETRICS];
/// So many parts of the header are looked at.
const PARTS_MAX: usize = 32;

impl Format {
    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => TEXT,
            Format::OpenMetrics => OPENMETRICS,
            Format::Protobuf => PROTOBUF,
        }
    }

    /// The one that is wanted most, the first of them if several are; text if none is.
    pub fn of(accept: &str) -> Format {
        let mut best = (Format::Text, 0.0);
        for part in accept.split(',').take(PARTS_MAX) {
            if let Some((format, weight)) = wanted(part)
                && weight > best.1
            {
                best = (format, weight);
            }
        }
        best.0
    }
}

/// What one part of the header asks for, and how much.
fn wanted(part: &str) -> Option<(Format, f64)> {
    let mut pieces = part.split(';').map(str::trim);
    let media = pieces.next()?.to_ascii_lowercase();
    let (mut weight, mut version, mut proto, mut encoding) = (1.0, "", "", "");
    for (name, value) in pieces.filter_map(|piece| piece.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = value.parse::<f64>().ok().filter(|q| (0.0..=1.0).contains(q))?,
            "version" => version = value,
            "proto" => proto = value,
            "encoding" => encoding = value,
            _ => {}
        }
    }
    let is_family = proto == "io.prometheus.client.MetricFamily" && encoding == "delimited";
    let format = match media.as_str() {
        "application/vnd.google.protobuf" if is_family => Format::Protobuf,
        "application/openmetrics-text" if matches!(version, "" | "0.0.1" | "1.0.0") => {
            Format::OpenMetrics
        }
        "text/plain" if matches!(version, "" | "0.0.4" | "1.0.0") => Format::Text,
        "text/*" | "*/*" => Format::Text,
        _ => return None,
    };
    Some((format, weight))
}

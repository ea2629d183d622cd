//! Metrics as OpenTelemetry has them, from what Prometheus would read: counters become sums since the
//! start, and histograms keep their bounds.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use crate::exposition::{Family, Sample, families};
use crate::spans::text;

/// The most points of a request.
const POINTS_MAX: usize = 2_000;
/// The largest count that a number of 64 bits with a fraction has exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Knows since when each series counts.
pub struct Series {
    /// Of each series, by its hash: since when, and how far it was.
    known: HashMap<u64, (u64, f64)>,
    /// Those of the text that is read now.
    seen: HashMap<u64, (u64, f64)>,
    /// When that was done last, or this process began to count, in nanoseconds since 1970.
    last_ns: u64,
}

impl Series {
    /// Of a process that began to count then, in nanoseconds since 1970.
    pub fn new(begun_ns: u64) -> Series {
        Series { known: HashMap::new(), seen: HashMap::new(), last_ns: begun_ns }
    }

    /// What the text says at a time, in lists of at most [`POINTS_MAX`] points.
    pub fn read(&mut self, exposition: &str, now_ns: u64) -> Vec<Vec<Metric>> {
        let mut requests = vec![];
        let (mut metrics, mut points): (Vec<Metric>, usize) = (vec![], 0);
        for family in families(exposition) {
            for metric in self.metrics_of(&family, now_ns) {
                let more = points_of(&metric);
                if points + more > POINTS_MAX && !metrics.is_empty() {
                    requests.push(std::mem::take(&mut metrics));
                    points = 0;
                }
                points += more;
                metrics.push(metric);
            }
        }
        requests.push(metrics);
        // Those that are gone begin anew if they come again.
        self.known = std::mem::take(&mut self.seen);
        self.last_ns = now_ns;
        requests.retain(|metrics| !metrics.is_empty());
        requests
    }

    fn metrics_of(&mut self, family: &Family, now_ns: u64) -> Vec<Metric> {
        let metric = |data| Metric {
            name: family.name.clone(),
            description: family.help.clone(),
            unit: unit(&family.unit).into(),
            data: Some(data),
            ..Metric::default()
        };
        match family.kind.as_str() {
            "counter" => {
                let counted = family.samples.iter().filter(|it| it.suffix != "_created");
                let points: Vec<_> = counted
                    .map(|sample| {
                        let start_ns = self.start(&family.name, sample, now_ns);
                        point(sample, start_ns, now_ns)
                    })
                    .collect();
                let sum = |data_points: &[NumberDataPoint]| Sum {
                    data_points: data_points.to_vec(),
                    aggregation_temporality: CUMULATIVE,
                    is_monotonic: true,
                };
                points.chunks(POINTS_MAX).map(|points| metric(Data::Sum(sum(points)))).collect()
            }
            "histogram" => {
                let points = self.histograms(family, now_ns);
                let histogram = |data_points: &[HistogramDataPoint]| Histogram {
                    data_points: data_points.to_vec(),
                    aggregation_temporality: CUMULATIVE,
                };
                let chunks = points.chunks(POINTS_MAX);
                chunks.map(|points| metric(Data::Histogram(histogram(points)))).collect()
            }
            "gauge" | "unknown" | "untyped" => {
                let points: Vec<_> =
                    family.samples.iter().map(|sample| point(sample, 0, now_ns)).collect();
                let gauge = |points: &[NumberDataPoint]| Gauge { data_points: points.to_vec() };
                points.chunks(POINTS_MAX).map(|points| metric(Data::Gauge(gauge(points)))).collect()
            }
            _ => vec![],
        }
    }

    /// Since when a series counts: it began with the process, or after the last look; one that fell
    /// has begun anew.
    fn start(&mut self, name: &str, sample: &Sample, now_ns: u64) -> u64 {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let series = hasher.hash_one((name, &sample.labels));
        let start_ns = match self.known.get(&series) {
            Some((start_ns, last)) if sample.value >= *last => *start_ns,
            _ => self.last_ns.min(now_ns),
        };
        self.seen.insert(series, (start_ns, sample.value));
        start_ns
    }

    fn histograms(&mut self, family: &Family, now_ns: u64) -> Vec<HistogramDataPoint> {
        #[derive(Default)]
        struct Parts<'f> {
            buckets: Vec<(f64, u64)>,
            sum: f64,
            count: Option<&'f Sample>,
        }
        let mut series: BTreeMap<Vec<(String, String)>, Parts<'_>> = BTreeMap::new();
        for sample in &family.samples {
            let own = |(name, _): &&(String, String)| name != "le";
            let labels: Vec<_> = sample.labels.iter().filter(own).cloned().collect();
            let parts = series.entry(labels).or_default();
            match sample.suffix.as_str() {
                "_bucket" => {
                    let le = sample.labels.iter().find(|(name, _)| name == "le");
                    let bound = le.and_then(|(_, le)| match le.as_str() {
                        "+Inf" => Some(f64::INFINITY),
                        other => other.parse().ok(),
                    });
                    parts.buckets.extend(bound.map(|bound| (bound, sample.value as u64)));
                }
                "_sum" => parts.sum = sample.value,
                "_count" => parts.count = Some(sample),
                _ => {}
            }
        }
        let mut points = vec![];
        for (labels, mut parts) in series {
            let Some(count) = parts.count else { continue };
            let start_time_unix_nano = self.start(&family.name, count, now_ns);
            parts.buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
            let mut below = 0;
            let each = parts.buckets.iter().map(|(_, up_to)| {
                let own = up_to.saturating_sub(below);
                below = below.max(*up_to);
                own
            });
            let mut bucket_counts: Vec<u64> = each.collect();
            let explicit_bounds: Vec<f64> =
                parts.buckets.iter().map(|(bound, _)| *bound).filter(|it| it.is_finite()).collect();
            let count = count.value as u64;
            if bucket_counts.len() == explicit_bounds.len() {
                bucket_counts.push(count.saturating_sub(below));
            }
            points.push(HistogramDataPoint {
                attributes: attributes(&labels),
                start_time_unix_nano,
                time_unix_nano: now_ns,
                count,
                sum: Some(parts.sum),
                bucket_counts,
                explicit_bounds,
                ..HistogramDataPoint::default()
            });
        }
        points
    }
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| text(name, value.as_str())).collect()
}

fn point(sample: &Sample, start_ns: u64, now_ns: u64) -> NumberDataPoint {
    let is_whole = sample.value.fract() == 0.0 && sample.value.abs() < EXACT_MAX;
    let value = match is_whole {
        true => Value::AsInt(sample.value as i64),
        false => Value::AsDouble(sample.value),
    };
    NumberDataPoint {
        attributes: attributes(&sample.labels),
        start_time_unix_nano: start_ns,
        time_unix_nano: now_ns,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn points_of(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    }
}

/// A unit as OpenTelemetry writes it.
fn unit(unit: &str) -> &str {
    match unit {
        "seconds" => "s",
        "bytes" => "By",
        "ratio" => "1",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(count: u64) -> String {
        format!(
            "# TYPE r counter\n# UNIT r seconds\nr_total{{m=\"a\"}} {count}\n# TYPE d histogram\n\
             d_sum{{m=\"a\"}} 1.5\nd_count{{m=\"a\"}} {count}\nd_bucket{{m=\"a\",le=\"0.1\"}} 2\n\
             d_bucket{{m=\"a\",le=\"0.2\"}} 3\nd_bucket{{m=\"a\",le=\"+Inf\"}} {count}\n\
             # TYPE g gauge\ng 0.5\n# EOF\n"
        )
    }

    #[test]
    fn counters_histograms_and_gauges_become_what_they_are() {
        let mut series = Series::new(100);
        let read = series.read(&text_of(5), 200);
        let [counter, histogram, gauge] = &read[0][..] else { panic!("{read:?}") };
        assert_eq!((counter.name.as_str(), counter.unit.as_str()), ("r", "s"));
        let Some(Data::Sum(sum)) = &counter.data else { panic!("{counter:?}") };
        let point = &sum.data_points[0];
        assert!(sum.is_monotonic && sum.aggregation_temporality == CUMULATIVE);
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (100, 200));
        assert_eq!(point.value, Some(Value::AsInt(5)));
        let Some(Data::Histogram(histogram)) = &histogram.data else { panic!("{histogram:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((&point.bucket_counts[..], point.count), (&[2, 1, 2][..], 5));
        assert_eq!((&point.explicit_bounds[..], point.sum), (&[0.1, 0.2][..], Some(1.5)));
        assert_eq!(point.attributes, [text("m", "a")], "without le");
        let Some(Data::Gauge(gauge)) = &gauge.data else { panic!("{gauge:?}") };
        assert_eq!(gauge.data_points[0].value, Some(Value::AsDouble(0.5)));
    }

    #[test]
    fn a_series_that_begins_anew_says_so() {
        let mut series = Series::new(100);
        let start = |series: &mut Series, count, now_ns| {
            let read = series.read(&text_of(count), now_ns);
            let Some(Data::Sum(sum)) = &read[0][0].data else { panic!("{read:?}") };
            sum.data_points[0].start_time_unix_nano
        };
        assert_eq!(start(&mut series, 5, 200), 100);
        assert_eq!(start(&mut series, 9, 300), 100);
        assert_eq!(start(&mut series, 1, 400), 300, "it fell");
        assert_eq!(start(&mut series, 2, 500), 300);
        assert!(series.read("# EOF\n", 600).is_empty());
        assert_eq!(start(&mut series, 9, 700), 600, "it was gone");
        assert_eq!(series.known.len(), 2);
    }

    #[test]
    fn many_points_go_in_several_requests() {
        let mut text = "# TYPE r counter\n".to_string();
        (0..4_500).for_each(|n| text.push_str(&format!("r_total{{n=\"{n}\"}} 1\n")));
        text.push_str("# TYPE g gauge\ng 1\n");
        let read = Series::new(0).read(&text, 1);
        let points: Vec<usize> =
            read.iter().map(|metrics| metrics.iter().map(points_of).sum()).collect();
        assert_eq!(points, [2_000, 2_000, 501]);
    }
}

//! The formats, byte for byte, and which one a scrape gets.

use super::*;

fn families() -> Vec<Family> {
    let shared: Arc<[Label]> = Arc::new([("model", "a\\b\"c\nd".into())]);
    let mut requests = Family::new(Kind::Counter, "x_requests", "", "Requests.");
    let one = Exemplar { request: [0x11; 16], trace: [0; 16], value: 1.0, at_ms: 1_500 };
    requests.push(&shared, vec![("status", "200".into())], Value::Count(7, Some(one)));
    let mut times = Family::new(Kind::Histogram, "x_seconds", "seconds", "Times.");
    let bucket = |upper, count, at_ms: Option<u64>| ClassicBucket {
        upper,
        count,
        exemplar: at_ms.map(|at_ms| Exemplar { value: 0.5, at_ms, ..one }),
    };
    let histogram = Histogram {
        sum: 2.5,
        classic: vec![
            bucket(0.000_05, 1, Some(9_000)),
            bucket(1.0, 3, Some(2_000)),
            bucket(f64::INFINITY, 0, Some(3_000)),
        ],
        schema: 3,
        zeros: 1,
        native: vec![(-2, 1), (-1, 2), (3, 1)],
    };
    times.push(&Arc::default(), vec![], Value::Histogram(histogram));
    let mut build = Family::new(Kind::Info, "x_build", "", "Build.");
    build.push(&Arc::default(), vec![("version", "1".into())], Value::Count(1, None));
    let age = Family::new(Kind::Gauge, "x_age_seconds", "seconds", "Age.").of(Value::Number(0.25));
    vec![requests, times, build, age, Family::new(Kind::Gauge, "x_none", "", "None.")]
}

#[test]
fn the_text_formats() {
    let text = |format| String::from_utf8(encode(&families(), format, 0)).unwrap();
    assert_eq!(
        text(Format::Text),
        r#"# HELP x_requests_total Requests.
# TYPE x_requests_total counter
x_requests_total{model="a\\b\"c\nd",status="200"} 7
# HELP x_seconds Times.
# TYPE x_seconds histogram
x_seconds_bucket{le="5e-05"} 1
x_seconds_bucket{le="1.0"} 4
x_seconds_bucket{le="+Inf"} 4
x_seconds_sum 2.5
x_seconds_count 4
# HELP x_build_info Build.
# TYPE x_build_info gauge
x_build_info{version="1"} 1
# HELP x_age_seconds Age.
# TYPE x_age_seconds gauge
x_age_seconds 0.25
"#
    );
    assert_eq!(
        text(Format::OpenMetrics),
        r#"# HELP x_requests Requests.
# TYPE x_requests counter
x_requests_total{model="a\\b\"c\nd",status="200"} 7 # {request_id="11111111-1111-1111-1111-111111111111"} 1.0 1.500
# HELP x_seconds Times.
# TYPE x_seconds histogram
# UNIT x_seconds seconds
x_seconds_bucket{le="5e-05"} 1 # {request_id="11111111-1111-1111-1111-111111111111"} 0.5 9.000
x_seconds_bucket{le="1.0"} 4 # {request_id="11111111-1111-1111-1111-111111111111"} 0.5 2.000
x_seconds_bucket{le="+Inf"} 4 # {request_id="11111111-1111-1111-1111-111111111111"} 0.5 3.000
x_seconds_sum 2.5
x_seconds_count 4
# HELP x_build Build.
# TYPE x_build info
x_build_info{version="1"} 1
# HELP x_age_seconds Age.
# TYPE x_age_seconds gauge
# UNIT x_age_seconds seconds
x_age_seconds 0.25
# EOF
"#
    );
}

#[test]
fn the_histogram_as_a_message() {
    let times = &families()[1];
    let hex_of =
        |now_ms| hex::encode(encode(std::slice::from_ref(times), Format::Protobuf, now_ms));
    let recent = hex_of(10_000);
    // Schema 3, 1 zero, spans at -2 of 2, and 3 after it of 1; deltas 1, 1, -1.
    for part in ["2806", "3801", "620408031002", "620408061001", "6a03020201"] {
        assert!(recent.contains(part), "{part} of {recent}");
    }
    // Of the exemplars the slowest, and what came before it: 3 s and 2 s, not 9 s.
    let at = |seconds: u8| format!("1a04080{seconds}1000");
    let has = |text: &str| [9, 3, 2].map(|seconds| text.contains(&at(seconds)));
    assert_eq!(has(&recent), [false, true, true], "{recent}");
    // Later, those that are still recent.
    assert_eq!(has(&hex_of(62_500)), [false, true, false]);
    assert_eq!(has(&hex_of(64_000)), [true, false, false]);
    assert_eq!(has(&hex_of(100_000)), [false, false, false]);
}

#[test]
fn a_scrape_gets_what_it_wants_most() {
    let prometheus = "application/openmetrics-text;version=1.0.0,\
                      application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
                  encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
                  text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    for (accept, format) in [
        (prometheus, Format::OpenMetrics),
        (native, Format::Protobuf),
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/html, image/png", Format::Text),
        (
            "text/plain;q=0.4, application/openmetrics-text; version=\"1.0.0\"; q=0.5",
            Format::OpenMetrics,
        ),
        ("application/openmetrics-text;q=0", Format::Text),
        ("application/openmetrics-text;version=9.0.0", Format::Text),
        ("application/openmetrics-text;q=nan", Format::Text),
        ("application/vnd.google.protobuf", Format::Text),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            Format::Text,
        ),
        ("Application/OpenMetrics-Text", Format::OpenMetrics),
        (";;;q=,=,,", Format::Text),
    ] {
        assert_eq!(Format::of(accept), format, "{accept}");
    }
    assert_eq!(
        Format::of(&format!("{}application/openmetrics-text", "a/b,".repeat(100))),
        Format::Text
    );
}

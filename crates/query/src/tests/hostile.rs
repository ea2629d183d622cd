//! Queries that would take the machine: each ends with one error, and the next is answered.

use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::DataType;
use domain::Code;

use super::keeping::*;
use crate::{Ask, Format, Limits};

async fn keeping(limits: Limits) -> Keeping {
    let keeping = Keeping::new(limits);
    for hour in 0..3 {
        let rows = 20_000;
        let columns = vec![
            ("in.city", typed(&DataType::Utf8, rows)),
            ("in.n", typed(&DataType::Int64, rows)),
        ];
        keeping.make(Made { model: "churn", version: 1, hour, rows, columns }).await;
    }
    keeping
}

fn small() -> Limits {
    Limits { memory_bytes_max: 8 << 20, time_ms_max: 3_000, rows_max: 50_000, ..Limits::default() }
}

#[tokio::test]
async fn each_ends_with_one_error() {
    let keeping = keeping(small()).await;
    let long = "x".repeat(30_000);
    let ids: Vec<String> =
        (0..1_500).map(|count| format!("'{}'", id_of(BEGIN_MS, count))).collect();
    let doubled: String = (1..11)
        .map(|n| format!(", t{n} as (select concat(c, c, c, c, c, c, c, c) c from t{})", n - 1))
        .collect();
    let limit = [Code::QueryLimit].as_slice();
    let bad = [Code::BadQuery].as_slice();
    let any = [Code::QueryLimit, Code::BadQuery].as_slice();
    for (sql, codes) in [
        // Too much work, memory or rows.
        (
            "select count(*) from records a, records b, records c where a.n + b.n + c.n = -1"
                .to_string(),
            limit,
        ),
        ("select a.id, b.id from records a, records b order by a.n * b.n".into(), limit),
        (
            "select id, count(*) from records group by id, n, time, key, city order by 2".into(),
            limit,
        ),
        ("select * from records".into(), limit),
        (format!("with t0 as (select 'x' c){doubled} select length(c) from t10"), any),
        (
            format!(
                "with t0 as (select city c from records){doubled} select max(length(c)) from t10"
            ),
            any,
        ),
        (format!("select '{long}' a, id from records"), limit),
        (
            format!(
                "with t as (select '{}' a from records) select a, a b, a c, a d, a e from t",
                "x".repeat(9_000)
            ),
            limit,
        ),
        (
            "with recursive t as (select 1 n union all select n + 1 from t) select count(*) from t"
                .into(),
            any,
        ),
        // Not there.
        ("select * from generate_series(1, 1000000000)".into(), bad),
        ("select * from range(1, 1000000000)".into(), bad),
        ("select repeat('x', 1000000000)".into(), bad),
        ("select lpad('x', 1000000000)".into(), bad),
        ("select array_agg(id) from records".into(), bad),
        ("select string_agg(id, ',') from records".into(), bad),
        ("select make_array(1, 2)".into(), bad),
        ("select * from '/etc/passwd'".into(), bad),
        ("select * from 'file:///etc/passwd'".into(), bad),
        ("select * from \"/etc/passwd\"".into(), bad),
        ("select * from \"records://store/churn/v1/0.parquet\"".into(), bad),
        ("select * from read_parquet('/etc/passwd')".into(), bad),
        ("select * from information_schema.tables".into(), bad),
        ("select * into x from records".into(), bad),
        ("select @@version".into(), bad),
        ("select $1".into(), bad),
        ("select input_file_name() from records".into(), bad),
        ("select version()".into(), bad),
        // Wrong.
        ("select 1 / 0".into(), bad),
        ("select n / 0 from records".into(), bad),
        ("select cast('x' as int)".into(), bad),
        ("select factorial(1000)".into(), any),
        ("select regexp_like(id, '((a{100}){100}){100}') from records".into(), bad),
        ("select regexp_like(id, '(((((') from records".into(), bad),
        ("select to_timestamp('never')".into(), bad),
        ("select date_trunc('aeon', time) from records".into(), bad),
        ("select * from nothing".into(), bad),
        ("select nothing from records".into(), bad),
        ("select nothing(1)".into(), bad),
        ("select id from records where id in (1, 'x', true, null, interval '1 day')".into(), any),
        ("select sum(id) from records".into(), bad),
        ("select count(*".into(), bad),
        ("\0".into(), bad),
        ("select '\u{202e}' from records where".into(), bad),
    ] {
        let begun = Instant::now();
        let shown: String = sql.chars().take(120).collect();
        let problem = match keeping.csv(&sql).await {
            Err(problem) => problem,
            Ok(text) => panic!("{shown}: {}", text.chars().take(200).collect::<String>()),
        };
        // What came after the begin of an answer has no code any more.
        let is_late = problem.code == Code::Interrupted;
        assert!(codes.contains(&problem.code) || is_late, "{shown}: {problem:?}");
        assert!(problem.message.len() < 1_000 && !problem.message.contains('\n'), "{problem:?}");
        // Far beyond the limit on its time, whatever else the machine does.
        assert!(begun.elapsed() < Duration::from_secs(150), "{shown}: {:?}", begun.elapsed());
        let next = keeping.csv("select count(*) from records").await;
        assert_eq!(next.unwrap(), "count(*)\n60000\n", "{shown}");
    }
    // Hard, but a question.
    for sql in [
        format!("select count(*) from records where id in ({})", ids.join(",")),
        format!("select count(*) from records where {}", vec!["n = 1"; 240].join(" or ")),
        format!("select {}", vec!["1"; 240].join("+")),
        format!(
            "select {}",
            (0..400).map(|n| format!("n + {n} as c{n}")).collect::<Vec<_>>().join(",")
                + " from records limit 1"
        ),
        format!("select {}1{}", "(".repeat(23), ")".repeat(23)),
        format!("select {}1{}", "abs(".repeat(23), ")".repeat(23)),
        format!(
            "select {}",
            vec!["select 1"; 80].join(" union all ").trim_start_matches("select ")
        ),
        "select regexp_like(id, '(a+)+$') from records limit 1".into(),
        "select count(*) from records where city like '%1%2%3%4%5%6%'".into(),
    ] {
        let shown: String = sql.chars().take(80).collect();
        let found = keeping.csv(&sql).await;
        assert!(found.is_ok(), "{shown}: {found:?}");
    }
}

#[tokio::test]
async fn who_hangs_up_ends_the_query_and_others_wait_for_their_turn() {
    let limits =
        Limits { queries_max: 1, wait_ms_max: 100, time_ms_max: 60_000, ..Limits::default() };
    let keeping = keeping(limits).await;
    let some = "(select n from records limit 400)";
    let endless = format!(
        "select count(*) from {some} a, {some} b, {some} c, {some} d where a.n + b.n + c.n + d.n = -1"
    );
    let asked = keeping.csv(&endless);
    let mut asked = Box::pin(asked);
    // It has begun when the next has no turn.
    loop {
        let polled = futures_util::poll!(&mut asked);
        assert!(polled.is_pending(), "{polled:?}");
        match keeping.csv("select 1").await {
            Ok(_) => {}
            Err(problem) => {
                assert_eq!(problem.code, Code::ServerBusy);
                break;
            }
        }
    }
    drop(asked);
    let begun = Instant::now();
    while keeping.csv("select 1").await.is_err() {
        // Far beyond the limit on its time, whatever else the machine does.
        assert!(begun.elapsed() < Duration::from_secs(150), "it goes on without anybody");
    }
}

#[tokio::test]
async fn without_records_it_says_how_to_keep_some() {
    let queries = crate::Queries::new(Limits::default());
    let problem =
        queries.run(Ask::Sql("select 1".into()), Format::Csv, everything()).await.unwrap_err();
    assert_eq!(problem.code, Code::NoRecords);
}

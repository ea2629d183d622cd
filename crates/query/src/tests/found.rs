//! What queries find.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use datafusion::arrow::datatypes::DataType;
use domain::Code;

use super::keeping::*;
use crate::{Ask, Format, Limits, RecordsAsk, Seen};

async fn churn() -> Keeping {
    let keeping = Keeping::new(Limits::default());
    let cities = ["Delft", "Utrecht"].into_iter().cycle();
    for (version, hour) in [(1, 0), (1, 1), (2, 2)] {
        let leave: ArrayRef = Arc::new(Float64Array::from_iter_values((0..20).map(f64::from)));
        let age = match version {
            1 => typed(&DataType::Int32, 20),
            _ => typed(&DataType::Float64, 20),
        };
        let columns = vec![
            ("in.city", texts(cities.clone().take(20))),
            ("in.age", age),
            ("out.leave", leave),
            ("in.Big Name", typed(&DataType::Int64, 20)),
        ];
        keeping.make(Made { model: "churn", version, hour, rows: 20, columns }).await;
    }
    let other: ArrayRef = Arc::new(StringArray::from(vec!["text"; 20]));
    let columns = vec![("out.leave", other.clone()), ("in.leave", other)];
    keeping.make(Made { model: "fraud/price", version: 1, hour: 0, rows: 20, columns }).await;
    keeping
}

#[tokio::test]
async fn a_query_reads_all_versions_and_columns_have_short_names() {
    let keeping = churn().await;
    let sql = "select city, avg(leave) as mean, count(*) n from records where model = 'churn' group by city order by city";
    assert_eq!(keeping.csv(sql).await.unwrap(), "city,mean,n\nDelft,9.0,30\nUtrecht,10.0,30\n");
    let sql = "select in.city, out.leave, \"in.Big Name\" b from records where model = 'churn' and in.age = 7 order by id";
    assert_eq!(
        keeping.csv(sql).await.unwrap(),
        "in.city,out.leave,b\nUtrecht,7.0,7\nUtrecht,7.0,7\nUtrecht,7.0,7\n"
    );
    // An alias of one's own comes before the short name of a column.
    let sql = "with r as (select upper(city) as city from records where model = 'churn') select city from r limit 1";
    assert_eq!(keeping.csv(sql).await.unwrap(), "city\nDELFT\n");
    // Over all models: what has two types is text, and a name for two columns is none.
    assert_eq!(keeping.csv("select arrow_typeof(1)").await.unwrap_err().code, Code::BadQuery);
    let problem = keeping.csv("select leave from records").await.unwrap_err();
    assert_eq!(problem.message, "there is no column `leave`");
    assert!(problem.help.contains("leave"), "{}", problem.help);
    let sql = "select model, min(out.leave) from records group by model order by model";
    assert_eq!(
        keeping.csv(sql).await.unwrap(),
        "model,min(records.out.leave)\nchurn,0.0\nprice,text\n"
    );
    assert_eq!(keeping.csv("select count(*) from records").await.unwrap(), "count(*)\n80\n");
    // All columns, each once.
    let all = keeping.csv("select * from records where model = 'churn' limit 1").await.unwrap();
    let head = all.lines().next().unwrap();
    assert!(
        head.starts_with("id,row,rows,time,project,")
            && head.ends_with(",payload,in.city,in.age,out.leave,in.Big Name"),
        "{head}"
    );
    let all = keeping.csv("describe records").await.unwrap();
    assert!(all.contains("in.age,Float64,YES"), "{all}");
    let plan = keeping.csv("explain select id from records where status = 500").await.unwrap();
    assert!(plan.contains("status"), "{plan}");
}

#[tokio::test]
async fn functions_that_people_need_are_there() {
    let keeping = churn().await;
    for (sql, expected) in [
        (
            "select date_trunc('hour', time) h, count(*) from records where model = 'churn' group by h order by h limit 1",
            "20",
        ),
        (
            "select approx_percentile_cont(0.5) within group (order by leave) from records where model = 'churn'",
            "",
        ),
        ("select count(distinct city) from records where model = 'churn'", "2"),
        ("select lower(city) from records where city like 'D%' limit 1", "delft"),
        (
            "select case when status >= 500 then 'bad' else 'good' end s, count(*) from records group by s order by s",
            "bad,8",
        ),
        ("select cast(age as bigint) from records where model = 'churn' limit 1", ""),
        ("select extract(year from time) from records limit 1", "2026"),
        (
            "select substring('hello' from 2 for 2), position('l' in 'hello'), coalesce(null, 3), round(2.567, 1)",
            "el,3,3,2.6",
        ),
        ("select regexp_like('abc', 'b+'), concat('a', 1, null, 'b')", "true,a1b"),
        (
            "select concat(city, '-', status) from records where model = 'churn' order by id limit 1",
            "Delft-200",
        ),
        (
            "select row_number() over (order by id), lag(status) over (order by id) from records limit 1",
            "1,",
        ),
        ("select time - interval '1 hour' < now() from records limit 1", "true"),
        ("select sum(weight) filter (where status = 500) from records", "8.0"),
        ("select median(leave), stddev(leave) from records where model = 'churn'", "9.5,"),
        ("select 1 union all select 2 order by 1", "1\n2"),
        ("select * from gaps", "time,records,values,reason"),
    ] {
        let found = keeping.csv(sql).await.unwrap_or_else(|problem| panic!("{sql}: {problem:?}"));
        assert!(found.contains(expected), "{sql}: {found}");
    }
}

#[tokio::test]
async fn what_a_caller_may_not_see_is_not_there() {
    let keeping = churn().await;
    let seen: Seen = Arc::new(|model, _| model.project.as_str() == "fraud");
    let ask = |sql: &str| keeping.ask(Ask::Sql(sql.into()), Format::Csv, seen.clone());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let found = ask("select distinct model from records").await.unwrap();
    assert_eq!(text(found), "model\nprice\n");
    assert_eq!(
        text(ask("select count(*) from records where model = 'churn'").await.unwrap()),
        "count(*)\n0\n"
    );
    // Not even the names of its columns.
    let problem = ask("select city from records").await.unwrap_err();
    assert_eq!(problem.message, "there is no column `city`");
    let found =
        keeping.ask(Ask::Records(all_of("churn")), Format::Csv, seen.clone()).await.unwrap();
    assert_eq!(text(found).lines().count(), 1);
    let nothing: Seen = Arc::new(|_, _| false);
    let found = keeping.ask(Ask::Sql("select * from records".into()), Format::Json, nothing).await;
    assert_eq!(text(found.unwrap()), "[]\n");
}

#[tokio::test]
async fn records_of_a_model_come_newest_first() {
    let keeping = churn().await;
    let lines = |ask: RecordsAsk| async {
        let found = keeping.records(ask).await.unwrap();
        found.lines().map(String::from).collect::<Vec<_>>()
    };
    let all = lines(all_of("churn")).await;
    assert_eq!(all.len(), 60);
    assert!(all[0].contains("\"version\":\"v2\"") && all[59].contains("\"version\":\"v1\""));
    let ids: Vec<&str> = all.iter().map(|line| &line[7..43]).collect();
    assert!(ids.is_sorted_by(|one, other| one >= other), "{ids:?}");
    assert!(!all[0].contains("\"city\":") && all[0].contains("\"in.city\":"));
    assert_eq!(lines(RecordsAsk { rows_max: 3, ..all_of("churn") }).await, all[..3]);
    let second = Some(BEGIN_MS + HOUR_MS);
    let found = lines(RecordsAsk {
        since_ms: second,
        until_ms: Some(BEGIN_MS + 2 * HOUR_MS),
        ..all_of("churn")
    })
    .await;
    assert_eq!(found, all[20..40]);
    let found = lines(RecordsAsk { id: Some(ids[7].into()), ..all_of("churn") }).await;
    assert_eq!(found, all[7..8]);
    let found = lines(RecordsAsk { id: Some(ids[7][..13].into()), ..all_of("churn") }).await;
    assert_eq!(found, all[7..8]);
    let found = lines(RecordsAsk { key: Some("customer=3".into()), ..all_of("churn") }).await;
    assert_eq!(found.len(), 3);
    let condition = Some("status != 200 and in.city = 'Utrecht' and age > 10".to_string());
    assert_eq!(lines(RecordsAsk { condition, ..all_of("churn") }).await.len(), 3);
    for (condition, says) in [
        ("status !=", "Expected"),
        ("citty = 'x'", "citty"),
        ("id in (select id from records)", ""),
        ("true) or (true", "ends before"),
        ("status", ""),
    ] {
        let ask = RecordsAsk { condition: Some(condition.into()), ..all_of("churn") };
        let problem = keeping.records(ask).await.unwrap_err();
        assert_eq!(problem.code, Code::BadQuery, "{condition}: {problem:?}");
        assert!(problem.message.contains(says), "{condition}: {problem:?}");
    }
    assert_eq!(lines(all_of("nothing")).await.len(), 0);
}

/// Files that are not needed are not opened: they may be gone.
#[tokio::test]
async fn only_files_that_can_match_are_opened() {
    let keeping = churn().await;
    let broken = |path: &str| std::fs::write(keeping.path(path), b"no parquet").unwrap();
    broken("churn/v1/0.parquet");
    let first = id_of(BEGIN_MS + 2 * HOUR_MS, 0);
    let hour = "2026-";
    assert!(first.starts_with("01"), "{first} {hour}");
    let begin = jiff_text(BEGIN_MS + HOUR_MS);
    for condition in [
        "version = 'v2'".to_string(),
        "version in ('v2', 'v3')".to_string(),
        format!("id = '{first}'"),
        format!("id like '{}%'", &first[..13]),
        format!("time >= '{begin}'"),
        format!("time >= to_timestamp('{begin}')"),
        format!("time > '{begin}' and time <= '{begin}'::timestamptz + interval '1 hour'"),
        format!("time between '{begin}' and '{begin}'::timestamptz + interval '90 minutes'"),
        "project = 'fraud'".to_string(),
        "environment = 'staging'".to_string(),
        "time > now()".to_string(),
    ] {
        let sql = format!("select count(status) from records where {condition}");
        let found = keeping.csv(&sql).await;
        assert!(found.is_ok(), "{condition}: {found:?}");
    }
    let ask = RecordsAsk { since_ms: Some(BEGIN_MS + HOUR_MS), ..all_of("churn") };
    assert_eq!(keeping.records(ask).await.unwrap().lines().count(), 40);
    // The newest ten are in the newest file.
    let ask = RecordsAsk { rows_max: 10, ..all_of("churn") };
    assert!(keeping.records(ask).await.is_ok(), "older files are opened");
    let problem = keeping.csv("select count(status) from records").await.unwrap_err();
    assert_eq!(problem.code, Code::Store, "{problem:?}");
    std::fs::remove_file(keeping.path("churn/v1/0.parquet")).unwrap();
    let problem = keeping.csv("select count(status) from records").await.unwrap_err();
    assert_eq!(
        (problem.code, problem.help.as_str()),
        (Code::Conflict, "ask again"),
        "{}",
        problem.message
    );
}

fn jiff_text(ms: u64) -> String {
    // 1970-01-01 and so many seconds, by the database itself.
    let (days, seconds) = (ms / 86_400_000, ms / 1_000 % 86_400);
    let (mut year, mut rest) = (1970, days);
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while rest >= 365 + u64::from(leap(year)) {
        rest -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while rest >= lengths[month] {
        rest -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (seconds / 3_600, seconds / 60 % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:00Z", month + 1, rest + 1)
}

#[tokio::test]
async fn a_file_of_parquet_has_the_same_rows() {
    let keeping = churn().await;
    let sql = "select id, age, city from records where model = 'churn' order by id";
    let bytes = keeping.ask(Ask::Sql(sql.into()), Format::Parquet, everything()).await.unwrap();
    let reader = datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(
        bytes::Bytes::from(bytes),
        1_000,
    );
    let batches: Vec<_> = reader.unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 60);
    assert_eq!(batches[0].schema().field(1).data_type(), &DataType::Float64);
    let json = keeping.ask(Ask::Sql(sql.into()), Format::Json, everything()).await.unwrap();
    assert!(json.starts_with(b"[{\"id\":") && json.ends_with(b"}]\n"));
    let empty = keeping.ask(
        Ask::Sql("select id from records where false".into()),
        Format::Parquet,
        everything(),
    );
    assert!(empty.await.unwrap().starts_with(b"PAR1"));
}

/// A whole answer comes, however many pieces it has.
#[tokio::test]
async fn a_long_answer_comes_in_pieces() {
    let keeping = Keeping::new(Limits::default());
    let columns = vec![("in.n", Arc::new(Int64Array::from_iter_values(0..200_000)) as ArrayRef)];
    keeping.make(Made { model: "long", version: 1, hour: 0, rows: 200_000, columns }).await;
    let found = keeping.csv("select id, n from records order by n").await.unwrap();
    assert_eq!(found.lines().count(), 200_001);
    assert!(found.ends_with(",199999\n"));
    let sql = format!("select n from records where id = '{}'", id_of(BEGIN_MS + 77 * 18, 77));
    assert_eq!(keeping.csv(&sql).await.unwrap(), "n\n77\n");
    let sql = "select n from records where key = 'customer=123456'";
    assert_eq!(keeping.csv(sql).await.unwrap(), "n\n123456\n");
}

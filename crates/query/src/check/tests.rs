//! What is read as a question, and what is refused.

use domain::Code;

use super::*;

const BYTES_MAX: usize = 64 << 10;

#[track_caller]
fn refused(sql: &str, code: &Code, says: &str) {
    let problem = statement(sql, BYTES_MAX).unwrap_err();
    assert_eq!(problem.code, *code, "{sql}: {}", problem.message);
    assert!(problem.message.contains(says), "{sql}: {}", problem.message);
    assert!(!problem.help.is_empty());
}

#[test]
fn only_one_question_is_taken() {
    for sql in [
        "insert into records select * from gaps",
        "delete from records",
        "update records set id = 'x'",
        "drop table records",
        "create table x as select 1",
        "create external table x stored as parquet location '/etc'",
        "copy records to '/tmp/x'",
        "copy (select 1) to '/tmp/x.parquet'",
        "set datafusion.execution.batch_size = 1",
        "show tables",
        "explain delete from records",
        "prepare x as select 1",
        "execute x",
        "begin",
        "truncate table records",
        "load data inpath 'x' into table records",
    ] {
        let problem = statement(sql, BYTES_MAX).unwrap_err();
        assert_eq!(problem.code, Code::BadQuery, "{sql}");
    }
    refused("", &Code::BadQuery, "empty");
    refused(" -- nothing", &Code::BadQuery, "empty");
    refused("select 1; select 2", &Code::BadQuery, "more than one");
    refused("select 'a' || 'b'", &Code::BadQuery, "||");
    refused("select 'a", &Code::BadQuery, "");
    for sql in ["select 1", "select 1;", "explain select 1", "describe records", "values (1)"] {
        assert!(statement(sql, BYTES_MAX).is_ok(), "{sql}");
    }
}

#[test]
fn what_would_be_deep_is_refused_before_it_is_read() {
    let deep = |before: &str, middle: &str, after: &str, count: usize| {
        format!("select {}{middle}{}", before.repeat(count), after.repeat(count))
    };
    refused(&deep("(", "1", ")", 10_000), &Code::QueryLimit, "deep");
    refused(&deep("(", "1", "", 10_000), &Code::QueryLimit, "deep");
    refused(&format!("select * from {}", "(".repeat(25)), &Code::QueryLimit, "deep");
    refused(&deep("case when true then ", "1", " end", 500), &Code::QueryLimit, "deep");
    refused(&deep("[", "1", "]", 100), &Code::QueryLimit, "deep");
    for operator in ["+1", " or true", " and true", "::text", " is null", " - -1", "[1]"] {
        let sql = format!("select 1{}", operator.repeat(1_000));
        refused(&sql, &Code::QueryLimit, "operators");
    }
    refused(&deep("not ", "true", "", 1_000), &Code::QueryLimit, "operators");
    refused(&deep("- ", "1", "", 1_000), &Code::QueryLimit, "operators");
    refused(
        &format!("select 1{}", " union all select 1".repeat(1_000)),
        &Code::QueryLimit,
        "operators",
    );
    refused(
        &format!("select * from records {}", " join records".repeat(1_000)),
        &Code::QueryLimit,
        "operators",
    );
    refused(&format!("select {}", "1,".repeat(20_000)), &Code::QueryLimit, "words");
    refused(&format!("select '{}'", "x".repeat(BYTES_MAX)), &Code::QueryLimit, "bytes");
    let tables: Vec<String> = (0..40).map(|count| format!("records r{count}")).collect();
    refused(&format!("select 1 from {}", tables.join(",")), &Code::QueryLimit, "tables");
}

#[test]
fn the_deepest_that_is_allowed_is_read_soon() {
    // Queries run with stacks of that size.
    let reading = std::thread::Builder::new().stack_size(crate::queries::STACK_BYTES);
    reading.spawn(read_the_deepest).unwrap().join().unwrap();
}

fn read_the_deepest() {
    let begun = std::time::Instant::now();
    for (before, after) in [
        ("select * from ", ""),
        ("select ", ""),
        ("select * from records where ", ""),
        ("select * from records join ", " on true"),
        ("select 1 in ", ""),
        ("select f", ""),
        ("select array", ""),
        ("select cast", ""),
        ("select exists", ""),
    ] {
        for inner in ["1", "records", "select 1", "", "select 1 from"] {
            let depth = DEPTH_MAX;
            let sql = format!("{before}{}{inner}{}{after}", "(".repeat(depth), ")".repeat(depth));
            let _ = statement(&sql, BYTES_MAX);
            let _ = statement(&format!("{before}{}{inner}", "(".repeat(depth)), BYTES_MAX);
        }
    }
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn a_column_of_inputs_or_outputs_needs_no_quotes() {
    let read = |sql: &str| statement(sql, BYTES_MAX).unwrap().0.to_string();
    assert_eq!(
        read("select in.city, OUT.Leave from records where in.age in (1, 2)"),
        "SELECT \"in.city\", \"out.Leave\" FROM records WHERE \"in.age\" IN (1, 2)"
    );
    assert_eq!(
        read("select r.\"in.city\", 'in.x' from records r"),
        "SELECT r.\"in.city\", 'in.x' FROM records r"
    );
}

#[test]
fn a_condition_is_one_expression() {
    for good in ["status != 200", "in.city = 'Delft' and (leave > 0.5 or status in (1, 2))"] {
        assert!(expression(good, BYTES_MAX).is_ok(), "{good}");
    }
    for bad in
        ["", "status =", "true; delete from records", "true) or (true", "a b", "true limit 3"]
    {
        assert_eq!(expression(bad, BYTES_MAX).unwrap_err().code, Code::BadQuery, "{bad}");
    }
}

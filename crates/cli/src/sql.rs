//! `decalog records`, `decalog sql` and what else is asked of records: asks for rows, and shows them or writes them down.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use domain::{Code, Problem};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::{AskRecords, AskSql, AskVerb, RowsForm};
use crate::client::{Client, encoded};
use crate::layout::{Column, list};
use crate::rows::{Row, cell, grid};
use crate::show::{path_of, reference};
use crate::terminal::width;

/// Rows of a table of records if nothing is said.
const SHOWN: usize = 20;
/// Rows of a table; more are for programs.
const SHOWN_MAX: usize = 1_000;

/// Runs the verb.
pub fn run(client: &Client, verb: &AskVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        AskVerb::Records(options) => records(client, options, as_json),
        AskVerb::Sql(options) => sql(client, options, as_json),
        AskVerb::Replay(options) => crate::replay::run(client, options, as_json),
    }
}

/// `decalog records`
fn records(client: &Client, options: &AskRecords, as_json: bool) -> Result<(), Failure> {
    let form = Form::of(&options.form, as_json);
    let reference = reference(&options.model)?;
    let limit = options.limit.unwrap_or(match form {
        Form::Table => SHOWN,
        _ => usize::MAX,
    });
    let mut path =
        format!("{}/records?format={}&limit={limit}", path_of(&reference), form.format());
    for (name, value) in [
        ("since", &options.since),
        ("until", &options.until),
        ("where", &options.condition),
        ("key", &options.key),
        ("trace", &options.trace),
        ("id", &options.id),
    ] {
        if let Some(value) = value {
            path += &format!("&{name}={}", encoded(value));
        }
    }
    let answer = client.reader(&path)?;
    form.take(answer, |rows, is_cut| {
        if rows.is_empty() {
            eprintln!("no records\nNext: decalog predict {}, or a longer --since", options.model);
            return;
        }
        for line in list(&COLUMNS, &table(rows), &["ID", "VERSION"], width()) {
            println!("{line}");
        }
        if is_cut {
            eprintln!("… and more: --json, --csv and --parquet FILE have them all");
        }
    })
}

/// `decalog sql`
fn sql(client: &Client, options: &AskSql, as_json: bool) -> Result<(), Failure> {
    let form = Form::of(&options.form, as_json);
    let mut sql = options.sql.clone();
    if sql == "-" {
        sql.clear();
        io::stdin().read_to_string(&mut sql).map_err(|error| {
            Problem::new(Code::NoInput, format!("standard input cannot be read: {error}"))
        })?;
    }
    let body = json!({ "sql": sql, "format": form.format() });
    let (_, answer) = client.post_text("/v1/sql", &body.to_string())?;
    form.take(answer, |rows, is_cut| {
        grid(rows, width()).iter().for_each(|line| println!("{line}"));
        match (rows.len(), is_cut) {
            (0, _) => eprintln!("no rows"),
            (count, true) => {
                eprintln!("the first {count} rows: --json, --csv and --parquet FILE have them all");
            }
            _ => {}
        }
    })
}

/// Where rows go.
enum Form<'a> {
    Table,
    Json,
    Csv,
    Parquet(&'a Path),
}

impl Form<'_> {
    fn of(form: &RowsForm, as_json: bool) -> Form<'_> {
        match (&form.parquet, form.csv, as_json) {
            (Some(file), ..) => Form::Parquet(file),
            (None, true, _) => Form::Csv,
            (None, false, true) => Form::Json,
            (None, false, false) => Form::Table,
        }
    }

    /// As the server calls it.
    fn format(&self) -> &'static str {
        match self {
            Form::Table => "jsonl",
            Form::Json => "json",
            Form::Csv => "csv",
            Form::Parquet(_) => "parquet",
        }
    }

    fn take(&self, mut answer: impl Read, show: impl FnOnce(&[Row], bool)) -> Result<(), Failure> {
        match self {
            Form::Table => {
                let mut rows = vec![];
                let mut lines = BufReader::new(answer).lines();
                for line in lines.by_ref().take(SHOWN_MAX) {
                    let line = line.map_err(|error| broken_off(&error))?;
                    rows.push(Row::read(&line)?);
                }
                show(&rows, rows.len() == SHOWN_MAX && lines.next().is_some());
                Ok(())
            }
            Form::Json | Form::Csv => {
                let mut out = io::stdout().lock();
                copy(&mut answer, &mut out)?;
                Ok(())
            }
            Form::Parquet(file) => write_file(file, answer),
        }
    }
}

/// Writes a whole file, or none.
fn write_file(file: &Path, mut answer: impl Read) -> Result<(), Failure> {
    let unwritten = |error: io::Error| {
        Problem::new(Code::Failed, format!("{} cannot be written: {error}", file.display()))
            .help("name a file in a directory that you may write")
    };
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = file.with_file_name(name);
    let written =
        File::create(&part).map_err(unwritten).map_err(Failure::from).and_then(|mut out| {
            let bytes = copy(&mut answer, &mut out)?;
            std::fs::rename(&part, file).map_err(unwritten)?;
            Ok(bytes)
        });
    let bytes = written.inspect_err(|_| drop(std::fs::remove_file(&part)))?;
    eprintln!("{}: {}", file.display(), crate::terminal::bytes(bytes));
    Ok(())
}

/// What breaks off at the server is told from what cannot be written here.
fn copy(answer: &mut impl Read, out: &mut impl Write) -> Result<u64, Failure> {
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let read = answer.read(&mut buffer).map_err(|error| broken_off(&error))?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        match out.write_all(&buffer[..read]) {
            Ok(()) => {}
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(bytes),
            Err(error) => {
                let text = format!("the rows cannot be written: {error}");
                return Err(Problem::new(Code::Failed, text).into());
            }
        }
    }
    let _ = out.flush();
    Ok(bytes)
}

fn broken_off(error: &io::Error) -> Problem {
    Problem::new(Code::Interrupted, format!("the answer broke off: {error}")).help(
        "it may be over a limit: ask for less, by --since, -n or where; the server's log says more",
    )
}

const COLUMNS: [Column; 6] = [
    Column::words("TIME"),
    Column::words("ID"),
    Column::words("VERSION"),
    Column::figures("STATUS"),
    Column::figures("MS"),
    Column::words("INPUTS → OUTPUTS").down_to(20),
];
/// Of an id: its millisecond, by which `--id` finds it again.
const ID_CHARS: usize = 13;

fn table(rows: &[Row]) -> Vec<Vec<String>> {
    let text = |row: &Row, name: &str| row.get(name).map(cell).unwrap_or_default();
    let days: Vec<String> =
        rows.iter().map(|row| text(row, "time").chars().take(10).collect()).collect();
    let is_one_day = days.iter().all(|day| *day == days[0]);
    let line = |row: &Row| {
        let time: String = text(row, "time").chars().take(19).collect::<String>().replace('T', " ");
        let time = time.get(if is_one_day { 11 } else { 5 }..).unwrap_or_default().to_string();
        let ms = row.get("total_us").and_then(Value::as_f64).map(|us| milliseconds(us / 1_000.0));
        vec![
            time,
            text(row, "id").chars().take(ID_CHARS).collect(),
            text(row, "version"),
            text(row, "status"),
            ms.unwrap_or_default(),
            values(row),
        ]
    };
    rows.iter().map(line).collect()
}

fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

/// What was asked, and what came of it.
fn values(row: &Row) -> String {
    let of = |prefix: &str| {
        let own = row.0.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix)?;
            (!value.is_null() && !name.contains(':')).then(|| format!("{name}={}", cell(value)))
        });
        own.collect::<Vec<_>>().join(" ")
    };
    let mut came = of("out.");
    if came.is_empty() {
        let parts = ["code", "error"].map(|name| row.get(name).map(cell).unwrap_or_default());
        came = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    }
    let asked = match row.get("payload").and_then(Value::as_str) {
        Some(payload @ ("large" | "dropped")) => format!("({payload})"),
        _ => of("in."),
    };
    format!("{asked} → {came}").trim().to_string()
}

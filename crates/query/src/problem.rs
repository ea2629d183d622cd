//! What DataFusion says, in our words: what was wrong with the query, which limit it met, or what
//! failed here.

use datafusion::common::{DataFusionError, SchemaError};
use datafusion::error::DataFusionError as Error;
use domain::problem::excerpt;
use domain::{Code, Problem};

use crate::limits::Limits;
use crate::names::other_name;

/// Where the language is described.
const HELP: &str = "`decalog sql --help` has examples; docs/querying.md lists tables and columns";

/// The query cannot be one.
pub fn bad(text: impl AsRef<str>) -> Problem {
    let text = text.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
    Problem::new(Code::BadQuery, excerpt(&text).into_owned()).help(HELP)
}

/// The query is over a limit.
pub fn over(text: impl Into<String>) -> Problem {
    Problem::new(Code::QueryLimit, text).help(
        "ask for less: one model, a shorter time (`where time > now() - interval '1 hour'`), fewer groups, or a `limit`",
    )
}

/// It takes too long.
pub fn too_long(limits: &Limits) -> Problem {
    over(format!("the query takes longer than {} s", limits.time_ms_max / 1_000))
}

/// It was not the query's fault.
pub fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::error!("a query failed: {error}");
    Problem::new(Code::Internal, "the query could not be run").help("see the server's log")
}

/// What the files or the catalogue do not give.
pub fn unread(error: impl std::fmt::Display) -> Problem {
    let text = error.to_string();
    if text.contains("Object at location") && text.contains("not found") {
        return removed();
    }
    tracing::warn!("records could not be read: {text}");
    Problem::new(Code::Store, "records could not be read").help("see the server's log")
}

/// What was planned to be read was too old, and was removed.
fn removed() -> Problem {
    Problem::new(Code::Conflict, "some of these records were removed meanwhile").help("ask again")
}

/// An error of DataFusion.
pub fn of(error: &DataFusionError, limits: &Limits) -> Problem {
    if let Some(problem) = of_store(error) {
        return problem;
    }
    match error.find_root() {
        Error::ResourcesExhausted(text)
            if text.starts_with(crate::concat::TOO_LONG)
                || text.starts_with(crate::joins::TOO_LONG) =>
        {
            over(text)
        }
        Error::ResourcesExhausted(_) => over(format!(
            "the query needs more than {} MiB of memory",
            limits.memory_bytes_max >> 20
        )),
        Error::SchemaError(error, _) => of_schema(error),
        Error::Plan(text) if text.starts_with("table '") => {
            bad(format!("there is no such table: {text}"))
                .help("there are two: `records` and `gaps`")
        }
        Error::SQL(error, _) => bad(error.to_string().trim_start_matches("sql parser error: ")),
        Error::Plan(text)
        | Error::Execution(text)
        | Error::Configuration(text)
        | Error::NotImplemented(text) => bad(plain(text)),
        Error::ArrowError(error, _) => bad(error.to_string()),
        Error::Diagnostic(_, error) => of(error, limits),
        Error::ParquetError(error) => unread(error),
        Error::IoError(error) => unread(error),
        Error::Internal(text) => {
            tracing::debug!("DataFusion: {text}");
            bad("the query cannot be planned: write it in another way")
        }
        other => bad(plain(&other.strip_backtrace())),
    }
}

fn plain(text: &str) -> &str {
    let text = text.split("\n\nbacktrace:").next().unwrap_or(text);
    text.strip_prefix("Error during planning: ").unwrap_or(text)
}

fn of_schema(error: &SchemaError) -> Problem {
    let SchemaError::FieldNotFound { field, valid_fields } = error else {
        return bad(error.to_string());
    };
    let names = valid_fields.iter().map(|field| field.name.as_str());
    let near = domain::near::near_name(&field.name, names.clone());
    let problem = bad(format!("there is no column `{}`", excerpt(&field.name)));
    let mut own = names.filter(|name| other_name(name) == Some(&field.name));
    if let Some((one, other)) = own.next().zip(own.next()) {
        return problem.help(format!("there are two of this name: {one} and {other}"));
    }
    match near {
        Some(near) => problem.help(format!("did you mean \"{near}\"?")),
        None if field.name.chars().any(char::is_uppercase) => problem.help(HELP),
        None => problem.help(
            "`select * from records limit 1` shows the columns; one with capitals or spaces is written \"in.Name\"",
        ),
    }
}

/// The store's own errors, wherever they are wrapped.
fn of_store(error: &DataFusionError) -> Option<Problem> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let found = match error.downcast_ref::<object_store::Error>() {
            None => match error.downcast_ref::<DataFusionError>() {
                Some(DataFusionError::ObjectStore(error)) => Some(error.as_ref()),
                _ => None,
            },
            found => found,
        };
        match found {
            Some(object_store::Error::NotFound { .. }) => {
                return Some(removed());
            }
            Some(error) => return Some(unread(error)),
            None => next = error.source(),
        }
    }
    None
}

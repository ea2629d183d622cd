//! The binary `decalog`: verbs, configuration, wiring. The only place that reads variables and
//! configuration.

// First: what it defines holds in all that follow.
#[macro_use]
mod terminal;
mod testing;

mod access;
mod alarms;
mod alerting;
mod alerts;
mod answers;
mod args;
mod audit;
mod bisect;
mod check;
mod client;
mod data;
mod deploy;
mod developing;
mod diff;
mod directory;
mod drift;
mod duration;
mod entry;
mod evaluations;
mod events;
mod evidence;
mod exporting;
mod fields;
mod following;
mod git;
mod greeting;
mod handover;
mod hashing;
mod judged;
mod keeping;
mod keys;
mod layout;
mod lineage;
mod listening;
mod local;
mod login;
mod logs;
mod machine;
mod manual;
mod metrics;
mod new;
mod packages;
mod past;
mod platform;
mod predict;
mod processors;
mod profiling;
mod proposals;
mod provenance;
mod quality;
mod release;
mod removing;
mod replay;
mod rows;
mod sandbox;
mod senses;
mod servers;
mod sheet;
mod show;
mod sign;
mod socket;
mod sources;
mod sql;
mod stop;
mod trace;
mod training;
mod trust;
mod truth;
mod up;
mod upgrade;
mod variables;
mod verify;
mod watching;
mod why;
mod witness;
mod workers;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use domain::{Code, DataDirectory, Problem};

use args::{
    Arguments, CompareVerb, DevelopVerb, InternalVerb, LedgerVerb, LineageVerb, Verb, WatchVerb,
    WorkerVerb,
};

/// The exit status of a change that waits for approval.
const PROPOSED: u8 = 4;
/// The exit status of what cannot be understood, as it is for wrong options.
const NOT_UNDERSTOOD: u8 = 2;

/// How a verb fails.
pub enum Failure {
    /// Of the server, the model or the input: exit status 1.
    Problem(Problem),
    /// The server does not answer: exit status 3.
    Unreachable(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Failure {
        Failure::Problem(problem)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Problem(Problem::new(Code::Failed, format!("{error:#}")))
    }
}

fn main() -> ExitCode {
    if std::env::args_os().len() < 2 {
        // Whoever types the name alone wants to know how to begin, not all there is.
        let help = Arguments::command().get_after_help().map(ToString::to_string);
        eprintln!("{}\n\ndecalog --help lists all commands", help.unwrap_or_default());
        return ExitCode::from(NOT_UNDERSTOOD);
    }
    let arguments = Arguments::parse();
    if arguments.verb.prints() {
        // Output that nobody reads any more, as in `decalog ls | head`, ends the program quietly.
        // Those that serve get an error instead: a peer that goes away while something is written
        // to it is no reason to end. SAFETY: before any other thread exists.
        unsafe {
            let _ = nix::sys::signal::signal(
                nix::sys::signal::Signal::SIGPIPE,
                nix::sys::signal::SigHandler::SigDfl,
            );
        }
    }
    let result = run(arguments);
    let (problem, status) = match result {
        Ok(status) => return ExitCode::from(status),
        // It was asked for rightly, and waits for others.
        Err(Failure::Problem(problem)) if problem.code == Code::Proposed => {
            eprintln!("{problem}");
            return ExitCode::from(PROPOSED);
        }
        Err(Failure::Problem(problem)) => (problem, 1),
        Err(Failure::Unreachable(problem)) => (problem, 3),
    };
    tell(&problem);
    ExitCode::from(status)
}

/// Prints what is wrong, and what helps.
fn tell(problem: &Problem) {
    let text = format!("error: {problem}");
    let text = layout::wrapped(&terminal::escaped(&text), 2, terminal::error_width());
    let word = terminal::painted_error("error:", terminal::Colour::Red);
    std::eprintln!("{word}{}", text.trim_start_matches("error:"));
}

/// The token to ask with, if one is given.
fn token(is_typed: bool) -> Result<Option<String>, Problem> {
    if !is_typed {
        let text = std::env::var("DECALOG_TOKEN").unwrap_or_default();
        return Ok(Some(text.trim().to_string()).filter(|text| !text.is_empty()));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| {
        Problem::new(Code::BadOption, format!("no token could be read: {error}"))
    })?;
    match line.trim() {
        "" => Err(Problem::new(Code::BadOption, "no token was read from standard input")
            .help("decalog COMMAND --token - < FILE")),
        token => Ok(Some(token.to_string())),
    }
}

fn run(arguments: Arguments) -> Result<u8, Failure> {
    let (url, is_token_typed) = (arguments.url.as_deref(), arguments.token.is_some());
    let remote = || client::Client::new(url, token(is_token_typed)?);
    let json = arguments.json;
    match arguments.verb {
        Verb::Up(options) => return up::run(*options),
        Verb::Internal(InternalVerb::Supervise { data }) => {
            return Ok(supervisor::run(&DataDirectory::new(data)) as u8);
        }
        Verb::Internal(InternalVerb::Worker { verb: WorkerVerb::Onnx }) => {
            return Ok(workers::onnx() as u8);
        }
        Verb::Internal(InternalVerb::Worker { verb: WorkerVerb::Bridge { argv } }) => {
            return Ok(workers::bridge(argv) as u8);
        }
        Verb::Internal(InternalVerb::Enclose { probe, attack, program }) => {
            return sandbox::enclose(&probe, attack.as_deref(), &program);
        }
        Verb::Sandbox { verb } => sandbox::run(&remote()?, &verb, json)?,
        Verb::Internal(InternalVerb::Openapi) => terminal::print_json(&server::openapi::document()),
        Verb::Internal(InternalVerb::Manual { prefix }) => manual::run(&prefix)?,
        Verb::Login(options) => {
            let is_job = options.github || options.id_token.is_some();
            let token = if is_job { None } else { token(is_token_typed)? };
            login::login(&options, token)?
        }
        Verb::Dashboard { print } => login::dashboard(&remote()?, print, json)?,
        Verb::Logout { address } => login::logout(address.as_deref().or(url))?,
        Verb::New { name, runtime } => new::run(&name, runtime)?,
        Verb::Check { path, fix } => check::run(&path, fix, json)?,
        Verb::Deploy(options) => deploy::run(&remote()?, options)?,
        Verb::Sign(options) => sign::run(&options, json)?,
        Verb::Develop(DevelopVerb::Test(options)) => testing::run(&remote()?, &options, json)?,
        Verb::Develop(DevelopVerb::Watch(options)) => developing::watch(&remote()?, &options)?,
        Verb::Develop(DevelopVerb::Dev(options)) => developing::dev(&remote()?, &options)?,
        Verb::Release(options) => release::run(&remote()?, options, json)?,
        Verb::Promote { model, from, to, plan, detach } => {
            release::promote(&remote()?, &model, &from, &to, &plan, detach, json)?
        }
        Verb::Rollback { model, env } => {
            release::rollback(&remote()?, &model, env.as_deref(), json)?
        }
        Verb::Predict { reference, input, rows, csv } => {
            let wanted = predict::Wanted { input, rows, as_csv: csv };
            predict::run(&remote()?, &reference, &wanted)?
        }
        Verb::Feedback(options) => quality::feedback(&remote()?, options, json)?,
        Verb::Quality(options) => quality::quality(&remote()?, options, json)?,
        Verb::Ls { project } => show::models(&remote()?, project, json)?,
        Verb::Show { model, schema, row } => {
            let part = show::Part::of(schema, row);
            show::show(&remote()?, &model, part, json)?
        }
        Verb::Logs { model, follow, lines } => logs::run(&remote()?, &model, follow, lines, json)?,
        Verb::Events { model, kind, follow, after } => {
            events::run(&remote()?, events::Selection { model, kind, after }, follow, json)?
        }
        Verb::Alarms(verb) => alarms::run(&remote()?, verb, json)?,
        Verb::Rm { model, yes } => removing::run(&remote()?, &model, yes)?,
        Verb::Watch(WatchVerb::Metrics(options)) => metrics::run(&remote()?, &options, json)?,
        Verb::Watch(WatchVerb::Drift(options)) => drift::run(&remote()?, &options, json)?,
        Verb::Watch(WatchVerb::Why(options)) => why::run(&remote()?, &options, json)?,
        Verb::Env { verb } => variables::run(&remote()?, verb, json)?,
        Verb::Key { verb } => keys::run(&remote()?, verb, json)?,
        Verb::Status => platform::status(&remote()?, json)?,
        Verb::Doctor { data, verify: false, .. } => return platform::doctor(data, json),
        Verb::Doctor { data, store, .. } => return platform::doctor_verify(data, store, json),
        Verb::Upgrade { binary, data } => upgrade::run(&remote()?, binary, data, json)?,
        Verb::Stop { data } => stop::run(&remote()?, data, json)?,
        Verb::Gc => platform::collect(&remote()?, json)?,
        Verb::Backup { file } => platform::backup(&remote()?, &file)?,
        Verb::Restore { file, data, keep_tokens } => platform::restore(&file, data, keep_tokens)?,
        Verb::Recover { data } => platform::recover(data)?,
        Verb::Token { verb } => access::token(&remote()?, verb, json)?,
        Verb::Member { verb } => access::member(&remote()?, verb, json)?,
        Verb::Trust { verb } => trust::run(&remote()?, verb, json)?,
        Verb::Whoami => access::who_am_i(&remote()?, json)?,
        Verb::Can { words } => return access::can(&remote()?, &words, json),
        Verb::Proposals(options) => proposals::run(&remote()?, options, json)?,
        Verb::Approve { id } => proposals::approve(&remote()?, id, json)?,
        Verb::Reject { id, why } => proposals::reject(&remote()?, id, &why, json)?,
        Verb::Auth { verb } => access::auth(&remote()?, verb)?,
        Verb::Erase { verb } => access::erase(&remote()?, verb, json)?,
        Verb::Ledger { verb: LedgerVerb::Verify { head, checkpoint, key, data } } => {
            let expected = platform::Expected { head, checkpoint, key };
            platform::verify(&remote()?, expected, data, json)?
        }
        Verb::Ask(verb) => sql::run(&remote()?, &verb, json)?,
        Verb::Lineage(LineageVerb::Lineage(options)) => lineage::run(&remote()?, &options, json)?,
        Verb::Lineage(LineageVerb::Trace(options)) => trace::run(&remote()?, &options, json)?,
        Verb::Compare(CompareVerb::Diff(options)) => diff::run(&remote()?, &options, json)?,
        Verb::Compare(CompareVerb::Bisect(options)) => {
            return bisect::run(&remote()?, &options, json);
        }
        Verb::Audit { verb } => audit::run(&remote()?, verb, json)?,
    }
    Ok(0)
}

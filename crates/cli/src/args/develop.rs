//! What is done while a model is written: test it, and deploy it again with each change.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::{Code, ModelKey, Problem};

use crate::directory::ModelDirectory;

/// The verbs of whoever writes a model.
#[derive(Subcommand)]
pub enum DevelopVerb {
    /// Runs the test cases of a model directory on the server, without deploying it
    #[command(
        after_help = "A case is a file tests/NAME.json: {\"input\": {column: value}, \"expected\": {output: value}}.\nWhat is pushed is a version like any other; it gets no traffic, and decalog deploy would only take it live.\n\nExamples:\n  decalog test\n  decalog test churn\n  decalog test --accept young      the answer of the case young is right: write it down\n  decalog test --accept first      without any case: make one of a made-up row"
    )]
    Test(TestOptions),
    /// Deploys a model directory, and again whenever a file of it is saved
    #[command(
        after_help = "What fails is told, and what is live stays live. Ctrl-C ends it.\n\nExamples:\n  decalog watch\n  decalog watch churn --env staging"
    )]
    Watch(WatchOptions),
    /// Like watch, in an environment of its own, and prints what the model logs, with the row that failed
    #[command(
        after_help = "The environment is `dev` unless --env names another: ask it as MODEL@dev. Changes may break callers there.\n\nExamples:\n  decalog dev\n  decalog dev churn        and elsewhere: decalog predict churn@dev '{\"age\": 42}'"
    )]
    Dev(DevOptions),
}

/// A model directory, and what it is called on the server.
#[derive(Args)]
pub struct SourceOptions {
    /// The model directory
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The model's name [default: [model] name, or the directory's]
    #[arg(long)]
    pub name: Option<String>,
    /// The project
    #[arg(long, default_value = "default")]
    pub project: String,
}

impl SourceOptions {
    /// Which model it becomes a version of.
    pub fn key(&self, directory: &ModelDirectory) -> Result<ModelKey, Problem> {
        let bad = |error: domain::id::NameError| Problem::new(Code::BadName, error.to_string());
        let project = self.project.parse().map_err(bad)?;
        Ok(ModelKey { project, model: directory.name(self.name.as_deref())? })
    }
}

#[derive(Args)]
pub struct TestOptions {
    #[command(flatten)]
    pub source: SourceOptions,
    /// With the variables of which environment
    #[arg(long, default_value = "production")]
    pub env: String,
    /// Write the answer of this case down as the right one; may be given several times
    #[arg(long, value_name = "NAME")]
    pub accept: Vec<String>,
}

#[derive(Args)]
pub struct WatchOptions {
    #[command(flatten)]
    pub source: SourceOptions,
    /// The environment
    #[arg(long, default_value = "production")]
    pub env: String,
    /// Deploy even what breaks callers of the live version
    #[arg(long)]
    pub breaking: bool,
    /// Go live even if the model does not answer a made-up row
    #[arg(long)]
    pub untested: bool,
}

#[derive(Args)]
pub struct DevOptions {
    #[command(flatten)]
    pub source: SourceOptions,
    /// The environment
    #[arg(long, default_value = "dev")]
    pub env: String,
    /// Go live even if the model does not answer a made-up row
    #[arg(long)]
    pub untested: bool,
}

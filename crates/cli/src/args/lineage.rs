//! What is asked about where versions and predictions come from.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Whoever asks where something comes from.
#[derive(Subcommand)]
pub enum LineageVerb {
    /// Shows where a model's versions come from and where they went: data, code, packages, releases
    #[command(
        after_help = "It is made from the ledger alone, and from counts of requests: what nobody said is not there.\n\nExamples:\n  decalog lineage churn\n  decalog lineage churn@v3\n  decalog lineage churn --dot | dot -Tsvg > churn.svg\n  decalog lineage churn --openlineage churn.jsonl          events of OpenLineage, one a line\n  decalog lineage churn --openlineage http://marquez:5000  sends them there\n  decalog lineage churn@v3 --bom churn.cdx.json            CycloneDX, with a model card"
    )]
    Lineage(LineageOptions),
    /// Shows what a prediction comes from: version, code, data, release; and its truth
    #[command(
        after_help = "Of several that fit, it lists the newest; the id of one shows it whole.\n\nExamples:\n  decalog trace 0199a3f2-7c1d                         the id of a request, or how it begins\n  decalog trace --key customer=42\n  decalog trace 4bf92f3577b34da6a3ce929d0e0e4736      a W3C trace id, or a traceparent"
    )]
    Trace(TraceOptions),
}

#[derive(Args)]
pub struct LineageOptions {
    /// [project/]model[@environment][@vN]
    pub model: String,
    /// As a graph for Graphviz
    #[arg(long, conflicts_with_all = ["openlineage", "bom", "json"])]
    pub dot: bool,
    /// Events of OpenLineage: into a file, or to a server's /api/v1/lineage
    #[arg(long, value_name = "FILE|URL", conflicts_with_all = ["bom", "json"])]
    pub openlineage: Option<String>,
    /// A bill of materials of one version, as CycloneDX 1.6 in JSON
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub bom: Option<PathBuf>,
    /// Count requests of so long: 24h, 30d
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: String,
}

#[derive(Args)]
pub struct TraceOptions {
    /// The id of a request, how it begins, or a W3C trace id
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    pub id: Option<String>,
    /// What the prediction is known by elsewhere, as in customer=42
    #[arg(long, value_name = "NAME=VALUE")]
    pub key: Option<String>,
    /// Only predictions of [project/]model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}

//! Manifests as written: what is read, what is refused with which words, what makes another
//! version.

use super::*;

#[test]
fn empty_is_fine() {
    assert_eq!(Manifest::parse("").unwrap(), Manifest::default());
}

#[test]
fn full() {
    let manifest = Manifest::parse(
        r#"
        [model]
        name = "churn"
        runtime = "command"
        command = ["Rscript", "model.R"]
        path = "/predict"
        [schema]
        inputs = [{ name = "age", datatype = "INT64", shape = [] }]
        [batch]
        rows_max = 8
        mix = false
        [resources]
        threads = 2
        cpu_max = 1.5
        [tests]
        tolerance = 0.01
        [gates]
        p99_ms_max = 80
        [scale]
        max = 4
        slo_ms = 50
        [release]
        strategy = "instant"
        [env]
        LEVEL = "3"
        "#,
    );
    let manifest = manifest.unwrap();
    assert_eq!(manifest.schema.inputs[0].datatype, crate::Datatype::Int64);
    assert_eq!(manifest.gates.p99_ms_max, Some(80.0));
    assert_eq!(manifest.resources.cpu_max, Some(1.5));
}

#[test]
fn refusals_name_the_key() {
    for (text, expected) in [
        ("[resources]\ngpu = 1", "resources.gpu is not supported yet"),
        ("[batch]\nrows_max = 0", "batch.rows_max must be"),
        ("[resources]\ncpu_max = 0.01", "resources.cpu_max must be"),
        ("[resources]\ncpu_max = nan", "resources.cpu_max must be"),
        ("[resources]\nmemory_mb_max = 0", "resources.memory_mb_max must be"),
        ("[model]\nruntime = \"command\"", "model.command is missing"),
        ("[model]\nnaem = \"x\"", "unknown field `naem`"),
        ("[scale]\nmin = 3\nmax = 2", "scale.min is above"),
        ("[scale]\nmin = 4000000000", "scale.min must be at most 256"),
        ("[scale]\nmax = 257", "scale.max must be at most 256"),
        ("[scale]\nidle_s = 9223372036854775807", "scale.idle_s must be at most"),
        ("[release]\ncanary = [5]\nevery_s = 9223372036854775807", "release cannot be carried out"),
        ("[model]\nfile = \"../x\"", "model.file must be a path within"),
        ("[env]\n\"A-B\" = \"x\"", "env has `A-B`"),
        ("[model", "cannot be read"),
    ] {
        let message = Manifest::parse(text).unwrap_err().to_string();
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn only_what_affects_the_model_changes_its_digest() {
    let digest = |text| Manifest::parse(text).unwrap().model_digest();
    assert_eq!(digest(""), digest("[scale]\nmax = 4\n[model]\nname = \"x\""));
    assert_ne!(digest(""), digest("[resources]\nthreads = 4"));
}

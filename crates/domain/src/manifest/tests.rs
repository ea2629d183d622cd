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
    assert_eq!(manifest.schema.inputs[0].datatype, Some(crate::Datatype::Int64));
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

#[test]
fn training_data_are_one_name_or_several() {
    let names = |text: &str| Manifest::parse(&format!("[data]\ntrain = {text}\n"));
    assert_eq!(names("\"train.parquet\"").unwrap().data.train.0, ["train.parquet"]);
    let several = names("[\"a.csv\", \"../data/*.parquet\"]").unwrap();
    assert_eq!(several.data.train.0, ["a.csv", "../data/*.parquet"]);
    let text = serde_json::to_string(&several.data).unwrap();
    assert_eq!(text, r#"{"train":["a.csv","../data/*.parquet"]}"#);
    assert_eq!(serde_json::from_str::<DataSection>(&text).unwrap(), several.data);
    for (text, wrong) in [
        ("3", "a path, or a list of paths"),
        ("[\"\"]", "must be paths"),
        ("[\"a\", \"a\"]", "has `a` twice"),
        ("\"s3://lake/train.parquet\"", "data at an address are not read yet"),
        ("[\"https://host/train.csv\"]", "Copy them to a file"),
    ] {
        let refused = names(text).unwrap_err().to_string();
        assert!(refused.contains(wrong), "{text}: {refused}");
    }
    // It makes no other version: the files that were trained are what that depends on.
    assert_eq!(several.model_digest(), Manifest::default().model_digest());
}

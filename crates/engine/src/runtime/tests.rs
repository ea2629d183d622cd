//! What a directory is recognised as, by what lies in it and what its manifest says.

use super::*;

/// What a directory with these files is taken for: `runtime file`, or the error and its help.
fn recognised(files: &[&str], model: ModelSection) -> String {
    let directory = tempfile::tempdir().unwrap();
    files.iter().for_each(|file| std::fs::write(directory.path().join(file), "").unwrap());
    match recognise(directory.path(), &model) {
        Ok((runtime, file)) => {
            format!("{runtime} {}", file.unwrap_or_default()).trim_end().to_string()
        }
        Err(problem) => problem.to_string().replace(&directory.path().display().to_string(), "DIR"),
    }
}

fn said(runtime: Runtime) -> ModelSection {
    ModelSection { runtime: Some(runtime), ..ModelSection::default() }
}

#[test]
fn files_tell_the_runtime() {
    let silent = ModelSection::default;
    assert_eq!(recognised(&["model.py"], silent()), "python model.py");
    assert_eq!(
        recognised(&["model.py", "a.onnx", "b.joblib"], silent()),
        "python model.py",
        "the code loads the others"
    );
    assert_eq!(recognised(&["forest.joblib", "notes.txt"], silent()), "python forest.joblib");
    assert_eq!(recognised(&["net.onnx"], silent()), "onnx net.onnx");
    let several = "there are several models: a.pkl, b.onnx\nhelp: say which one with [model] file in decalog.toml";
    assert_eq!(recognised(&["b.onnx", "a.pkl"], silent()), several);
    let nothing = "there is no model in DIR\nhelp: it needs model.py with a function predict, a .joblib, .skops, .cbm, .ubj \
                   file or another that a library saved, an .onnx file, or [model] command in decalog.toml; decalog new NAME shows how";
    assert_eq!(recognised(&["notes.txt"], silent()), nothing);
}

#[test]
fn what_another_tool_serves_is_named_and_nothing_is_served_in_its_stead() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let silent = ModelSection::default();
    write("svc.joblib", "");
    write("train.ipynb", "{}");
    assert_eq!(recognise(directory.path(), &silent).unwrap().1.unwrap(), "svc.joblib");
    write("deployment.py", "class Deployment:\n    def request(self, data): ...\n");
    let problem = recognise(directory.path(), &silent).unwrap_err();
    assert_eq!(
        problem.message,
        "deployment.py is a UbiOps deployment, which is not served as it is"
    );
    assert!(problem.details.iter().any(|line| line == "from deployment import Deployment"));
    let named = ModelSection { file: Some("svc.joblib".into()), ..ModelSection::default() };
    assert_eq!(recognise(directory.path(), &named).unwrap().1.unwrap(), "svc.joblib");
    write("model.py", "");
    assert_eq!(recognise(directory.path(), &silent).unwrap().1.unwrap(), "model.py");
    for (file, what) in [
        ("cog.yaml", "a Cog model"),
        ("fit.rds", "an R object"),
        ("package.json", "a Node.js program"),
        (
            "net.pt",
            "a PyTorch file without its program (torch.jit.script(network).save(FILE) writes one with it)",
        ),
        (
            "net.h5",
            "a file of an earlier Keras (network.save(\"net.keras\") writes one that is served)",
        ),
        ("explore.ipynb", "a notebook"),
    ] {
        let told = recognised(&[file], ModelSection::default());
        assert!(told.starts_with(&format!("{file} is {what}, which is not served")), "{told}");
    }
}

#[test]
fn a_manifest_settles_what_files_do_not() {
    assert_eq!(recognised(&["model.py", "net.onnx"], said(Runtime::Onnx)), "onnx net.onnx");
    assert_eq!(recognised(&["net.onnx", "a.joblib"], said(Runtime::Python)), "python a.joblib");
    let program = ModelSection { command: vec!["serve".into()], ..ModelSection::default() };
    assert_eq!(recognised(&["model.py"], program), "command");
    let named = |file: &str| ModelSection { file: Some(file.into()), ..ModelSection::default() };
    assert_eq!(recognised(&["a.onnx", "b.onnx"], named("b.onnx")), "onnx b.onnx");
    assert_eq!(recognised(&["weights.bin"], named("weights.bin")), "python weights.bin");
    assert!(
        recognised(&[], named("gone.onnx"))
            .starts_with("[model] file names gone.onnx, which is not there")
    );
    assert!(
        recognised(&["model.py"], said(Runtime::Onnx)).ends_with("help: it needs an .onnx file")
    );
}

#[test]
fn what_is_written_as_an_example_is_recognised() {
    for runtime in Runtime::ALL {
        let directory = tempfile::tempdir().unwrap();
        let template = of(runtime).template();
        for (path, content) in template {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let manifest = template.iter().find(|(path, _)| *path == domain::manifest::MANIFEST_FILE);
        let manifest = manifest
            .map(|(_, text)| domain::Manifest::parse(std::str::from_utf8(text).unwrap()).unwrap());
        let found = recognise(directory.path(), &manifest.unwrap_or_default().model).unwrap();
        assert_eq!(found.0, runtime);
    }
}

//! Why a graph does not load, in words for its author, with the remedy.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use domain::{Code, Problem};

/// What a file begins with that Git LFS has not fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs";
/// The most neighbours that are named.
const NEIGHBOURS_MAX: usize = 8;

/// ONNX Runtime is missing or unfit.
pub fn library(path: &Path, error: impl Display) -> Problem {
    let what = if path.exists() {
        format!("ONNX Runtime cannot be loaded from {}", path.display())
    } else {
        format!("ONNX Runtime is not at {}", path.display())
    };
    Problem::new(Code::LoadFailed, what).details([error.to_string()]).help(
        "run `decalog doctor`, or point ORT_DYLIB_PATH at the libonnxruntime.so of `pip install onnxruntime` (1.24 or newer)",
    )
}

/// The file is not there, or is no graph at all: seen before ONNX Runtime is asked, which would say
/// less.
pub fn file(path: &Path) -> Option<Problem> {
    let name = path.display();
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let neighbours = neighbours(path);
            let help = match neighbours.is_empty() {
                true => "there is no *.onnx file next to it".to_string(),
                false => format!("files next to it: {}", neighbours.join(", ")),
            };
            return Some(
                Problem::new(Code::LoadFailed, format!("there is no file {name}")).help(help),
            );
        }
        Err(error) => {
            return Some(Problem::new(Code::LoadFailed, format!("{name} cannot be read: {error}")));
        }
    };
    let mut start = [0; LFS_POINTER.len()];
    if file.read(&mut start).is_ok_and(|count| count == start.len()) && start == *LFS_POINTER {
        let text = format!("{name} is a pointer of Git LFS, not the model itself");
        return Some(
            Problem::new(Code::LoadFailed, text).help("run `git lfs pull`, then deploy again"),
        );
    }
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Some(Problem::new(Code::LoadFailed, format!("{name} is empty")));
    }
    None
}

/// ONNX Runtime refuses the graph.
pub fn graph(path: &Path, error: impl Display) -> Problem {
    let said = error.to_string();
    let name = path.display();
    let (what, help) = if said.contains("Protobuf parsing failed") {
        (
            "is not an ONNX graph, or is damaged",
            "export it again and check it with `python -c \"import onnx; onnx.checker.check_model('FILE')\"`",
        )
    } else if said.contains("opset") && said.contains("under development") {
        (
            "uses a newer set of operators than ONNX Runtime knows",
            "export it with a lower opset, or use a newer ONNX Runtime by ORT_DYLIB_PATH",
        )
    } else if said.contains("is not a registered function/op") {
        (
            "uses an operator that ONNX Runtime does not have",
            "export it with standard operators only; custom operators are not supported",
        )
    } else if said.contains("external") || said.contains("model_path must not be empty") {
        (
            "needs a file of weights that cannot be read",
            "deploy the *.onnx.data file beside the graph, or export it as one file",
        )
    } else {
        (
            "cannot be loaded",
            "check it with `python -c \"import onnx; onnx.checker.check_model('FILE')\"`",
        )
    };
    let help = help.replace("FILE", &name.to_string());
    Problem::new(Code::LoadFailed, format!("{name} {what}"))
        .details(said.lines().map(String::from))
        .help(help)
}

fn neighbours(path: &Path) -> Vec<String> {
    let directory =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "onnx"))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.truncate(NEIGHBOURS_MAX);
    names
}

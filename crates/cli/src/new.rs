//! `decalog new`: small model directories that deploy as they are.

use std::path::Path;

use domain::Code;
use domain::{ModelName, Problem};

use crate::Failure;

const PYTHON: &[(&str, &str)] = &[
    (
        "model.py",
        "# The hints are the schema: `decalog check` prints it.\n\n\ndef predict(name: str, times: int = 1) -> str:\n    return \" \".join([f\"Hello, {name}!\"] * times)\n",
    ),
    ("tests/world.json", "{\"input\": {\"name\": \"world\"}, \"expected\": {\"output\": \"Hello, world!\"}}\n"),
];

const COMMAND: &[(&str, &str)] = &[
    (
        "decalog.toml",
        "[model]\ncommand = [\"python3\", \"serve.py\"]  # any program that listens on $PORT of 127.0.0.1\npath = \"/predict\"                     # takes and gives {\"rows\": [{...}]}\n\n[schema]\ninputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }]\noutputs = [{ name = \"double\", datatype = \"FP64\", shape = [] }]\n",
    ),
    (
        "serve.py",
        r#"import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"ready": True})

    def do_POST(self):
        rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["rows"]
        self.answer({"rows": [{"double": 2 * row["x"]} for row in rows]})

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#,
    ),
    ("tests/two.json", "{\"input\": {\"x\": 2}, \"expected\": {\"double\": 4}}\n"),
];

/// A classifier of handwritten digits.
const GRAPH: &[u8] = include_bytes!("../../../examples/digits-onnx/model.onnx");

/// Runs the verb.
pub fn run(name: &str, runtime: &str) -> Result<(), Failure> {
    let name: ModelName = name.parse().map_err(|error: domain::id::NameError| Problem::new(Code::BadName, error.to_string()))?;
    let directory = Path::new(name.as_str());
    if directory.exists() {
        let problem = Problem::new(Code::Exists, format!("{} is there already", directory.display()));
        return Err(problem.help("choose another name, or remove it first").into());
    }
    let write = |path: &str, content: &[u8]| -> Result<(), Problem> {
        let path = directory.join(path);
        let written = std::fs::create_dir_all(path.parent().unwrap_or(directory)).and_then(|()| std::fs::write(&path, content));
        written.map_err(|error| Problem::new(Code::Failed, format!("{} cannot be written: {error}", path.display())))
    };
    match runtime {
        "onnx" => write("model.onnx", GRAPH)?,
        "command" => COMMAND.iter().try_for_each(|(path, text)| write(path, text.as_bytes()))?,
        _ => PYTHON.iter().try_for_each(|(path, text)| write(path, text.as_bytes()))?,
    }
    eprintln!("{name}/ is written\nNext: decalog deploy {name}");
    Ok(())
}

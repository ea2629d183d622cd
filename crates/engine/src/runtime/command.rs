//! Any program that listens on a port and serves the Open Inference Protocol or plain JSON.

use super::*;

/// Runs `decalog worker bridge`, which runs the program and talks to it.
pub struct Command;

const TEMPLATE: &[(&str, &[u8])] = &[
    (
        "decalog.toml",
        b"[model]\ncommand = [\"python3\", \"serve.py\"]  # any program that listens on $PORT of 127.0.0.1\npath = \"/predict\"                     # takes and gives {\"rows\": [{...}]}\n\n[schema]\ninputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }]\noutputs = [{ name = \"double\", datatype = \"FP64\", shape = [] }]\n",
    ),
    (
        "serve.py",
        br#"import json
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
    ("tests/two.json", b"{\"input\": {\"x\": 2}, \"expected\": {\"double\": 4}}\n"),
];

impl RuntimeKind for Command {
    fn is_meant(&self, model: &ModelSection) -> bool {
        model.runtime.is_none() && !model.command.is_empty()
    }

    fn has_file(&self) -> bool {
        false
    }

    fn owns(&self, _: &Path, _: &str) -> bool {
        false
    }

    fn needs(&self) -> &'static str {
        "[model] command in decalog.toml"
    }

    fn has_environment(&self, tree: &Path) -> bool {
        crate::packages::is_of_python(tree)
    }

    fn warmest(&self) -> (Temperature, Option<&'static str>) {
        (Temperature::Cold, Some("runtime command does not fork"))
    }

    fn is_asked_in_company(&self) -> bool {
        true
    }

    fn program(
        &self,
        start: &Start,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<Vec<String>, EngineError> {
        variables.insert("PORT".into(), free_port()?.to_string());
        variables.extend(start.spec.path.clone().map(|path| ("DECALOG_PATH".into(), path)));
        let bridge = [text(&start.config.program), "worker".into(), "bridge".into(), "--".into()];
        Ok([bridge.as_slice(), start.spec.command.as_slice()].concat())
    }

    fn template(&self) -> &'static [(&'static str, &'static [u8])] {
        TEMPLATE
    }
}

//! What other tools serve and Decalog does not: named, with what to do and a stub to start from, so
//! that nothing else of the directory is served in its stead.

use std::path::Path;

use domain::{Code, Problem};

/// The most of a source file that is searched, in bytes.
const SOURCE_BYTES_MAX: usize = 1 << 20;

/// A kind of model that is recognised.
struct Foreign {
    /// As in `this is …`.
    what: &'static str,
    /// The file that it is known by: a name, or `*.suffix`.
    files: &'static [&'static str],
    /// What the file must have in it, one of these; empty if its name says all.
    words: &'static [&'static str],
    /// What to do.
    help: &'static str,
    /// What to start from, with `FILE` for the file.
    stub: &'static str,
}

const AS_MODEL: &str = "start from this model.py, and correct the columns";
const AS_COMMAND: &str = "start from this decalog.toml: it runs the program, and sends it plain JSON; \
                          see docs/protocols.md#any-program";

const BENTO: &str = "import joblib\n\nmodel = joblib.load(\"model.joblib\")  # what the service loads from its store\n\n\n\
               def predict(age: int, income: float) -> float:\n    return model.predict([[age, income]])[0]";

/// Programs: they say how a model is called, so a saved model beside them is not the whole of it.
const PROGRAMS: &[Foreign] = &[
    Foreign {
        what: "a Cog model",
        files: &["cog.yaml"],
        words: &[],
        help: AS_MODEL,
        stub: "from predict import Predictor\n\npredictor = Predictor()\npredictor.setup()\n\n\n\
               def predict(text: str) -> str:\n    return predictor.predict(text)",
    },
    Foreign {
        what: "a BentoML service",
        files: &["bentofile.yaml"],
        words: &[],
        help: AS_MODEL,
        stub: BENTO,
    },
    Foreign {
        what: "a BentoML service",
        files: &["service.py"],
        words: &["import bentoml", "from bentoml"],
        help: AS_MODEL,
        stub: BENTO,
    },
    Foreign {
        what: "a UbiOps deployment",
        files: &["deployment.py"],
        words: &["class Deployment"],
        help: AS_MODEL,
        stub: "from deployment import Deployment\n\ndeployment = Deployment(\".\", {})\n\n\n\
               def predict(age: int, income: float) -> dict[str, float]:\n    \
               return deployment.request({\"age\": age, \"income\": income})",
    },
    Foreign {
        what: "a SageMaker entry point",
        files: &["inference.py", "code/inference.py"],
        words: &["def model_fn", "def predict_fn"],
        help: AS_MODEL,
        stub: "from inference import model_fn, predict_fn\n\nmodel = model_fn(\".\")\n\n\n\
               def predict(age: int, income: float) -> float:\n    return predict_fn([[age, income]], model)[0]",
    },
    Foreign {
        what: "a program with a web framework of its own",
        files: &["app.py", "main.py", "server.py", "serve.py", "api.py"],
        words: &[
            "import fastapi",
            "from fastapi",
            "import flask",
            "from flask",
            "from litserve",
            "import litserve",
        ],
        help: AS_COMMAND,
        stub: "[model]\ncommand = [\"sh\", \"-c\", \"uvicorn main:app --port $PORT\"]\npath = \"/predict\"  # takes and gives {\"rows\": [{...}]}\n\n\
               [schema]\ninputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }]",
    },
    Foreign {
        what: "an R program",
        files: &["plumber.R", "app.R", "api.R"],
        words: &[],
        help: AS_COMMAND,
        stub: "[model]\ncommand = [\"Rscript\", \"FILE\"]  # it listens on $PORT of 127.0.0.1\npath = \"/predict\"  # takes and gives {\"rows\": [{...}]}\n\n\
               [schema]\ninputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }]",
    },
    Foreign {
        what: "a Node.js program",
        files: &["package.json"],
        words: &[],
        help: AS_COMMAND,
        stub: "[model]\ncommand = [\"node\", \"index.js\"]  # it listens on process.env.PORT of 127.0.0.1\npath = \"/predict\"  # takes and gives {\"rows\": [{...}]}\n\n\
               [schema]\ninputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }]",
    },
];

/// Files that tell nothing of a model beside them, which is served if there is one.
const FILES: &[Foreign] = &[
    Foreign {
        what: "a PyTorch file without its program (torch.jit.script(network).save(FILE) writes one with it)",
        files: &["*.pt", "*.pth"],
        words: &[],
        help: AS_MODEL,
        stub: "import numpy as np\nimport torch\nfrom network import Network\n\nnetwork = Network()\nnetwork.load_state_dict(torch.load(\"FILE\", weights_only=True))\nnetwork.eval()\n\n\n\
               def predict(x: np.ndarray) -> np.ndarray:\n    with torch.no_grad():\n        \
               return network(torch.from_numpy(x.astype(\"float32\"))).numpy()",
    },
    Foreign {
        what: "a file of an earlier Keras (network.save(\"net.keras\") writes one that is served)",
        files: &["*.keras", "*.h5"],
        words: &[],
        help: AS_MODEL,
        stub: "import keras\nimport numpy as np\n\nnetwork = keras.saving.load_model(\"FILE\")\n\n\n\
               def predict(x: np.ndarray) -> np.ndarray:\n    return network.predict(x, verbose=0)",
    },
    Foreign {
        what: "an R object",
        files: &["*.rds", "*.RData", "*.rda"],
        words: &[],
        help: "start from this decalog.toml and a serve.R that loads the file; examples/linear-r is one",
        stub: "[model]\ncommand = [\"Rscript\", \"serve.R\"]  # readRDS(\"FILE\"), and listens on $PORT of 127.0.0.1\npath = \"/predict\"  # takes and gives {\"rows\": [{...}]}\n\n\
               [schema]\ninputs = [{ name = \"x\", datatype = \"FP64\", shape = [] }]",
    },
    Foreign {
        what: "a PMML document",
        files: &["*.pmml"],
        words: &[],
        help: AS_MODEL,
        stub: "from pypmml import Model\n\nmodel = Model.load(\"FILE\")\n\n\n\
               def predict(age: int, income: float) -> float:\n    return model.predict({\"age\": age, \"income\": income})[\"predicted\"]",
    },
    Foreign {
        what: "weights without a program",
        files: &["*.safetensors", "*.gguf"],
        words: &[],
        help: AS_MODEL,
        stub: "from safetensors.numpy import load_file\n\nweights = load_file(\"FILE\")\n\n\n\
               def predict(x: list[float]) -> float:\n    return float(weights[\"w\"] @ x)",
    },
    Foreign {
        what: "a notebook",
        files: &["*.ipynb"],
        words: &[],
        help: "start from this model.py with what the last cells of the notebook do; save what it has trained with joblib",
        stub: "import joblib\n\nmodel = joblib.load(\"model.joblib\")  # joblib.dump(model, \"model.joblib\") in the notebook\n\n\n\
               def predict(age: int, income: float) -> float:\n    return model.predict([[age, income]])[0]",
    },
];

/// What to tell of a directory that has a program of another tool; `names` are its files.
pub fn program(directory: &Path, names: &[String]) -> Option<Problem> {
    PROGRAMS.iter().find_map(|kind| told(kind, directory, names))
}

/// What to tell of a directory that has no model, but a file that another tool reads.
pub fn file(directory: &Path, names: &[String]) -> Option<Problem> {
    FILES.iter().find_map(|kind| told(kind, directory, names))
}

/// Whether a source file has one of some words in it.
fn has_one(path: &Path, words: &[&str]) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SOURCE_BYTES_MAX)]);
    words.iter().any(|word| text.contains(word))
}

fn told(kind: &Foreign, directory: &Path, names: &[String]) -> Option<Problem> {
    let is_it = |name: &String| kind.words.is_empty() || has_one(&directory.join(name), kind.words);
    let found = kind.files.iter().find_map(|wanted| match wanted.strip_prefix('*') {
        Some(suffix) => names.iter().find(|name| name.ends_with(suffix) && is_it(name)).cloned(),
        None => {
            Some(wanted.to_string()).filter(|name| directory.join(name).is_file() && is_it(name))
        }
    })?;
    let message = format!("{found} is {}, which is not served as it is", kind.what);
    let stub = kind.stub.replace("FILE", &found);
    Some(
        Problem::new(Code::BadModel, message)
            .details(stub.lines().map(String::from))
            .help(format!("{}; or name another file with [model] file in decalog.toml", kind.help)),
    )
}

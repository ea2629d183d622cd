"""Native files without code, and what other tools serve."""

import json

from . import At, section
from .libraries import ROW


def truth_as_a_tensor(platform, model):
    """Asks with a tensor of BOOL for a column of numbers, in JSON and in binary."""
    answers = []
    for vip, blob in ([True], b""), (None, b"\1"):
        binary = {"parameters": {"binary_data_size": 1}} if vip is None else {"data": vip}
        inputs = [
            {"name": "monthly_charge", "datatype": "FP64", "shape": [1], "data": [4.5]},
            {"name": "calls", "datatype": "FP64", "shape": [1], "data": [3]},
            {"name": "vip", "datatype": "BOOL", "shape": [1], **binary},
            {"name": "plan", "datatype": "BYTES", "shape": [1], "data": ["free"]},
        ]
        body = json.dumps({"inputs": inputs}).encode()
        headers = {"Inference-Header-Content-Length": str(len(body))} if blob else {}
        answer = platform.request("POST", f"/v2/models/{model}/infer", body + blob, headers)
        assert answer.status == 200, answer.body
        answers.append(answer.json()["outputs"])
    assert answers[0] == answers[1]
    return "a BOOL tensor will do for `vip`, a column of FP64"


kind = section("Files without code")

kind("extreme_json", "XGBoost's own `extreme.json`, nothing else", {"extreme.json": At("extreme.json")}, ROW,
     At("extreme.json"), schema=["vip: BOOL", "monthly charge: FP64?"])
kind("extreme_binary", "XGBoost's own `extreme.ubj`", {"extreme.ubj": At("extreme.ubj")}, ROW, At("extreme.ubj"))
kind("light_text", "LightGBM's own `light.txt`", {"light.txt": At("light.txt")},
     {"monthly_charge": 4.5, "calls": 3, "vip": True, "plan": "free"}, At("light.txt"), schema=["plan: BYTES?"],
     more=truth_as_a_tensor)
kind("cats", "CatBoost's own `cats.cbm`", {"cats.cbm": At("cats.cbm")}, ROW, At("cats.cbm"),
     schema=["monthly charge: FP64?", 'probability[0] is of "leave"'])
kind("skops", "a pipeline in a `.skops` file", {"pipeline.skops": At("pipeline.skops")}, ROW, At("pipeline.skops"))
kind("metrics_beside", "a pipeline beside `metrics.json` and `notes.txt`, which are no models",
     {"line.joblib": At("line.joblib"), "metrics.json": '{"auc": 0.9}', "notes.txt": "tree of life\n"}, {"calls": 3}, At("line.joblib"))
kind("two_files", "two models in one directory", {"a.ubj": At("extreme.ubj"), "b.cbm": At("cats.cbm")},
     refused=["there are several models: a.ubj, b.cbm", "[model] file"])

kind("mlflow", "a directory that MLflow saved: `MLmodel`, `model.skops`, `requirements.txt`",
     {"MLmodel": At("mlflow/MLmodel"), "model.skops": At("mlflow/model.skops"), "requirements.txt": At("mlflow/requirements.txt")},
     {"calls": 3}, At("mlflow"), schema=["calls: INT64"], is_heavy=True)

KERAS = {"requirements.txt": "keras==3.15.1\nscipy\njax\n"}
kind("keras", "Keras' own `net.keras`, with what it is to calculate with in `requirements.txt`", {"net.keras": At("net.keras"), **KERAS},
     {"age": 3.0, "place": [1, 2]}, At("net.keras"), schema=["age: FP32", "place: INT32[2]"])
kind("keras_alone", "Keras' own `net.keras`, nothing else: TensorFlow is installed", {"net.keras": At("net.keras")},
     {"age": 3.0, "place": [1, 2]}, At("net.keras"), is_heavy=True)

kind = section("What other tools serve")

PICKLE = {"svc.joblib": At("pipeline.joblib")}
kind("ubiops", "a UbiOps `deployment.py` beside a saved model: the code is not ignored",
     {"deployment.py": "class Deployment:\n    def __init__(self, base_directory, context): ...\n    def request(self, data): ...\n", **PICKLE},
     refused=["deployment.py is a UbiOps deployment", "from deployment import Deployment"])
kind("cog", "a Cog model", {"cog.yaml": 'predict: "predict.py:Predictor"\n', "predict.py": "class Predictor: ...\n", **PICKLE},
     refused=["cog.yaml is a Cog model", "predictor.setup()"])
kind("bento", "a BentoML service", {"service.py": "import bentoml\n", **PICKLE}, refused=["service.py is a BentoML service"])
kind("sagemaker", "a SageMaker entry point", {"inference.py": "def model_fn(directory): ...\n", **PICKLE},
     refused=["inference.py is a SageMaker entry point", "model_fn(\".\")"])
kind("fastapi", "a FastAPI program beside a saved model", {"main.py": "from fastapi import FastAPI\n", **PICKLE},
     refused=["main.py is a program with a web framework of its own", "command ="])
kind("node", "a Node.js program", {"package.json": "{}", "index.js": ""}, refused=["package.json is a Node.js program", "process.env.PORT"])
kind("plumber", "an R program", {"plumber.R": "#* @post /predict\n"}, refused=["plumber.R is an R program", "Rscript"])
kind("rds", "an R object", {"fit.rds": b"\x1f\x8b"}, refused=["fit.rds is an R object", "readRDS"])
kind("notebook", "a notebook alone", {"train.ipynb": "{}"}, refused=["train.ipynb is a notebook", "joblib.dump"])
kind("notebook_beside", "a notebook beside the model that it saved", {"train.ipynb": "{}", "line.joblib": At("line.joblib")},
     {"calls": 3}, At("line.joblib"))
kind("weights", "what PyTorch saved without its program", {"net.pt": b"PK"}, refused=["net.pt is a PyTorch file without its program", "load_state_dict"])
kind("hdf", "a file of an earlier Keras", {"net.h5": b"HDF"}, refused=["net.h5 is a file of an earlier Keras", "keras.saving.load_model"])
kind("nothing", "notes alone", {"notes.txt": "nothing\n"}, refused=["there is no model in", "model.py with a function predict"])

"""Files that a library saves a model to by itself: which library reads them, and which packages that takes.

It looks at the files alone, and imports none of the libraries before a model is loaded.
"""

import re
import zipfile
from pathlib import Path

from .standard import json, struct

MLFLOW_FILE = "MLmodel"
PICKLES = (".joblib", ".pkl", ".pickle")
LIBRARIES = {".json": "xgboost", ".ubj": "xgboost", ".txt": "lightgbm", ".cbm": "catboost", ".skops": "skops",
             ".keras": "keras", ".pt": "torch", ".pth": "torch"}  # fmt: skip
NETWORKS = ("keras", "torch")  # those that are called with tensors, and answer some
XGBOOST_CPU_SINCE = (3, 0)  # from here on there is a package without the libraries of GPUs


def library_of(path):
    """The library that reads a file by its own format; None for a pickle or a program."""
    return "mlflow" if path.name == MLFLOW_FILE else LIBRARIES.get(path.suffix)


def read_native(path):
    """The model in a file, by its library's own reader."""
    library = library_of(path)
    if library == "xgboost":
        import xgboost

        return xgboost.Booster(model_file=str(path))
    if library == "lightgbm":
        import lightgbm

        return lightgbm.Booster(model_file=str(path))
    if library == "catboost":
        return read_catboost(path)
    if library == "mlflow":
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(str(path.parent))
    import skops.io

    # As with a pickle: whoever may deploy a model decides what it runs.
    return skops.io.load(str(path), trusted=skops.io.get_untrusted_types(file=str(path)))


def read_catboost(path):
    import catboost

    model = catboost.CatBoost().load_model(str(path))
    loss = model.get_all_params().get("loss_function", "")
    if loss.split(":")[0] in ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll"):
        return catboost.CatBoostClassifier().load_model(str(path))
    return model


def packages_of(path):
    """The lines of a requirements.txt that a file's own format tells."""
    library = library_of(path)
    if library == "xgboost":
        version = xgboost_version(path)
        if version is None:
            return ["xgboost", "pandas"]
        name = "xgboost-cpu" if version >= XGBOOST_CPU_SINCE else "xgboost"
        return ["%s==%s" % (name, ".".join(map(str, version))), "pandas"]
    if library == "skops":
        return skops_packages(path)
    if library == "keras":
        # The backend that has all layers; a requirements.txt may name another one.
        return ["keras==" + keras_version(path), "tensorflow-cpu"]
    if library == "torch":
        return ["torch", "numpy"]
    return [library, "pandas"] if library else []


def xgboost_version(path):
    """The version that wrote a file, as its end says."""
    if path.suffix == ".json":
        found = re.search(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]', path.read_bytes())
        return tuple(map(int, found.groups())) if found else None
    data = path.read_bytes()
    at = data.rfind(b"version[#L")
    found = data[at + 18 : at + 24] if at >= 0 else b""
    return struct.unpack("xBxBxB", found) if re.match(rb"(i.){3}\Z", found, re.S) else None


def keras_version(path):
    """The version that wrote a file."""
    with zipfile.ZipFile(str(path)) as archive:
        return json.loads(archive.read("metadata.json").decode())["keras_version"]


def skops_packages(path):
    """Of scikit-learn the version that the file was written with, and what else it has classes of."""
    with zipfile.ZipFile(str(path)) as archive:
        text = archive.read("schema.json").decode()
    version = re.search(r'"_sklearn_version"\s*:\s*\{.*?"content"\s*:\s*"\\?"?([\d.]+\w*)', text, re.S)
    modules = {name.split(".")[0] for name in re.findall(r'"__module__"\s*:\s*"([\w.]+)"', text)}
    others = {"xgboost": "xgboost-cpu", "lightgbm": "lightgbm", "catboost": "catboost"}
    found = ["scikit-learn==" + version.group(1) if version else "scikit-learn", "skops"]
    found += [others[name] for name in sorted(modules) if name in others]
    return found + (["pandas"] if "feature_names_in_" in text else [])


def mlflow_columns(root):
    """The input columns that an MLflow model's signature has, or None."""
    text = (Path(root) / MLFLOW_FILE).read_text()
    found = re.search(r"^  inputs: (.*(?:\n    .*)*)", text, re.M)
    if not found:
        return None
    said = " ".join(line.strip() for line in found.group(1).splitlines()).strip()
    if said[:1] == "'":
        said = said[1:-1].replace("''", "'")
    try:
        columns = [mlflow_column(item) for item in json.loads(said)]
    except (ValueError, KeyError, TypeError):
        return None
    return None if None in columns else columns


MLFLOW_DATATYPES = {"boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64",
                    "string": "BYTES", "binary": "BYTES", "datetime": "timestamp"}  # fmt: skip
NUMPY_DATATYPES = {"bool": "BOOL", "int32": "INT32", "int64": "INT64", "float32": "FP32", "float64": "FP64",
                   "uint8": "UINT8", "str": "BYTES", "object": "BYTES"}  # fmt: skip


def mlflow_column(item):
    """A column by its entry in a signature; None if it has no datatype here."""
    if item["type"] == "tensor":
        told = item["tensor-spec"]
        datatype, shape = NUMPY_DATATYPES.get(told["dtype"]), list(told["shape"][1:])
    else:
        datatype, shape = MLFLOW_DATATYPES.get(item["type"]), []
    if datatype is None:
        return None
    column = {"name": item.get("name") or "x", "datatype": datatype, "shape": shape}
    if item.get("required", True) is False or item.get("optional"):
        column["nullable"] = True
    return column

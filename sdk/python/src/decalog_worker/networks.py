"""Networks that Keras or TorchScript saved without any code: tensors in, tensors out."""

import importlib.util

from .native import library_of
from .problem import Problem
from .readers import array_reader
from .saved import SavedForm
from .schema import merged
from .standard import os

#: What Keras can calculate with, the most complete first; numpy is there in any case.
BACKENDS = ("tensorflow", "torch", "jax")
DATATYPES = {"bool": "BOOL", "string": "BYTES", "float16": "FP16", "bfloat16": "BF16", "float32": "FP32",
             "float64": "FP64", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
             "uint8": "UINT8"}  # fmt: skip


class NetworkForm(SavedForm):
    """A loaded network. `call` takes an array for each input, and gives arrays by the names of the outputs."""

    def __init__(self, call, inputs, root):
        super().__init__({"inputs": inputs, "outputs": []}, root)
        self.network = call

    def readers(self, slots, rows):
        return [array_reader(slot, column, None, rows) for slot, column in zip(slots, self.schema["inputs"])]

    def names(self):
        return [column["name"] for column in self.schema["inputs"]]

    def call(self, values, rows):
        return self.network(values)


def read_network(path, said, root):
    """The form of a network in a file; `said` are the manifest's columns."""
    call, inputs = (read_keras if library_of(path) == "keras" else read_torchscript)(path)
    inputs = merged(inputs, said)
    open_ended = [column["name"] for column in inputs if column.get("shape") is None]
    if open_ended or not inputs:
        name = open_ended[0] if open_ended else "x"
        raise Problem(
            "no_columns",
            "%s does not tell the shape of its input `%s`" % (path.name, name),
            help='add it to decalog.toml, as in [schema] inputs = [{ name = "%s", datatype = "FP32", shape = [4] }]; '
            "-1 stands for any length" % name,
        )
    return NetworkForm(call, inputs, root)


def read_keras(path):
    if "KERAS_BACKEND" not in os.environ:
        found = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
        # Without compilation for each size of a batch, numpy answers sooner than JAX.
        os.environ["KERAS_BACKEND"] = found[0] if found and found[0] != "jax" else "numpy"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    model = keras.saving.load_model(str(path), compile=False)
    inputs = [keras_column(one) for one in getattr(model, "inputs", None) or []]
    names = [str(name) for name in getattr(model, "output_names", None) or []]
    by_name = inputs and isinstance(model.input, dict)

    def call(values):
        if by_name:
            given = {column["name"]: value for column, value in zip(inputs, values)}
        else:
            given = values[0] if len(values) == 1 else list(values)
        return named(model(given, training=False), names, keras.ops.convert_to_numpy)

    return call, inputs


def keras_column(tensor):
    shape = [-1 if size is None else int(size) for size in tensor.shape[1:]]
    return {"name": str(tensor.name), "datatype": DATATYPES.get(str(tensor.dtype), "FP32"), "shape": shape}


def read_torchscript(path):
    import torch

    network = torch.jit.load(str(path), map_location="cpu").eval()
    # The file has no more of an input than its name, and that it is a tensor.
    arguments = [one for one in network.forward.schema.arguments[1:] if not one.has_default_value()]
    inputs = [{"name": one.name, "datatype": "FP32"} for one in arguments]

    def call(values):
        with torch.inference_mode():
            # What is not writable is only read.
            answer = network(*[torch.from_numpy(value if value.flags.writeable else value.copy()) for value in values])
        return named(answer, [], lambda tensor: tensor.numpy())

    return call, inputs


def named(answer, names, as_array):
    """The outputs of a network by name: `output` if there is only one."""
    if isinstance(answer, dict):
        return {str(name): as_array(value) for name, value in answer.items()}
    if not isinstance(answer, (list, tuple)):
        return {"output": as_array(answer)}
    if len(names) != len(answer):
        names = ["output_%d" % at for at in range(len(answer))]
    return {name: as_array(value) for name, value in zip(names, answer)}


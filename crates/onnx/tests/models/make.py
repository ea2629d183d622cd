"""Writes the graphs that the tests load. Run it beside them:

    pip install -r requirements.txt && python make.py
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto as T
from onnx import checker, helper, numpy_helper, save
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

HERE = Path(__file__).parent
OPSET = 17


def tensor(name, element, shape):
    return helper.make_tensor_value_info(name, element, shape)


def write(name, nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    if name != "shapeless":
        checker.check_model(model, full_check=True)
    save(model, HERE / f"{name}.onnx")


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


ELEMENTS = {
    "bool": T.BOOL, "u8": T.UINT8, "u16": T.UINT16, "u32": T.UINT32, "u64": T.UINT64,
    "i8": T.INT8, "i16": T.INT16, "i32": T.INT32, "i64": T.INT64,
    "f16": T.FLOAT16, "bf16": T.BFLOAT16, "f32": T.FLOAT, "f64": T.DOUBLE, "text": T.STRING,
}  # fmt: skip

# Every element type, passed through.
write(
    "types",
    [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ELEMENTS],
    [tensor(name, element, ["rows", 2]) for name, element in ELEMENTS.items()],
    [tensor(f"{name}_out", element, ["rows", 2]) for name, element in ELEMENTS.items()],
)

# A row of three numbers gives one number: (rows, 3) -> (rows, 1).
write(
    "affine",
    [helper.make_node("Gemm", ["x", "weights", "bias"], ["y"])],
    [tensor("x", T.FLOAT, ["rows", 3])],
    [tensor("y", T.FLOAT, ["rows", 1])],
    [constant("weights", np.float32([[1], [10], [100]])), constant("bias", np.float32([0.5]))],
)

# The first dimension is fixed at 1, in and out.
write(
    "single",
    [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0), helper.make_node("Identity", ["name"], ["echo"])],
    [tensor("x", T.FLOAT, [1, 2, 3]), tensor("name", T.STRING, [1])],
    [tensor("y", T.FLOAT, [1, 2]), tensor("echo", T.STRING, [1])],
    [constant("axes", np.int64([2]))],
)

# One input has no dimension, so that there are no rows.
write(
    "threshold",
    [helper.make_node("Greater", ["x", "limit"], ["above"])],
    [tensor("x", T.FLOAT, ["n", 2]), tensor("limit", T.FLOAT, [])],
    [tensor("above", T.BOOL, ["n", 2])],
)

# One image in, any number of findings out.
write(
    "findings",
    [helper.make_node("NonZero", ["image"], ["found"]), helper.make_node("Transpose", ["found"], ["places"], perm=[1, 0])],
    [tensor("image", T.FLOAT, [1, 3])],
    [tensor("places", T.INT64, ["n", 2])],
)

# A large answer, which is not copied.
write(
    "spread",
    [helper.make_node("Expand", ["x", "shape"], ["grown"]), helper.make_node("Add", ["grown", "one"], ["y"])],
    [tensor("x", T.FLOAT, ["rows", 1])],
    [tensor("y", T.FLOAT, ["rows", 4096])],
    [constant("shape", np.int64([1, 4096])), constant("one", np.float32([1]))],
)

# The number of dimensions is left open.
write(
    "shapeless",
    [helper.make_node("Neg", ["x"], ["y"])],
    [helper.make_tensor_value_info("x", T.FLOAT, None)],
    [helper.make_tensor_value_info("y", T.FLOAT, None)],
)

# An operator that nobody has.
graph = helper.make_graph(
    [helper.make_node("Guess", ["x"], ["y"], domain="com.example")],
    "custom", [tensor("x", T.FLOAT, ["rows", 1])], [tensor("y", T.FLOAT, ["rows", 1])],
)  # fmt: skip
opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.example", 1)]
save(helper.make_model(graph, opset_imports=opsets, ir_version=8), HERE / "custom.onnx")

# A classifier as skl2onnx converts it: a label, and a map of probabilities for each row (ZipMap).
iris = load_iris()
labels = iris.target_names[iris.target]
model = LogisticRegression(max_iter=1000).fit(iris.data, labels)
save(to_onnx(model, initial_types=[("x", FloatTensorType([None, 4]))], target_opset=OPSET), HERE / "classifier.onnx")

# Columns of mixed types, each (rows, 1).
rows = np.array([["Utrecht", 20], ["Delft", 30], ["Delft", 40], ["Utrecht", 50]], dtype=object)
encode = ColumnTransformer([("city", OneHotEncoder(sparse_output=False), [0])], remainder="passthrough")
model = make_pipeline(encode, LogisticRegression()).fit(rows, [0, 1, 0, 1])
types = [("city", StringTensorType([None, 1])), ("age", FloatTensorType([None, 1]))]
save(to_onnx(model, initial_types=types, target_opset=OPSET, options={"zipmap": False}), HERE / "columns.onnx")

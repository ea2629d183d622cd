"""Random requests for a schema: rows with nulls, empties, extremes and odd text, some of them wrong, in every form."""

import json
import math

TEXTS = ["", "a", "dave", "bob ", "two words", "é", "\U0001f600", "\x00\x1f\"\\/", "x" * 300, "1.5", "null", "\u2028", "日本"]
WHOLE = [0, 1, -1, 2, 3, 5, 7, 2**53 + 1, 2**63 - 1, -(2**63)]
FRACTIONS = [0.0, -0.0, 0.1, 1.5, -2.25, 1e300, 5e-324, 3, 2**53 + 1]
TIMES = ["2026-11-23T08:00:00Z", "1969-12-31T23:59:59.999999Z", "2024-02-29t12:00:00.5+02:30", "9999-01-01T00:00:00Z"]
ANY = [None, True, 0, 1.0, 2**70, "a", [], {}, {"a": [1, {"b": None}]}, [[1], [2, 3]], "é"]
LENGTHS = [0, 1, 1, 2, 2, 3]
WRONG = ["wrong", None, [], 0.5, {"a": 1}, [[1], [2, 3]], True]


class Requests:
    """Draws requests for one model."""

    def __init__(self, random, name, schema):
        self.random, self.name, self.schema = random, name, schema

    def draw(self):
        """(path, headers, body)"""
        kind = self.random.random()
        if kind < 0.6:
            return self.simple(self.row())
        rows = [self.row() for _ in range(self.random.randint(1, 4))]
        if kind < 0.8:
            return self.simple({"rows": rows})
        return self.open(rows, self.random.random() < 0.5) or self.simple(rows[0])

    def simple(self, value):
        return f"/v1/models/{self.name}/predict", json.dumps(value).encode()

    def open(self, rows, binary):
        """In the Open Inference Protocol, if the rows have the same shapes and no row is wrong."""
        inputs = []
        if not self.schema.get("batches", True):
            # The request is one example, in the shapes of the graph.
            rows = rows[:1]
        for column in self.schema["inputs"]:
            values = [row.get(column["name"], column.get("default")) for row in rows]
            tensor = self.tensor(column, values)
            if tensor is None:
                return None
            inputs += tensor
        body = {"inputs": inputs}
        if binary:
            body["parameters"] = {"binary_data_output": True}
        return f"/v2/models/{self.name}/infer", json.dumps(body).encode()

    def tensor(self, column, values):
        name, datatype = column["name"], column["datatype"]
        valid, tensors = [value is not None for value in values], []
        if column.get("nullable"):
            tensors.append({"name": name + ":valid", "datatype": "BOOL", "shape": [len(values)], "data": valid})
        elif not all(valid):
            return None
        if datatype == "json":
            values, shapes = [json.dumps(value) for value in values], {()}
        else:
            shapes = {shape_of(value) for value in values if value is not None} or {()}
        if len(shapes) > 1 or None in shapes:
            return None
        (shape,) = shapes
        zero = {"BYTES": "", "BOOL": False, "timestamp": TIMES[0], "json": "null"}.get(datatype, 0)
        filler = [zero] * math.prod(shape)
        data = [leaf for value in values for leaf in (filler if value is None else leaves(value))]
        wire = "BYTES" if datatype in ("timestamp", "json") else datatype
        leading = [len(values)] if self.schema.get("batches", True) else []
        tensors.append({"name": name, "datatype": wire, "shape": [*leading, *shape], "data": data})
        return tensors

    def row(self):
        """One row; now and then a column is missing, null or wrong."""
        row = {}
        for column in self.schema["inputs"]:
            luck = self.random.random()
            if luck < 0.02 or luck < 0.3 and (column.get("nullable") or "default" in column):
                continue
            if luck < 0.04:
                row[column["name"]] = self.random.choice(WRONG)
            elif column.get("nullable") and luck < 0.5:
                row[column["name"]] = None
            else:
                row[column["name"]] = self.value(column)
        return row

    def value(self, column):
        shape = column.get("shape")
        if shape is None:
            shape = [self.random.choice(LENGTHS[1:]) for _ in range(self.random.randint(1, 2))]
        return self.nested(column, [size if size >= 0 else self.random.choice(LENGTHS) for size in shape])

    def nested(self, column, shape):
        if shape:
            return [self.nested(column, shape[1:]) for _ in range(shape[0])]
        if column.get("categories"):
            return self.random.choice(column["categories"])
        datatype = column["datatype"]
        if datatype == "json":
            return self.random.choice([{}, {"a": 1}, {"b": [None]}]) if self.name == "pair" else self.random.choice(ANY)
        if datatype in ("BYTES", "timestamp", "BOOL"):
            return self.random.choice({"BYTES": TEXTS, "timestamp": TIMES, "BOOL": [True, False]}[datatype])
        if datatype.startswith("FP"):
            value = self.random.choice(FRACTIONS)
            return value if datatype == "FP64" or abs(value) < 1e30 else 1.5
        bits = int(datatype.lstrip("UINT"))
        value = self.random.choice(WHOLE) if self.random.random() < 0.2 else self.random.randint(-20, 40)
        return max(min(value, 2 ** (bits - 1) - 1), 0 if datatype.startswith("U") else -(2 ** (bits - 1)))


def shape_of(value):
    """The shape of nested lists; None if they are ragged."""
    if not isinstance(value, list):
        return ()
    inner = {shape_of(item) for item in value}
    return None if len(inner) > 1 or None in inner else (len(value), *(inner.pop() if inner else ()))


def leaves(value):
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]

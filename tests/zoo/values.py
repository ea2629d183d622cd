"""Outputs that nothing declares, and values that stay what they are."""

import base64
import json

from . import section
from .libraries import SHARED

kind = section("Outputs are learned")


def metadata(**wanted):
    """Checks the outputs that a standard client is told, as `name: datatype shape`."""

    def check(platform, model):
        told = platform.get(f"/v2/models/{model}").json()["outputs"]
        assert {column["name"]: f"{column['datatype']} {column['shape']}" for column in told} == wanted
        return "metadata has " + ", ".join(f"`{name}: {kind}`" for name, kind in wanted.items())

    return check


def asked_for(name, value, **row):
    """Asks for one output by its name, as standard clients do."""

    def ask(platform, model):
        inputs = [{"name": key, "datatype": "INT64", "shape": [1], "data": [number]} for key, number in row.items()]
        body = {"inputs": inputs, "outputs": [{"name": name}]}
        outputs = platform.request("POST", f"/v2/models/{model}/infer", body).json()["outputs"]
        assert [(output["name"], output["data"]) for output in outputs] == [(name, value)]
        return f"`{name}` alone can be asked for"

    return ask


def both(*checks):
    return lambda platform, model: "; ".join(check(platform, model) for check in checks)


kind("unhinted", "a function that returns a dict, without a hint", {"model.py": "def predict(n: int):\n    return {'twice': 2 * n, 'parts': [n / 2, n / 3]}\n"},
     {"n": 6}, {"twice": 12, "parts": [3.0, 2.0]},
     more=both(metadata(twice="INT64 [-1]", parts="FP64 [-1, 2]"), asked_for("parts", [3.0, 2.0], n=6)))
kind("unhinted_number", "a function that returns a number, without a hint", {"model.py": "def predict(n: int):\n    return n / 2\n"}, {"n": 3}, {"output": 1.5},
     more=metadata(output="FP64 [-1]"))
kind("unhinted_frame", "a frame without a hint of its columns",
     {"model.py": "import pandas as pd\nfrom typing import Annotated\n\n\ndef predict(frame: Annotated[pd.DataFrame, {'n': int}]):\n"
      "    return pd.DataFrame({'twice': 2 * frame['n'], 'text': frame['n'].astype(str)})\n", **SHARED},
     {"n": 3}, {"twice": 6, "text": "3"}, more=metadata(twice="INT64 [-1]", text="BYTES [-1]"))
kind("unhinted_varies", "lists of several lengths: no promise is made of what was seen",
     {"model.py": "def predict(n: int):\n    return {'list': [n] * n} if n < 9 else {'other': n}\n"}, {"n": 9}, {"other": 9},
     more=metadata(list="INT64 [-1, -1]"))
kind("unhinted_case", "the same from a case, where a made-up row would not do",
     {"model.py": "def predict(day: str):\n    year, month, date = day.split('-')\n    return {'month': int(month)}\n",
      "tests/day.json": '{"input": {"day": "2026-03-01"}, "expected": {"month": 3}}'},
     {"day": "2026-12-31"}, {"month": 12}, more=metadata(month="INT64 [-1]"))

kind = section("Values stay what they are")

ARRAY = "import numpy as np\nimport numpy.typing as npt\nimport pandas as pd\n\n\ndef predict(n: npt.NDArray[np.int64]):\n    return "
BIG = 2**62 + 1
kind("small_float", "FP32: a number beyond its range is refused and does not become infinity",
     {"model.py": "from typing import Annotated\nimport numpy as np\n\n\ndef predict(x: np.float32) -> float:\n    return float(x)\n", **SHARED},
     {"x": 1e39}, refused="x  expected FP32, got 1e+39", by="predict")
kind("smallest_float", "FP16: the same", {"model.py": "import numpy as np\n\n\ndef predict(x: np.float16) -> float:\n    return float(x)\n", **SHARED},
     {"x": 70000}, refused="x  expected FP16, got 70000", by="predict")
kind("small_float_output", "an answer beyond the range of its FP32 column",
     {"model.py": ARRAY + "{'y': n * 1e39}\n", **SHARED, "decalog.toml": '[schema]\noutputs = [{ name = "y", datatype = "FP32", shape = [] }]\n',
      "tests/zero.json": '{"input": {"n": 0}, "expected": {"y": 0.0}}'},
     {"n": 1}, refused="the output `y` is", by="predict")
kind("missing_time", "a time that is missing, NaT, is null", {"model.py": ARRAY + "pd.DataFrame({'at': pd.to_datetime([None] * len(n))})\n", **SHARED},
     {"n": 1}, {"at": None})
kind("time", "a time", {"model.py": ARRAY + "pd.DataFrame({'at': pd.to_datetime(['2026-01-31T12:00'] * len(n))})\n", **SHARED},
     {"n": 1}, {"at": "2026-01-31T12:00:00Z"}, more=metadata(at="BYTES [-1]"))
kind("date", "a date of numpy is a date, not a midnight", {"model.py": ARRAY + "np.array(['2026-01-31'] * len(n), 'datetime64[D]')\n", **SHARED},
     {"n": 1}, {"output": "2026-01-31"})
kind("nullable_integers", "a frame with `Int64`: exact beyond 2^53, and null where it is missing",
     {"model.py": ARRAY + f"pd.DataFrame({{'big': pd.array([{BIG}] * len(n), 'Int64'), 'gone': pd.array([None] * len(n), 'Int64')}})\n", **SHARED},
     {"n": 1}, {"big": BIG, "gone": None})
kind("masked", "a masked array", {"model.py": ARRAY + f"{{'y': np.ma.masked_array([[{BIG}, 2]] * len(n), [[False, True]] * len(n))}}\n", **SHARED},
     {"n": 1}, {"y": [BIG, None]})
kind("narrow", "an answer beyond the range of its INT32 column is an error, and never wrapped",
     {"model.py": ARRAY + "{'y': n * 2**40}\n", **SHARED, "decalog.toml": '[schema]\noutputs = [{ name = "y", datatype = "INT32", shape = [] }]\n',
      "tests/zero.json": '{"input": {"n": 0}, "expected": {"y": 0}}'},
     {"n": 1}, refused="the output `y`", by="predict")
kind("wide", "a whole number beyond 64 bits", {"model.py": "def predict(n: int):\n    return 2**70 + n\n"}, {"n": 1}, {"output": 2**70 + 1})
kind("case_of_integers", "a case whose whole number is off by one, beyond what a float tells apart",
     {"model.py": f"def predict(n: int) -> int:\n    return {BIG} + n\n", "tests/one.json": f'{{"input": {{"n": 1}}, "expected": {{"output": {BIG}}}}}'},
     refused=["case tests/one.json gives another answer", f"expected {BIG}, got {BIG + 1}"])


def sent_as_itself(column, content, kind, **gives):
    """Sends the bytes of a column as the body of a request, and as a file of a form."""

    def send(platform, model):
        form = f'--X\r\nContent-Disposition: form-data; name="{column}"; filename="f"\r\n\r\n'.encode() + content + b"\r\n--X--\r\n"
        for body, content_type in ((content, kind), (form, "multipart/form-data; boundary=X")):
            answer = platform.predict(model, body, {"Content-Type": content_type})
            assert (answer.status, answer.json()) == (200, gives), answer.body
        return f"the same for a body of `{kind}`, and for a form with a file"

    return send


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAADCAAAAACcgYFdAAAAEUlEQVR42mNg+M8Q8J9hwX8ADs0D7hzKDYEAAAAASUVORK5CYII="
kind("bytes", "bytes that are no text", {"model.py": "def predict(data: bytes) -> bytes:\n    return data[::-1]\n"},
     {"data": {"b64": "AP8="}}, {"output": {"b64": "/wA="}}, more=sent_as_itself("data", b"\0\xff", "application/octet-stream", output={"b64": "/wA="}))
kind("byte_lists", "lists of bytes, as arrays of numpy too",
     {"model.py": "import numpy as np\n\n\ndef predict(data: list[bytes]):\n    return {'fixed': np.array(data), 'objects': np.array(data, object)}\n", **SHARED},
     {"data": [{"b64": "AP8="}, "hi"]}, {"fixed": [{"b64": "AP8="}, "hi"], "objects": [{"b64": "AP8="}, "hi"]})
kind("picture", "a picture, opened with Pillow",
     {"model.py": "import io\n\nfrom PIL import Image\n\n\ndef predict(image: bytes):\n    return {'size': list(Image.open(io.BytesIO(image)).size)}\n",
      "requirements.txt": "pillow==13.0.0\n", "tests/small.json": json.dumps({"input": {"image": {"b64": PNG}}, "expected": {"size": [2, 3]}})},
     {"image": {"b64": PNG}}, {"size": [2, 3]}, more=sent_as_itself("image", base64.b64decode(PNG), "image/png", size=[2, 3]))
kind("not_a_number", "NaN and infinity in an answer are null", {"model.py": "def predict(n: int) -> dict[str, float]:\n    return {'a': float('nan'), 'b': float('inf')}\n"},
     {"n": 1}, {"a": None, "b": None})

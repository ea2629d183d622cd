"""CSV as people have it, in and out."""

import csv
import io
import json

import pytest
from conftest import Platform, write_model

PERSON = """
from typing import Literal

def predict(age: int, city: str = "Utrecht", member: bool = False, income: float | None = None, kind: Literal["EU", "NA"] = "EU") -> dict:
    return {"score": age * 0.5, "seen": f"{city}|{member}|{income}|{kind}"}
"""
VECTOR = "def predict(x: list[float]) -> float:\n    return sum(x)\n"
RAISES = "import decalog\n\ndef predict(age: int) -> int:\n    if age == 1500:\n        raise decalog.BadInput('too old')\n    return age\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    platform = Platform(tmp_path_factory.mktemp("csv") / "data").start()
    models = tmp_path_factory.mktemp("models")
    for name, source in {"person": PERSON, "vector": VECTOR, "raises": RAISES}.items():
        platform.run("deploy", write_model(models / name, {"model.py": source}))
    yield platform
    assert platform.stop() == 0


@pytest.fixture
def predicted(served, tmp_path):
    """Predicts the rows of a file with this content; gives the result."""

    def predict(content, *more, model="person", name="people.csv", ok=True):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return served.run("predict", model, "--rows", file, *more, ok=ok)

    return predict


PLAIN = "age,city,member\n42,Delft,true\n7,\"Den Haag, Zuid\",false\n"
ROWS = [{"score": 21.0, "seen": "Delft|True|None|EU"}, {"score": 3.5, "seen": "Den Haag, Zuid|False|None|EU"}]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        "age;city;member\n42;Delft;1\n7;Den Haag, Zuid;0\n",
        "sep=;\nage;city;member\n42;Delft;1\n7;Den Haag, Zuid;0\n",
        "age\tcity\tmember\n42\tDelft\tyes\n7\tDen Haag, Zuid\tno\n",
        "age|city|member\n42|Delft|T\n7|Den Haag, Zuid|F\n",
        '"age","city","member"\n"42","Delft","TRUE"\n"7","Den Haag, Zuid","FALSE"\n',
        "age, city ,member\n 42 ,Delft, True\n7.0,\"Den Haag, Zuid\",0.0\n,,\n",
        "age,city,member,income\n42,Delft,1,NA\n7,\"Den Haag, Zuid\",0,nan\n",
    ],
)
def test_whatever_wrote_it_the_rows_are_the_same(predicted, content):
    result = predicted(content)
    assert result.json() == {"rows": ROWS} and result.err == "", result


def test_what_is_missing_is_left_out_and_a_text_may_be_na(predicted):
    rows = predicted("age,city,member,income,kind\n1,NA,NA,N/A,NA\n2,,,,\n3,x,1,1e3,EU\n").json()["rows"]
    assert [row["seen"] for row in rows] == ["NA|False|None|NA", "Utrecht|False|None|EU", "x|True|1000.0|EU"]
    refused = predicted("age,income\nNA,1\n1,2\n,3\n", ok=False)
    assert refused.code == 1
    assert "line 2: age  is missing: expected INT64" in refused.err and "line 4: age  is missing" in refused.err, refused


def test_columns_that_the_model_does_not_have_are_left_out_with_a_note(predicted):
    result = predicted("id,age,name\n17,42,Ann\n")
    assert result.json()["rows"][0]["score"] == 21.0
    assert result.err.strip() == "note: `id`, `name` are no columns of person, which does not get them"
    refused = predicted("id,Age\n17,42\n", ok=False)
    assert "has no column `age`, which person needs" in refused.err and "it has `id`, `Age`" in refused.err, refused


def test_what_is_wrong_is_named_by_its_line(predicted):
    refused = predicted('age,city\n1,"two\nlines"\n2\n\n3,x,y\n4,z\n', ok=False)
    assert refused.code == 1 and "2 rows of" in refused.err, refused
    assert "line 4 has 1 cell, and the first line names 2 columns" in refused.err and "line 6 has 3 cells" in refused.err, refused
    refused = predicted("age,city,age\n1,x,2\n", ok=False)
    assert refused.code == 1 and "has the column `age` twice: as its 1 and its 3" in refused.err, refused
    refused = predicted("age,member,kind\n1.5,1,EU\n2,maybe,EU\n3,0,US\n", ok=False)
    for line in ('line 2: age  expected INT64, got "1.5"', 'line 3: member  expected BOOL, got "maybe"', 'line 4: kind  expected one of "EU", "NA", got "US"'):
        assert line in refused.err, refused
    refused = predicted("age,city\n1,Malm\u00f6\n".encode("latin-1"), ok=False)
    assert refused.code == 1 and "is not UTF-8: line 2" in refused.err and "iconv" in refused.err, refused
    for empty in ("", "age,city\n"):
        assert predicted(empty, ok=False).code == 1


def test_integers_stay_exact(predicted):
    largest = 2**53 + 1
    result = predicted(f"age\n{largest}\n-5\n", model="raises")
    assert result.json() == {"rows": [{"output": largest}, {"output": -5}]}


def test_answers_as_csv_stand_beside_the_columns_of_the_file(served, predicted, tmp_path):
    out = predicted("id;age;city\n17;42;Delft\n18;7;\"Den; Haag\"\n", "--csv").out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows == [
        {"id": "17", "age": "42", "city": "Delft", "score": "21.0", "seen": "Delft|False|None|EU"},
        {"id": "18", "age": "7", "city": "Den; Haag", "score": "3.5", "seen": "Den; Haag|False|None|EU"},
    ]
    assert served.run("predict", "person", '{"age": 2}', "--csv").out == "score,seen\n1.0,Utrecht|False|None|EU\n"
    again = tmp_path / "scored.csv"
    again.write_text(out)
    assert served.run("predict", "person", again, "--csv").out.splitlines()[0] == "id,age,city,score,seen,predicted_score,predicted_seen"


def test_a_file_is_named_in_several_ways(served, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text(PLAIN)
    for arguments in (["--rows", file], [file, "--rows"], [file], [f"@{file}"], [f"--rows={file}"]):
        assert served.run("predict", "person", *arguments).json() == {"rows": ROWS}, arguments
    for arguments in (["--rows", "-"], ["-", "--rows"], ["--rows"]):
        assert served.run("predict", "person", *arguments, stdin=PLAIN).json() == {"rows": ROWS}, arguments
    table = tmp_path / "people.tsv"
    table.write_text("age\tcity\n42\tDelft\n")
    assert served.run("predict", "person", table).json()["rows"] == [ROWS[0] | {"seen": "Delft|False|None|EU"}]
    assert served.run("predict", "person", tmp_path / "none.csv", ok=False).code == 1
    assert served.run("predict", "person", file, "--rows", file, ok=False).code == 1


def test_a_long_file_is_asked_in_parts(predicted):
    count = 12_345
    ages = [age for age in range(count) if age != 1500]
    result = predicted("age\n" + "".join(f"{age}\n" for age in ages), model="raises")
    assert [row["output"] for row in result.json()["rows"]] == ages
    refused = predicted("age\n" + "".join(f"{age}\n" for age in range(count)), model="raises", ok=False)
    assert refused.code == 1 and "too old" in refused.err and "(lines 1002 to 2001 of " in refused.err, refused


def test_a_model_of_one_vector_takes_the_columns_in_their_order(predicted):
    result = predicted("a,b,c\n1,2,3.5\n", model="vector")
    assert result.json() == {"rows": [{"output": 6.5}]}
    assert "the 3 columns of" in result.err and "are taken as `x`, in their order" in result.err
    assert predicted('x\n"[1, 2]"\n', model="vector").json() == {"rows": [{"output": 3.0}]}
    assert json.loads(predicted("x\n[4]\n", model="vector").out) == {"rows": [{"output": 4.0}]}

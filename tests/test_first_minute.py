"""What a newcomer does in the first minute, for each runtime."""

import json

from conftest import BINARY, ROOT, ROW, write_model


def test_deploy_predict_list_show_remove(platform, tmp_path):
    model = write_model(tmp_path / "churn", {
        "model.py": ROW,
        "tests/first.json": json.dumps({"input": {"age": 42}, "expected": {"output": 21.0}}),
    })
    check = platform.run("check", model, "--json").json()
    assert check["runtime"] == "python"
    deployed = platform.run("deploy", model)
    assert "churn v1" in deployed.err and "curl " in deployed.err + deployed.out, deployed
    assert platform.run("predict", "churn", '{"age": 42, "city": "Delft"}').json() == {"output": 21.0}
    assert platform.run("predict", "churn", "-", stdin='{"age": 2}').json() == {"output": 1.0}
    rows = tmp_path / "rows.csv"
    rows.write_text("age,city\n1,Delft\n2,Utrecht\n")
    assert platform.run("predict", "churn", "--rows", rows).json() == {"rows": [{"output": 0.5}, {"output": 1.0}]}
    row = tmp_path / "row.json"
    row.write_text('{"age": 4}')
    assert platform.run("predict", "churn", f"@{row}").json() == {"output": 2.0}

    listed = platform.run("ls", "--json").json()["models"]
    assert [(entry["name"], entry["live"]) for entry in listed] == [("churn", "v1")]
    assert "churn" in platform.run("ls").out
    shown = platform.run("show", "churn", "--json").json()
    assert shown["replicas"][0]["state"] == "ready"
    assert "age: INT64" in platform.run("show", "churn", "--schema").out
    kinds = [event["kind"] for event in platform.run("events", "churn", "--json").json()["events"]]
    for kind in ["version_pushed", "deploy_started", "tests_passed", "released"]:
        assert kind in kinds
    platform.run("rm", "churn", "--yes")
    assert platform.predict("churn", {"age": 1}).status == 404
    assert platform.run("ls", "--json").json()["models"] == []


def test_new_deploys_as_it_is(shared_platform, tmp_path):
    for runtime in ["python", "onnx", "command"]:
        name = f"new-{runtime}"
        shared_platform.run("new", name, "--runtime", runtime, cwd=tmp_path)
        result = shared_platform.run("deploy", tmp_path / name)
        assert f"{name} v1" in result.err, result
    again = shared_platform.run("new", "new-python", cwd=tmp_path, ok=False)
    assert again.code != 0 and "new-python" in again.err


def test_errors_name_the_remedy(shared_platform, tmp_path):
    model = write_model(tmp_path / "polite", {"model.py": ROW})
    shared_platform.run("deploy", model)
    wrong = shared_platform.run("predict", "polite", '{"age": "42"}', ok=False)
    assert wrong.code == 1 and "age  expected INT64" in wrong.err and "help:" in wrong.err, wrong
    near = shared_platform.run("predict", "polit", "{}", ok=False)
    assert "did you mean `polite`?" in near.err, near
    empty = shared_platform.run("deploy", write_model(tmp_path / "empty", {"README": "x"}), ok=False)
    assert empty.code == 1 and "help:" in empty.err and "model.py" in empty.err, empty
    unreachable = shared_platform.run("ls", "--url", "http://127.0.0.1:9", ok=False)
    assert unreachable.code == 3 and "decalog up" in unreachable.err, unreachable
    assert shared_platform.run("frobnicate", ok=False).code == 2


def test_foreign_host_and_origin(shared_platform):
    for path in ["/v1/status", "/v1/models", "/v2"]:
        assert shared_platform.request("GET", path, headers={"Host": "evil.example"}).status == 403
        assert shared_platform.request("GET", path, headers={"Origin": "http://evil.example"}).status == 403
        assert shared_platform.get(path).status == 200


def test_openapi_is_served_as_committed(shared_platform):
    committed = json.loads((ROOT / "docs/openapi.json").read_text())
    assert shared_platform.get("/openapi.json").json() == committed

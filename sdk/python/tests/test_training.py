"""What training code writes down beside a model: metrics and the names of data."""

import json
import os
import stat
import subprocess
import sys

import numpy
import pytest

import decalog


def read(directory, name):
    return json.loads((directory / name).read_text())


def test_metrics_are_merged_and_numbers_of_numpy_are_numbers(tmp_path):
    decalog.log_metrics({"auc": 0.93, "rows": 412300}, directory=tmp_path)
    decalog.log_metrics({"auc": numpy.float32(0.5), "depth": numpy.int64(7)}, directory=str(tmp_path))
    assert read(tmp_path, "metrics.json") == {"auc": 0.5, "depth": 7, "rows": 412300}
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "metrics.json").stat().st_mode) == 0o666 & ~mask
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"], "nothing else is left"


@pytest.mark.parametrize(
    "metrics, failure, says",
    [
        ({"auc": float("nan")}, ValueError, "only finite numbers"),
        ({"auc": float("inf")}, ValueError, "only finite numbers"),
        ({"auc": 10**400}, ValueError, "only finite numbers"),
        ({"auc": "0.93"}, TypeError, "not a number"),
        ({"auc": True}, TypeError, "not a number"),
        ({"auc": {"test": 0.9}}, TypeError, "not a number"),
        ({"": 1}, ValueError, "names no metric"),
        ({"x" * 129: 1}, ValueError, "names no metric"),
        ({3: 1}, ValueError, "names no metric"),
        ({"m%d" % number: 1 for number in range(257)}, ValueError, "a version takes 256"),
    ],
)
def test_what_is_no_metric_changes_nothing(tmp_path, metrics, failure, says):
    decalog.log_metrics({"kept": 1}, directory=tmp_path)
    before = (tmp_path / "metrics.json").read_bytes()
    with pytest.raises(failure, match=says):
        decalog.log_metrics(metrics, directory=tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_somebody_broke_is_not_overwritten(tmp_path):
    (tmp_path / "metrics.json").write_text("{broken")
    with pytest.raises(ValueError, match="is no JSON"):
        decalog.log_metrics({"auc": 1}, directory=tmp_path)
    (tmp_path / "metrics.json").write_text("[1]")
    with pytest.raises(ValueError, match="correct or remove it"):
        decalog.log_metrics({"auc": 1}, directory=tmp_path)
    assert (tmp_path / "metrics.json").read_text() == "[1]"
    with pytest.raises(OSError):
        decalog.log_metrics({"auc": 1}, directory=tmp_path / "nowhere")


def test_processes_that_log_at_once_lose_nothing(tmp_path):
    code = "import sys, decalog\nfor n in range(20): decalog.log_metrics({'m%s_%d' % (sys.argv[2], n): n}, directory=sys.argv[1])"
    path = os.pathsep.join(sys.path)
    run = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)], env={**os.environ, "PYTHONPATH": path}) for n in range(4)]
    assert [process.wait() for process in run] == [0] * 4
    assert len(read(tmp_path, "metrics.json")) == 80


def test_data_are_named_from_the_model_directory_and_once(tmp_path, monkeypatch):
    (tmp_path / "churn").mkdir()
    (tmp_path / "data").mkdir()
    for name in ("2026-01.parquet", "2026-02.parquet"):
        (tmp_path / "data" / name).write_bytes(b"PAR1")
    monkeypatch.chdir(tmp_path)
    decalog.log_data("data/2026-01.parquet", directory="churn")
    decalog.log_data("data/2026-01.parquet", directory="churn")
    decalog.log_data("data/*.parquet", directory=tmp_path / "churn")
    decalog.log_data(tmp_path / "data", directory="churn")
    names = read(tmp_path / "churn", "training-data.json")
    assert names == {"train": ["../data/2026-01.parquet", "../data/*.parquet", str(tmp_path / "data")]}


def test_what_is_no_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="not read yet"):
        decalog.log_data("s3://lake/train.parquet")
    with pytest.raises(FileNotFoundError, match="no data at"):
        decalog.log_data("none-*.csv")
    (tmp_path / "training-data.json").write_text('{"other": 1}')
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(ValueError, match="correct or remove it"):
        decalog.log_data("a.csv")
    assert (tmp_path / "training-data.json").read_text() == '{"other": 1}'

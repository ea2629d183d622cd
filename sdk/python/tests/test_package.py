"""The package as a whole: its shape, how it is started beside any environment, and the byte code that is kept."""

import ast
import json
import shutil
import subprocess
import sys

import pytest
from conftest import WORKER, ask, output, read_answer, read_outputs

PACKAGE = WORKER.parent
FILES = sorted(PACKAGE.glob("*.py"))
#: What a worker imports.
SERVING = {file.stem for file in FILES} - {"__main__", "describe", "installed", "needs"}
ECHO = "def predict(x: int) -> int: return x"
LINES_MAX = 400
COLUMNS_MAX = 120


def imports(tree):
    """Of each import statement whether it is relative, and its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield False, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node.level > 0, node.module


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_module_is_short_and_says_what_it_is_for(file):
    lines = file.read_text().splitlines()
    assert len(lines) < LINES_MAX and max(map(len, lines)) <= COLUMNS_MAX
    assert ast.get_docstring(ast.parse(file.read_text(), feature_version=(3, 8)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_serves_is_the_workers_own(file):
    """A model may patch the standard library and empty `sys.modules`."""
    from decalog_worker import standard

    own = {name for name, item in vars(standard).items() if isinstance(item, type(standard))}
    assert {"json", "os", "socket", "time"} <= own
    tree = ast.parse(file.read_text())
    if file.stem not in ("standard", "__main__"):
        assert not own & {module for is_relative, module in imports(tree) if not is_relative}
    late = [node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in function.body]
    if file.stem != "__main__":
        assert not any(is_relative for node in late for is_relative, _ in imports(node))


def test_no_module_imports_itself_by_way_of_others():
    uses = {file.stem: {module for is_relative, module in imports(ast.parse(file.read_text())) if is_relative}
            for file in FILES}  # fmt: skip
    assert set().union(*uses.values()) <= set(uses)
    while uses:
        free = [name for name, used in uses.items() if not used & set(uses)]
        assert free, "in a circle: %s" % ", ".join(sorted(uses))
        for name in free:
            del uses[name]


def test_what_describes_a_model_imports_nothing_of_what_serves_one():
    """It is started for each deploy, by the command line without byte code that is kept."""
    code = "import sys, decalog_worker.describe; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=str(PACKAGE.parent), stdout=subprocess.PIPE, check=True)
    ours = {name for name in done.stdout.decode().split() if name.startswith("decalog_worker.")}
    assert "decalog_worker.schema" in ours
    assert not {"decalog_worker." + name for name in ("readers", "encoders", "forms", "server", "fork")} & ours


PATHS = """
import json, os, sys
import decimal, http, schema
def predict(x: int) -> dict:
    return {"path": sys.path, "argv": sys.argv, "names": [http.WHOSE, schema.WHOSE],
            "settings": [sys.dont_write_bytecode, sys.pycache_prefix]}
"""


def test_neither_stands_for_modules_of_the_other(serve, model):
    """Modules of the model that are named like some of the worker's, or like those that it imports."""
    names = ["http", "log", "plan", "schema", "settings", "standard", "text", "select", "threads"]
    directory = model(PATHS, **dict.fromkeys(names, "WHOSE = 'the model'"))
    with serve(directory).connect() as connection:
        connection.sendall(ask(1))
        columns = {name: values for name, (_, _, values) in outputs(connection).items()}
    assert columns["names"] == ["the model"] * 2
    path = columns["path"]
    assert path[0] == str(directory) and str(directory) not in path[1:]
    assert not {str(PACKAGE), str(PACKAGE.parent)} & set(path)


def test_a_package_of_the_same_name_in_the_environment_is_not_taken(serve, tmp_path):
    (tmp_path / "decalog_worker").mkdir()
    (tmp_path / "decalog_worker" / "__init__.py").write_text("raise ImportError('of the environment')")
    with serve(ECHO, PYTHONPATH=str(tmp_path)).connect() as connection:
        connection.sendall(ask(1))
        assert output(read_answer(connection)) == [1]


def outputs(connection):
    answer = read_answer(connection)
    assert answer.status == 200, answer.body
    return read_outputs(answer.body, answer.json_length)


@pytest.mark.parametrize("flags", [["-I"], [], ["-u"], ["-S"]])
def test_a_description_needs_no_more_than_the_program(model, flags):
    directory = model(ECHO, json="raise ImportError('of the model')")
    done = subprocess.run([sys.executable] + flags + [str(WORKER), "--describe", str(directory)], cwd=str(directory),
                          stdout=subprocess.PIPE, check=True)  # fmt: skip
    assert json.loads(done.stdout)["schema"]["inputs"] == [{"name": "x", "datatype": "INT64", "shape": []}]


@pytest.fixture
def package(tmp_path):
    """A copy of the package that has not been imported yet."""
    copy = tmp_path / "copy" / PACKAGE.name
    shutil.copytree(str(PACKAGE), str(copy), ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def answers(serve, package, **variables):
    served = serve(ECHO, program=package / "__main__.py", **variables)
    with served.connect() as connection:
        connection.sendall(ask(7))
        assert output(read_answer(connection)) == [7]
    served.stop()


def kept(package):
    """When the byte code of each module was made."""
    return {file.name.split(".")[0]: file.stat().st_mtime_ns for file in (package / "__pycache__").glob("*.pyc")}


def test_byte_code_is_kept_whatever_the_model_is_told(serve, package, tmp_path):
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(tmp_path / "elsewhere")}
    answers(serve, package, **variables)
    made = kept(package)
    assert set(made) == SERVING
    assert not list(tmp_path.glob("elsewhere/**/*.pyc"))
    for more in (variables, {}):
        answers(serve, package, **more)
        assert kept(package) == made


def test_whoever_starts_it_isolated_says_whether_byte_code_is_kept(package, model):
    """A place that is made for one description needs none."""
    directory = model(ECHO)
    for flags, is_kept in ((["-I", "-B"], False), (["-I"], True)):
        program = [sys.executable] + flags + [str(package / "__main__.py"), "--describe", str(directory)]
        done = subprocess.run(program, stdout=subprocess.PIPE, check=True)
        assert json.loads(done.stdout)["form"] == "row"
        assert bool((package / "__pycache__").exists() and kept(package)) is is_kept


def test_the_settings_of_the_model_stay_its_own(serve, model, tmp_path):
    directory = model(PATHS, http="WHOSE = 1", schema="WHOSE = 1")
    prefix = str(tmp_path / "elsewhere")
    with serve(directory, PYTHONDONTWRITEBYTECODE="1", PYTHONPYCACHEPREFIX=prefix).connect() as connection:
        connection.sendall(ask(1))
        assert outputs(connection)["settings"][2] == [[True, prefix]]


@pytest.mark.parametrize("bytes_left", [0, 10, 16, 200])
def test_byte_code_that_was_cut_short_is_made_again(serve, package, bytes_left):
    answers(serve, package)
    for file in (package / "__pycache__").glob("*.pyc"):
        file.write_bytes(file.read_bytes()[:bytes_left])
    for _ in range(2):
        answers(serve, package)
    assert min(file.stat().st_size for file in (package / "__pycache__").glob("*.pyc")) > 200
    assert set(kept(package)) == SERVING


def test_where_no_byte_code_can_be_kept_it_is_done_without(serve, package):
    (package / "__pycache__").write_text("this is no directory")
    for _ in range(2):
        answers(serve, package)


def test_processes_that_a_model_starts_do_not_start_the_worker_again(serve):
    """`multiprocessing` runs the main file of its parent once more, under another name."""
    with serve("""
        import multiprocessing
        def predict(x: int) -> int:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return pool.apply(abs, (-x,))
    """).connect() as connection:
        connection.sendall(ask(21))
        assert output(read_answer(connection)) == [21]

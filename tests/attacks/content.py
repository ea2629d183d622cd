"""Paths that lead elsewhere, archives and links, names that are commands, and bytes that are programs."""

import hashlib
import io
import os
import pickle
import socket
import stat
import tarfile

from attacks import PASSWD, attack, file, json, nothing_of, refused
from conftest import ROW, paths_below, write_model

UP = "../../../../../../../../etc/passwd"
ESCAPED = "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd"


def deploy(site, name, files, *arguments):
    """What the owner is told who deploys a directory that somebody gave them."""
    return site.platform.run("deploy", write_model(site.home / name, {"model.py": ROW, **files}), *arguments, ok=False)


@attack("CVE-2026-2614", "traversal by the API", "MLflow", "3.10.0", "a tag in the request switched the check of the path off")
def a_tag_that_switches_checks_off(site):
    """The paths of a version are read into a type that cannot leave its directory, whatever else the request has."""
    for more in ({}, {"tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]}, {"manifest": {"tags": {"mlflow.prompt.is_prompt": "true"}}},
                 {"provenance": {"author": "mlflow.prompt.is_prompt"}}):
        for path in (UP, "/etc/passwd", f"file://{UP}"):
            nothing_of(refused(site.push("mallory", "other", [file(path)], **more), 400), PASSWD)


@attack("CVE-2025-11201", "traversal by the API", "MLflow", "2.22.4", "the source of a model was any path of the server")
def a_model_file_elsewhere(site):
    """The file that a manifest names is one of the version's own."""
    for path in (UP, "/etc/passwd", "./../x.py", "a/../../x.py", "model.py/..", "", "\\etc\\passwd"):
        refused(site.push("mallory", "other", [file("model.py")], manifest={"model": {"file": path}}), 422)
        refused(site.push("mallory", "other", [file("model.py")], file=path), 400, 422, 409)


@attack("CVE-2023-1177", "traversal by the API", "MLflow", "2.2.1", "files of the server were read as if they were a model's")
def reading_files_of_the_server(site):
    """No route gives a file by its path; a path with dots or escapes leads to no route."""
    targets = ("/../../../../etc/passwd", f"/v1/{ESCAPED}", "/v1/models/%2e%2e/%2e%2e/etc/passwd", "/get-artifact?path=/etc/passwd&run_uuid=x", "/v1/blobs/%2fetc%2fpasswd",
               f"/v1/projects/fraud/models/{ESCAPED}", f"/v1/projects/{ESCAPED}/models/churn/logs", f"/v2/models/{ESCAPED}", "/v1/models/churn/../../../keys/current")
    for target in targets:
        nothing_of(refused(site.get(target)), PASSWD)


@attack("CVE-2023-6020", "traversal by the API", "Ray", "2.8.1", "/static gave any file")
def static_files(site):
    """The server has no static files."""
    for target in (f"/static/{UP}", f"/static/{ESCAPED}", "/static//etc/passwd", "/static/js/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/assets/..%5c..%5cetc%5cpasswd"):
        nothing_of(refused(site.get(target), 400, 404), PASSWD)


@attack("CVE-2023-6021", "traversal by the API", "Ray", "2.8.1", "the name of a log was any path")
def a_log_elsewhere(site):
    """A log is named by model and version, both of which are read as what they are."""
    log = "/v1/projects/fraud/models/churn/logs"
    assert site.ask("GET", f"{log}?version=v1", who="viewer").status == 200
    for name in (UP, ESCAPED, "v1/../../x", "v1%00", "../local.cookie", "v1.log"):
        nothing_of(refused(site.ask("GET", f"{log}?version={name}", who="owner"), 400), PASSWD)
    for query in ("filename=/etc/passwd", f"file={UP}", "path=/etc/passwd"):
        nothing_of(site.ask("GET", f"{log}?{query}", who="owner"), PASSWD)


@attack("CVE-2023-51449", "traversal by the API", "Gradio", "4.11.0", "/file gave, and an upload wrote, files beside its directory")
def an_upload_beside_its_directory(site):
    """A chunk goes to a file of its digest and of a name without slashes or dots."""
    digest = hashlib.sha256(b"x").hexdigest()
    before = sorted(os.listdir(site.platform.data)), sorted(os.listdir(site.home))
    for upload in ("../../x", "..%2f..%2fx", "a/b", "..", ".", "%00", "x" * 300, "/etc/x"):
        refused(site.ask("PATCH", f"/v1/blobs/{digest}?size=2&offset=0&upload={upload}", b"x", "owner"), 400)
    for name in (ESCAPED, "..%2flocal.cookie", "%2e%2e%2fkeys%2fcurrent"):
        refused(site.ask("PATCH", f"/v1/blobs/{name}?size=1&offset=0", b"x", "owner"), 400)
    refused(site.get(f"/file={UP}"), 400, 404)
    assert before == (sorted(os.listdir(site.platform.data)), sorted(os.listdir(site.home)))


@attack("CVE-2024-37032", "traversal by the API", "Ollama", "0.1.34", "the digest of a layer was a path")
def a_digest_that_is_a_path(site):
    """A digest is 64 hexadecimal digits wherever one is read: in paths, bodies and trees."""
    right = hashlib.sha256(b"x").hexdigest()
    for digest in (f"sha256:{UP}", UP, "../" * 21 + "x", "/" + right[1:], right[:63], right + "0", right[:62] + "..", f"{right}/../x", right[:60] + "/../", "sha256-" + right):
        escaped = digest.replace("/", "%2f")
        refused(site.ask("PATCH", f"/v1/blobs/{escaped}?size=1&offset=0", b"x", "owner"), 400)
        refused(site.ask("POST", "/v1/blobs/missing", {"blobs": [{"digest": digest, "size": 1}]}, "owner"), 400)
        refused(site.push("mallory", "other", [file("model.py", digest)]), 400)
    assert site.ask("POST", "/v1/blobs/missing", {"blobs": [{"digest": right, "size": 1}]}, "owner").status == 200


@attack("CVE-2024-39722", "traversal by the API", "Ollama", "0.1.46", "errors told which files the server has")
def which_files_are_there(site):
    """What is refused is refused alike whether or not a file of that name is on the server."""
    told = set()
    for path in ("/etc/passwd", "/etc/nothing", "../data.log", "../nothing9"):
        for answer in (site.push("mallory", "other", [file(path)]), site.push("mallory", "other", [file("model.py")], manifest={"model": {"file": path}})):
            error = refused(answer).json()["error"]
            told.add(error.split(" at line")[0].replace(path, "X"))
    assert len(told) == 2, told


@attack("CVE-2023-31036", "traversal by the API", "Triton", "unknown", "the route that loads a model took a path as its name and files in its body")
def loading_a_model_by_its_path(site):
    """There is no route to load or unload; a name is one part of letters, digits and a few signs."""
    content = {"parameters": {"config": "{}", f"file:{UP}": "eA=="}}
    for name in ("churn", ESCAPED, "..%2fx"):
        for action in ("load", "unload"):
            refused(site.ask("POST", f"/v2/repository/models/{name}/{action}", content, "owner"), 404)
    refused(site.ask("POST", "/v2/repository/index", {}, "owner"), 404)
    for name in (ESCAPED, "%2e%2e", ".hidden", "a%2fb", "a%5cb", "%00", "Churn", "-rf"):
        refused(site.ask("POST", f"/v1/projects/other/models/{name}/versions", {"tree": [file("model.py")], "runtime": "python", "file": "model.py"}, "mallory"), 400, 404)


@attack("CVE-2024-35198", "traversal by the API", "TorchServe", "0.11.0", "an allowed address followed by `..` was allowed")
def dots_behind_something_allowed(site):
    """Each part of a path is looked at, not its begin."""
    for path in ("model/../../x.py", "model.py/../../x", "a/./b", "a//b", "a/b/..", "model/..", "./model.py", "a/../../../../etc/passwd"):
        refused(site.push("mallory", "other", [file("model.py"), file(path)]), 400)


@attack("CVE-2026-28414", "traversal by the API", "Gradio", "6.7", "paths that begin at the root were not taken for absolute ones")
def paths_of_other_systems(site):
    """A path with a backslash, a control character or an empty part is refused on every system."""
    for path in ("/windows/win.ini", "\\windows\\win.ini", "..\\..\\x", "//server/share/x", "a\\..\\b", "a\u0000b", "a\nb", "", "/", "\u0001"):
        refused(site.push("mallory", "other", [file(path)]), 400)


@attack("CVE-2024-0087", "traversal by the API", "Triton", "24.04", "the place of the log could be set to any file")
def a_log_that_is_written_elsewhere(site):
    """Nothing about files of the server can be set over the API."""
    target = site.home / "written"
    for path in ("/v2/logging", "/v2/trace/setting", "/v2/models/churn/trace/setting"):
        refused(site.ask("POST", path, {"log_file": str(target), "trace_file": str(target), "log_info": True}, "owner"), 404, 405)
    assert not target.exists()


# ---- Archives and links ---------------------------------------------------------------------------


def archive(path, *members):
    """A tar file of (name, kind, target or content)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, value in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
            else:
                info.linkname = value
                tar.addfile(info)
    return path


def restoring(site, name, *members):
    """What `decalog restore` says of an archive, which must be that it refuses it and leaves nothing."""
    target = site.home / f"restored-{name}"
    result = site.platform.run("restore", archive(site.home / f"{name}.tar", *members), "--data", target, ok=False)
    assert result.code == 1 and len(result.err) < 2_000, result
    assert not target.exists() or not os.listdir(target)
    return result


@attack("CVE-2026-27905", "archive", "BentoML", "1.4.36", "a link in an archive led a later file out of the directory")
def a_link_in_a_backup(site):
    """A backup is read by what its entries must be called; links are none of it, and nothing is written through one."""
    outside = site.home / "outside"
    outside.mkdir()
    for kind, name in ((tarfile.SYMTYPE, "symbolic"), (tarfile.LNKTYPE, "hard")):
        restoring(site, name, ("blobs", kind, str(outside)), (f"blobs/{'0' * 64}", tarfile.REGTYPE, b"x"), ("ledger.sqlite", tarfile.REGTYPE, b"x"))
        restoring(site, f"{name}-file", ("ledger.sqlite", kind, "/etc/passwd"), ("contents.json", tarfile.REGTYPE, b"{}"))
    assert not os.listdir(outside)


@attack("CVE-2024-45436", "archive", "Ollama", "0.1.47", "an entry of an archive was written beside its directory")
def a_backup_with_paths_that_leave(site):
    """An entry with another name than those of a backup ends the restore, which leaves its directory empty."""
    for number, name in enumerate(("../escaped", "/tmp/escaped", "blobs/../../escaped", "blobs/../escaped", "secrets/../../escaped")):
        restoring(site, f"slip{number}", (name, tarfile.REGTYPE, b"x"), ("contents.json", tarfile.REGTYPE, b"{}"))
    assert not list(site.home.rglob("escaped"))


@attack("CVE-2026-40610", "link", "BentoML", "1.4.39", "a link in a project took a file of its builder into the package")
def a_link_in_a_model_directory(site):
    """A link that leads out of the model's directory is refused by name before anything is uploaded, also behind another link."""
    secret = site.home / "secret.txt"
    secret.write_text("of the builder")
    directory = write_model(site.home / "linked", {"model.py": ROW})
    for target in (secret, "/etc/passwd", "../secret.txt"):
        link = directory / "data.txt"
        link.symlink_to(target)
        result = site.platform.run("deploy", directory, ok=False)
        assert result.code == 1 and "links to outside" in result.err and "data.txt" in result.err, result
        link.unlink()
    (directory / "folder").symlink_to(site.home, target_is_directory=True)
    assert "links to outside" in site.platform.run("deploy", directory, ok=False).err


@attack("CVE-2026-24123", "manifest", "BentoML", "1.4.34", "paths in the configuration of a build took files from elsewhere into the package")
def a_manifest_that_names_files_elsewhere(site):
    """Paths in decalog.toml stay within the model's directory, and so does what requirements.txt includes: its errors show no other file."""
    for number, path in enumerate((UP, "/etc/passwd", "../secret.txt")):
        result = deploy(site, f"manifest{number}", {"decalog.toml": f'[model]\nfile = "{path}"\n'})
        assert result.code == 1 and "within the model directory" in result.err, result
    cookie = (site.platform.data / "local.cookie").read_text().strip()
    for number, line in enumerate((f"-r {site.platform.data}/local.cookie", f"--constraint={site.platform.data}/local.cookie", "-r \\\n/etc/passwd", "-r more.txt",
                                   f"-r file://{site.platform.data}/local.cookie", f"-r {site.canary.url}")):
        result = deploy(site, f"included{number}", {"requirements.txt": f"{line}\n", "more.txt": f"-c {site.platform.data}/local.cookie\n"})
        assert result.code == 1 and "not a file beside it" in result.err and cookie not in result.err + result.out, result


# ---- Commands and templates -----------------------------------------------------------------------


@attack("CVE-2023-6019", "command injection", "Ray", "2.8.1", "the format of a profile went into a shell")
def a_command_in_a_query(site):
    """Queries are read as numbers, names and versions, and none of them gets to a shell."""
    command = f"1%60touch%20{site.marker}%60"
    for path in (f"/v1/projects/fraud/models/churn/logs?lines={command}", f"/v1/projects/fraud/models/churn/logs?version={command}", f"/v1/events?after=%3Btouch%20{site.marker}",
                 f"/v1/events?limit=%24(touch%20{site.marker})", f"/v1/audit/export?format=%7Ctouch%20{site.marker}", f"/v1/models?project=%60touch%20{site.marker}%60"):
        refused(site.ask("GET", path, who="owner"), 400)
    refused(site.ask("GET", f"/worker/cpu_profile?pid=1&format={command}", who="owner"), 404)


@attack("CVE-2025-23316", "command injection", "Triton", "25.08", "the name of a model got to a shell")
def a_command_as_a_name(site):
    """Names of models, projects, environments and variables have letters, digits and three signs."""
    for name in (f"x;touch {site.marker}", f"$(touch {site.marker})", f"`touch {site.marker}`", f"x|touch {site.marker}", "x\ny", "x y", "'", "${IFS}"):
        escaped = "".join(f"%{byte:02x}" for byte in name.encode())
        body = {"tree": [file("model.py")], "runtime": "python", "file": "model.py"}
        refused(site.ask("POST", f"/v1/projects/other/models/{escaped}/versions", body, "mallory"), 400)
        refused(site.ask("POST", f"/v1/projects/{escaped}/models/x/versions", body, "owner"), 400)
        refused(site.ask("PUT", f"/v1/projects/other/environments/{escaped}/variables/A", {"value": "x"}, "owner"), 400)
        refused(site.ask("POST", f"/v1/models/{escaped}/predict", b"{}"), 400, 404)
        refused(site.push("mallory", "other", [file("model.py")], manifest={"model": {"name": name}}), 400, 422)


@attack("CVE-2025-15379", "command injection", "MLflow", "3.8.1", "requirements in a model went into a shell")
def a_command_in_requirements(site):
    """Requirements are given to the resolver as a file, and what is none is refused with its line."""
    for number, line in enumerate((f"numpy; touch {site.marker}", f"$(touch {site.marker})", f"`touch {site.marker}`", f"numpy && touch {site.marker}", f"| touch {site.marker}")):
        result = deploy(site, f"required{number}", {"requirements.txt": f"{line}\n"})
        assert result.code == 1 and "requirements.txt" in result.err, result


@attack("CVE-2026-33744", "command injection", "BentoML", "1.4.37", "names of system packages went into a shell of the build")
def a_command_in_the_python_version(site):
    """Nothing of a directory is put into a script: the version of Python is an argument of the resolver, and there are no system packages."""
    result = deploy(site, "version", {".python-version": f"3.11; touch {site.marker}\n", "requirements.txt": "\n"})
    assert result.code == 1 and "no Python that fits" in result.err, result
    result = deploy(site, "packages", {"decalog.toml": f'[docker]\nsystem_packages = ["curl && touch {site.marker}"]\n'})
    assert result.code == 1 and "unknown field" in result.err, result


@attack("CVE-2026-0596", "command injection", "MLflow", "3.9.0", "the path of a model went into bash -c", writes=True)
def a_command_that_is_no_shell(site):
    """A program of somebody's own is started by its list of arguments, without a shell: signs of a shell are letters."""
    columns = '[{ name = "x", datatype = "INT64", shape = [] }]'
    rest = f'path = "/p"\nstart_ms_max = 5000\n[schema]\ninputs = {columns}\noutputs = {columns}\n'
    for number, command in enumerate(([f"true; touch {site.marker}"], ["echo", f"$(touch {site.marker})", ";", "touch", str(site.marker)], [f"`touch {site.marker}`"])):
        result = deploy(site, f"command{number}", {"decalog.toml": f'[model]\nruntime = "command"\ncommand = {json.dumps(command)}\n{rest}'}, "--project", "other")
        assert result.code == 1 and "did not load" in result.err, result


@attack("CVE-2026-35044", "template injection", "BentoML", "1.4.38", "a template of the package was rendered with all of Python")
def a_template_in_texts(site):
    """Texts are shown as they are; no template language is in the server."""
    for text in ("{{ 7 * 191 }}", "{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}", "${7*191}", "#{7*191}", "%{7*191}", "<%= 7*191 %>"):
        answer = site.ask("POST", "/v1/projects/other/models/churn/deployments", {"version": "v1", "environment": text}, "mallory")
        assert b"1337" not in refused(answer).body
        answer = site.ask("POST", "/v1/models/fraud/churn/predict", {"age": 4, text: 1})
        assert b"1337" not in refused(answer, 422).body
    site.platform.run("check", write_model(site.home / "text", {"model.py": ROW, "decalog.toml": '[model]\ndescription = "{{ 7 * 191 }}"\n'}))


@attack("CVE-2026-44345", "template injection", "BentoML", "1.4.39", "a value with a new line became further directives")
def a_new_line_in_a_name(site):
    """The name of a variable is letters, digits and `_`, so that none smuggles in another; a manifest's are the same."""
    for name in ("A%0ALD_PRELOAD", "A%3DB", "A%00", "A%0d%0aB", "1A", "DECALOG_SOCKET", "A B", "A-B"):
        answer = site.ask("PUT", f"/v1/projects/other/environments/production/variables/{name.replace(' ', '%20')}", {"value": "/tmp/x.so"}, "mallory")
        refused(answer, 422)
    for name in ("A\nB", "A=B", "DECALOG_DATA"):
        refused(site.push("mallory", "other", [file("model.py")], manifest={"env": {name: "x"}}), 422)
    refused(site.ask("PUT", "/v1/projects/other/environments/production/variables/A", {"value": "a\0b"}, "mallory"), 422)


# ---- Programs that look like data -----------------------------------------------------------------


class Command:
    """Unpickled, it runs a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def pickled(site):
    data = pickle.dumps(Command(f"touch {site.marker}"))
    assert b"touch" in data
    return data


ROUTES = ("/v1/models/fraud/churn/predict", "/v2/models/fraud%2Fchurn/infer")


@attack("CVE-2024-2912", "deserialisation", "BentoML", "1.2.5", "a body that said it was a pickle was unpickled")
def a_body_that_says_it_is_a_pickle(site):
    """A body is JSON, tensors, a form or the bytes of a column; its Content-Type makes no pickle of it."""
    for kind in ("application/vnd.bentoml+pickle", "application/x-pickle", "application/python-pickle", "application/octet-stream"):
        for path in ROUTES:
            refused(site.ask("POST", path, pickled(site), Content_Type=kind), 400, 415, 422)


@attack("CVE-2025-27520", "deserialisation", "BentoML", "1.4.3", "a body without lengths of its buffers was unpickled")
def a_body_without_lengths(site):
    """Headers about payloads choose no decoder, and a length that does not fit is refused."""
    for headers in ({"Payload_Meta": "{}"}, {"Content_Type": "application/vnd.bentoml+pickle", "Buffer_Lengths": ""}, {"Inference_Header_Content_Length": "0"},
                    {"Inference_Header_Content_Length": "-1"}, {"Inference_Header_Content_Length": "99999999999999999999"}):
        for path in ROUTES:
            refused(site.ask("POST", path, pickled(site), **headers), 400, 415, 422)


@attack("CVE-2025-32375", "deserialisation", "BentoML", "1.4.8", "headers chose the class that a runner unpickled its arguments to")
def headers_that_choose_a_class(site):
    """No header names a class, and a model's process is reached by nobody but the server."""
    headers = {"Args_Number": "1", "Payload_Container": "NdarrayContainer", "Payload_Meta": '{"format": "default"}', "Batch_Size": "-1", "Content_Type": "application/vnd.bentoml.pickled"}
    for path in (*ROUTES, "/", "/predict"):
        refused(site.ask("POST", path, pickled(site), **headers), 400, 401, 404, 405, 415, 422)


@attack("CVE-2024-11041", "deserialisation", "vLLM", "unknown", "messages between its processes were pickles")
def a_pickle_between_processes(site):
    """The server and its models speak HTTP over sockets that only their user may open; what is no HTTP ends the connection."""
    sockets = [path for path, status in paths_below(site.platform.data / "run") if stat.S_ISSOCK(status.st_mode)]
    assert len(sockets) >= 3
    for path in sockets:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(path))
            try:
                connection.sendall(len(pickled(site)).to_bytes(4, "big") + pickled(site) + b"\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1000)
            except (ConnectionError, TimeoutError):
                pass
        assert path.parent.stat().st_mode & 0o077 == 0 or site.platform.data.stat().st_mode & 0o077 == 0


@attack("CVE-2025-62164", "deserialisation", "vLLM", "0.11.1", "tensors in a request were loaded by torch.load")
def a_pickle_in_a_tensor(site):
    """The bytes of a tensor are numbers of its datatype, or texts with their lengths, and given to the model as such."""
    data = pickled(site)
    for datatype, shape in (("BYTES", [1]), ("FP32", [len(data) // 4]), ("UINT8", [len(data)])):
        head = json.dumps({"inputs": [{"name": "age", "datatype": "INT64", "shape": [1], "data": [4]},
                                      {"name": "city", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}]}).encode()
        refused(site.ask("POST", ROUTES[1], head + data, Inference_Header_Content_Length=str(len(head))), 400, 422)

"""Requests that are to cost much, and memory that others can name."""

import os
import re
import socket
import stat
import time
import zlib
from pathlib import Path

from attacks import attack, nothing_of, refused
from conftest import paths_below

PREDICT = "/v1/models/fraud/churn/predict"
INFER = "/v2/models/fraud%2Fchurn/infer"
#: A refusal takes no longer than this on a machine that does other things, in seconds.
QUICK_S = 8
#: What a request that is refused may add to the memory of the server, in bytes.
GROWTH_BYTES_MAX = 96 << 20


def resident_bytes(site):
    pages = int(Path(f"/proc/{site.platform.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Cheap:
    """What is in the block takes little time, and leaves the server with little more memory."""

    def __init__(self, site):
        self.site = site

    def __enter__(self):
        self.begin, self.before = time.monotonic(), resident_bytes(self.site)

    def __exit__(self, kind, *_):
        if kind is None:
            assert time.monotonic() - self.begin < QUICK_S
            assert resident_bytes(self.site) - self.before < GROWTH_BYTES_MAX


@attack("CVE-2026-34756", "exhaustion", "vLLM", "0.19.0", "a number in the request said how many copies of it to make")
def a_number_that_asks_for_memory(site):
    """What a request announces, in shapes, sizes, offsets and limits, is checked before anything is allocated for it."""
    with Cheap(site):
        for shape in ([2**40], [2**62, 4], [2**31, 2**31], [0, 2**40], [1] * 1000, [-1], [10**30]):
            columns = [{"name": "age", "datatype": "INT64", "shape": shape, "data": [4]}, {"name": "city", "datatype": "BYTES", "shape": [1], "data": ["x"]}]
            refused(site.ask("POST", INFER, {"inputs": columns}), 400, 422)
        for number in (2**40, 10**30):
            body = {"age": 4, "n": number, "best_of": number}
            refused(site.ask("POST", PREDICT, body), 422)
        refused(site.ask("PATCH", f"/v1/blobs/{'0' * 64}?size={10**30}&offset=0", b"x", "owner"), 400)
        refused(site.raw(f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**40}\r\nConnection: close\r\n\r\n"), 413)


@attack("CVE-2024-9056", "exhaustion", "BentoML", "not fixed", "signs behind the boundary of a form were looked through one by one, for ever")
def a_form_with_an_endless_boundary(site):
    """A form is searched for its boundary once; it has 70 bytes at most, and whatever does not follow it ends the search."""
    boundary = "-" * 60_000
    body = ("--" + boundary + "-" * 1_000_000 + "\r\n").encode()
    near = b"--" + (b"-" * 70 + b"\r\n--" + b"-" * 69 + b" \t") * 10_000
    with Cheap(site):
        for path in (PREDICT, INFER):
            for length in (70, 71, 6000):
                for form in (body, near):
                    refused(site.ask("POST", path, form, Content_Type=f"multipart/form-data; boundary={boundary[:length]}"), 400, 413, 422, 431)


@attack("CVE-2025-48956", "exhaustion", "vLLM", "0.10.1.1", "the head of a request could have any size")
def a_head_without_end(site):
    """A head has a limit, in bytes and in lines; more closes the connection."""
    with Cheap(site):
        for line in ("X: " + "y" * (4 << 20), "\r\n".join(f"X{number}: y" for number in range(20_000))):
            assert site.get("/healthz", line, who=None).status in (0, 400, 413, 431)
        assert site.get("/" + "x" * (4 << 20), who=None).status in (0, 400, 414, 431)


@attack("CVE-2025-23310", "exhaustion", "Triton", "25.07", "each chunk of a body took space on the stack")
def a_body_of_many_chunks(site):
    """Chunks are joined as they come: a body of tens of thousands is one body."""
    row = b'{"age": 4' + b" " * 50_000 + b"}"
    chunks = b"".join(b"1\r\n" + row[at:at + 1] + b"\r\n" for at in range(len(row))) + b"0\r\n\r\n"
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    with Cheap(site):
        answer = site.raw(head, chunks)
        assert answer.status == 200 and b'"output":2.0' in answer.body


@attack("CVE-2025-23311", "exhaustion", "Triton", "25.07", "lengths of chunks overflowed")
def chunks_that_lie(site):
    """A length that is no number, overflows, or comes beside Content-Length ends the request."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    chunked = head + "Transfer-Encoding: chunked\r\n"
    with Cheap(site):
        for size in ("FFFFFFFFFFFFFFFF", "FFFFFFFFFFFFFFFFF", "-1", "0x10", "+5", "zz", "7fffffffffffffff;" + "x" * 100_000):
            with socket.create_connection(("127.0.0.1", site.port), 20) as connection:
                # Whoever announces more than they send hangs up.
                connection.sendall(f"{chunked}\r\n{size}\r\n".encode() + b'{"age": 4}\r\n0\r\n\r\n')
        for both in ("Content-Length: 10\r\n", "Content-Length: 10\r\nContent-Length: 11\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding: gzip\r\n"):
            answer = site.raw(f"{chunked if 'gth' in both and both.count('gth') == 1 else head}{both}\r\n", b'a\r\n{"age": 4}\r\n0\r\n\r\n')
            assert answer.status in (0, 400, 411, 501) or b'"output":2.0' in answer.body, both


@attack("CVE-2025-0453", "exhaustion", "MLflow", "unknown", "one query of many parts kept all workers busy")
def a_query_for_everything(site):
    """Lists come in pages of a size that the server sets, and models are answered meanwhile."""
    with Cheap(site):
        for path in ("/v1/events?limit=1000000000", "/v1/events?limit=18446744073709551615", "/v1/projects/fraud/models/churn/logs?lines=18446744073709551615"):
            for _ in range(20):
                assert site.ask("GET", path, who="owner").status in (200, 400)
            assert site.predicts()
        blobs = [{"digest": f"{number:064x}", "size": 1} for number in range(20_000)]
        assert site.ask("POST", "/v1/blobs/missing", {"blobs": blobs}, "owner").status in (200, 400, 413)


@attack("CVE-2025-48944", "exhaustion", "vLLM", "0.9.0", "a field of a wrong type ended the worker")
def fields_of_wrong_types(site):
    """Rows are checked against the schema before a model sees them; depth has a limit; the model's process stays the same."""
    pids = site.platform.pids("fraud/churn")
    deep = b'{"age": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with Cheap(site):
        for body in (deep, b'{"age":' * 50_000, b'{"rows": [' + b"{}," * 200_000 + b"{}]}", b'{"rows": {}}', b'{"rows": [[]]}', b'{"age": "4"}', b'{"age": 1e999}', b'{"age": null}',
                     b'{"age": {"type": []}}', b'[]', b'null', b'""', b'{"age": 4, "age": 5, "city": 7}'):
            refused(site.ask("POST", PREDICT, body), 400, 413, 422)
    assert site.platform.pids("fraud/churn") == pids


# ---- Memory that others can name ------------------------------------------------------------------


@attack("CVE-2025-23319", "shared memory", "Triton", "25.07", "an error named the private shared memory of a backend, which could then be registered")
def memory_that_an_error_names(site):
    """Models and server share no memory: there is no segment to name, and no route to register one."""
    before = set(os.listdir("/dev/shm"))
    for path in ("systemsharedmemory", "cudasharedmemory"):
        for action in ("region/x/register", "status", "unregister"):
            refused(site.ask("POST", f"/v2/{path}/{action}", {"key": "/x", "offset": 0, "byte_size": 8}, "owner"), 404)
    big = {"age": 4, "city": "x" * (8 << 20)}
    for body in (big, {"age": "x" * 100_000}, {"rows": [{"age": 4}] * 1000 + [{"age": "x"}]}):
        nothing_of(site.ask("POST", PREDICT, body), b"shm", b"/dev/")
    assert {name for name in set(os.listdir("/dev/shm")) - before if "decalog" in name or "triton" in name} == set()
    for pid in site.platform.pids("fraud/churn"):
        assert "/dev/shm" not in Path(f"/proc/{pid}/maps").read_text()


@attack("CVE-2024-0088", "shared memory", "Triton", "24.04", "an offset beyond a region of shared memory read and wrote elsewhere")
def data_in_a_region(site):
    """A tensor that says its data is in shared memory has none, and is refused."""
    for offset in (0, 2**63, -8):
        region = {"shared_memory_region": "x", "shared_memory_offset": offset, "shared_memory_byte_size": 8}
        columns = [{"name": "age", "datatype": "INT64", "shape": [1], "parameters": region}, {"name": "city", "datatype": "BYTES", "shape": [1], "data": ["x"]}]
        assert b"no data" in refused(site.ask("POST", INFER, {"inputs": columns}), 400).body


@attack("CVE-2026-22778", "leak", "vLLM", "0.14.1", "an error held an address of the server's memory")
def addresses_in_errors(site):
    """Errors name what was sent, and no address, file or line of the server."""
    bodies = [b"\x89PNG\r\n", b"\xff\xd8\xff", b"{", b'{"age": 4, "city": "\xff"}', b'{"age": [1]}', b'{"age": "\\ud800"}', zlib.compress(b"x" * 1000), b"\0" * 100]
    for path in (PREDICT, INFER, "/v1/tokens", "/v1/blobs/missing"):
        for body in bodies:
            answer = refused(site.ask("POST", path, body, "owner"))
            nothing_of(answer, str(site.platform.data).encode(), b"Traceback", b".rs:", b"/site-packages/", b"object at 0x")
            assert not re.search(rb"0x[0-9a-f]{6,}", answer.body), answer.body


@attack("CVE-2026-4137", "leak", "MLflow", "3.11.0", "temporary directories of models were writable for everybody", writes=True)
def directories_that_everybody_may_write(site):
    """The data directory is closed to all others, and nothing in it is writable for group or others; keys and cookie are for one user."""
    assert site.owner("PUT", "/v1/projects/other/environments/staging/variables/PASSWORD", {"value": "secret", "secret": True}).status == 200
    assert stat.S_IMODE(site.platform.data.stat().st_mode) == 0o700
    found = [(path, status.st_mode) for path, status in paths_below(site.platform.data) if not stat.S_ISLNK(status.st_mode)]
    assert len(found) > 30
    assert not [path for path, mode in found if mode & 0o022 and not stat.S_ISSOCK(mode)]
    for path in [*(site.platform.data / "keys").iterdir(), site.platform.data / "local.cookie"]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path

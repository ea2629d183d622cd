"""A client for Decalog: predictions, streams, and what is deployed. It needs nothing beyond the standard library.

    import decalog
    client = decalog.Client()
    client.predict("churn", {"age": 42, "city": "Utrecht"})

In training code, `log_metrics` and `log_data` write down what `decalog deploy` tells of a version. Deploying stays with
the command line. One client may be shared by threads: each has a connection of its own.
"""

import http.client
import json
import math
import os
import sys
import threading
from base64 import b64decode, b64encode
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple, Union
from urllib.parse import quote, urlencode, urlsplit

from .training import log_data, log_metrics

__all__ = ["BadInput", "Client", "Error", "as_bytes", "log_data", "log_metrics", "traceparent"]
__version__ = "0.1.0"

DEFAULT_URL = "http://127.0.0.1:8010"
DEFAULT_TIMEOUT_S = 60.0

Row = Dict[str, Any]


class Error(Exception):
    """What Decalog refused or could not do: a stable code, one sentence, details, and what to do about it."""

    def __init__(
        self,
        code: str,
        message: str,
        details: Optional[List[str]] = None,
        help: str = "",
        status: int = 0,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or []
        self.help = help
        #: HTTP status; 0 if there was no answer.
        self.status = status
        #: To find the request in the server's log.
        self.request_id = request_id

    def __str__(self) -> str:
        lines = [self.message] + ["  " + detail for detail in self.details]
        return "\n".join(lines + (["help: " + self.help] if self.help else []))


class BadInput(ValueError):
    """What a model raises in `predict` to say that the request is at fault: its caller gets 422 with this text."""


def traceparent() -> Optional[str]:
    """In a model's code: the W3C `traceparent` of the batch that runs, for what it asks others. None if nobody traces."""
    worker = sys.modules.get("decalog_worker.tracing")
    return worker.current() if worker else None


def as_bytes(value: Any) -> bytes:
    """The bytes of a value of a column of BYTES in an answer, which is text if it can be, and else `{"b64": …}`."""
    return b64decode(value["b64"], validate=True) if isinstance(value, dict) else value.encode()


class Client:
    """Talks to one server. `url` is by default that of the variable DECALOG_URL, else that of `decalog up`.

    `token` is by default that of DECALOG_TOKEN. Predictions need none at the server's own machine, unless it was told to
    ask for one; all else does.
    """

    def __init__(
        self, url: Optional[str] = None, timeout: float = DEFAULT_TIMEOUT_S, token: Optional[str] = None
    ) -> None:
        self.url = (url or os.environ.get("DECALOG_URL") or DEFAULT_URL).rstrip("/")
        #: In seconds, for each wait on the server.
        self.timeout = timeout
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the url %r is not like %s" % (self.url, DEFAULT_URL))
        self._host: Tuple[str, Optional[int]] = (parts.hostname, parts.port)
        self._is_secure = parts.scheme == "https"
        self._base = parts.path
        token = token or os.environ.get("DECALOG_TOKEN")
        self._proof = {"Authorization": "Bearer " + token} if token else {}
        self._local = threading.local()

    def predict(self, reference: str, row: Row, deadline_ms: Optional[int] = None) -> Row:
        """The output columns for one row of input columns. A reference is `[project/]model[@environment][@v3]`."""
        return self._post(reference, row, deadline_ms)

    def predict_rows(self, reference: str, rows: Iterable[Row], deadline_ms: Optional[int] = None) -> List[Row]:
        """One row of output columns for each row, in order. A pandas DataFrame will do."""
        records = rows.to_dict(orient="records") if hasattr(rows, "to_dict") else list(rows)
        return self._post(reference, {"rows": records}, deadline_ms)["rows"]

    def stream(self, reference: str, row: Row, deadline_ms: Optional[int] = None) -> Iterator[Any]:
        """The items of a model that streams, as they come. Closing the iterator stops the model."""
        connection = self._connect()
        try:
            response = self._exchange(connection, "POST", _predict_path(reference), _encode(row), _headers(deadline_ms))
            if response.status != 200:
                raise _error(response, response.read())
            if not (response.getheader("Content-Type") or "").startswith("text/event-stream"):
                yield json.loads(response.read())
                return
            yield from _items(response, response.getheader("Decalog-Request-Id") or "")
        except (OSError, http.client.HTTPException) as failure:
            raise self._unreachable(failure) from failure
        finally:
            connection.close()

    def models(self, project: Optional[str] = None) -> List[Dict[str, Any]]:
        """The models that there are, of one project or of all."""
        answer = self._get("/v1/models", project=project)
        return answer["models"] if isinstance(answer, dict) else answer

    def show(self, name: str) -> Dict[str, Any]:
        """All that is known of a model, `[project/]model`."""
        project, model = _split(name)
        return self._get("/v1/projects/%s/models/%s" % (quote(project, ""), quote(model, "")))

    def events(
        self, name: Optional[str] = None, after: Union[int, str] = 0, limit: Optional[int] = None
    ) -> List[Dict[str, Any]]:
        """What happened to one model or to all, after an entry of the ledger (12) or another `place` (12.7).

        At most `limit` events, or all.
        """
        model, found = name and "/".join(_split(name)), []
        while True:
            page = self._get("/v1/events", model=model, after=after, limit=limit)
            found += page["events"]
            if not page.get("more") or (limit is not None and len(found) >= limit):
                return found[:limit]
            after = page["next"]

    def follow(self, name: Optional[str] = None, after: Union[int, str] = 0) -> Iterator[Dict[str, Any]]:
        """What happens, as it does, without an end."""
        query = _query(model=name and "/".join(_split(name)), after=after, follow="true")
        connection = self._connect(None)
        try:
            response = self._exchange(connection, "GET", "/v1/events" + query, None, {})
            if response.status != 200:
                raise _error(response, response.read())
            for line in response:
                if line.strip():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException) as failure:
            raise self._unreachable(failure) from failure
        finally:
            connection.close()

    def status(self) -> Dict[str, Any]:
        """What the server says of itself."""
        return self._get("/v1/status")

    def close(self) -> None:
        """Closes this thread's connection; the next call opens another."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._ask("GET", path + _query(**parameters), None, {})

    def _post(self, reference: str, body: Any, deadline_ms: Optional[int]) -> Any:
        return self._ask("POST", _predict_path(reference), _encode(body), _headers(deadline_ms))

    def _ask(self, method: str, path: str, body: Optional[bytes], headers: Dict[str, str]) -> Any:
        """One request over this thread's connection, and once more if that turns out to have been closed meanwhile."""
        while True:
            connection = getattr(self._local, "connection", None)
            is_fresh = connection is None
            if connection is None:
                connection = self._local.connection = self._connect()
            try:
                response = self._exchange(connection, method, path, body, headers)
                data = response.read()
                break
            except (OSError, http.client.HTTPException) as failure:
                self.close()
                was_closed = isinstance(
                    failure, (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected)
                )
                if is_fresh or not was_closed:
                    raise self._unreachable(failure) from failure
        if response.status != 200:
            raise _error(response, data)
        try:
            return json.loads(data)
        except ValueError as failure:
            raise Error(
                "bad_answer", "%s answered what is not JSON: is it Decalog?" % self.url, status=response.status
            ) from failure

    def _connect(self, timeout: Optional[float] = -1.0) -> http.client.HTTPConnection:
        host, port = self._host
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        return kind(host, port, timeout=self.timeout if timeout == -1.0 else timeout)

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Optional[bytes],
        headers: Dict[str, str],
    ) -> http.client.HTTPResponse:
        headers = dict(headers, **self._proof)
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, self._base + path, body, headers)
        return connection.getresponse()

    def _unreachable(self, failure: Exception) -> Error:
        if isinstance(failure, TimeoutError) or "timed out" in str(failure):
            return Error(
                "timeout", "%s did not answer within %g s" % (self.url, self.timeout), help="raise Client(timeout=...)"
            )
        return Error(
            "unreachable",
            "%s cannot be reached: %s" % (self.url, failure),
            help="start it with `decalog up`, or set DECALOG_URL",
        )


def _predict_path(reference: str) -> str:
    return "/v1/models/%s/predict" % quote(reference, safe="/@")


def _headers(deadline_ms: Optional[int]) -> Dict[str, str]:
    return {} if deadline_ms is None else {"Decalog-Timeout-Ms": str(deadline_ms)}


def _query(**parameters: Any) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    return "?" + urlencode(given) if given else ""


def _split(name: str) -> Tuple[str, str]:
    project, _, model = name.rpartition("/")
    return project or "default", model


def _encode(value: Any) -> bytes:
    try:
        return json.dumps(value, default=_plain, allow_nan=False).encode()
    except ValueError:
        # Numbers that are not finite stand for missing values, as in a DataFrame.
        return json.dumps(_finite(json.loads(json.dumps(value, default=_plain)))).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"b64": b64encode(value).decode()}
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        text = value.isoformat()
        return text + "Z" if getattr(value, "tzinfo", "") is None else text
    raise TypeError("a value of type %s cannot be sent" % type(value).__name__)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return {key: _finite(item) for key, item in value.items()} if isinstance(value, dict) else value


def _items(response: http.client.HTTPResponse, request_id: str) -> Iterator[Any]:
    """The data of server-sent events; an event `error` is raised."""
    kind, data = "", []  # type: str, List[str]
    for raw in response:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data.append(line[5:].lstrip(" "))
        elif not line and data:
            value = json.loads("\n".join(data))
            if kind == "error":
                raise _problem(value, 200, request_id)
            yield value
            kind, data = "", []


def _error(response: http.client.HTTPResponse, data: bytes) -> Error:
    request_id = response.getheader("Decalog-Request-Id") or ""
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {"code": "http_%d" % response.status, "error": "%d %s" % (response.status, response.reason)}
    return _problem(body, response.status, request_id)


def _problem(body: Dict[str, Any], status: int, request_id: str) -> Error:
    message = str(body.get("error") or "the server answered %d" % status)
    return Error(body.get("code") or "error", message, body.get("details"), body.get("help") or "", status, request_id)

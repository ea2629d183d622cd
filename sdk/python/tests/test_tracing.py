"""The trace of a batch: what a model's code sees of it, and that heads with it are parsed once."""

import sys
import types

import pytest
from conftest import ask, output, read_answer

from decalog_worker import tracing

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MODEL = """
import asyncio
import decalog
%sdef predict(x: int) -> str:
    %s
    return str(decalog.traceparent())
"""


def traced(request, text):
    head, body = request.split(b"\r\n\r\n", 1)
    return head + b"\r\ntraceparent: " + text.encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("kind, line", [("", "pass"), ("async ", "await asyncio.sleep(0)")])
def test_a_model_sees_the_trace_of_its_batch_and_of_no_other(serve, kind, line):
    served = serve(MODEL % (kind, line))
    with served.connect() as connection:
        for text in (TRACE, None, TRACE.replace("4bf9", "0000"), None):
            connection.sendall(traced(ask(1), text) if text else ask(1))
            assert output(read_answer(connection)) == [str(text)]


def test_a_stream_sees_it_to_its_end(serve):
    model = "import decalog\ndef predict(x: int):\n    yield decalog.traceparent()\n    yield decalog.traceparent()"
    with serve(model).connect() as connection:
        connection.sendall(traced(ask(1), TRACE))
        received = b""
        while b"0\r\n\r\n" not in received:
            received += connection.recv(4096)
        assert received.count(TRACE.encode()) == 2


@pytest.mark.parametrize("field", ["x" * 55, TRACE + "-more", "", TRACE + "\r\nX: y"])
def test_a_field_that_is_none_harms_nobody(serve, field):
    with serve(MODEL % ("", "pass")).connect() as connection:
        connection.sendall(traced(ask(1), field))
        assert read_answer(connection).status == 200
        connection.sendall(ask(1))
        assert output(read_answer(connection)) == ["None"]


def test_opentelemetry_goes_on_with_it_where_a_model_has_imported_it(monkeypatch):
    attached, detached = [], []
    trace = types.SimpleNamespace(
        SpanContext=lambda *parts: parts, TraceFlags=int, NonRecordingSpan=lambda context: context,
        set_span_in_context=lambda span: span,
    )  # fmt: skip
    context = types.SimpleNamespace(attach=lambda it: attached.append(it) or "token", detach=detached.append)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", context)
    with tracing.Continued(TRACE):
        assert tracing.current() == TRACE and detached == []
    assert attached == [(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, True, 1)]
    assert detached == ["token"] and tracing.current() is None
    with tracing.Continued("no trace"):  # it fails there, and the model runs nevertheless
        assert tracing.current() == "no trace"

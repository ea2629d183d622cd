"""The trace that a batch belongs to, for the model's code: what a caller or Decalog has begun, it goes on with."""

import contextvars
import sys

from .log import log

MARK = b"\r\ntraceparent: "
HEADER_BYTES = 55
BATCH = contextvars.ContextVar("decalog_traceparent", default=None)


def parted(text):
    """The head of a request without its last field `traceparent`, and that field's value or None.

    Heads are known by their bytes, and this differs for each batch.
    """
    at = text.find(MARK)
    if at < 0 or at + len(MARK) + HEADER_BYTES != len(text):
        return text, None
    return text[:at], text[at + len(MARK) :].decode("latin-1")


def current():
    """The `traceparent` of the batch that runs, or None."""
    return BATCH.get()


class Continued:
    """The model's code runs in a batch's trace, also for OpenTelemetry if the model has imported it."""

    __slots__ = ("text", "token", "attached")

    def __init__(self, text):
        self.text, self.attached = text, None

    def __enter__(self):
        self.token = BATCH.set(self.text)
        try:
            self.attached = attach(self.text)
        except BaseException as error:  # whatever that library does, the model is asked
            log("the trace does not go on here: %r\n" % error)

    def __exit__(self, *_):
        BATCH.reset(self.token)
        if self.attached is not None:
            context, token = self.attached
            try:
                context.detach(token)
            except BaseException as error:
                log("the trace does not end here: %r\n" % error)


def attach(text):
    """Makes the batch's span the current one of OpenTelemetry; its module and what detaches it, or None."""
    trace, context = sys.modules.get("opentelemetry.trace"), sys.modules.get("opentelemetry.context")
    if trace is None or context is None:
        return None
    _, trace_id, span_id, flags = text.split("-")
    span = trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, trace.TraceFlags(int(flags, 16)))
    return context, context.attach(trace.set_span_in_context(trace.NonRecordingSpan(span)))

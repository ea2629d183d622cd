"""The Open Inference Protocol v2, as JSON and with binary tensors, for one loaded model; no sockets."""

from .datatypes import FIXED
from .http import Head, binary_answer, binary_head, json_answer, problem_answer
from .limits import CACHE_ENTRIES_MAX, CACHED_KEY_BYTES_MAX
from .plan import make_plan
from .problem import Problem, bad_output, bad_request, sentence
from .replies import describe_output, describe_outputs
from .rows import log_rows
from .settings import logs_rows
from .tracebacks import log_failure


class Worker:
    """Answers requests for one loaded model."""

    def __init__(self, form, name, concurrency):
        self.form, self.name, self.concurrency = form, name, concurrency
        self.plans, self.heads, self.reply_heads = {}, {}, {}
        self.logs_rows = logs_rows()
        self.infer_path = "/v2/models/%s/infer" % name

    def head(self, text):
        """The parsed head of a request; the same head is parsed once."""
        head = self.heads.get(text)
        if head is None:
            head = Head(text)
            remember(self.heads, text, head)
        return head

    def answer(self, head, data, at, end, owned):
        """The parts of the answer, and the values of the row whose answer streams, or None."""
        if head.method == "POST" and head.path == self.infer_path:
            try:
                return self.infer(head, data, at, end, owned)
            except Problem as problem:
                return problem_answer(problem), None
            except BaseException as error:  # whatever a request does, the next one is served
                log_failure(error)
                return problem_answer(bad_output("the worker failed: " + sentence(error))), None
        return self.inform(head), None

    def infer(self, head, data, at, end, owned):
        base = end if head.json_length is None else at + head.json_length
        if base > end:
            raise bad_request("Inference-Header-Content-Length is beyond the body")
        key = bytes(data[at:base])
        plan = self.plans.get(key)
        if plan is None:
            plan = make_plan(key, self.form)
            if not plan.inline and plan.id is None:
                remember(self.plans, key, plan)
        if plan.blob_bytes != end - base:
            raise bad_request("the binary tensors have %d bytes, but %d are announced" % (end - base, plan.blob_bytes))
        if plan.inline:
            data, base, owned = data[base:end] + plan.inline, 0, True
        values = [read(data, base, owned) for read in plan.readers]
        if self.form.streams:
            if plan.rows != 1:
                raise bad_request("a stream takes one row, not %d" % plan.rows)
            return None, values
        return self.reply(plan, self.run(values, plan.rows)), None

    def run(self, values, rows):
        """The parts of the answer; the log gets the rows that failed, if that was asked for."""
        if not self.logs_rows:
            return self.form.run(values, rows)
        try:
            parts = self.form.run(values, rows)
        except Problem as problem:
            log_rows(self.form, values, [(rows, problem)])
            raise
        log_rows(self.form, values, parts)
        return parts

    def reply(self, plan, parts):
        if len(parts) == 1:
            outputs = parts[0][1]
            if isinstance(outputs, Problem):
                raise outputs
            return self.reply_plainly(outputs) if plan.is_plain else self.reply_as_asked(plan, outputs)
        answer, blobs = {"model_name": self.name, "parts": []}, []
        if plan.id is not None:
            answer["id"] = plan.id
        for rows, outputs in parts:
            try:
                if isinstance(outputs, Problem):
                    raise outputs
                answer["parts"].append({"rows": rows, "outputs": describe_outputs(plan, outputs, blobs)})
            except Problem as problem:
                answer["parts"].append({"rows": rows, "problem": problem.body()})
        return binary_answer(answer, blobs)

    def reply_plainly(self, outputs):
        key = tuple(
            [
                (output[0], output[1], output[2], len(output[3]) if type(output[3]) is bytes else output[3].nbytes)
                for output in outputs
            ]
        )
        head = self.reply_heads.get(key)
        if head is None:
            described = {"model_name": self.name, "outputs": [describe_output(*output) for output in key]}
            head = binary_head(described, sum(output[3] for output in key))
            remember(self.reply_heads, key, head)
        return [head] + [output[3] for output in outputs]

    def reply_as_asked(self, plan, outputs):
        blobs = []
        answer = {"model_name": self.name, "outputs": describe_outputs(plan, outputs, blobs)}
        if plan.id is not None:
            answer["id"] = plan.id
        return binary_answer(answer, blobs)

    def inform(self, head):
        """Answers all that is not an inference."""
        model = "/v2/models/" + self.name
        if head.path in (self.infer_path, model) and head.method != ("POST" if head.path == self.infer_path else "GET"):
            return problem_answer(bad_request("%s is not for %s" % (head.method, head.path)))
        if head.path in ("/v2/health/live", "/v2/health/ready", model + "/ready"):
            return json_answer(200, {})
        if head.path == "/v2":
            return json_answer(
                200, {"name": "decalog-python", "version": "0.1.0", "extensions": ["binary_tensor_data"]}
            )
        if head.path == model:
            return json_answer(200, self.metadata())
        return json_answer(
            404, {"code": "bad_request", "error": "there is nothing at %s; the model is %s" % (head.path, model)}
        )

    def metadata(self):
        def columns(kind):
            return [{"name": column["name"], "datatype": column["datatype"] if column["datatype"] in FIXED else "BYTES",
                     "shape": [-1] + column.get("shape", [-1])} for column in self.form.schema[kind]]  # fmt: skip

        extension = {
            "schema": self.form.schema,
            "prefetch": not self.form.streams,
            "concurrency": self.concurrency,
            "binary": True,
        }
        described = {"name": self.name, "versions": [], "platform": "python", "decalog": extension}
        return dict(described, inputs=columns("inputs"), outputs=columns("outputs"))


def remember(cache, key, value):
    """Keeps what is likely to come again, within limits."""
    if len(key) > CACHED_KEY_BYTES_MAX:
        return
    if len(cache) >= CACHE_ENTRIES_MAX:
        cache.clear()
    cache[key] = value

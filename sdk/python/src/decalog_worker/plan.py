"""Plans: what the JSON of a request means, checked against the schema. One serves all requests with the same JSON."""

import math

from .datatypes import FIXED, bytes_blob
from .limits import DIMENSIONS_MAX, EMPTY_ROWS_MAX, SHOWN_CHARS_MAX
from .problem import bad_request, sentence
from .readers import Absent, Slot
from .shapes import is_shape
from .standard import json, struct
from .text import bytes_of_json, to_json


class Plan:
    """What a request's JSON means: how its tensors are read and how its answer is written."""

    __slots__ = ("rows", "readers", "blob_bytes", "inline", "wanted", "binary", "id", "is_plain")


def make_plan(text, form):
    """The plan of a request's JSON, checked against the schema."""
    try:
        header = json.loads(text)
        inputs, parameters = header["inputs"], header.get("parameters") or {}
        inputs = [
            (item["name"], item["datatype"], item["shape"], item.get("parameters") or {}, item.get("data"))
            for item in inputs
        ]
        # By name: an output that is asked for often is sent once.
        wanted = {
            str(item["name"]): (item.get("parameters") or {}).get("binary_data") for item in header.get("outputs") or []
        }
        binary = bool(parameters.get("binary_data_output"))
        for name, datatype, _, settings, _ in inputs:
            if not (isinstance(name, str) and isinstance(datatype, str) and isinstance(settings, dict)):
                raise TypeError("the name or the datatype of an input is no text")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise bad_request("the request is not one of the Open Inference Protocol: %s" % sentence(error))
    plan = Plan()
    plan.inline, offset, found = bytearray(), 0, {}
    blob_bytes = sum(size_of(name, settings) for name, _, _, settings, data in inputs if data is None)
    for name, datatype, shape, settings, data in inputs:
        if name in found:
            raise bad_request("the input `%s` is there twice" % name)
        if datatype not in FIXED and datatype != "BYTES":
            raise bad_request("`%s` has the datatype `%s`, which the protocol does not know" % (name, datatype))
        if not is_shape(shape) or not shape or any(size is None or size < 0 for size in shape):
            raise bad_request(
                "`%s` has the shape %s; the first dimension must be the rows"
                % (name, json.dumps(shape)[:SHOWN_CHARS_MAX])
            )
        if len(shape) > DIMENSIONS_MAX or 0 in shape and math.prod([size or 1 for size in shape]) > EMPTY_ROWS_MAX:
            raise bad_request("the shape of `%s` is too large: %s" % (name, json.dumps(shape)[:SHOWN_CHARS_MAX]))
        if data is not None:
            start = blob_bytes + len(plan.inline)
            plan.inline += pack_data(name, datatype, data, math.prod(shape))
            end = blob_bytes + len(plan.inline)
        else:
            start, end = offset, offset + size_of(name, settings)
            offset = end
        if datatype in FIXED and end - start != math.prod(shape) * FIXED[datatype][2]:
            raise bad_request(
                "`%s` has %d bytes, which is not its shape %s of %s" % (name, end - start, list(shape), datatype)
            )
        found[name] = (datatype, Slot(start, end, tuple(shape)))
    rows = next((slot.shape[0] for _, slot in found.values()), 0)
    whole = form.whole_rows(found)
    if whole is not None:
        plan.rows, slots = match_slots(found, [whole])
        plan.readers = [form.whole_reader(slots[0], whole, plan.rows)]
        return finished(plan, blob_bytes, wanted, binary, header.get("id"))
    for column in form.schema["inputs"]:
        if column["name"] not in found and column.get("default") is not None:
            datatype, shape, data = default_input(column, 1)
            start = blob_bytes + len(plan.inline)
            plan.inline += pack_data(column["name"], datatype, data, math.prod(shape)) * rows
            found[column["name"]] = (datatype, Slot(start, blob_bytes + len(plan.inline), (rows,) + shape[1:]))
    plan.rows, slots = match_slots(found, form.schema["inputs"], form.takes_numbers)
    plan.readers = form.readers(slots, plan.rows)
    return finished(plan, blob_bytes, wanted, binary, header.get("id"))


def finished(plan, blob_bytes, wanted, binary, request_id):
    """The plan with all that does not depend on its inputs."""
    plan.blob_bytes, plan.wanted, plan.binary, plan.id = blob_bytes, wanted, binary, request_id
    plan.is_plain = binary and not wanted and plan.id is None
    return plan


def size_of(name, settings):
    size = settings.get("binary_data_size")
    if not isinstance(size, int) or size < 0:
        raise bad_request("`%s` has neither data nor binary_data_size" % name)
    return size


def match_slots(found, columns, takes_numbers=False):
    """The number of rows, and a slot for each column of the schema; `takes_numbers` of whichever datatype."""
    known = {column["name"] for column in columns} | {column["name"] + ":valid" for column in columns}
    unknown = [name for name in found if name not in known]
    if unknown:
        names = ", ".join(column["name"] for column in columns)
        raise bad_request("`%s` is not an input of this model; it has %s" % (unknown[0], names))
    rows = next((slot.shape[0] for _, slot in found.values()), 0)
    if rows == 0 or any(slot.shape[0] != rows for _, slot in found.values()):
        raise bad_request("the inputs must have the same number of rows, at least one, as their first dimension")
    slots = []
    for column in columns:
        name = column["name"]
        if name not in found:
            if not column.get("nullable"):
                raise bad_request("the input `%s` is missing" % name)
            slots.append(Absent())
            continue
        datatype, slot = found[name]
        wanted = column["datatype"] if column["datatype"] in FIXED else "BYTES"
        slot.datatype = datatype
        if datatype != wanted and not (takes_numbers and datatype in FIXED and wanted in FIXED):
            raise bad_request("`%s` must be %s, not %s" % (name, column["datatype"], datatype))
        wanted = column.get("shape")
        if wanted == [] and slot.shape[1:] == (1,):
            slot.shape = slot.shape[:1]
        if wanted is not None and (
            len(wanted) != len(slot.shape) - 1
            or any(want not in (-1, got) for want, got in zip(wanted, slot.shape[1:]))
        ):
            raise bad_request("`%s` must have rows of shape %s, not %s" % (name, wanted, list(slot.shape[1:])))
        if name + ":valid" in found:
            valid_datatype, valid = found[name + ":valid"]
            if valid_datatype != "BOOL" or valid.shape != (rows,):
                raise bad_request("`%s:valid` must be BOOL, one for each row" % name)
            slot.valid = valid.start
        slots.append(slot)
    return rows, slots


def default_input(column, rows):
    """(datatype, shape, data) of an input that has a default, as a request would give it in JSON."""
    value, datatype = column["default"], column["datatype"]
    if datatype == "json":
        return "BYTES", (rows,), [to_json(value)] * rows
    shape, level = (rows,), value
    while isinstance(level, list):
        shape, level = shape + (len(level),), level[0] if level else None
    return datatype if datatype in FIXED else "BYTES", shape, [value] * rows


def pack_data(name, datatype, data, count):
    """The `data` of a JSON request, flat or nested, as binary."""
    level = data if isinstance(data, list) else [data]
    while any(isinstance(item, list) for item in level):
        level = [leaf for item in level for leaf in (item if isinstance(item, list) else [item])]
    if len(level) != count:
        raise bad_request("`%s` has %d values where its shape says %d" % (name, len(level), count))
    allowed = {"BYTES": (str, dict), "BOOL": (bool, int)}
    allowed = allowed.get(datatype, (int, float) if datatype[:2] == "FP" else (int,))
    wrong = [item for item in level if not isinstance(item, allowed) or isinstance(item, bool) and datatype != "BOOL"]
    if wrong or datatype == "BF16":
        raise bad_request("`%s` is %s, but holds %s" % (name, datatype, json.dumps(wrong[0]) if wrong else "JSON"))
    try:
        if datatype == "BYTES":
            return bytes_blob([bytes_of_json(item) for item in level])
        return struct.pack("<%d%s" % (count, FIXED[datatype][0]), *level)
    except (struct.error, OverflowError, ValueError):
        raise bad_request("`%s` holds a value outside the range of %s" % (name, datatype))

"""Outputs in the form that was asked for: JSON, or binary behind their JSON."""

import math

from .datatypes import FIXED, byte_elements
from .problem import bad_request
from .standard import struct
from .text import finite


def describe_output(name, datatype, shape, binary_size):
    """The JSON of an output, without its data."""
    described = {"name": name, "datatype": datatype if datatype in FIXED else "BYTES", "shape": list(shape)}
    settings = {} if binary_size is None else {"binary_data_size": binary_size}
    if datatype in ("json", "timestamp"):
        settings["content_type"] = datatype
    if settings:
        described["parameters"] = settings
    return described


def json_data(datatype, shape, data):
    """The elements of an output as JSON values; fails if it has bytes that are not UTF-8."""
    data, count = bytes(data), math.prod(shape)
    if datatype in FIXED:
        return finite(list(struct.unpack("<%d%s" % (count, FIXED[datatype][0]), data)))
    return [element.decode() for element in byte_elements("", data, 0, len(data), count)]


def select_outputs(outputs, wanted):
    """The outputs that were asked for, in that order, with the validity of each."""
    by_name = {output[0]: output for output in outputs}
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise bad_request("the model has no output `%s`; it has %s" % (missing[0], ", ".join(by_name)))
    names = [part for name in wanted for part in (name, name + ":valid")]
    return [by_name[name] for name in names if name in by_name]


def describe_outputs(plan, outputs, blobs):
    """The JSON of outputs as they were asked for; the data of those in binary is appended to `blobs`."""
    if plan.wanted:
        outputs = select_outputs(outputs, plan.wanted)
    described = []
    for name, datatype, shape, data in outputs:
        owner = name[:-6] if name.endswith(":valid") else name
        in_binary = plan.wanted.get(name, plan.wanted.get(owner))
        if not (plan.binary if in_binary is None else in_binary):
            try:
                values = json_data(datatype, shape, data)
                described.append(dict(describe_output(name, datatype, shape, None), data=values))
                continue
            except UnicodeDecodeError:
                pass  # JSON has no form for it
        blobs.append(bytes(data))
        described.append(describe_output(name, datatype, shape, len(blobs[-1])))
    return described

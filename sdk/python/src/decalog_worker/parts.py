"""The answer to a batch: a list of parts.

A part is (rows, outputs), rows beside each other whose outputs have the same names, datatypes and shapes, or
(rows, problem).
"""

from .problem import Problem, bad_output, sentence


def answer_parts(rows, encode):
    """The parts of an answer. `encode(begin, end)` gives the outputs of these rows, or None if they are not alike."""
    try:
        outputs = encode(0, rows)
        if outputs is not None:
            return [(rows, outputs)]
    except BaseException as error:
        if rows == 1:
            return [(1, unsendable(error))]
    parts = []
    for at in range(rows):
        try:
            parts.append((1, encode(at, at + 1)))
        except BaseException as error:
            parts.append((1, unsendable(error)))
    return joined(parts)


def unsendable(error):
    """The problem of an answer that cannot be encoded."""
    if isinstance(error, Problem):
        return error
    return bad_output("the answer of predict cannot be sent: " + sentence(error))


def joined(parts):
    """Parts with those put together that lie beside each other and are alike."""
    groups = []
    for rows, outputs in parts:
        key = (
            None
            if isinstance(outputs, Problem)
            else [(name, datatype, shape[1:]) for name, datatype, shape, _ in outputs]
        )
        if groups and key is not None and groups[-1][0] == key:
            groups[-1][1].append((rows, outputs))
        else:
            groups.append((key, [(rows, outputs)]))
    return [stacked(key, group) if len(group) > 1 else group[0] for key, group in groups]


def stacked(key, group):
    """One part of parts that are alike."""
    rows = sum(count for count, _ in group)
    outputs = [
        (name, datatype, (rows,) + tuple(shape), b"".join([bytes(outputs[at][3]) for _, outputs in group]))
        for at, (name, datatype, shape) in enumerate(key)
    ]
    return rows, outputs

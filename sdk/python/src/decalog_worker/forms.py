"""Forms: how a loaded model is called, here one that is a function or a method."""

import inspect

from .answers import encode_batch, encode_rows
from .parts import answer_parts, unsendable
from .problem import bad_output
from .building import builder
from .readers import array_reader, frame_reader, mapping_reader, row_reader
from .tracebacks import raised


class Form:
    """A loaded model: its schema, readers for a request, and the call."""

    #: Whether a column of numbers may come in another datatype than that of the schema.
    takes_numbers = False

    def __init__(self, schema, root):
        self.schema, self.root = schema, root
        self.declared = {column["name"]: column for column in schema["outputs"]}
        self.streams = schema.get("streams", False)

    def whole_rows(self, names):
        """A column that stands for all of the schema in requests with inputs of these names, if there is one."""
        return None

    def whole_reader(self, slot, column, rows):
        """Reads such a column."""
        return row_reader(slot, column, None, rows)

    def readers(self, slots, rows):
        raise NotImplementedError

    def call(self, values, rows):
        raise NotImplementedError

    def names(self):
        """What each of the values that a call gets is called; None if it says that itself."""
        return [None]

    def encode(self, result, rows):
        """The parts of the answer: what rows gave, or why they failed."""
        return encode_batch(result, rows, self.declared)

    def run(self, values, rows):
        """The parts of the answer for the values of a batch."""
        try:
            result = self.call(values, rows)
        except BaseException as error:
            raise raised(error, self.root) from None
        try:
            return self.encode(result, rows)
        except BaseException as error:
            raise unsendable(error) from None


class FunctionForm(Form):
    """A model written as a function or method."""

    def __init__(self, function, schema, signature, root, coroutines):
        super().__init__(schema, root)
        self.batch = signature.batch
        self.bindings, names, keywords = [], [column["name"] for column in schema["inputs"]], []
        own = {parameter.name for parameter in signature.parameters if not is_frame(parameter.hint)}
        self.whole_row, only, makers = None, signature.only, []
        if only is not None and only.name not in names and not is_frame(only.hint):
            # Its fields, or the keys of the dict that it is, are the columns.
            record = signature.record or ("record", (), None)
            self.bindings.append((record, list(range(len(names)))))
            makers.append(builder(record, "") if signature.record else None)
            self.whole_row = only
            own.update(names)
        for parameter in signature.parameters if not self.bindings else []:
            if is_frame(parameter.hint):
                self.bindings.append((parameter.hint, [at for at, name in enumerate(names) if name not in own]))
            elif parameter.name in names:
                self.bindings.append((parameter.hint, [names.index(parameter.name)]))
            else:
                continue  # it keeps its default, and those after it go by keyword
            in_order = len(self.bindings) + len(keywords) == signature.parameters.index(parameter) + 1
            if parameter.keyword or keywords or not in_order:
                keywords.append(parameter.name)
        more = [] if any(is_frame(hint) for hint, _ in self.bindings) else [name for name in names if name not in own]
        if signature.takes_more:
            self.bindings += [(None, [names.index(name)]) for name in more]
            keywords += more
        else:  # they follow each other behind the parameters
            place = len(self.bindings) - len(keywords)
            self.bindings[place:place] = [(None, [names.index(name)]) for name in more]
        for hint, places in self.bindings[len(makers) :]:
            is_json = not is_frame(hint) and schema["inputs"][places[0]]["datatype"] == "json"
            makers.append(builder(hint, schema["inputs"][places[0]]["name"]) if is_json else None)
        target = inspect.unwrap(function)
        self.coroutines, self.is_async = coroutines, inspect.iscoroutinefunction(target)
        self.function = by_keyword(function, len(self.bindings) - len(keywords), keywords) if keywords else function
        if any(makers) and not self.batch:
            self.function = made_first(self.function, makers, self.is_async)

    def whole_rows(self, names):
        """The column of a request that has rows as the one parameter that stands for them, not by its fields."""
        if self.whole_row is None or list(names) != [self.whole_row.name]:
            return None
        return {"name": self.whole_row.name, "datatype": "json", "shape": []}

    def readers(self, slots, rows):
        readers, read = [], array_reader if self.batch else row_reader
        for hint, places in self.bindings:
            its_slots, columns = [slots[at] for at in places], [self.schema["inputs"][at] for at in places]
            if hint and hint[0] == "record" and self.whole_row is not None:
                readers.append(mapping_reader(its_slots, columns, dict((name, of) for name, of, _ in hint[1]), rows))
            elif is_frame(hint):
                hints = [(hint[1] or {}).get(column["name"]) for column in columns]
                readers.append(frame_reader(its_slots, columns, hints, rows))
            else:
                readers.append(read(its_slots[0], columns[0], hint, rows))
        return readers

    def names(self):
        if self.whole_row is not None:
            return [None]
        columns = self.schema["inputs"]
        return [columns[places[0]]["name"] if len(places) == 1 else None for _, places in self.bindings]

    def call(self, values, rows):
        if self.batch:
            result = self.function(*values)
            return self.coroutines.run(result) if self.is_async else result
        if self.is_async:
            results = self.coroutines.run(self.coroutines.gather([self.function(*row) for row in zip(*values)]))
            return [result if error is None else raised(error, self.root) for result, error in results]
        return self.call_rows(zip(*values))

    def call_rows(self, rows):
        """What each row gave, or the problem that it raised."""
        function, results = self.function, []
        while True:
            try:
                for row in rows:
                    results.append(function(*row))
                return results
            except BaseException as error:  # the next row is asked nevertheless
                results.append(raised(error, self.root))

    def encode(self, result, rows):
        if hasattr(result if self.batch else result[0], "__next__"):
            raise bad_output(
                "predict returned an iterator", "to stream, write `yield`, or annotate it: -> Iterator[...]"
            )
        if self.batch:
            return encode_batch(result, rows, self.declared)
        return answer_parts(rows, lambda begin, end: encode_rows(result[begin:end], self.declared))

    def items(self, values):
        """An iterator over the items of a stream, for one row."""
        result = self.function(*(values if self.batch else [value[0] for value in values]))
        if inspect.iscoroutine(result):
            result = self.coroutines.run(result)
        return self.coroutines.iterate(result) if hasattr(result, "__anext__") else iter(result)


def is_frame(hint):
    return bool(hint) and hint[0] == "frame"


def made_first(function, makers, is_async):
    """A function that first makes its values what annotations ask for."""

    def made(values):
        return [make(value) if make else value for make, value in zip(makers, values)]

    async def call_async(*values):
        return await function(*made(values))

    return call_async if is_async else lambda *values: function(*made(values))


def by_keyword(function, count, names):
    return lambda *values: function(*values[:count], **dict(zip(names, values[count:])))

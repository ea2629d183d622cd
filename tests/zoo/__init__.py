"""The zoo: small model directories as people have them, one for each kind, with what is asked and what should come back.

Adding one is adding an entry with `kind(…)` to a file beside this one. `tests/test_zoo.py` deploys all of them and writes
docs/zoo.md.
"""

from dataclasses import dataclass, field

#: In the order of the page.
KINDS = []


@dataclass
class Kind:
    """One model directory, what is asked of it, and what happens."""

    #: Of the directory, and so of the model.
    name: str
    #: Under which heading of the page.
    section: str
    #: What is in the directory, in a phrase.
    brings: str
    #: Texts and bytes by path; an `At` stands for a file that `saved.py` makes.
    files: dict
    #: A row, or the body of a request.
    row: dict | None = None
    #: The answer, with numbers to a thousandth; `...` in place of a value that may be any.
    gives: dict | None = None
    #: In place of an answer: what the refusal says, in its message, its details or its help.
    refused: tuple = ()
    #: Who refuses: `deploy`, or `predict`.
    by: str = "deploy"
    #: What `decalog show --schema` says.
    schema: tuple = ()
    #: What to ask besides, and what comes of it: a function of (platform, model).
    more: object = None
    #: Whether it takes packages that are too heavy for each run: `DECALOG_ZOO_ALL=1` includes it.
    is_heavy: bool = False
    #: Options of `decalog deploy`.
    options: list = field(default_factory=list)


@dataclass
class At:
    """A file that the libraries make."""

    name: str


def section(title):
    """Makes entries under one heading."""

    def kind(name, brings, files, row=None, gives=None, **more):
        refused = more.pop("refused", ())
        refused = (refused,) if isinstance(refused, str) else refused
        KINDS.append(Kind(name, title, brings, files, row, gives, refused, **more))

    return kind

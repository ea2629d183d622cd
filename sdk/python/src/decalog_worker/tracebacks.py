"""What an exception of a model becomes: a problem for its caller, with the model's own lines, and an entry of the log.

The frames of this package are in neither.
"""

from .limits import DETAIL_LINES_MAX, MESSAGE_CHARS_MAX
from .log import log
from .masking import masked
from .problem import Problem, sentence, text_of
from .provided import is_bad_input
from .settings import redacts
from .standard import os, traceback

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


def raised(error, root, of_request=True):
    """The problem that an exception of the model becomes; the whole traceback goes to the log."""
    if isinstance(error, Problem):  # a value that the annotations do not take
        return error
    if is_bad_input(error):
        return Problem("bad_input", text_of(error)[:MESSAGE_CHARS_MAX] or "the model refuses this input")
    try:
        log_error(error, frames_beyond_the_worker(error), of_request, root)
        lines = traceback_lines(error, root)
    except BaseException:  # an error that does not even let itself be told
        lines = []
    return Problem("model_raised", sentence(error), lines)


def log_failure(error):
    """The worker itself failed at a request."""
    log_error(error, traceback.extract_tb(error.__traceback__))


def log_error(error, frames, of_request=True, root=None):
    """Where an exception came from, and what it says: that may quote a value of the request.

    The model's own files are named as its author knows them.
    """
    if of_request and redacts():
        says = [type(error).__name__ + " (what it says may quote a value that is redacted)\n"]
    else:
        says = traceback.format_exception_only(type(error), error)
    places = "".join(traceback.format_list(frames))
    if root is not None:
        places = places.replace('File "%s' % os.path.join(os.path.abspath(root), ""), 'File "')
    log("Traceback (most recent call last):\n" + places + "".join(says))


def frames_beyond_the_worker(error):
    """The frames of an exception that are not of this package."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if not frame.filename.startswith(PACKAGE)]


def traceback_lines(error, root):
    """A traceback as its author would tell it: the frames of the model's own files, and the error."""
    root = os.path.join(os.path.abspath(root), "")
    frames = [frame for frame in frames_beyond_the_worker(error) if frame.filename[:1] != "<"]
    own = [frame for frame in frames if frame.filename.startswith(root) and "site-packages" not in frame.filename]
    lines = []
    if isinstance(error, SyntaxError):
        frames = []  # the error itself names the place
    for frame in own or frames[-3:]:
        lines.append('File "%s", line %s, in %s' % (relative(frame.filename, root), frame.lineno, frame.name))
        if frame.line:
            lines.append("  " + frame.line)
    for line in traceback.format_exception_only(type(error), error):
        lines += [part.replace(root, "") for part in masked(line).rstrip().splitlines()]
    if isinstance(error, SyntaxError):
        lines = [line[2:] if line.startswith("  ") else line for line in lines]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines.append("caused by " + sentence(cause).splitlines()[0])
    return [line[:MESSAGE_CHARS_MAX] for line in lines[-DETAIL_LINES_MAX:]]


def relative(name, root):
    return name[len(root) :] if name.startswith(root) else name

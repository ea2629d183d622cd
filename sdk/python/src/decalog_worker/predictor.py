"""Which function or class of a model's file predicts, the same by its text as by the loaded module."""

from .problem import Problem


def pick_class(classes):
    """The name of the class that is the model: `Model`, or the only public one that predicts."""
    public = [name for name, predicts in classes.items() if predicts and not name.startswith("_")]
    if "Model" in public:
        return "Model"
    if len(public) > 1:
        raise Problem("two_models", "there are several classes with `predict`: " + ", ".join(public),
                      help="call the one to serve `Model`, or let the names of the others begin with _")  # fmt: skip
    return public[0] if public else None


def no_predict(file, functions):
    details = ["its functions: " + ", ".join(functions)] if functions else ["it has no functions"]
    return Problem(
        "no_predict",
        "%s has no function `predict` and no class with one" % file,
        details,
        help="write def predict(age: int) -> float: in %s, or class Model with such a method" % file,
    )

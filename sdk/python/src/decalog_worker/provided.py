"""The module `decalog`, as a model may import it where no package of that name is installed."""

import importlib.machinery

from .tracing import current

# What a model raises to say that a request is at fault, not itself.
BadInput = type(
    "BadInput",
    (ValueError,),
    {"__module__": "decalog", "__doc__": "The row cannot be answered, whatever the model does."},
)


def is_bad_input(error):
    """Whether it is the BadInput of this module, or of the package `decalog` that the model has installed."""
    return any(kind.__name__ == "BadInput" and kind.__module__ == "decalog" for kind in type(error).__mro__)


class DecalogFinder:
    """Finds the module `decalog` where no package of that name is installed: what a model may use of the platform."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, DecalogFinder) if name == "decalog" else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        module.BadInput = BadInput
        module.traceparent = current

"""Carries out one attack by name, on what the test names, and says what came of it."""

import os
from typing import NamedTuple

from attacks import attempt, at_load


class Outcome(NamedTuple):
    outcome: str
    detail: str


def predict(attack: str, target: str) -> Outcome:
    return Outcome(*attempt(attack, target))


if "HOSTILE_AT_LOAD" in os.environ:
    at_load.ATTACKS[os.environ["HOSTILE_AT_LOAD"]](os.environ["HOSTILE_TARGET"])

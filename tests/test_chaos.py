"""The chaos test in miniature: each fault once, under load, see chaos.py."""

import chaos


def test_nothing_is_lost_and_nothing_is_foreign():
    assert chaos.main(["--short"]) == 0

"""The soak test in miniature: see soak.py."""

import soak


def test_nothing_fails_and_nothing_is_misversioned():
    assert soak.main(["--short"]) == 0

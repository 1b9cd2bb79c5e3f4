"""Numbers of things in messages."""

import pytest

from tlpot.numbers import counted


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [(1, "frame", "1 frame"), (0, "frame", "0 frames"), (2, "geometry", "2 geometries"),
     (1234, "key", "1,234 keys")],
)  # fmt: skip
def test_numbers_of_things(n, noun, text):
    assert counted(n, noun) == text


def test_other_plurals():
    assert counted(2, "batch", "batches") == "2 batches"
    assert counted(1, "kind of error", "kinds of error") == "1 kind of error"

"""Results that are known by what they depend on."""

import pytest

from tlpot.errors import DataError
from tlpot.stored_results import digest, read_result, write_result

IDENTITY = {"size": 3, "strategy": {"name": "full"}, "frames": (1, 2)}


def test_a_result_comes_back_to_whom_it_belongs_only(tmp_path):
    path = tmp_path / "points" / f"{digest(IDENTITY, digits=8)}.json"
    assert read_result(path, IDENTITY) is None
    write_result(path, IDENTITY, {"error": 1.5})
    assert read_result(path, IDENTITY)["error"] == 1.5
    with pytest.raises(DataError, match="other settings"):
        read_result(path, {**IDENTITY, "size": 4})


@pytest.mark.parametrize("content", ["{", "[]", '{"error": 1}'])
def test_what_is_damaged_is_refused_with_a_remedy(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"damaged.*delete it"):
        read_result(path, IDENTITY)


def test_the_key_is_that_of_earlier_versions():
    # folders of before are found by it
    assert digest({"b": 1, "a": "é"}, digits=8) == "d73913ef"
    assert digest({"b": 1, "a": "é"}, digits=8, ascii_only=False) == "799d49d4"

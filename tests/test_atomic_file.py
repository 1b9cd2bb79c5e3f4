"""Files are there in full, or as they were."""

import pytest

from tlpot.errors import OutputError
from tlpot.files import copy_file


def test_a_copy_replaces_a_file_in_one_step(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    copy_file(source, target)
    assert target.read_bytes() == b"new"
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_a_copy_of_nothing_leaves_the_file_as_it_was(tmp_path):
    target = tmp_path / "b"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="could not write"):
        copy_file(tmp_path / "gone", target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]

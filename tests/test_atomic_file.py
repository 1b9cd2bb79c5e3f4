"""Files are there in full, or as they were."""

import pytest

from tlpot.errors import OutputError
from tlpot.files import atomic_file, copy_file


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


@pytest.mark.fault
def test_two_writers_of_one_process_do_not_share_a_file(tmp_path):
    """The temporary name was that of the process: threads published each other's halves."""
    target = tmp_path / "b"
    with atomic_file(target) as slow, slow.open("wb") as handle:
        handle.write(b"slow, ")
        handle.flush()
        with atomic_file(target) as quick:
            quick.write_bytes(b"quick")
        assert target.read_bytes() == b"quick"
        handle.write(b"and whole")
    assert target.read_bytes() == b"slow, and whole"
    assert list(tmp_path.iterdir()) == [target]

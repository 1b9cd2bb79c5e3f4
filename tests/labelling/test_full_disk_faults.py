"""The journal of labels on a disk that is full."""

import contextlib
import resource

import pytest

from tlpot.errors import OutputError
from tlpot.labelling import LabelOutcome
from tlpot.labelling.journal import Journal, LabelRecord


def record(geometry):
    outcome = LabelOutcome(energy=1.0, forces=None, error=None, log="", cost=None)
    return LabelRecord(engine="e", geometry=geometry, name="n" * 200, outcome=outcome)


@contextlib.contextmanager
def full_disk(path, room=50):
    """No file grows beyond this one's size and so many bytes more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "x.h5.journal"
    with Journal(target) as journal:
        journal.define("e", "toy", {"engine": "toy"})
        journal.append(record("0"))
    return target


@pytest.mark.fault
def test_a_journal_on_a_full_disk_says_so_and_lets_go(path):
    """Closing raised a bare OSError in the place of the clear one, and the lock was kept."""
    before = path.read_bytes()
    with full_disk(path), pytest.raises(OutputError, match="safe"), Journal(path) as journal:
        journal.append(record("1"))
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before
    with Journal(path) as journal:
        assert not journal.notes


@pytest.mark.fault
def test_a_journal_goes_on_when_the_disk_has_room_again(path):
    """The rest of a line that did not fit was written with the next one."""
    with Journal(path) as journal:
        with full_disk(path), pytest.raises(OutputError):
            journal.append(record("1"))
        assert journal.get("e", "1") is None
        journal.append(record("2"))
    with Journal(path) as journal:
        assert not journal.notes
        assert journal.get("e", "1") is None
        assert None not in (journal.get("e", "0"), journal.get("e", "2"))


def test_half_a_line_that_cannot_be_cut_off_at_once_is_later(path, monkeypatch):
    def refuse(size):
        raise OSError(5, "Input/output error")

    with Journal(path) as journal:
        monkeypatch.setattr(journal._handle, "truncate", refuse)
        with full_disk(path), pytest.raises(OutputError):
            journal.append(record("1"))
        monkeypatch.undo()
        journal.append(record("2"))
    with Journal(path) as journal:
        assert journal.get("e", "2") is not None


@pytest.mark.fault
def test_a_repair_on_a_full_disk_says_so(path):
    """It ended in a bare OSError."""
    path.write_bytes(path.read_bytes().replace(b"nn", b"mm", 1))
    before = path.read_bytes()
    with full_disk(path, room=-50), pytest.raises(OutputError, match="could not write"):
        Journal(path, repair=True)
    assert path.read_bytes() == before

"""The journal: what a kill and what a bad disk leave behind."""

import numpy as np
import pytest

from tlpot.errors import DataError
from tlpot.labelling import LabelOutcome
from tlpot.labelling.journal import Journal, LabelRecord
from tlpot.labelling.task import Cost

COST = Cost(seconds=0.1, cpu_seconds=0.2, threads=1, gflops=3.0)


def record(geometry, energy=1.0, error=None):
    forces = None if error else np.array([[1 / 3, 0.0, -1e-17]])
    outcome = LabelOutcome(
        energy=None if error else energy, forces=forces, error=error, log="λ", cost=COST
    )
    return LabelRecord(engine="e", geometry=geometry, name=f"x[{geometry}]", outcome=outcome)


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "x.h5.journal"
    with Journal(target) as journal:
        journal.define("e", "toy", {"engine": "toy"})
        for k in range(4):
            journal.append(record(str(k), energy=1 / (3 + k)))
    return target


def test_numbers_come_back_to_the_last_bit(path):
    with Journal(path) as journal:
        found = journal.get("e", "2").outcome
        assert journal.definitions["e"]["level"] == "toy"
        assert not journal.notes
    assert found.energy == 1 / 5
    assert found.forces.tobytes() == record("2").outcome.forces.tobytes()
    assert found.cost == COST


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_dropped_with_a_note_and_written_anew(path, cut):
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(path) as journal:
        assert journal.get("e", "3") is None
        assert journal.get("e", "2") is not None
        assert "torn" in journal.notes[0]
        journal.append(record("3", energy=1 / 6))
    assert path.read_bytes().count(b"\n") == whole.count(b"\n")
    with Journal(path) as journal:
        assert not journal.notes
        assert journal.get("e", "3").outcome.energy == 1 / 6


def test_damage_in_the_middle_is_refused_and_repaired_on_request(path):
    content = bytearray(path.read_bytes())
    place = content.index(b"x[1]")
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"line 3 of 5.*--repair-journal"):
        Journal(path)
    assert path.read_bytes() == content  # untouched by the refusal
    with Journal(path, repair=True) as journal:
        assert journal.get("e", "1") is None
        assert journal.get("e", "3") is not None
    assert path.with_name("x.h5.journal.damaged").read_bytes() == content
    with Journal(path) as journal:
        assert journal.get("e", "0") is not None


def test_a_failure_does_not_undo_a_label_but_a_label_does_a_failure(path):
    with Journal(path) as journal:
        journal.append(record("0", error="no forces"))
        journal.append(record("9", error="no convergence"))
        assert journal.get("e", "0").outcome.error is None
        journal.append(record("9"))
        assert journal.get("e", "9").outcome.energy == 1.0


def test_two_processes_do_not_write_one_journal(path):
    with Journal(path), pytest.raises(DataError, match="in use"):
        Journal(path)

"""What `label` writes, and that nothing is computed twice."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from tlpot.data import open_dataset
from tlpot.engines import EngineSpec
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.labelling import LabelSettings, cost_ratio, label, label_costs

SPRING = "ase:label_toys:Spring"


def spring(level="spring", path=SPRING, forces="auto", **settings):
    return EngineSpec(name=path, level=level, settings=settings, forces=forces)


def calls(path):
    return path.read_text().count("\n") if path.exists() else 0


@pytest.fixture
def given(tmp_path):
    path = tmp_path / "given.xyz"
    pairs = [Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]]) for k in range(4)]
    ion = Atoms("CO", [[0, 0, 0], [0, 0, 1.0]], cell=[9, 9, 9], pbc=False)
    write(path, [*pairs, ion, pairs[1]], format="extxyz")
    return path


def test_a_dataset_comes_out_with_level_units_definition_and_cost(given, tmp_path):
    out = tmp_path / "x.h5"
    report = label(given, spring(), out, show=False)
    assert (report.n_frames, report.n_geometries, report.n_labelled) == (6, 5, 5)
    dataset = open_dataset(out)
    assert list(dataset.levels) == ["spring"]
    assert json.loads(dataset.levels["spring"].definition)["engine"] == SPRING
    assert dataset.labelled("spring", "forces").all()
    for frame in dataset.read(range(6)):
        x = frame.system.positions
        assert frame.labels["spring"].energy == pytest.approx(0.5 * np.sum(x**2), abs=1e-12)
        np.testing.assert_allclose(frame.labels["spring"].forces, -x, atol=1e-12)
    cost = label_costs([out])["spring"]
    assert cost.labels == 6
    assert cost.seconds > 0


def test_nothing_is_computed_twice_and_the_journal_alone_restores_the_file(given, tmp_path):
    out, log = tmp_path / "x.h5", tmp_path / "calls"
    spec = spring(calls=str(log))
    assert label(given, spec, out, settings=LabelSettings(limit=2), show=False).n_left == 3
    assert np.isfinite(h5py.File(out)["H2/spring.energy"][()]).sum() == 3  # one is twice there
    assert label(given, spec, out, show=False).n_labelled == 3
    assert calls(log) == 5
    before = open_dataset(out).read(range(6))
    content = out.read_bytes()
    assert label(given, spec, out, show=False).n_labelled == 0
    assert out.read_bytes() == content
    out.unlink()
    report = label(given, spec, out, show=False)
    assert (report.n_labelled, report.n_known, calls(log)) == (0, 5, 5)
    for a, b in zip(before, open_dataset(out).read(range(6)), strict=True):
        assert a.labels["spring"].energy == b.labels["spring"].energy
    Path(f"{out}.journal").unlink()  # and the file alone knows what is labelled
    assert label(given, spec, out, show=False).n_known == 5
    assert calls(log) == 5


def test_levels_accumulate_and_all_else_in_the_file_is_kept(given, tmp_path):
    out = tmp_path / "x.h5"
    label(given, spring(), out, show=False)
    with h5py.File(out, "r+") as handle:
        handle["H2/temperature"] = np.arange(5.0)
        handle.attrs["licence"] = "CC0-1.0"
    label(out, spring("stiff", k=3.0), out, settings=LabelSettings(limit=3), show=False)
    dataset = open_dataset(out)
    assert set(dataset.levels) == {"spring", "stiff"}
    assert dataset.labelled("spring").all()
    assert 3 <= dataset.labelled("stiff").sum() < 6  # NaN where missing
    assert "temperature" in dataset.unused_keys
    with h5py.File(out) as handle:
        assert handle.attrs["licence"] == "CC0-1.0"
    ratio, n_both = cost_ratio(label_costs([out]), "stiff", "spring")
    assert (n_both, ratio > 0) == (3, True)
    with pytest.raises(UnknownLevelError, match="did you mean 'spring'"):
        cost_ratio(label_costs([out]), "sprang", "stiff")


def test_labels_of_another_definition_do_not_mix(given, tmp_path):
    out = tmp_path / "x.h5"
    label(given, spring(), out, settings=LabelSettings(limit=1), show=False)
    content = out.read_bytes()
    with pytest.raises(DataError, match=r"computed in another way.*settings"):
        label(given, spring(k=2.0), out, show=False)
    assert out.read_bytes() == content


def test_forces_can_be_added_to_energies(given, tmp_path):
    out = tmp_path / "x.h5"
    label(given, spring(forces="no"), out, show=False)
    assert not open_dataset(out).labelled("spring", "forces").any()
    assert label(given, spring(), out, show=False).n_labelled == 5
    assert open_dataset(out).labelled("spring", "forces").all()
    with pytest.raises(ConfigError, match="no analytic forces"):
        label(given, spring(path="ase:label_toys:Mute", forces="analytic"), out, show=False)


def test_failures_are_kept_with_their_log_and_tried_again_on_request(tmp_path):
    given = [Atoms("Be", [[0, 0, 1.0]]), Atoms("Ne", [[0, 0, 1.0]]), Atoms("C", [[0, 1, 0]])]
    out, log = tmp_path / "x.h5", tmp_path / "calls"
    spec = spring(calls=str(log))
    report = label(given, spec, out, show=False)
    assert (report.n_labelled, len(report.failures)) == (2, 1)
    assert "neon is not to be had" in report.failures[0].outcome.error
    text = Path(f"{out}.failures.txt").read_text()
    assert "structure 1" in text
    assert "Traceback" in text
    assert np.isfinite(open_dataset(out).read([0])[0].labels["spring"].energy)
    again = label(given, spec, out, show=False)
    assert (again.n_labelled, len(again.failures), calls(log)) == (0, 1, 3)
    label(given, spec, out, settings=LabelSettings(retry_failed=True), show=False)
    assert calls(log) == 4


def test_nothing_but_failures_makes_no_dataset(tmp_path):
    out = tmp_path / "x.h5"
    assert len(label(Atoms("Ne"), spring(), out, show=False).failures) == 1
    assert not out.exists()


def test_an_interruption_leaves_what_was_finished(given, tmp_path, monkeypatch):
    import tlpot.labelling.task as run

    done = []

    def interrupted(task):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task)
        return original(task)

    original = run.run_task
    monkeypatch.setattr(run, "run_task", interrupted)
    out = tmp_path / "x.h5"
    with pytest.raises(KeyboardInterrupt):
        label(given, spring(), out, show=False)
    monkeypatch.setattr(run, "run_task", original)
    assert open_dataset(out).labelled("spring").sum() == 3  # two geometries, one of them twice
    assert label(given, spring(), out, show=False).n_known == 2


def test_charges_and_cells_travel(tmp_path):
    ion = Atoms("OH", [[0, 0, 0], [0, 0, 1]], info={"charge": -1})
    out = tmp_path / "x.h5"
    label(ion, spring(k="{charge}"), out, show=False)
    (frame,) = open_dataset(out).read([0])
    assert frame.system.charge == -1
    assert frame.labels["spring"].energy == -0.5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.xyz", None, "no such file"),
        ("bad.pdb.xyz", "what is this\n", "expected the number of atoms"),
        ("x.h5", "no", "not a dataset in tlpot's own layout"),
    ],
)
def test_unreadable_structures_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        label(path, spring(), tmp_path / "out.h5", show=False)
    assert not (tmp_path / "out.h5").exists()


def test_other_structures_are_not_added_to_a_file(given, tmp_path):
    out = tmp_path / "x.h5"
    label(given, spring(), out, show=False)
    with pytest.raises(DataError, match="does not hold 1 of 1"):
        label(Atoms("C"), spring(), out, show=False)


def test_structures_added_to_the_source_are_added_to_the_file(given, tmp_path):
    out, once = tmp_path / "x.h5", tmp_path / "once.h5"
    label(given, spring(), out, show=False)
    frames = read(given, ":")
    longer = Atoms("H2", [[0, 0, 0], [0, 0, 0.9]])
    write(given, [*frames, longer, Atoms("N2", [[0, 0, 0], [0, 0, 1.2]])], format="extxyz")
    assert label(given, spring(), out, show=False).n_labelled == 2
    label(given, spring(), once, show=False)
    found = []
    for path in (out, once):
        dataset = open_dataset(path)
        assert len(dataset) == 8
        rows = ((f.system.positions.tobytes(), f.labels["spring"].energy)
                for f in dataset.read(range(8)))  # fmt: skip
        found.append(sorted(rows))
    assert found[0] == found[1]


def test_only_labels_that_are_asked_for_are_added_from_the_journal(given, tmp_path):
    plain, out, log = tmp_path / "plain.h5", tmp_path / "x.h5", tmp_path / "calls"
    label(given, spring(), plain, show=False)
    stiff = spring("stiff", k=3.0, calls=str(log))
    out.write_bytes(plain.read_bytes())
    label(given, stiff, out, show=False)
    out.write_bytes(plain.read_bytes())
    frames = read(given, ":")
    report = label(frames[:2], stiff, out, show=False)
    assert (report.n_known, report.n_labelled, calls(log)) == (2, 0, 5)
    assert open_dataset(out).labelled("stiff").sum() == 3  # one of them is there twice
    label(out, stiff, out, show=False)
    assert (open_dataset(out).labelled("stiff").all(), calls(log)) == (True, 5)


def test_structures_are_not_added_when_those_of_the_file_are_gone(given, tmp_path):
    out = tmp_path / "x.h5"
    label(given, spring(), out, show=False)
    before = out.read_bytes()
    frames = read(given, ":")
    write(given, [*frames[2:], Atoms("N2", [[0, 0, 0], [0, 0, 1.2]])], format="extxyz")
    with pytest.raises(DataError, match="still has all"):
        label(given, spring(), out, show=False)
    assert out.read_bytes() == before

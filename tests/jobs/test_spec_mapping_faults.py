"""Wherever there is ``spec``, it may be a mapping of what a YAML file would hold."""

import h5py
import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

import tlpot
from tlpot.data import Source, load_spec, open_dataset
from tlpot.errors import ConfigError
from tlpot.labelling import read_structures

SPEC = {
    "container": "extxyz",
    "sign": "force",
    "units": {"coordinates": "angstrom", "energy": "ev", "forces": "ev/angstrom"},
    "levels": {"a/b": {"energy": "e1", "forces": "f1"}, "c": {"energy": "e2"}},
}


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for k in range(12):
        atoms = molecule(("H2O", "CH4", "NH3")[k % 3])
        atoms.rattle(0.05, seed=k)
        atoms.info |= {"e1": -30.0 * len(atoms) - 0.1 * k, "e2": -31.0 * len(atoms)}
        atoms.set_array("f1", rng.normal(size=(len(atoms), 3)))
        frames.append(atoms)
    write(tmp_path / "a.xyz", frames, format="extxyz")
    return tmp_path / "a.xyz"


@pytest.mark.fault
def test_a_dataset_opens_with_a_mapping(file):
    """It was a TypeError of pathlib."""
    for found in (
        open_dataset(file, SPEC),
        open_dataset(file, load_spec(SPEC)),
        open_dataset([Source(path=file, spec=SPEC)]),
    ):
        assert list(found.levels) == ["a/b", "c"]


@pytest.mark.fault
def test_mistakes_in_a_mapping_are_named():
    """So were those of the mapping itself."""
    with pytest.raises(ConfigError, match="spec: unknown key 'unit'"):
        open_dataset("a.xyz", {**SPEC, "unit": {}})
    with pytest.raises(ConfigError, match="spec is a int"):
        open_dataset("a.xyz", 5)


@pytest.mark.fault
def test_jobs_take_a_mapping(file, tmp_path):
    """Jobs passed it on to pathlib, or refused what is no text."""
    split = {"by": "random", "validation": 2, "test": 2}
    given = {"spec": SPEC, "level": "a/b"}
    quiet = {"progress": False}
    assert tlpot.validate_dataset(file, **given, **quiet).n_frames == 12
    assert tlpot.split_dataset(file, by="random", **given, **quiet).split.by == "random"
    found = tlpot.finetune(
        "tlpot-tiny", file, output=tmp_path / "m.safetensors", strategy="shift", split=split,
        report={"enabled": False}, **given, **quiet,
    )  # fmt: skip
    recipe = found.potential.card.recipe
    assert recipe["data"]["spec"]["levels"]["a/b"]["energy"] in ("e1", ["e1"])
    errors = tlpot.evaluate(found.potential, file, **given, **quiet).errors
    assert errors.overall["energy_mae"] > 0
    assert len(tlpot.predict("tlpot-tiny", file, level="wb97x/6-31g*", spec=SPEC, **quiet)) == 12
    assert len(read_structures(file, SPEC).systems) == 12
    curve = tlpot.learning_curve(
        "tlpot-tiny", file, strategies=["shift"], sizes=[4], output=tmp_path / "curve", seeds=1,
        split=split, dry_run=True, **given, **quiet,
    )  # fmt: skip
    assert "shift" in str(curve)
    ranking = tlpot.rank(file, ["tlpot-tiny"], by="random", folds=3, **given, **quiet)
    assert ranking.spec == SPEC


@pytest.mark.fault
def test_source_data_of_a_strategy_takes_a_mapping(file, tmp_path):
    """``strategy.spec`` had to be text."""
    old = {**SPEC, "levels": {"wb97x/6-31g*": {"energy": "e1", "forces": "f1"}}}
    found = tlpot.finetune(
        "tlpot-tiny", file, spec=SPEC, level="a/b", output=tmp_path / "m.safetensors",
        strategy={"name": "replay", "files": [str(file)], "spec": old}, epochs=1, dry_run=True,
        split={"by": "random", "validation": 2}, progress=False,
    )  # fmt: skip
    assert "wb97x/6-31g*" in found.preflight


def test_a_mapping_for_a_file_of_another_kind(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as handle:
        handle["x"] = np.zeros(2)
    with pytest.raises(Exception, match=r"is HDF5, and the description given is for extended"):
        open_dataset(tmp_path / "a.h5", SPEC)

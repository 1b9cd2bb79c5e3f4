"""Scalar properties in datasets: read, refused, written, joined, subtracted."""

import json

import h5py
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from tlpot import open_dataset
from tlpot.data import DifferenceDataset, write_dataset
from tlpot.errors import ConfigError, DataError
from tlpot.targets import Quantity, is_property, property_name, unit_ratio

SPEC = {
    "container": "extxyz",
    "units": {"coordinates": "angstrom"},
    "levels": {
        "gap@pbe": {"value": "gap_pbe", "unit": "eV", "extensive": False},
        "metal@pbe": {"value": "metal", "extensive": False, "kind": "yes_no"},
    },
}


def crystals(**changes) -> list[Atoms]:
    """Three crystals; the last has no gap."""
    frames = [bulk("Si"), bulk("NaCl", "rocksalt", a=5.6), bulk("Cu")]
    for atoms, gap, metal in zip(frames, (0.6, 5.0, None), (0, 0, 1), strict=True):
        atoms.info |= {"metal": metal} | ({} if gap is None else {"gap_pbe": gap}) | changes
    return frames


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


def opened(tmp_path, frames, spec):
    write(tmp_path / "in.xyz", frames, format="extxyz")
    return open_dataset(tmp_path / "in.xyz", spec)


def test_properties_of_extended_xyz_are_levels(tmp_path, spec):
    dataset = opened(tmp_path, crystals(), spec)
    assert dataset.levels["gap@pbe"].quantity == Quantity(unit="eV", extensive=False)
    assert dataset.labelled("gap@pbe").tolist() == [True, True, False]
    assert dataset.labelled("metal@pbe").all()
    frame = dataset.read([1])[0]
    assert frame.labels["gap@pbe"].energy == 5.0
    assert frame.labels["metal@pbe"].energy == 0.0


def test_native_layout_keeps_values_units_and_kinds(tmp_path, spec):
    dataset = opened(tmp_path, crystals(), spec)
    write_dataset(dataset, tmp_path / "out.h5")
    again = open_dataset(tmp_path / "out.h5")
    assert {k: v.quantity for k, v in again.levels.items()} == {
        k: v.quantity for k, v in dataset.levels.items()
    }
    assert not again.unused_keys
    values = [
        {
            frame.group: {k: v.energy for k, v in frame.labels.items()}
            for frame in each.read(range(3))
        }
        for each in (dataset, again)
    ]
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("level", "change", "key"),
    [
        ("gap@pbe", {"unit": None}, "unit"),
        ("gap@pbe", {"extensive": None}, "extensive"),
        ("gap@pbe", {"kind": "positive", "extensive": True}, "extensive"),
        ("gap@pbe", {"energy": "e"}, "property"),
        ("metal@pbe", {"unit": "eV"}, "unit"),
        ("gap", {}, "property@level"),
        ("Gap@PBE", {}, "gap@pbe"),
        ("a@b@c", {}, "property@level"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(tmp_path, level, change, key):
    said = dict(SPEC["levels"].get(level, SPEC["levels"]["gap@pbe"])) | change
    said = {k: v for k, v in said.items() if v is not None}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump({**SPEC, "levels": {level: said}}))
    with pytest.raises(ConfigError, match=key):
        opened(tmp_path, crystals(), tmp_path / "bad.yaml")


def test_a_key_that_no_frame_has_is_named_with_those_there_are(tmp_path):
    said = {"gap@pbe": {"value": "band_gap", "unit": "eV", "extensive": False}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**SPEC, "levels": said}))
    with pytest.raises(DataError, match=r"band_gap.*gap_pbe"):
        opened(tmp_path, crystals(), tmp_path / "s.yaml")


@pytest.mark.parametrize(("key", "value"), [("gap_pbe", "large"), ("metal", 0.5)])
def test_values_that_cannot_be_are_refused(tmp_path, spec, key, value):
    with pytest.raises(DataError, match=key):
        opened(tmp_path, crystals(**{key: value}), spec).labelled("metal@pbe")


def test_logarithms_of_zero_are_refused(tmp_path):
    said = {"gap@pbe": {"value": "gap_pbe", "unit": "eV", "extensive": False, "kind": "positive"}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**SPEC, "levels": said}))
    frames = crystals()
    frames[0].info["gap_pbe"] = 0.0
    dataset = opened(tmp_path, frames, tmp_path / "s.yaml")
    with pytest.raises(DataError, match="logarithm"):
        dataset.labelled("gap@pbe")


def test_files_of_different_units_are_not_joined(tmp_path, spec):
    write(tmp_path / "in.xyz", crystals(), format="extxyz")
    write_dataset(open_dataset(tmp_path / "in.xyz", spec), tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes())
    with h5py.File(tmp_path / "b.h5", "a") as handle:
        said = json.loads(handle.attrs["properties"])
        said["pbe.gap"]["unit"] = "hartree"
        handle.attrs["properties"] = json.dumps(said)
    with pytest.raises(DataError, match="hartree"):
        open_dataset([tmp_path / "a.h5", tmp_path / "b.h5"])


def test_differences_convert_units_and_refuse_the_rest(tmp_path):
    frames = crystals()
    for atoms in frames:
        atoms.info |= {"gap_hse": 1000 * atoms.info.get("gap_pbe", np.nan) + 500, "volume": 40.0}
    levels = {
        "gap@pbe": SPEC["levels"]["gap@pbe"],
        "gap@hse06": {"value": "gap_hse", "unit": "meV", "extensive": False},
        "volume@pbe": {"value": "volume", "unit": "A^3", "extensive": True},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**SPEC, "levels": levels}))
    dataset = opened(tmp_path, frames, tmp_path / "s.yaml")
    difference = DifferenceDataset(dataset, "gap@hse06", "gap@pbe")
    values = [f.labels[difference.level].energy for f in difference.read([0, 1])]
    assert values == pytest.approx([500.0, 500.0])
    assert difference.levels[difference.level].quantity == Quantity(unit="meV", extensive=False)
    with pytest.raises(DataError, match="means nothing"):
        DifferenceDataset(dataset, "gap@hse06", "volume@pbe")


def test_names_and_units():
    assert is_property("gap@hse06 - gap@pbe")
    assert not is_property("ccsd(t)/cbs")
    assert property_name("gap@hse06 - gap@pbe") == "gap"
    assert unit_ratio("kJ/mol", "eV", "x") == pytest.approx(0.010364, rel=1e-4)
    assert unit_ratio("meV/atom", "eV/atom", "x") == pytest.approx(1e-3)
    with pytest.raises(DataError, match="GPa"):
        unit_ratio("GPa", "eV", "x")
    with pytest.raises(DataError, match="convert"):
        unit_ratio("eV/atom", "eV", "x")


def test_zeros_are_a_hurdle(tmp_path):
    said = {
        "metal@pbe": {"value": "gap_pbe", "extensive": False, "kind": "yes_no", "zeros": "yes_no"},
        "gap@pbe": {"value": "gap_pbe", "unit": "eV", "extensive": False, "zeros": "missing"},
    }
    frames = crystals()
    frames.append(bulk("Al"))
    frames[-1].info |= {"gap_pbe": 0.0, "metal": 1}
    path = tmp_path / "hurdle.yaml"
    path.write_text(yaml.safe_dump({**SPEC, "levels": said, "columns": ["metal"]}))
    dataset = opened(tmp_path, frames, path)
    # what has no value is neither
    assert dataset.labelled("metal@pbe").tolist() == [True, True, False, True]
    assert dataset.labelled("gap@pbe").tolist() == [True, True, False, False]
    metal = [frame.labels.get("metal@pbe") for frame in dataset.read([0, 1, 3])]
    assert [each.energy for each in metal] == [0.0, 0.0, 1.0]
    write_dataset(dataset, tmp_path / "out.h5")
    again = open_dataset(tmp_path / "out.h5")
    assert again.labelled("gap@pbe").sum() == 2
    assert sorted(f.labels["metal@pbe"].energy for f in again.read([0, 1, 2]) if f.labels) != []
    said["metal@pbe"]["kind"] = "scalar"
    said["metal@pbe"]["unit"] = ""
    path.write_text(yaml.safe_dump({**SPEC, "levels": said}))
    with pytest.raises(ConfigError, match="yes_no"):
        open_dataset(tmp_path / "in.xyz", path)

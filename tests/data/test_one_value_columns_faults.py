"""Columns with one value for all frames of a molecule, as the subsets of SPICE."""

import h5py
import numpy as np
import pytest

import tlpot
from tlpot.cli import main
from tlpot.errors import DataError

pytestmark = pytest.mark.fault


@pytest.fixture
def spice(tmp_path):
    """Four molecules of two subsets, with several conformations each."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "spice.hdf5", "w") as handle:
        for k, subset in enumerate((b"Dipeptides", b"Dipeptides", b"PubChem Set 1", b"PubChem")):
            group = handle.create_group(f"molecule {k}")
            group["atomic_numbers"] = [8, 1, 1]
            group["conformations"] = rng.normal(size=(k + 2, 3, 3))
            group["dft_total_energy"] = rng.normal(size=k + 2)
            group["dft_total_gradient"] = rng.normal(size=(k + 2, 3, 3))
            group["smiles"] = [b"[H:2][O:1][H:3]"]
            group["subset"] = subset if k == 1 else [subset]
    return tmp_path / "spice.hdf5"


def test_a_split_keeps_subsets_together(spice, tmp_path, capsys):
    """Was "no array 'subset' of 2 values, one for each frame; did you mean 'subset'?"."""
    command = ["data", "split", str(spice), "--spec", "spice", "--by", "key", "--key", "subset"]
    command += ["--test", "PubChem Set 1", "--validation", "PubChem"]
    assert main([*command, "-o", str(tmp_path / "split.json")]) == 0
    dataset = tlpot.open_dataset(spice, spec="spice")
    subsets = dataset.column("subset")
    split = tlpot.data.load_split(tmp_path / "split.json", dataset)
    assert set(subsets[split.train]) == {"Dipeptides"}
    assert set(subsets[split.test]) == {"PubChem Set 1"}
    assert len(split.train) == 5
    assert "subset" not in dataset.unused_keys


def test_other_shapes_are_refused(spice):
    """An array of each atom is no column."""
    dataset = tlpot.open_dataset(spice, spec="spice")
    for key in ("atomic_numbers", "dft_total_gradient", "subst"):
        with pytest.raises(DataError, match="one for each frame"):
            dataset.column(key)


def test_a_conversion_keeps_what_the_description_names(spice, tmp_path):
    """Subsets were lost in tlpot's own layout."""
    converted = tmp_path / "converted.h5"
    tlpot.convert_dataset(spice, converted, spec="spice")
    dataset = tlpot.open_dataset(converted)
    expected = tlpot.open_dataset(spice, spec="spice")
    found = sorted(zip(dataset.sizes, dataset.column("subset").tolist(), strict=True))
    assert found == sorted(zip(expected.sizes, expected.column("subset").tolist(), strict=True))
    tlpot.split_dataset(converted, by="key", key="subset", test="PubChem", validation=0)

"""A small real dataset, and parents: one that was trained on it for a moment, imported ones."""

import pytest
from parents import imported_parent
from shipped_levels import CC, DFT

from tlpot.data import open_dataset
from tlpot.jobs import train_config, train_from_scratch
from tlpot.models import LIBRARY, save

MODEL = {"hidden_irreps": "8x0e+8x1o", "radial_hidden": [], "n_species": 4, "readout_hidden": 4}


@pytest.fixture(scope="session")
def data_file():
    return LIBRARY / "tlpot-qm.h5"


@pytest.fixture(scope="session")
def parent(request, data_file, tmp_path_factory):
    """A far too small model, good enough to see that things move the right way.

    Tests that are marked `parents.every_parent` meet those of mace-torch, too, with random
    weights and the free atoms of the level.
    """
    kind = getattr(request, "param", "tlpot")
    output = tmp_path_factory.mktemp("parent") / "parent.safetensors"
    if kind != "tlpot":
        free = open_dataset([data_file], level=DFT).levels[DFT].isolated_atoms
        save(imported_parent(kind, DFT, dict(free)), output)
        return output
    config = train_config(
        {
            "data": {"files": [str(data_file)]},
            "level": DFT,
            "output": str(output),
            "model": MODEL,
            "split": {"by": "random", "test": ["methanol"], "validation": 20, "train": 150},
            "training": {"epochs": 8, "batch_size": 10, "ema": 0.9},
        }
    )
    outcome = train_from_scratch(config, show=False)
    assert outcome.end.overall["forces_mae"] < 0.8 * outcome.start.overall["forces_mae"]
    return output


@pytest.fixture
def settings(parent, data_file, tmp_path):
    """A fine-tuning of a few seconds; tests change what they need."""
    return {
        "parent": str(parent),
        "data": {"files": [str(data_file)]},
        "level": CC,
        "output": str(tmp_path / "model.safetensors"),
        "split": {"by": "random", "test": ["methanol"], "validation": 8, "train": 24},
        "training": {"epochs": 3, "batch_size": 8, "ema": 0.5},
    }


@pytest.fixture
def curve_settings(parent, data_file, tmp_path):
    """A learning curve: two strategies, one of which trains nothing, two sizes, two updates."""
    return {
        "parents": [str(parent)],
        "data": {"files": [str(data_file)]},
        "level": CC,
        "strategies": ["shift", "full"],
        "sizes": [8, 16],
        "seeds": 1,
        "updates": 2,
        "output": str(tmp_path / "curve"),
        "split": {"by": "random", "test": ["methanol"], "validation": 4},
        "training": {"batch_size": 8, "ema": 0.5},
    }

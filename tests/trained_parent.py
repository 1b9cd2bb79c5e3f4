"""A small real dataset and a parent that was trained on it for a moment."""

import pytest
from shipped_levels import CC, DFT

from tlpot.jobs import train_config, train_from_scratch
from tlpot.models import LIBRARY

MODEL = {"hidden_irreps": "8x0e+8x1o", "radial_hidden": [], "n_species": 4, "readout_hidden": 4}


@pytest.fixture(scope="session")
def data_file():
    return LIBRARY / "tlpot-qm.h5"


@pytest.fixture(scope="session")
def parent(data_file, tmp_path_factory):
    """A far too small model, good enough to see that things move the right way."""
    output = tmp_path_factory.mktemp("parent") / "parent.safetensors"
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

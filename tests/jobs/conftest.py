"""Few labels, in a file and in memory, and settings that train for a moment."""

import pytest
from few_labels import CC, SPLIT, labelled_atoms

import tlpot


@pytest.fixture(scope="session")
def atoms():
    return labelled_atoms(CC)


@pytest.fixture(scope="session")
def data(atoms, tmp_path_factory):
    """The same in a file."""
    path = tmp_path_factory.mktemp("data") / "few.h5"
    tlpot.convert_dataset(atoms, path, level=CC)
    return str(path)


@pytest.fixture(scope="session")
def tuned(data, tmp_path_factory):
    """Two small models of one split, that differ in the seed."""
    folder = tmp_path_factory.mktemp("tuned")
    for seed in (0, 1):
        tlpot.finetune(
            "tlpot-tiny",
            data,
            level=CC,
            strategy="reinit",
            output=folder / f"{seed}.safetensors",
            split=SPLIT,
            epochs=2,
            training={"seed": seed, "batch_size": 4},
            report={"enabled": False},
            progress=False,
        )
    return [str(folder / f"{seed}.safetensors") for seed in (0, 1)]

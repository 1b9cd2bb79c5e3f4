"""A file of each kind of fault, read right or refused by every command that takes it."""

import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest

from tlpot.cli import main

WATER = np.array([[0.0, 0.0, 0.117], [0.0, 0.757, -0.469], [0.0, -0.757, -0.469]])
N = 8
E0 = {1: -13.5, 8: -2050.0}
LABELS = ("validate", "info", "train", "finetune")
"""Commands that read labels; the others read geometries."""
GEOMETRIES = ("label",)
STRUCTURES = ("md", "fragment")
"""Commands that take structures, and datasets never."""
COMMANDS = (*LABELS, *GEOMETRIES, *STRUCTURES)
Outcome = Literal["read", "warned", "refused"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: of the kind.
        write: writes a file of the kind.
        expected: ``read`` (exit status 0 without a warning), ``warned`` (0, and 2 with
            ``--strict``) or ``refused`` (2 and one line).
        term: in the output of those that warn, and in the message of those that refuse.
        but: commands with another outcome.
        suffix: of the file.
        options: of every command that takes labels.
    """

    name: str
    write: Callable[[Path], Any]
    expected: Outcome
    term: str = ""
    but: dict[str, Outcome] = field(default_factory=dict)
    suffix: str = ".h5"
    options: tuple[str, ...] = ()


def hdf5(**changes):
    """A writer of a native file in which some arrays are others."""

    def write(path):
        with h5py.File(path, "w") as handle:
            add(handle, "w", **changes)

    return write


def add(handle, name, **changes):
    rng = np.random.default_rng(3)
    energies = -76.4 + 0.01 * rng.normal(size=N)
    coordinates = WATER + 0.05 * rng.normal(size=(N, 3, 3))
    forces = 0.01 * rng.normal(size=(N, 3, 3))
    arrays = {
        "atomic_numbers": [8, 1, 1],
        "coordinates": coordinates,
        "l.energy": energies,
        "l.forces": forces - forces.mean(axis=1, keepdims=True),
    }
    for key, value in {**arrays, **changes}.items():
        if value is not None:
            handle[f"{name}/{key}"] = value(arrays[key]) if callable(value) else value
    handle.attrs["levels"] = json.dumps({"l": "toy"})
    handle.attrs["units"] = json.dumps(
        {"coordinates": "angstrom", "energy": "hartree", "forces": "hartree/angstrom"}
    )


def with_an_empty_group(path):
    hdf5()(path)
    with h5py.File(path, "a") as handle:
        add(handle, "gone", **{key: np.zeros(0) for key in ("coordinates", "l.energy", "l.forces")})


def with_a_broken_link(path):
    hdf5()(path)
    with h5py.File(path, "a") as handle:
        handle["more"] = h5py.ExternalLink("gone.h5", "/w")


def with_a_half_group(path):
    hdf5()(path)
    with h5py.File(path, "a") as handle:
        handle["half/coordinates"] = np.zeros((2, 3, 3))


ONLY_LABELS: dict[str, Outcome] = dict.fromkeys(GEOMETRIES, "read")
FAULTS = [
    Fault(name="empty group", write=with_an_empty_group, expected="read"),
    Fault(name="charge as text", write=hdf5(charge="0"), expected="read"),
    Fault(name="symbols", write=hdf5(atomic_numbers=np.array([b"O ", b"H", b"H"])),
          expected="read"),
    Fault(name="big-endian", write=hdf5(coordinates=lambda x: x.astype(">f8")), expected="read"),
    Fault(name="broken link", write=with_a_broken_link, expected="refused", term="not there"),
    Fault(name="half a group", write=with_a_half_group, expected="warned", term="lack"),
    Fault(name="pbc as text", write=hdf5(pbc=np.array([b"F"] * 3)), expected="refused",
          term="periodic"),
    Fault(name="pbc NaN", write=hdf5(pbc=np.full(3, np.nan)), expected="refused", term="periodic"),
    Fault(name="no element", write=hdf5(atomic_numbers=[8, 0, 1]), expected="refused",
          term="padded"),
    Fault(name="float16 energies", write=hdf5(**{"l.energy": lambda e: e.astype("f2")}),
          expected="refused", term="16 bits", but=ONLY_LABELS),
    Fault(name="truth values", write=hdf5(**{"l.energy": np.ones(N, bool)}), expected="refused",
          term="truth", but=ONLY_LABELS),
    Fault(name="float32 energies", write=hdf5(**{"l.energy": lambda e: e.astype("f4")}),
          expected="warned", term="in steps of", but=ONLY_LABELS),
    Fault(name="unread gradient", write=hdf5(**{"l.forces": None, "l.grad": np.ones((N, 3, 3))}),
          expected="warned", term="'l.grad' is not used", but=ONLY_LABELS),
    Fault(name="charge without its sign", write=hdf5(charge=np.uint8(255)), expected="refused",
          term="sign"),
    Fault(name="cell without pbc", write=hdf5(cell=9 * np.eye(3)), expected="warned",
          term="not periodic"),
]  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tlpot.models import Potential, preset, save

    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    sizes = preset("tiny", (1, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    save(Potential.create(sizes, {"low": E0}, scale=0.01), path)
    return str(path)


@pytest.fixture(autouse=True)
def _labels_in_this_process(monkeypatch):
    """A worker would have to load torch for every file."""

    @contextmanager
    def workers(n, dask=None, **_):
        yield None, None

    monkeypatch.setattr("tlpot.execution.workers", workers)


def command(name, path, model, out, options):
    """The arguments with which a command takes a file."""
    split = ["split.by=random", "split.validation=2"]
    if name == "train":
        config = out / "train.yaml"
        config.write_text(
            f"data: {{files: [{path}]}}\noutput: {out / 'new.safetensors'}\n"
            "model: {preset: tiny, hidden_irreps: 4x0e+4x1o, cutoff: 3.0}\n"
        )
        return ["train", str(config), *split, "--dry-run", "--device", "cpu"]
    return {
        "info": ["data", "info", str(path), *options],
        "validate": ["data", "validate", str(path), *options],
        "finetune": ["finetune", model, str(path), "--level", "toy", "-o",
                     str(out / "n.safetensors"), *split, "--dry-run", "--device", "cpu"],
        "label": ["label", str(path), "--engine", f"model:{model}", "--level", "mine", "-o",
                  str(out / "o.h5")],
        "md": ["md", str(path), model, "--out", str(out / "md"), "--steps", "1"],
        "fragment": ["fragment", str(path)],
    }[name]  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_command_reads_it_right_or_refuses_it(fault, name, model, tmp_path, capsys):
    path = tmp_path / f"faulty{fault.suffix}"
    fault.write(path)
    arguments = command(name, path, model, tmp_path, fault.options)
    before = sorted(x.name for x in tmp_path.iterdir())
    expected = "refused" if name in STRUCTURES else fault.but.get(name, fault.expected)
    status = main(arguments)
    shown = capsys.readouterr()
    assert status == (2 if expected == "refused" else 0), shown.err
    if expected == "refused":
        assert "Traceback" not in shown.err
        assert name in STRUCTURES or fault.term in shown.err
        assert sorted(x.name for x in tmp_path.iterdir()) == before
    if expected == "warned":
        assert fault.term in shown.out + shown.err
    if expected == "warned" and name in (*LABELS, *GEOMETRIES):
        assert main([*arguments, "--strict"]) == 2
        assert fault.term in capsys.readouterr().err
    if name == "label" and expected != "refused":
        check_labels(tmp_path / "o.h5")


def check_labels(path):
    """The geometries that were labelled are those that were written."""
    from tlpot.data import open_dataset

    dataset = open_dataset(path, level="mine")
    rng = np.random.default_rng(3)
    rng.normal(size=N)
    expected = WATER + 0.05 * rng.normal(size=(N, 3, 3))
    assert len(dataset) == N
    for frame, positions in zip(dataset.read(range(N)), expected, strict=True):
        assert frame.system.atomic_numbers.tolist() == [8, 1, 1]
        assert not frame.system.pbc.any()
        np.testing.assert_array_equal(frame.system.positions, positions)
        assert np.isfinite(frame.labels["mine"].energy)

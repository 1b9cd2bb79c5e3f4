"""Any npz file: its values come back exactly, or the command ends with status 2."""

import json
import tempfile
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree, kcal, mol
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.errors import TLPotError

LENGTHS = {"angstrom": 1.0, "bohr": Bohr, "nm": 10.0}
ENERGIES = {"ev": 1.0, "hartree": Hartree, "kcal/mol": kcal / mol}
KINDS = ["<f8", ">f8", "<f4", "<f2", "<i4", "?", "S12", "U12", "c16", "O"]
SPECIES = [[8, 1, 1], [8, 1, 0], [8, 0, 1], [8, -1, 1], [300, 1, 1], [8.5, 1, 1], [0, 0, 0]]


@st.composite
def files(draw):
    """Arrays of a file of up to 3 frames of up to 3 atoms, most of them as they should be."""
    m, n = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = {}
    for name, shape in {"R": (m, n, 3), "E": (m,), "F": (m, n, 3)}.items():
        if draw(st.integers(0, 9)) == 0:
            shape = draw(st.sampled_from([(), (0,), (m, 3 * n), (m + 1, *shape[1:]), (*shape, 1)]))
        values = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)
        if values.size and draw(st.integers(0, 5)) == 0:
            values.flat[0] = draw(st.sampled_from([np.nan, np.inf, -0.0, 1e300]))
        kind = draw(st.sampled_from(KINDS)) if draw(st.integers(0, 3)) == 0 else "<f8"
        with np.errstate(all="ignore"):
            arrays[name] = np.asarray(values).astype(kind)
        if draw(st.integers(0, 5)) == 0 and arrays[name].ndim > 1:
            arrays[name] = np.asfortranarray(arrays[name])
    species = draw(st.sampled_from(SPECIES)) if draw(st.booleans()) else [8, 1, 1]
    numbers = np.array(species[:n])
    if draw(st.booleans()):  # one row for each frame, padded with zeros
        numbers = np.tile(numbers, (m, 1))
    arrays["Z"] = numbers.astype(draw(st.sampled_from(["<i8", "<u1", "<f8", ">i4"])))
    for name, options in {
        "Q": [0, -1, 0.5, "1", np.full(m, -1), np.full(m, 2.0), np.nan, np.zeros((m, 1))],
        "N": [np.full(m, n), np.zeros(2)],
        "D": [np.zeros((m, 3))],
        "forces": [np.zeros(3)],
        "ü n": [np.zeros(2)],
    }.items():
        if draw(st.integers(0, 4)) == 0:
            arrays[name] = np.asarray(draw(st.sampled_from(options)))
    for name in ("Z", "R", "E", "F"):
        if draw(st.integers(0, 19)) == 0:
            del arrays[name]
    return arrays, draw(st.sampled_from(sorted(LENGTHS))), draw(st.sampled_from(sorted(ENERGIES)))


def described(path, length, energy, sign, charged):
    """A description of the layout."""
    units = {"coordinates": length, "energy": energy, "forces": f"{energy}/{length}"}
    path.write_text(
        f"container: npz\nnumbers: Z\ncoordinates: R\nsign: {sign}\n"
        + ("charge: Q\n" if charged else "")
        + f"units: {json.dumps(units)}\nlevels: {{toy/x: {{energy: E, forces: F}}}}\n"
    )
    return str(path)


def outcome(path, *options):
    """Exit status of two commands; anything but a refusal would be raised."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as shown:
        status = {main(["data", action, str(path), *options]) for action in ("info", "validate")}
    assert status <= {0, 2}
    assert "Traceback" not in shown.getvalue()
    return status


def check(dataset, arrays, length, energy, sign):
    """Every number of the file is there, and nothing else."""
    positions = arrays["R"].astype(np.float64)
    assert len(dataset) == len(positions)
    numbers = np.broadcast_to(arrays["Z"], positions.shape[:2])
    for k, frame in enumerate(dataset.read(range(len(dataset)))):
        atoms = numbers[k] > 0
        np.testing.assert_array_equal(frame.system.atomic_numbers, numbers[k][atoms])
        np.testing.assert_array_equal(frame.system.positions, positions[k][atoms] * length)
        charge = arrays.get("Q", np.array(0))
        assert frame.system.charge == float(np.ravel(charge)[k if charge.ndim else 0])
        labels = frame.labels.get("toy/x")
        found = np.nan if labels is None else labels.energy
        value = np.nan
        if "E" in arrays and arrays["E"].size:
            value = arrays["E"].astype(np.float64).reshape(-1)[k] * energy
        assert found == value or (np.isnan(found) and not np.isfinite(value))
        if labels is not None and labels.forces is not None:
            forces = arrays["F"].astype(np.float64)[k][atoms]
            np.testing.assert_array_equal(labels.forces, forces * (sign * (energy / length)))
        elif "F" in arrays and arrays["F"].size:
            assert not np.isfinite(arrays["F"].astype(np.float64)[k][atoms]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@settings(
    max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(file=files(), gradient=st.booleans())
def test_values_come_back_exactly_or_the_command_refuses(file, gradient):
    arrays, length, energy = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        np.savez(path, **arrays)
        sign = "gradient" if gradient else "force"
        spec = described(Path(folder) / "spec.yaml", length, energy, sign, "Q" in arrays)
        status = outcome(path, "--spec", spec)
        try:
            dataset = open_dataset(path, spec)
            dataset.read(range(len(dataset)))
        except TLPotError:
            assert status == {2}
            return
        factor = -1.0 if gradient else 1.0
        check(dataset, arrays, LENGTHS[length], ENERGIES[energy], factor)


@pytest.mark.fault
@settings(
    max_examples=40, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_archive_never_gives_other_numbers(place, bit, cut):
    rng = np.random.default_rng(0)
    arrays = {"Z": np.array([8, 1, 1]), "R": rng.normal(size=(3, 3, 3)), "E": rng.normal(size=3)}
    arrays["F"] = rng.normal(size=(3, 3, 3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npz"
        np.savez_compressed(path, **arrays)
        content = bytearray(path.read_bytes())
        k = int(place * len(content))
        content = content[:k] if cut else content
        if not cut:
            content[k] ^= 1 << bit
        path.write_bytes(content)
        spec = described(Path(folder) / "spec.yaml", "angstrom", "ev", "force", False)
        status = outcome(path, "--spec", spec)
        try:
            dataset = open_dataset(path, spec)
        except TLPotError:
            assert status == {2}
            return
        check(dataset, {k: v for k, v in arrays.items() if k in _names(path)}, 1.0, 1.0, 1.0)


def _names(path):
    with zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}

"""Any HDF5 or npz file: its values come back exactly, or the command ends with status 2."""

import json
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import h5py
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
KINDS = ["<f8", ">f8", "<f4", "<f2", "<i4", "?", "S12", "c16"]
SPECIES = [[8, 1, 1], [8, 1, 0], [8, -1, 1], [300, 1, 1], [b"O", b"H", b"H"], [b"O", b"", b"H"]]


@st.composite
def files(draw):
    """Arrays of a file of up to 3 frames of up to 3 atoms, most of them as they should be."""
    m, n = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    shapes = {"coordinates": (m, n, 3), "l.energy": (m,), "l.forces": (m, n, 3)}
    arrays = {}
    for name, shape in shapes.items():
        if draw(st.integers(0, 9)) == 0:
            shape = draw(st.sampled_from([(), (0,), (m, 3 * n), (m + 1, *shape[1:]), shape[::-1]]))
        values = rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4)
        if values.size and draw(st.integers(0, 5)) == 0:
            values.flat[0] = draw(st.sampled_from([np.nan, np.inf, -0.0, 1e300]))
        kind = draw(st.sampled_from(KINDS)) if draw(st.booleans()) else "<f8"
        with np.errstate(all="ignore"):
            arrays[name] = np.asarray(values).astype(kind)
    species = draw(st.sampled_from(SPECIES)) if draw(st.booleans()) else [8, 1, 1]
    arrays["atomic_numbers"] = np.array(species[:n])
    for name, options in {
        "pbc": [np.zeros(3), np.zeros(3, bool), np.full(3, np.nan), np.array([b"F"] * 3), 0],
        "charge": [0, -1, 0.5, b"1", np.uint8(255), np.full(m, -1), np.nan, np.zeros(0)],
        "spin": [1, 2, b"x", np.full((m, 1), 1)],
        "l.force": [np.zeros(3)],
        "ü/n\n": [np.zeros(2)],
    }.items():
        if draw(st.integers(0, 4)) == 0:
            arrays[name] = np.asarray(draw(st.sampled_from(options)))
    return arrays, draw(st.sampled_from(sorted(LENGTHS))), draw(st.sampled_from(sorted(ENERGIES)))


def outcome(path, *options):
    """Exit status of two commands; anything but a refusal would be raised."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as shown:
        status = {main(["data", action, str(path), *options]) for action in ("info", "validate")}
    assert status <= {0, 2}
    assert "Traceback" not in shown.getvalue()
    return status


def check(dataset, arrays, level, length, energy, sign):
    """Every number of the file is there, and nothing else."""
    expected = {k: arrays[k].astype(np.float64) for k in ("coordinates", "l.energy", "l.forces")}
    for k, frame in enumerate(dataset.read(range(len(dataset)))):
        np.testing.assert_array_equal(frame.system.positions, expected["coordinates"][k] * length)
        assert not frame.system.pbc.any()
        charge = arrays["charge"] if "charge" in arrays else np.array(0)
        assert frame.system.charge == int(float(np.ravel(charge)[k if charge.ndim else 0]))
        assert len(frame.system) == len(arrays["atomic_numbers"])
        labels = frame.labels.get(level)
        held = expected["l.energy"].reshape(-1)
        value = held[k] * energy if len(held) else np.nan
        found = np.nan if labels is None else labels.energy
        assert found == value or (np.isnan(found) and not np.isfinite(value))
        if labels is not None and labels.forces is not None:
            np.testing.assert_array_equal(
                labels.forces, expected["l.forces"][k] * (sign * (energy / length))
            )
        elif 0 not in expected["l.forces"].shape:
            assert not np.isfinite(expected["l.forces"][k]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(
    max_examples=30, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(file=files(), gradient=st.booleans())
def test_values_come_back_exactly_or_the_command_refuses(file, gradient):
    arrays, length, energy = file
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w") as handle:
            for name, array in arrays.items():
                handle[f"w/{name}"] = array
            units = {"coordinates": length, "energy": energy, "forces": f"{energy}/{length}"}
            handle.attrs["levels"] = json.dumps({"l": "toy/x"})
            handle.attrs["units"] = json.dumps(units)
        options = []
        if gradient:
            spec = Path(folder) / "spec.yaml"
            structure = "".join(f"{k}: {k}\n" for k in ("pbc", "charge", "spin") if k in arrays)
            spec.write_text(
                f"container: hdf5\nsign: gradient\n{structure}"
                f"units: {json.dumps(units)}\n"
                "levels: {toy/x: {energy: l.energy, forces: l.forces}}\n"
            )
            options = ["--spec", str(spec)]
        status = outcome(path, *options)
        try:
            dataset = open_dataset(path, *options[1:])
            dataset.read(range(len(dataset)))
        except TLPotError:
            assert status == {2}
            return
        sign = -1.0 if gradient else 1.0
        check(dataset, arrays, "toy/x", LENGTHS[length], ENERGIES[energy], sign)

"""JSON of the large databases of crystals: MPtrj, Alexandria, the force fields of JARVIS."""

import bz2
import json

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from tlpot.data import open_dataset
from tlpot.errors import DataError

VASP = {
    "energy": "corrected_total_energy, eV",
    "forces": "force, eV/angstrom",
    "stress": "stress, kbar, compressive",
}


@pytest.fixture(scope="module")
def crystals():
    rng = np.random.default_rng(1)
    found = []
    for k in range(3):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.05, seed=k)
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
        found.append(atoms)
    return found


def structure(atoms, **of_sites):
    sites = [
        {"species": [{"element": s, "occu": 1}], "abc": f, "xyz": x, "label": s}
        | {"properties": {name: values[k] for name, values in of_sites.items()}}
        for k, (s, f, x) in enumerate(
            zip(
                atoms.get_chemical_symbols(), atoms.get_scaled_positions().tolist(),
                atoms.positions.tolist(), strict=True,
            )
        )
    ]  # fmt: skip
    return {"@class": "Structure", "lattice": {"matrix": atoms.cell.tolist()}, "sites": sites}


def kbar(atoms):
    """As VASP prints it: positive under compression."""
    return (-10 * atoms.get_stress(voigt=False) / GPa).tolist()


def same(dataset, crystals):
    for frame, atoms in zip(dataset, crystals, strict=True):
        labels = frame.labels["pbe"]
        np.testing.assert_allclose(labels.forces, atoms.get_forces(), atol=1e-12)
        if labels.stress is not None:
            np.testing.assert_allclose(labels.stress, atoms.get_stress(voigt=False), atol=1e-12)
        yield labels.energy - atoms.get_potential_energy()


@pytest.mark.fault
def test_frames_by_material_are_read(tmp_path, crystals):
    """MPtrj was "none of the layouts of JSON that are read"."""
    content: dict = {}
    for k, atoms in enumerate(crystals):
        energy = atoms.get_potential_energy()
        content.setdefault(f"mp-{k // 2}", {})[f"mp-{k // 2}-{k}-0"] = {
            "structure": structure(atoms), "corrected_total_energy": energy - 1,
            "energy_per_atom": energy / 4, "force": atoms.get_forces().tolist(),
            "stress": kbar(atoms), "magmom": None, "mp_id": f"mp-{k // 2}",
        }  # fmt: skip
    path = tmp_path / "mptrj.json"
    path.write_text(json.dumps(content))
    dataset = open_dataset(path, level="pbe", keys=VASP)
    np.testing.assert_allclose(list(same(dataset, crystals)), -1)
    assert list(dataset.column("id")) == ["mp-0-0-0", "mp-0-1-0", "mp-1-2-0"]
    content["mp-1"]["mp-1-2-0"]["force"] = [[1.0, 2.0]]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"mp-1-2-0.*force"):
        open_dataset(path, level="pbe", keys=VASP)


@pytest.mark.fault
def test_entries_of_pymatgen_are_read_compressed_too(tmp_path, crystals):
    """Alexandria was "not an HDF5 file"."""
    entries = [
        {
            "@class": "ComputedStructureEntry", "energy": a.get_potential_energy(),
            "composition": {"Cu": 4.0}, "entry_id": None, "correction": 0.0, "parameters": {},
            "data": {"mat_id": f"agm{k}", "e_form": 0.1},
            "structure": structure(a, forces=a.get_forces().tolist(), charge=[0.1] * 4),
        }
        for k, a in enumerate(crystals)
    ]  # fmt: skip
    path = tmp_path / "alexandria_000.json.bz2"
    path.write_bytes(bz2.compress(json.dumps({"entries": entries}).encode()))
    dataset = open_dataset(path, level="pbe")
    np.testing.assert_allclose(list(same(dataset, crystals)), 0, atol=1e-12)
    assert list(dataset.column("id")) == ["agm0", "agm1", "agm2"]
    assert not any("e_form" in p.what and "is read" in p.what for p in dataset.problems)


@pytest.mark.fault
def test_forces_and_stresses_in_cells_are_arrays(tmp_path, crystals):
    """Were the text of a list, "expected numbers"."""
    rows = [
        {
            "jid": f"J{k}", "forces": a.get_forces().tolist(), "stresses": kbar(a),
            "total_energy": a.get_potential_energy(),
            "atoms": {
                "lattice_mat": a.cell.tolist(), "coords": a.get_scaled_positions().tolist(),
                "elements": a.get_chemical_symbols(), "cartesian": False,
            },
        }
        for k, a in enumerate(crystals)
    ]  # fmt: skip
    (tmp_path / "id_prop.json").write_text(json.dumps(rows))
    keys = {
        "energy": "total_energy, eV",
        "forces": "forces, eV/angstrom",
        "stress": "stresses, kbar, compressive",
    }
    dataset = open_dataset(tmp_path / "id_prop.json", level="pbe", keys=keys)
    np.testing.assert_allclose(list(same(dataset, crystals)), 0, atol=1e-12)


@pytest.mark.fault
@pytest.mark.parametrize("key", ["energy_per_atom", "e_form", "atomization_energy"])
def test_an_energy_whose_name_says_that_it_is_not_total_is_warned_of(tmp_path, crystals, key):
    """Was read as the total energy, without a word."""
    rows = [{"structure": structure(a), key: -0.25 - 0.01 * k} for k, a in enumerate(crystals)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    dataset = open_dataset(tmp_path / "a.json", level="pbe", keys={"energy": key})
    (problem,) = (p for p in dataset.problems if repr(key) in p.what)
    assert problem.severity == "warning"
    as_property = open_dataset(tmp_path / "a.json", keys={"e@pbe": f"{key}, eV, intensive"})
    assert not as_property.problems

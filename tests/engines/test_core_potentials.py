"""Basis sets made for core potentials, and elements that need one."""

import io
import json

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.units import Hartree
from needs import needs

from tlpot.engines import EngineSpec, make_engine
from tlpot.errors import ConfigError
from tlpot.labelling import label
from tlpot.system import System

gto = needs("pyscf.gto")

pytestmark = [
    pytest.mark.external,
    pytest.mark.fault,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

HCL = Atoms("HCl", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.2746]])
HI = Atoms("HI", [[0.0, 0.0, 0.0], [0.0, 0.0, 1.609]])


def computed(name, atoms, forces=False, **settings):
    engine = make_engine(EngineSpec(name=name, settings=settings))
    engine.check(sorted(set(atoms.numbers.tolist())), periodic=False)
    return engine.compute(System.from_atoms(atoms), forces=forces, log=io.StringIO())


def plain_hf(atoms, basis, ecp):
    """Hartree; PySCF without anything of ours."""
    mol = gto.Mole()
    mol.atom = [(s, tuple(r)) for s, r in zip(atoms.symbols, atoms.positions, strict=True)]
    mol.unit, mol.basis, mol.verbose = "Angstrom", basis, 0
    mol.ecp = {symbol: ecp for symbol in set(atoms.symbols) if gto.basis.load_ecp(ecp, symbol)}
    return float(mol.build().RHF().kernel())


def test_lanl2dz_has_its_core_potential():
    found = computed("pyscf:hf/lanl2dz", HCL).energy / Hartree
    assert found == pytest.approx(-15.27675, abs=1e-5)
    assert found == pytest.approx(plain_hf(HCL, "lanl2dz", "lanl2dz"), abs=1e-6)


@pytest.mark.parametrize(
    ("basis", "potential"), [("ccecp-cc-pvdz", "ccecp"), ("bfd-vdz", "bfd"), ("crenbl", "crenbl")]
)
def test_a_set_finds_its_potential_under_whatever_name(basis, potential):
    found = computed(f"pyscf:hf/{basis}", HCL).energy / Hartree
    assert found == pytest.approx(plain_hf(HCL, basis, potential), abs=1e-6)


def test_iodine_can_be_done():
    found = computed("pyscf:hf/def2-svp", HI, density_fitting=False).energy / Hartree
    assert found == pytest.approx(plain_hf(HI, "def2-svp", "def2-svp"), abs=1e-6)
    assert -300 < found < -295


@pytest.mark.parametrize(
    "name", [pytest.param("pyscf:hf/lanl2dz", marks=pytest.mark.control), "pyscf:pbe/def2-svp"]
)
def test_forces_with_core_potentials_are_minus_the_slope(name):
    atoms = HCL if "lanl" in name else HI
    step = 2e-3
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += 0.05 + sign * step
        energies.append(computed(name, moved).energy)
    atoms = atoms.copy()
    atoms.positions[1, 2] += 0.05
    forces = computed(name, atoms, forces=True).forces
    assert forces[1, 2] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=3e-3)


def test_a_set_without_hydrogen_is_not_looked_up_for_hydrogen():
    iodine = Atoms("I2", [[0.0, 0.0, 0.0], [0.0, 0.0, 2.7]])
    found = computed("pyscf:hf/stuttgart", iodine).energy / Hartree
    assert found == pytest.approx(plain_hf(iodine, "stuttgart", "stuttgart"), abs=1e-6)
    with pytest.raises(ConfigError, match="does not have H"):
        computed("pyscf:hf/stuttgart", HI)


@pytest.mark.parametrize(
    ("basis", "atoms", "word"),
    [
        ("gth-dzvp", HCL, "GTH"),
        ("cc-pvdz-pp-nr", Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]]), "core potential"),
        ("qavg-vszps", HCL, "core potential"),
        pytest.param("sto-3g", HI, "core potential", marks=pytest.mark.control),
    ],
)
def test_sets_whose_potential_is_missing_are_refused(basis, atoms, word):
    with pytest.raises(ConfigError, match=word):
        computed(f"pyscf:hf/{basis}", atoms)


def test_the_definition_names_the_core_potential():
    def definition(name):
        return json.loads(json.dumps(make_engine(EngineSpec(name=name)).definition))

    found = definition("pyscf:hf/lanl2dz")["core_potential"]
    assert found["name"] == "lanl2dz"
    assert "Na" in found["electrons"][0]
    assert "Rb" in definition("pyscf:hf/def2-svp")["core_potential"]["electrons"][0]
    assert "core_potential" not in definition("pyscf:hf/6-31g*")


def test_labels_of_light_elements_go_on_in_files_from_before(tmp_path):
    file = tmp_path / "h2.h5"
    label(Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), "pyscf:hf/def2-svp", file, show=False)
    with h5py.File(file, "r+") as handle:
        definitions = json.loads(handle.attrs["definitions"])
        (key,) = definitions
        content = json.loads(definitions[key])
        assert content.pop("core_potential")
        handle.attrs["definitions"] = json.dumps({key: json.dumps(content)})
    report = label(file, "pyscf:hf/def2-svp", file, show=False)
    assert (report.n_known, report.n_labelled) == (1, 0)
    assert np.isfinite(report.seconds)

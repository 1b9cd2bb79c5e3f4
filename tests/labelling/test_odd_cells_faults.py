"""An odd number of electrons is no singlet, in periodic cells either."""

import warnings

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import write

from tlpot.calculators import TLPotCalculator
from tlpot.cli import main
from tlpot.engines import EngineSpec
from tlpot.labelling import label


def cell(**info):
    """A radical in a box."""
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], cell=[8.0] * 3, pbc=True)
    atoms.info.update(info)
    return atoms


@pytest.mark.fault
def test_a_calculator_says_so():
    atoms = cell()
    atoms.calc = TLPotCalculator("tlpot-tiny", level="wb97x/6-31g*", device="cpu")
    with pytest.warns(UserWarning, match="electrons"):
        atoms.get_potential_energy()


@pytest.mark.control
def test_even_cells_pass():
    atoms = molecule("H2O", cell=[8.0] * 3, pbc=True)
    atoms.calc = TLPotCalculator("tlpot-tiny", level="wb97x/6-31g*", device="cpu")
    atoms.get_potential_energy()


@pytest.mark.fault
def test_labels_say_which_multiplicity_is_taken(tmp_path):
    spec = EngineSpec(name="ase:ase.calculators.emt:EMT", level="emt")
    with pytest.warns(UserWarning, match="multiplicity"):
        label([cell()], spec, tmp_path / "a.h5", show=False)
    label([bulk("Al", cubic=True)], spec, tmp_path / "b.h5", show=False)


@pytest.mark.fault
def test_a_metal_has_no_multiplicity_of_its_own(tmp_path):
    """Each odd cell of a metal was warned of, and `--strict` refused it."""
    spec = EngineSpec(name="ase:ase.calculators.emt:EMT", level="emt")
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0, periodic=True)
    assert slab.numbers.sum() % 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        label([bulk("Al"), slab], spec, tmp_path / "a.h5", show=False)
    stated = bulk("Al")
    stated.info["charge"] = 2
    with pytest.warns(UserWarning, match="multiplicity"):
        label([stated], spec, tmp_path / "b.h5", show=False)


@pytest.mark.fault
def test_an_engine_that_reads_the_multiplicity_refuses_it(tmp_path):
    spec = EngineSpec(
        name="ase:ase.calculators.emt:EMT", level="emt", settings={"asap_cutoff": "{spin}"}
    )
    found = label([bulk("Al")], spec, tmp_path / "a.h5", show=False)
    (failure,) = found.failures
    assert "multiplicity 1" in failure.outcome.error


@pytest.mark.fault
def test_info_counts_them(tmp_path, capsys):
    frames = [cell(energy=-2059.0), cell(energy=-2059.0, spin=2), cell(energy=-2059.0, charge=-1)]
    write(tmp_path / "a.xyz", frames, format="extxyz")
    assert main(["data", "info", str(tmp_path / "a.xyz"), "--level", "a/b"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("multiplicities")]
    assert "1 frame;" in line

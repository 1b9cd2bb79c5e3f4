"""Ions of transition metals: no fragment is written or evaluated as a singlet that it cannot be."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from toys import ToyModel

from tlpot.calculators import FragmentCalculator, FragmentMethod
from tlpot.errors import GeometryError, TLPotWarning
from tlpot.fragments import ProteinFrames, export_fragments
from tlpot.reports.fragmentation import FragmentedFrames, fragment_structure
from tlpot.structures import read_structure
from tlpot.topology import perceive_topology

pytestmark = pytest.mark.fault

ODD = {"V": (2, 21), "Cr": (3, 21), "Mn": (2, 23), "Co": (2, 25), "Cu": (2, 27)}
CLOSED = ("Zn", "Mg", "Ca", "Na", "K")


def ion(metal: str) -> Atoms:
    """An ion far from two waters, which are far from each other."""
    atoms = Atoms(metal)
    for place in (12.0, 24.0):
        water = molecule("H2O")
        water.positions += [place, 0.0, 0.0]
        atoms += water
    return atoms


class Ions(ToyModel):
    """All metals are copper to it."""

    def atomic_energies(self, graph):
        numbers = graph.atomic_numbers
        return super().atomic_energies(
            replace(graph, atomic_numbers=numbers.where(numbers <= 8, 29))
        )


def model(**settings) -> ToyModel:
    return Ions(elements=tuple(range(1, 31)), **settings)


def cut(atoms: Atoms):
    return fragment_structure(FragmentedFrames.open(atoms), FragmentMethod(scheme="mfcc"))


@pytest.mark.parametrize("metal", ODD)
def test_odd_ones_are_neither_written_nor_evaluated(metal, tmp_path):
    charge, electrons = ODD[metal]
    atoms = ion(metal)
    words = rf"fragment {metal.upper()} has charge \+{charge} \({metal} \+{charge} is assumed.*"
    words += rf"{electrons} electrons, which are no singlet"
    for ending in ("xyz", "h5"):
        with pytest.raises(GeometryError, match=words):
            cut(atoms).export(tmp_path / f"f.{ending}")
    assert not list(tmp_path.iterdir())
    atoms.info["spin"] = 2  # of the whole
    atoms.calc = FragmentCalculator(atoms, model(uses_charge=True), "mfcc")
    with pytest.raises(GeometryError, match=words):
        atoms.get_potential_energy()
    low = FragmentCalculator(atoms, model(), "mfcc", low=model(uses_charge=True),
                             trained_charges=True)  # fmt: skip
    with pytest.raises(GeometryError, match=words):
        low.get_potential_energy(atoms)


def test_the_whole_has_the_multiplicity_that_is_stated():
    atoms = ion("Cu")
    atoms.info["spin"] = 2
    atoms.calc = FragmentCalculator(atoms, model(uses_charge=True), "direct")
    assert np.isfinite(atoms.get_potential_energy())
    atoms = ion("Fe")
    atoms.info["spin"] = 5
    atoms.calc = FragmentCalculator(atoms, model(uses_charge=True), "mfcc")
    with (
        pytest.warns(TLPotWarning, match="taken for singlets"),
        pytest.raises(GeometryError, match="given as 5, but fragments are singlets"),
    ):
        atoms.get_potential_energy()


@pytest.mark.parametrize("metal", ["Fe", "Ni"])
def test_even_ones_are_warned_of(metal, tmp_path):
    atoms = ion(metal)
    found = cut(atoms)
    words = rf"fragments with {metal}, such as {metal.upper()}, are taken for singlets"
    with pytest.warns(TLPotWarning, match=words):
        found.export(tmp_path / "f.xyz")
    with pytest.warns(TLPotWarning, match=words):
        export_fragments([ProteinFrames(name="p", frames=[atoms])], "mfcc", tmp_path / "f.h5")
    atoms.calc = FragmentCalculator(atoms, model(uses_charge=True), "mfcc")
    with pytest.warns(TLPotWarning, match=words):
        atoms.get_potential_energy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.rattle(0.01)
        atoms.get_potential_energy()  # it was said


@pytest.mark.parametrize("metal", CLOSED)
def test_closed_shells_are_as_ever(metal, tmp_path):
    atoms = ion(metal)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cut(atoms)
        found.export(tmp_path / "f.xyz")
        found.export(tmp_path / "f.h5")
        atoms.calc = FragmentCalculator(atoms, model(uses_charge=True), "mfcc")
        assert np.isfinite(atoms.get_potential_energy())
    assert not any("assumed" in note for note in found.notes)


def test_the_oxidation_state_is_noted_where_charges_add_up_to_none(tmp_path):
    chlorides = Atoms("FeCl2", [[0, 0, 0], [9, 0, 0], [0, 9, 0]])
    assert perceive_topology(chlorides).charge == 0
    assert cut(chlorides).notes == ("Fe +2 is assumed: no geometry shows an oxidation state",)
    chlorides.write(tmp_path / "a.pdb")
    assert "Fe +2 is assumed" in read_structure(tmp_path / "a.pdb").info["reader_notes"]

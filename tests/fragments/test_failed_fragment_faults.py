"""A program that fails for one fragment of many."""

import pytest
from ase.calculators.calculator import Calculator, all_changes

from tlpot import FragmentCalculator
from tlpot.errors import GeometryError
from tlpot.structures import build_peptide


class NoSulfur(Calculator):
    """Fails for what has sulfur, but not for everything that is large."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    level = "toy"

    def __init__(self, largest: int = 999) -> None:
        super().__init__()
        self.largest = largest

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if 16 in self.atoms.numbers or len(self.atoms) > self.largest:
            raise RuntimeError("SCF not converged")
        self.results = {"energy": 0.0, "forces": 0.0 * self.atoms.positions}


@pytest.mark.fault
@pytest.mark.parametrize("typed", [False, True])
def test_it_is_named_with_its_residues(typed):
    """A program that failed told a formula, which does not say where in a protein that is."""
    atoms = build_peptide("AGCA")
    high = {"ACE-ALA-NME": NoSulfur(), "*": NoSulfur()} if typed else NoSulfur()
    atoms.calc = FragmentCalculator(atoms, high, "mfcc")
    with pytest.raises(
        GeometryError, match=r"fragment ACE-CYS-NME \(residue 3\): .* not converged"
    ):
        atoms.get_forces()


def test_the_whole_is_no_fragment():
    atoms = build_peptide("AGA")
    low = NoSulfur(largest=len(atoms) - 1)
    atoms.calc = FragmentCalculator(atoms, NoSulfur(), "mfcc", low=low)
    with pytest.raises(GeometryError, match=r"^NoSulfur fails for C11"):
        atoms.get_forces()

"""MMFF94 through RDKit: a force field of organic molecules, for starting geometries.

T. A. Halgren, doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P; in RDKit
doi:10.1186/s13321-014-0037-3. Bond lengths and hydrogen bonds are the force field's, and bonds do
not break. The energies of two molecules cannot be compared.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.data import Labels
from tlpot.engines.engine import LabelError
from tlpot.engines.registry import EngineName
from tlpot.errors import ConfigError, GeometryError, MissingExtraError
from tlpot.structures import SMILES, rdkit_molecule
from tlpot.system import System, stated_charge_of
from tlpot.topology import MolecularGraph

MMFF94 = "mmff94"

_ELEMENTS = (1, 3, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 19, 20, 26, 29, 30, 35, 53)
"""Some of them as ions only."""
_KCAL = units.kcal / units.mol


class MMFF94Engine:
    """MMFF94; the bonds of each structure are found from its positions.

    Raises:
        MissingExtraError: RDKit is not installed.
    """

    has_forces = True
    level = MMFF94

    def __init__(self) -> None:
        self._version = _rdkit("rdkit").__version__
        self._last: tuple[Atoms, MolecularGraph, _ForceField] | None = None

    @property
    def definition(self) -> Mapping[str, Any]:
        """Program and version."""
        return {
            "engine": MMFF94,
            "method": "MMFF94, bonds perceived from positions",
            "program": f"RDKit {self._version}",
            "references": ["doi:10.1186/s13321-014-0037-3"],
        }

    def check(self, elements: Sequence[int], *, periodic: bool) -> None:
        """Checks that there are parameters of the elements, and no cell.

        Raises:
            ConfigError: there are none, or a cell.
        """
        beyond = [chemical_symbols[z] for z in elements if z not in _ELEMENTS]
        if beyond:
            raise ConfigError(
                f"{MMFF94} has no parameters for {', '.join(beyond)}; leave these structures out, "
                "or take another engine, such as gfn2-xtb"
            )
        if periodic:
            raise ConfigError(f"{MMFF94} is for molecules here; leave periodic structures out")

    def compute(self, system: System, *, forces: bool, log: TextIO) -> Labels:
        """Evaluates the force field.

        Raises:
            LabelError: a radical, no bond orders that fit, or no parameters.
        """
        info = {"charge": system.charge, "spin": system.spin}
        atoms = Atoms(system.atomic_numbers, system.positions, info=info)
        try:
            energy, gradient = self._field(atoms).evaluate(system.positions)
        except (ConfigError, GeometryError) as error:
            raise LabelError(str(error)) from error
        return Labels(energy=energy, forces=-gradient if forces else None)

    def use_threads(self, n: int | None) -> int:
        """Returns 1, as RDKit has no threads here."""
        return 1

    def _field(self, atoms: Atoms) -> _ForceField:
        """Returns that of the structure before where the molecule is the same."""
        if self._last is not None:
            known, graph, field = self._last
            same = known.info == atoms.info and np.array_equal(known.numbers, atoms.numbers)
            if same and graph.intact(atoms):
                return field
        field = _ForceField(atoms)
        self._last = atoms, MolecularGraph(atoms), field
        return field


def make_engine(name: EngineName, label: str | None) -> MMFF94Engine:
    """Makes the engine of a name, see `tlpot.engines.registry`."""
    if name.settings:
        raise ConfigError(
            f"engine {name.text} has no settings; leave {', '.join(name.settings)} out"
        )
    return MMFF94Engine()


class MMFF94Calculator(Calculator):
    """The ASE calculator of one molecule, for trajectories: its bonds stay what they were.

    Args:
        atoms: the molecule; one with a SMILES in ``info`` has its bonds.

    Raises:
        MissingExtraError: RDKit is not installed.
        ConfigError: a radical, or no parameters.
        GeometryError: no bond orders fit.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (as ASE declares it)

    def __init__(self, atoms: Atoms) -> None:
        super().__init__()
        self._field = _ForceField(atoms)

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Returns whether positions have changed; ASE's own check takes longer than the energy."""
        if self.atoms is not None and np.array_equal(self.atoms.positions, atoms.positions):
            return []
        return ["positions"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Computes energy and forces."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        energy, gradient = self._field.evaluate(self.atoms.positions)
        self.results = {"energy": energy, "free_energy": energy, "forces": -gradient}


class _ForceField:
    """The terms of one molecule, or of several beside each other."""

    def __init__(self, atoms: Atoms) -> None:
        fields = _rdkit("rdkit.Chem.rdForceFieldHelpers")
        name = atoms.info.get(SMILES) or atoms.get_chemical_formula()
        spin = stated_charge_of(atoms).spin or 1
        if spin != 1:
            raise ConfigError(
                f"{name}: {MMFF94} has no radicals, and its multiplicity is {spin}; take another "
                "engine, such as gfn2-xtb"
            )
        self._molecule = rdkit_molecule(atoms)
        self._molecule.RemoveAllConformers()
        conformer = _rdkit("rdkit.Chem").Conformer(len(atoms))
        conformer.SetPositions(np.ascontiguousarray(atoms.positions))
        self._molecule.AddConformer(conformer)
        if not fields.MMFFHasAllMoleculeParams(self._molecule):
            raise ConfigError(
                f"{name}: {MMFF94} lacks parameters for an atom of it; take another engine, such "
                "as gfn2-xtb"
            )
        properties = fields.MMFFGetMoleculeProperties(self._molecule)
        self._terms = fields.MMFFGetMoleculeForceField(
            self._molecule, properties, ignoreInterfragInteractions=False
        )

    def evaluate(self, positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Returns the energy, eV, and its gradient, [n_atoms, 3], eV/Å."""
        flat = positions.ravel().tolist()
        energy = self._terms.CalcEnergy(flat)
        # without the energy before it, the gradient would be taken at the distances of the last one
        gradient = np.array(self._terms.CalcGrad(flat)).reshape(-1, 3)
        return energy * _KCAL, gradient * _KCAL


def _rdkit(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("rdkit", "rdkit", f"engine {MMFF94}") from error

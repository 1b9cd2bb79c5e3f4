"""Any ASE calculator as an energy model, so that QM programs evaluate fragments too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from tlpot.errors import ConfigError, GeometryError
from tlpot.fragments.block_energies import BlockEnergies
from tlpot.graph import AtomGraph

KEPT = 4096
"""Results of the last so many molecules are kept."""


class CalculatorModel:
    """Energies and forces of an ASE calculator for each structure of a graph.

    The energy is shared evenly by the atoms; only whole structures have a derivative. Charge and
    multiplicity go into ``atoms.info`` and, for calculators that read those, into the initial
    charges and magnetic moments, whose sums they are. Results are kept, so that fragments that
    several schemes have in common cost nothing twice.

    Args:
        calculator: an ASE calculator, or a function that makes one for each molecule, which
            programs need whose settings change with charge and multiplicity.
        elements: atomic numbers that it can do; None leaves the refusal to the calculator.

    Raises:
        ConfigError: neither a calculator nor a function.
    """

    cutoff = 1.0
    uses_charge = True

    def __init__(
        self,
        calculator: Any | Callable[[Atoms], Any],
        *,
        elements: tuple[int, ...] | None = None,
    ) -> None:
        self._is_calculator = hasattr(calculator, "get_potential_energy")
        if not self._is_calculator and not callable(calculator):
            raise ConfigError(
                f"{type(calculator).__name__} is no ASE calculator, nor a function of ase.Atoms "
                "that returns one"
            )
        self.calculator = calculator
        self.elements = tuple(range(1, len(chemical_symbols))) if elements is None else elements
        self.n_calculations = 0
        self._kept: OrderedDict[tuple[bytes, bytes, int, int, bytes], _Result] = OrderedDict()

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns E / n of each atom, [n_atoms], eV, float64.

        Raises:
            GeometryError: the calculator fails, or gives NaN.
        """
        derive = graph.positions.requires_grad
        positions = graph.positions.detach().cpu().numpy()
        numbers = graph.atomic_numbers.cpu().numpy()
        idx = graph.system_idx.cpu().numpy()
        sizes = np.bincount(idx, minlength=graph.n_systems)
        ends = np.cumsum(sizes)
        energies, gradient = np.empty(len(idx)), np.zeros((len(idx), 3))
        for k, (end, size) in enumerate(zip(ends, sizes, strict=True)):
            rows = slice(end - size, end)
            cell = None if graph.cell is None else graph.cell[k].detach().cpu().numpy()
            atoms = Atoms(
                numbers=numbers[rows],
                positions=positions[rows],
                cell=cell,
                pbc=cell is not None and bool(cell.any()),
                info={"charge": int(graph.charge[k]), "spin": int(graph.spin[k])},
            )
            energy, forces = self._evaluate(atoms, derive)
            energies[rows] = energy / size
            if forces is not None:
                gradient[rows] = -forces
        found = torch.from_numpy(energies).to(graph.positions.device)
        if not derive:
            return found
        result: Tensor = BlockEnergies.apply(
            graph.positions,
            found,
            torch.from_numpy(gradient).to(found.device),
            graph.system_idx,
            graph.n_systems,
        )
        return result

    def _evaluate(self, atoms: Atoms, derive: bool) -> _Result:
        info = atoms.info
        key = (
            atoms.numbers.tobytes(),
            atoms.positions.tobytes(),
            info["charge"],
            info["spin"],
            atoms.cell.array.tobytes(),
        )
        kept = self._kept.get(key)
        if kept is not None and (kept[1] is not None or not derive):
            self._kept.move_to_end(key)
            return kept
        found = self._kept[key] = self._calculate(atoms, derive)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found

    def _calculate(self, atoms: Atoms, derive: bool) -> _Result:
        share = np.zeros(len(atoms))
        share[0] = 1.0
        atoms.set_initial_charges(atoms.info["charge"] * share)
        atoms.set_initial_magnetic_moments((atoms.info["spin"] - 1) * share)
        name = f"{atoms.get_chemical_formula()} (charge {atoms.info['charge']})"
        calculator = self.calculator if self._is_calculator else self.calculator(atoms)
        self.n_calculations += 1
        if self._is_calculator and hasattr(calculator, "reset"):
            calculator.reset()  # what came before must not matter, such as a density to start from
        try:
            atoms.calc = calculator
            forces = np.array(atoms.get_forces(), dtype=np.float64) if derive else None
            energy = float(atoms.get_potential_energy())
        except Exception as error:
            raise GeometryError(
                f"{type(calculator).__name__} fails for the fragment {name}: {error}"
            ) from error
        if not np.isfinite(energy) or (forces is not None and not np.isfinite(forces).all()):
            raise GeometryError(f"{type(calculator).__name__} gives NaN for the fragment {name}")
        return energy, forces


_Result = tuple[float, NDArray[np.float64] | None]

"""Any ASE calculator as an energy model, so that QM programs evaluate fragments too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from tlpot.errors import ConfigError, GeometryError
from tlpot.fragments.block_energies import BlockEnergies
from tlpot.fragments.told_charge import mark_charge, told_charge
from tlpot.graph import AtomGraph

KEPT = 4096
"""Results of the last so many molecules are kept."""


class CalculatorModel:
    """Energies and forces of an ASE calculator for each structure of a graph.

    The energy is shared evenly by the atoms; only whole structures have a derivative, that by
    the cell from the calculator's stress. The calculator is told charge and multiplicity, see
    `told_charge`. Results are kept, so that fragments that several schemes have in common cost
    nothing twice.

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
        self._kept: OrderedDict[_Key, _Result] = OrderedDict()

    @property
    def has_stress(self) -> bool:
        """Whether it may have stress; a function shows only when it is called."""
        known = getattr(self.calculator, "implemented_properties", ("stress",))
        return not self._is_calculator or "stress" in known

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns E / n of each atom, [n_atoms], eV, float64.

        Raises:
            GeometryError: the calculator fails, or gives NaN.
            ConfigError: stress is wanted and the calculator has none, or it has a charge or
                multiplicity of its own that cannot be set.
        """
        derive = graph.positions.requires_grad
        strained = graph.cell is not None and graph.cell.requires_grad
        positions = graph.positions.detach().cpu().numpy()
        numbers = graph.atomic_numbers.cpu().numpy()
        idx = graph.system_idx.cpu().numpy()
        sizes = np.bincount(idx, minlength=graph.n_systems)
        ends = np.cumsum(sizes)
        energies, gradient = np.empty(len(idx)), np.zeros((len(idx), 3))
        slopes = np.zeros((graph.n_systems, 3, 3))
        for k, (end, size) in enumerate(zip(ends, sizes, strict=True)):
            rows = slice(end - size, end)
            cell = None if graph.cell is None else graph.cell[k].detach().cpu().numpy()
            pbc = False if cell is None else cell.any(axis=1)
            if graph.pbc is not None:
                pbc = graph.pbc[k].cpu().numpy()
            atoms = Atoms(
                numbers=numbers[rows],
                positions=positions[rows],
                cell=cell,
                pbc=pbc,
                info={"charge": int(graph.charge[k]), "spin": int(graph.spin[k])},
            )
            bulk = strained and atoms.pbc.any() and atoms.cell.rank == 3
            energy, forces, stress = self._evaluate(atoms, derive, bulk)
            energies[rows] = energy / size
            if forces is not None:
                gradient[rows] = -forces
            if stress is not None:
                slopes[k] = _cell_gradient(atoms, forces, stress)
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
        if not strained or graph.cell is None:
            return result
        # adds nothing but the derivative by the cell, shared by the atoms as the energy is
        slope = torch.from_numpy(slopes).to(found.device)
        extra = ((graph.cell - graph.cell.detach()) * slope).sum((1, 2))
        extra = extra / torch.from_numpy(sizes).to(found.device)
        return result + extra.index_select(0, graph.system_idx)

    def _evaluate(self, atoms: Atoms, derive: bool, stress: bool) -> _Result:
        info = atoms.info
        key = (
            atoms.numbers.tobytes(),
            atoms.positions.tobytes(),
            info["charge"],
            info["spin"],
            atoms.cell.array.tobytes(),
            atoms.pbc.tobytes(),
        )
        kept = self._kept.get(key)
        enough = kept is not None and not (
            (derive and kept[1] is None) or (stress and kept[2] is None)
        )
        if kept is not None and enough:
            self._kept.move_to_end(key)
            return kept
        found = self._kept[key] = self._calculate(atoms, derive, stress)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found

    def _calculate(self, atoms: Atoms, derive: bool, stress: bool) -> _Result:
        charge, spin = atoms.info["charge"], atoms.info["spin"]
        mark_charge(atoms, charge, spin)
        name = f"{atoms.get_chemical_formula()} (charge {charge})"
        calculator = self.calculator if self._is_calculator else self.calculator(atoms)
        self.n_calculations += 1
        if self._is_calculator and hasattr(calculator, "reset"):
            calculator.reset()  # what came before must not matter, such as a density to start from
        with told_charge(calculator, atoms, charge, spin):
            try:
                atoms.calc = calculator
                forces = np.array(atoms.get_forces(), dtype=np.float64) if derive else None
                energy = float(atoms.get_potential_energy())
                tensor = np.array(atoms.get_stress(voigt=False)) if stress else None
            except PropertyNotImplementedError as error:
                raise ConfigError(
                    f"{type(calculator).__name__} lacks something that is wanted of {name} "
                    f"({error}); without forces there is no dynamics, without stress no "
                    "constant pressure"
                ) from error
            except Exception as error:
                raise GeometryError(
                    f"{type(calculator).__name__} fails for the fragment {name}: {error}"
                ) from error
        if not all(np.isfinite(x).all() for x in (energy, forces, tensor) if x is not None):
            raise GeometryError(f"{type(calculator).__name__} gives NaN for the fragment {name}")
        return energy, forces, tensor


def _cell_gradient(
    atoms: Atoms, forces: NDArray[np.float64] | None, stress: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns ∂E/∂cell at fixed positions, [3, 3], of which the stress is a part.

    V σ = Xᵀ ∂E/∂X + cellᵀ ∂E/∂cell, as a strain acts on both.
    """
    virial = atoms.get_volume() * stress
    if forces is not None:
        virial = virial + atoms.positions.T @ forces
    found: NDArray[np.float64] = np.linalg.solve(atoms.cell.array.T, virial)
    return found


_Result = tuple[float, NDArray[np.float64] | None, NDArray[np.float64] | None]
_Key = tuple[bytes, bytes, int, int, bytes, bytes]

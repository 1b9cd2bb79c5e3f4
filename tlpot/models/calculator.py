"""Any ASE calculator as an energy model, told the charge of each structure that it computes."""

from __future__ import annotations

import numbers
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import chemical_symbols
from ase.stress import voigt_6_to_full_3x3_stress
from torch import Tensor

from tlpot.energy import EVERYTHING
from tlpot.errors import CalculationError, ConfigError, GeometryError
from tlpot.graph import AtomGraph, segment_sum
from tlpot.numbers import Floats, result_fault
from tlpot.total_charge import fixed_settings

_ONCE = (
    "these energies come with their gradient and can be differentiated once: fragments evaluated "
    "in parts, or by an ASE calculator, have neither Hessian nor training"
)


class BlockEnergies(torch.autograd.Function):
    """Independent molecules one after the other; each energy depends on its own atoms only.

    ``apply(positions, energies, gradient, block_idx, n_blocks)`` returns `energies`, [n_atoms],
    and knows that the derivative of the sum over a block is `gradient`, [n_atoms, 3]. Only sums
    over whole blocks may be differentiated, which is checked.
    """

    @staticmethod
    def forward(
        ctx: Any,
        positions: Tensor,
        energies: Tensor,
        gradient: Tensor,
        block_idx: Tensor,
        n_blocks: int,
    ) -> Tensor:
        """See the class."""
        ctx.save_for_backward(gradient, block_idx)
        ctx.n_blocks = n_blocks
        return energies.clone()

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> Any:
        """See the class.

        Raises:
            ConfigError: a second derivative, or the derivative of a part of a block.
        """
        if torch.is_grad_enabled():
            raise ConfigError(_ONCE)
        gradient, block_idx = ctx.saved_tensors
        ones = torch.ones_like(weight)
        mean = segment_sum(weight, block_idx, ctx.n_blocks)
        mean = (mean / segment_sum(ones, block_idx, ctx.n_blocks)).index_select(0, block_idx)
        if bool(((weight - mean).abs() > 1e-9 * (1.0 + mean.abs())).any()):
            raise ConfigError(
                "only the energy of a whole fragment can be differentiated, not that of an atom"
            )
        return mean[:, None] * gradient, None, None, None, None


@contextmanager
def told_charge(calculator: Any, atoms: Atoms, charge: int, spin: int) -> Iterator[None]:
    """Tells a calculator charge and multiplicity for the time of one calculation.

    ASE has no one way to say them. The structure says them in ``info`` and as sums of initial
    charges and magnetic moments. A calculator with settings of its own takes those instead: they
    are set, and set back at the end.

    Args:
        calculator: an ASE calculator.
        atoms: what it is to compute; gets the charge and the moments.
        charge: total charge, e.
        spin: multiplicity.

    Raises:
        ConfigError: the calculator has a charge or multiplicity that is another one and that
            cannot be set.
    """
    mark_charge(atoms, charge, spin)
    attributes = _attributes(calculator)
    for key, value in fixed_settings(attributes, charge, spin).items():
        if attributes[key] != value:
            raise _refusal(calculator, key, attributes[key], value)
    parameters = _parameters(calculator)
    fixed = fixed_settings(parameters, charge, spin)
    before = {key: parameters[key] for key in fixed if parameters[key] != fixed[key]}
    if not before:
        yield
        return
    for key in before:
        try:
            calculator.set(**{key: fixed[key]})
        except Exception as error:  # programs raise whatever they like
            raise _refusal(calculator, key, before[key], fixed[key]) from error
        if calculator.parameters.get(key) != fixed[key]:
            raise _refusal(calculator, key, before[key], fixed[key])
    try:
        yield
    finally:
        calculator.set(**before)


def contradiction(calculator: Any, charge: int, spin: int) -> str | None:
    """Returns the setting, as ``charge=1``, with which a calculator has other electrons.

    Args:
        calculator: an ASE calculator.
        charge: total charge of the structure, e.
        spin: its multiplicity.
    """
    settings = {**_attributes(calculator), **_parameters(calculator)}
    for key, value in fixed_settings(settings, charge, spin).items():
        if settings[key] != value:
            return f"{key}={settings[key]!r}"
    return None


def mark_charge(atoms: Atoms, charge: int, spin: int) -> None:
    """Writes charge and multiplicity wherever calculators look for them in a structure.

    Initial charges and moments of the atoms stay as they are where their sums are right.

    Args:
        atoms: changed in place.
        charge: total charge, e.
        spin: multiplicity.
    """
    atoms.info.update(charge=charge, spin=spin)
    share = np.zeros(len(atoms))
    share[0] = 1.0
    if round(float(atoms.get_initial_charges().sum()), 6) != charge:
        atoms.set_initial_charges(charge * share)
    moments = atoms.get_initial_magnetic_moments()
    if moments.ndim > 1 or round(abs(float(moments.sum())), 6) != spin - 1:
        atoms.set_initial_magnetic_moments((spin - 1) * share)


def _parameters(calculator: Any) -> dict[str, Any]:
    found = getattr(calculator, "parameters", None)
    return found if isinstance(found, dict) else {}


def _attributes(calculator: Any) -> dict[str, Any]:
    """Public numbers of an object, where some calculators keep their settings."""
    return {
        name: value
        for name, value in getattr(calculator, "__dict__", {}).items()
        if isinstance(value, numbers.Real) and not name.startswith("_")
    }


def _refusal(calculator: Any, key: str, found: object, wanted: int) -> ConfigError:
    name = type(calculator).__name__
    return ConfigError(
        f"the calculator {name} was made with {key}={found!r}, but a structure that it is to "
        f"compute has {wanted}; give a function of ase.Atoms that makes one for each structure "
        f"from atoms.info['charge'] and atoms.info['spin'], such as lambda atoms: {name}(...)"
    )


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
        on_done: called after each calculation, for progress bars; what it raises goes on.

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
        on_done: Callable[[], object] | None = None,
    ) -> None:
        self._is_calculator = hasattr(calculator, "get_potential_energy")
        if not self._is_calculator and not callable(calculator):
            raise ConfigError(
                f"{type(calculator).__name__} is no ASE calculator, nor a function of ase.Atoms "
                "that returns one"
            )
        self.calculator = calculator
        self.elements = tuple(range(1, len(chemical_symbols))) if elements is None else elements
        self.on_done = on_done
        self._kept: OrderedDict[_Key, _Result] = OrderedDict()

    @property
    def implements(self) -> frozenset[str]:
        """What it gives as far as is known: a function shows only when it is called."""
        known = getattr(self.calculator, "implemented_properties", ("stress",))
        return EVERYTHING - ({"stress"} if self._is_calculator and "stress" not in known else set())

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns E / n of each atom, [n_atoms], eV, float64.

        Raises:
            GeometryError: the calculator fails, or gives NaN or arrays of another shape.
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
            try:
                energy, forces, stress = self._evaluate(atoms, derive, bulk)
            except GeometryError as error:
                raise CalculationError(str(error), k) from error
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
        if self.on_done is not None:
            self.on_done()
        return found

    def _calculate(self, atoms: Atoms, derive: bool, stress: bool) -> _Result:
        charge, spin = atoms.info["charge"], atoms.info["spin"]
        mark_charge(atoms, charge, spin)
        name = f"{atoms.get_chemical_formula()} (charge {charge})"
        calculator: Any = self.calculator if self._is_calculator else self.calculator(atoms)
        if self._is_calculator and hasattr(calculator, "reset"):
            calculator.reset()  # what came before must not matter, such as a density to start from
        with told_charge(calculator, atoms, charge, spin):
            try:
                atoms.calc = calculator
                found = {"energy": atoms.get_potential_energy()}
                if derive:
                    found["forces"] = atoms.get_forces()
                if stress:
                    found["stress"] = calculator.get_stress(atoms)
            except PropertyNotImplementedError as error:
                raise ConfigError(
                    f"{type(calculator).__name__} lacks something that is wanted of {name} "
                    f"({error}); without forces there is no dynamics, without stress no "
                    "constant pressure"
                ) from error
            except Exception as error:
                raise GeometryError(
                    f"{type(calculator).__name__} fails for {name}: {error}"
                ) from error
        if (fault := result_fault(found, len(atoms))) is not None:
            raise GeometryError(f"{type(calculator).__name__} gives {fault}, for {name}")
        forces = np.array(found["forces"], dtype=np.float64) if derive else None
        tensor = np.array(found["stress"], dtype=np.float64) if stress else None
        if tensor is not None and tensor.shape == (6,):
            tensor = voigt_6_to_full_3x3_stress(tensor)
        return np.asarray(found["energy"], dtype=np.float64).item(), forces, tensor


def _cell_gradient(atoms: Atoms, forces: Floats | None, stress: Floats) -> Floats:
    """Returns ∂E/∂cell at fixed positions, [3, 3], of which the stress is a part.

    V σ = Xᵀ ∂E/∂X + cellᵀ ∂E/∂cell, as a strain acts on both.
    """
    virial = atoms.get_volume() * stress
    if forces is not None:
        virial = virial + atoms.positions.T @ forces
    found: Floats = np.linalg.solve(atoms.cell.array.T, virial)
    return found


_Result = tuple[float, Floats | None, Floats | None]
_Key = tuple[bytes, bytes, int, int, bytes, bytes]

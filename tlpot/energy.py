"""The one seam: a graph goes in, per-atom energies come out, and only here are they derived.

Forces are −∂E/∂r and the stress is ∂E/∂ε / V with a symmetric strain ε applied to positions
and cell alike (Knuth et al., doi:10.1016/j.cpc.2015.01.003), positive when tensile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import torch
from ase.calculators.calculator import PropertyNotImplementedError
from torch import Tensor

from tlpot.errors import ConfigError, GeometryError
from tlpot.graph import AtomGraph, Layout, segment_sum
from tlpot.targets import KnownValue
from tlpot.torch_mode import plain_torch


@runtime_checkable
class EnergyModel(Protocol):
    """Anything that gives per-atom energies differentiable in positions and cell.

    A trained potential at one level of theory, a delta pair, an ensemble, a wrapped ASE
    calculator and a fragment force field are all energy models.
    """

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list that the model needs, Å."""
        ...

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        ...

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        ...

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns the energy of each atom, [n_atoms], eV, float64."""
        ...


def layout_of(model: EnergyModel) -> Layout:
    """Returns the layout that a model likes: its attribute ``layout``, if it has one."""
    layout: Layout = getattr(model, "layout", "auto")
    return layout


def known_value(model: EnergyModel) -> KnownValue | None:
    """Returns the property of a structure that a model has to be told; mostly None."""
    return getattr(getattr(model, "target", None), "known", None)


def implies_charges(model: EnergyModel) -> bool:
    """Whether a model that reads no charges knows those that follow from the atoms.

    It says so by its attribute ``implies_charges``, if it has one, see `tlpot.models.ModelCard`.
    """
    return bool(getattr(model, "implies_charges", False))


def describes_state(model: EnergyModel, charge: int, spin: int) -> bool:
    """Whether a model may be asked for a charge and a multiplicity."""
    return bool(getattr(model, "uses_charge", False)) or (
        spin == 1 and (charge == 0 or implies_charges(model))
    )


def described_states(model: EnergyModel) -> str:
    """Returns what a model that reads no charge describes, for messages."""
    return "singlets only" if implies_charges(model) else "neutral singlets only"


@runtime_checkable
class DomainModel(EnergyModel, Protocol):
    """An energy model that can tell how far a structure is from what it was trained on."""

    @property
    def has_domain(self) -> bool:
        """Whether it was told what it was trained on."""
        ...

    def energies_and_domain(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        """Returns what `atomic_energies` does, and the domain of each structure.

        The domain, [n_systems], float64, is 1 for structures such as those of the training and
        goes to 0 away from them; it has no derivatives.
        """
        ...


@runtime_checkable
class FusedModel(EnergyModel, Protocol):
    """An energy model that can do without automatic derivatives, which saves time."""

    def fused(
        self, graph: AtomGraph, *, forces: bool, stress: bool, domain: bool
    ) -> Properties | None:
        """Returns what `evaluate` does, or None if it cannot do so for this graph."""
        ...


def has_domain(model: EnergyModel) -> bool:
    """Whether a model can tell how far a structure is from what it was trained on."""
    return bool(getattr(model, "has_domain", False))


class ForcesRefusedError(ConfigError, PropertyNotImplementedError):
    """Forces of a model whose energy cannot be differentiated."""


ENERGY_ONLY = frozenset({"energy"})
EVERYTHING = frozenset({"energy", "forces", "stress"})


def implemented(*models: object) -> frozenset[str]:
    """Returns what each of several models gives: of ``energy``, ``forces`` and ``stress``.

    A model says so by its attribute ``implements``; one without it gives all.
    """
    return EVERYTHING.intersection(*(getattr(each, "implements", EVERYTHING) for each in models))


def has_forces(model: EnergyModel) -> bool:
    """Whether the energy can be differentiated in the positions."""
    return "forces" in implemented(model)


def check_forces(model: EnergyModel) -> None:
    """Checks that a model has more than energies.

    Raises:
        ForcesRefusedError: it has not.
    """
    if not has_forces(model):
        if getattr(model, "target", None) is not None:
            raise ForcesRefusedError(
                "this model gives a scalar property, which has no forces and no stress; choose a "
                "level of energies"
            )
        raise ForcesRefusedError(
            "this model has energies only: a forest on frozen features is piecewise constant in "
            "the positions, and the features of an engine come without derivatives, so forces, "
            "stress and Hessian do not exist. For those use a model made with strategy "
            "frozen-ridge or frozen-gp from a model file; on top of an engine, with strategy delta"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Properties:
    """What an energy model says about a batch.

    Attributes:
        energy: [n_systems], eV, float64.
        energies: [n_atoms], eV, float64; they sum to `energy`.
        forces: [n_atoms, 3], eV/Å, or None when not asked for.
        stress: [n_systems, 3, 3], eV/Å³, or None when not asked for.
        domain: [n_systems], float64, see `DomainModel`; None when not asked for or not known.
    """

    energy: Tensor
    energies: Tensor
    forces: Tensor | None = None
    stress: Tensor | None = None
    domain: Tensor | None = None


def evaluate(
    model: EnergyModel,
    graph: AtomGraph,
    *,
    forces: bool = True,
    stress: bool = False,
    domain: bool = False,
    create_graph: bool = False,
) -> Properties:
    """Evaluates energies and their derivatives.

    A model of a property gives its values as energies, in their own unit: the sum over the atoms,
    or what its attribute ``link``, if it has one, makes of it (such as a probability of log-odds).

    Args:
        model: any energy model.
        graph: the batch, built with at least the model's cutoff.
        forces: compute −∂E/∂r.
        stress: compute ∂E/∂ε / V; at least one structure of the batch must be periodic with
            three lattice vectors, and those that are not have stress 0.
        domain: tell how far each structure is from the training, if the model knows.
        create_graph: keep the result differentiable in the model's weights (training).

    Raises:
        GeometryError: stress was asked for and no structure has a volume.
        ForcesRefusedError: the model has energies only.
        ConfigError: the energies of `model` do not depend on its input differentiably.
    """
    derive = forces or stress
    if derive:
        check_forces(model)
    # derivatives are wanted, and full precision, whatever mode the caller is in
    with plain_torch(), torch.set_grad_enabled(derive or create_graph):
        if not create_graph and hasattr(model, "fused"):
            fused = cast(FusedModel, model).fused(
                graph, forces=forces, stress=stress, domain=domain
            )
            if fused is not None:
                return fused
        graph = graph.usable()
        positions = graph.positions.detach()
        if forces:
            positions.requires_grad_(True)
        strained = replace(graph, positions=positions, first_order=not create_graph)
        inputs = [positions] if forces else []
        if stress:
            strained, strain = _strain(strained)
            inputs.append(strain)
        inside: Tensor | None = None
        if domain and has_domain(model):
            energies, inside = cast(DomainModel, model).energies_and_domain(strained)
        else:
            energies = model.atomic_energies(strained)
        energy = segment_sum(energies, graph.system_idx, graph.n_systems)
        if (link := getattr(model, "link", None)) is not None:
            energy = link(energy)
        gradients = _gradients(energy, inputs, graph, create_graph) if derive else []
    if not create_graph:
        energy, energies = energy.detach(), energies.detach()
    return Properties(
        energy=energy,
        energies=energies,
        forces=-gradients[0] if forces else None,
        stress=gradients[-1] / volumes(graph)[:, None, None] if stress else None,
        domain=inside,
    )


def hessian(
    model: EnergyModel, graph: AtomGraph, *, on_row: Callable[[int, int], object] | None = None
) -> Tensor:
    """Returns ∂²E/∂r∂r summed over the batch, [n_atoms, 3, n_atoms, 3], eV/Å².

    One backward pass for each of the 3 n_atoms rows.

    Args:
        model: any energy model.
        graph: the batch.
        on_row: called after each row with the number of those done and that of all.

    Raises:
        ConfigError: the energies of `model` cannot be differentiated.
    """
    check_forces(model)
    with plain_torch(), torch.enable_grad():
        graph = graph.usable()
        positions = graph.positions.detach().requires_grad_(True)
        energies = model.atomic_energies(replace(graph, positions=positions, first_order=False))
        (gradient,) = _gradients(energies.sum(), [positions], graph, create_graph=True)
        flat = gradient.reshape(-1)
        if not flat.requires_grad:  # an isolated atom: nothing depends on the positions
            return positions.new_zeros((graph.n_atoms, 3, graph.n_atoms, 3))
        rows: list[Tensor] = []
        for component in flat:
            rows += torch.autograd.grad(
                component, positions, retain_graph=True, materialize_grads=True
            )
            if on_row is not None:
                on_row(len(rows), len(flat))
    return torch.stack(rows).reshape(graph.n_atoms, 3, graph.n_atoms, 3).detach()


def _strain(graph: AtomGraph) -> tuple[AtomGraph, Tensor]:
    strain = graph.positions.new_zeros((graph.n_systems, 3, 3), requires_grad=True)
    deformation = 0.5 * (strain + strain.mT) + torch.eye(
        3, dtype=strain.dtype, device=strain.device
    )
    per_atom = deformation.index_select(0, graph.system_idx)
    positions = torch.einsum("ni,nij->nj", graph.positions, per_atom)
    cell = None if graph.cell is None else graph.cell @ deformation
    return replace(graph, positions=positions, cell=cell), strain


def _gradients(
    energy: Tensor, inputs: list[Tensor], graph: AtomGraph, create_graph: bool
) -> list[Tensor]:
    if not energy.requires_grad:
        if graph.n_edges:
            raise ConfigError(
                "the energy model gives energies that cannot be differentiated (does it detach "
                "them, or work in numpy?); forces and stress would silently be zero"
            )
        return [torch.zeros_like(x) for x in inputs]
    return list(
        torch.autograd.grad(energy.sum(), inputs, create_graph=create_graph, materialize_grads=True)
    )


def volumes(graph: AtomGraph) -> Tensor:
    """Returns the volume of each structure, [n_systems], Å³; infinite where there is none.

    Raises:
        GeometryError: none has one.
    """
    found = None if graph.cell is None else torch.linalg.det(graph.cell).abs()
    if found is not None and graph.pbc is not None:
        # the box that a program draws around a molecule is no volume, in whatever batch it is
        found = found * graph.pbc.any(dim=1)
    if found is None or bool((found < 1e-9).all()):
        raise GeometryError("stress needs three lattice vectors that span a volume; set the cell")
    return found.where(found >= 1e-9, torch.inf)

"""Which networks the fused call serves, and their weights as it reads them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from tlpot.energy import Properties, evaluate, volumes
from tlpot.errors import KernelError, TLPotWarning
from tlpot.graph import AtomGraph, build_graph
from tlpot.kernels import MAX_DEGREE, FusedNetwork, FusedResult
from tlpot.models.architecture import EngineArchitecture
from tlpot.models.backbone import Head
from tlpot.models.calculator import BlockEnergies
from tlpot.models.fused_weights import network_weights
from tlpot.models.mace import ElementMap, MaceArchitecture
from tlpot.nn import ChannelLinear
from tlpot.presentation import logger
from tlpot.system import NO_CELL, NO_PBC, System

if TYPE_CHECKING:
    from tlpot.models.level_potential import LevelPotential
    from tlpot.models.potential import Potential


@dataclass(frozen=True, kw_only=True, slots=True)
class _Packed:
    """A network as the fused call reads it, or why it cannot, and of what it was made.

    Attributes:
        network: None where there is none.
        reason: for that; None if it is not worth telling.
        places: every part of the modules that were read: the dictionary that holds it, its name,
            and itself.
        versions: of the tensors among them, and where their numbers are.
        memory: there; as long as it is held, no other numbers can have its address.
        corrections: those of the head,
        n_corrections: and how many there were.
    """

    network: FusedNetwork | None
    reason: str | None
    places: list[tuple[dict[str, Any], str, Any]]
    versions: list[tuple[Tensor, int, int]]
    memory: list[torch.UntypedStorage]
    corrections: dict[str, Any]
    n_corrections: int

    def is_current(self) -> bool:
        """Whether all parts are what they were; optimizers raise a tensor's version.

        Numbers are not compared, which would take several per cent of a small molecule's call.
        """
        if len(self.corrections) != self.n_corrections:
            return False
        for held, name, part in self.places:
            if held.get(name) is not part:
                return False
        if not self.versions:  # of weights that are trained, as far as is known
            return any(isinstance(p, Tensor) and p.requires_grad for *_, p in self.places)
        for t, version, address in self.versions:
            if t._version != version or t.data_ptr() != address or t.requires_grad:
                return False
        return True


class FusedLevels:
    """The fused calls of a potential's levels, made when they are first needed.

    They are made anew when a weight changes, as far as torch counts it: after a change in place
    through ``.data``, call `torch.autograd.graph.increment_version`. A copy starts without any.
    """

    def __init__(self) -> None:
        self._packed: dict[str, _Packed] = {}

    def __deepcopy__(self, memo: object) -> FusedLevels:
        return FusedLevels()

    def __reduce__(self) -> tuple[type[FusedLevels], tuple[()]]:
        return FusedLevels, ()

    def properties(
        self, model: LevelPotential, graph: AtomGraph, forces: bool, stress: bool, domain: bool
    ) -> Properties | None:
        """Returns what `tlpot.energy.evaluate` does of one level; None where torch has to do it.

        The first time that this is for a reason of the model's, the log says so.

        Args:
            model: a level of the potential.
            graph: a batch.
            forces: whether they are wanted.
            stress: likewise.
            domain: likewise, if the level knows it.

        Raises:
            GeometryError: stress was asked for and no structure has a volume.
            KernelError: the fused call was asked for by name and cannot serve.
        """
        domain = domain and model.has_domain
        found = self._call(model, graph, forces=forces, virial=stress, domain=domain)
        if found is None:
            return None
        virial = found.virial
        return Properties(
            energy=found.energy,
            energies=found.energies,
            forces=found.forces,
            stress=None if virial is None else virial / volumes(graph)[:, None, None],
            domain=_domain(model, graph, found) if domain else None,
        )

    def energies(
        self, model: LevelPotential, graph: AtomGraph, *, domain: bool = False
    ) -> tuple[Tensor, Tensor | None] | None:
        """Returns energies for automatic derivatives, and the domain; None where torch has to.

        The energies, [n_atoms], can be differentiated by the positions once, in sums over whole
        structures, which is what graphs that are ``first_order`` promise.

        Raises:
            KernelError: see `properties`.
        """
        if not graph.first_order:
            return None
        forces = graph.positions.requires_grad
        found = self._call(model, graph, forces=forces, virial=False, domain=domain)
        if found is None:
            return None
        energies = found.energies
        if found.forces is not None:
            energies = BlockEnergies.apply(
                graph.positions, energies, -found.forces, graph.system_idx, graph.n_systems
            )
        return energies, _domain(model, graph, found) if domain else None

    def _call(
        self, model: LevelPotential, graph: AtomGraph, *, forces: bool, virial: bool, domain: bool
    ) -> FusedResult | None:
        cell, potential = graph.cell, model.potential
        if not graph.positions.is_cpu or (cell is not None and cell.requires_grad):
            return None
        packed = self._packed.get(model.level)
        if packed is None or not packed.is_current():
            packed = self._packed[model.level] = _pack(potential, model.level)
        reason, found = packed.reason, None
        if packed.network is not None:
            if model.implies_charges:  # of any state, which follows from the atoms
                graph = replace(graph, charge=torch.zeros_like(graph.charge))
            found = packed.network(graph, forces=forces, virial=virial, invariants=domain)
            if isinstance(found, FusedResult) or found is None:
                return found
            reason = found
        if reason is not None:
            if potential.kernels == "fused":
                raise KernelError(f"the fused call cannot serve {reason}; use kernels='auto'")
            engine = isinstance(potential.architecture, EngineArchitecture)
            if model.target is None and not engine:  # of which nobody wants forces
                _log(reason)
        return None


def _domain(model: LevelPotential, graph: AtomGraph, found: FusedResult) -> Tensor:
    domain = model.training_domain
    assert domain is not None
    species = model.potential.species(graph.atomic_numbers)
    inside: Tensor = domain(
        found.invariants, species, graph.system_idx, graph.n_systems, graph.charge, graph.spin,
        compiled=True,
    )  # fmt: skip
    return inside


@functools.cache
def _log(reason: str) -> None:
    logger.info("force calls go through torch, operation by operation: %s", reason)


def _pack(potential: Potential, level: str) -> _Packed:
    head = potential.head(level)
    corrections = head.corrections._modules
    parts: list[nn.Module] = [potential.backbone, head.readout, head.references, head.corrections]
    fixed = (potential.repulsion, head.repulsion_scale, head.embedding)
    parts += [m for m in fixed if m is not None]
    places: list[tuple[dict[str, Any], str, Any]] = [(head._modules, "readout", head.readout)]
    places.append((head._modules, "embedding", head.embedding))
    for module in (m for part in parts for m in part.modules()):
        for held in (module._modules, module._parameters, module._buffers):
            places += [(held, name, value) for name, value in held.items()]
    tensors = [value for *_, value in places if isinstance(value, Tensor)]
    known: dict[str, Any] = {"corrections": corrections, "n_corrections": len(corrections)}
    trained = next((t for t in tensors if t.requires_grad), None)
    if trained is not None:
        # that one is trained is enough to know, and versions change with every step
        places = [place for place in places if place[2] is trained]
        return _Packed(network=None, reason=None, places=places, versions=[], memory=[], **known)
    reason, network = _obstacle(potential, head, tensors), None
    kernels = potential.backbone.edges.kernels
    asked = kernels.name in ("auto", "fused")
    served = kernels.compiled(potential.device, potential.dtype, potential.architecture.l_max)
    if reason is None and asked and served:
        network = FusedNetwork(network_weights(potential, head), potential.dtype)
        reason = _fault(potential, level, network)
        if reason is None:
            logger.debug("force calls at level %s are one compiled call", level)
        else:
            network = None
    if not asked or potential.device.type != "cpu" or not (served or reason):
        reason = None  # it was asked for, or is told elsewhere
    inference = any(t.is_inference() for t in tensors)
    versions = [] if inference else [(t, t._version, t.data_ptr()) for t in tensors]
    known["memory"] = [t.untyped_storage() for t, *_ in versions]
    return _Packed(network=network, reason=reason, places=places, versions=versions, **known)


def _obstacle(potential: Potential, head: Head, tensors: Sequence[Tensor]) -> str | None:
    """Returns what the fused call does not know about a model; None if it knows it all."""
    if isinstance(potential.architecture, MaceArchitecture):
        reason = _mace_obstacle(potential.architecture)
        if reason is not None:
            return reason
    elif potential.architecture.charge_spin:
        return "a network that reads charge and spin"
    if head.target is not None:
        return "scalar properties"
    if len(head.corrections):
        return "corrections in closed form"
    if potential.architecture.l_max > MAX_DEGREE:
        return f"harmonics beyond degree {MAX_DEGREE}"
    parts = [m for m in (potential.backbone, head.readout, head.embedding) if m is not None]
    modules = [m for part in parts for m in part.modules()]
    for kind in (ChannelLinear, ElementMap):
        if any(isinstance(m, kind) and type(m) is not kind for m in modules):
            return "weights with adapters"
    if any(t.is_inference() for t in tensors):
        return "weights made in inference mode"
    return None


def _mace_obstacle(a: MaceArchitecture) -> str | None:
    if "nonlinear" in a.blocks:
        return "a MACE whose cutoff is in its radial functions" if a.cutoff_in_basis else None
    if a.charge_spin:
        return "a MACE that reads charge and spin without non-linear blocks"
    if a.embedding_readout:
        return "a MACE that reads energies from its embedding without non-linear blocks"
    if not a.cutoff_in_basis:
        return "a MACE whose cutoff is outside of its radial functions"
    sent = {*a.edge_channels} | {a.n_channels}
    if len(sent) > 1 or any(degree != a.l_hidden for degree in a.edge_degrees[1:]):
        return "a MACE that sends other irreps than those of its features"
    return None


def _fault(potential: Potential, level: str, network: FusedNetwork) -> str | None:
    """Compares a small structure with what torch makes of it; returns what is wrong, if it is.

    Warns:
        TLPotWarning: they differ by more than rounding.
    """
    model = potential.at(level)
    numbers = np.array(model.elements[:1] * 2 + model.elements)
    places = np.array([[k % 2, k // 2 % 2, k // 4] for k in range(len(numbers))])
    rng = np.random.default_rng(0)
    positions = 0.3 * potential.cutoff * (places + 0.2 * rng.uniform(size=places.shape))
    system = System(atomic_numbers=numbers, positions=positions, cell=NO_CELL, pbc=NO_PBC)
    graph = build_graph([system], potential.cutoff, layout="sorted")
    found = network(graph, forces=True, virial=False, invariants=False)
    if not isinstance(found, FusedResult) or found.forces is None:
        return f"it refuses its own check ({found})"
    # differentiated in the weights, which the fused call leaves to torch
    expected = evaluate(model, graph, create_graph=True)
    assert expected.forces is not None
    references = potential.head(level).references.value[potential.species(graph.atomic_numbers)]
    energies, forces = expected.energies.detach(), expected.forces.detach()
    if not bool(energies.isfinite().all() and forces.isfinite().all()):
        return "a network that gives no numbers"
    bound = 1e3 * torch.finfo(potential.dtype).eps
    rounding = 8.0 * torch.finfo(torch.float64).eps * energies.abs().max()
    sizes = 1e-6 + (energies - references).abs().max() + rounding / bound, 1e-6 + forces.abs().max()
    pairs = (found.energies, energies), (found.forces, forces)
    worst = max(
        float((a - b).abs().max() / size) for (a, b), size in zip(pairs, sizes, strict=True)
    )
    if worst < bound:
        return None
    reason = f"its result differs from torch's by {worst:.1e}"
    warnings.warn(
        f"the fused call is not used for model {potential.card.name!r}: {reason}; please report "
        "processor and compiler",
        TLPotWarning,
        stacklevel=2,
    )
    return reason

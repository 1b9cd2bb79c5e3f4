"""Several potentials of the same levels as one: their mean, how far they are apart, their file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from tlpot.config import parse
from tlpot.energy import Properties, evaluate, implemented
from tlpot.errors import ConfigError, ModelFileError
from tlpot.graph import AtomGraph, Layout, segment_sum
from tlpot.levels import choose_level
from tlpot.models.description import ENSEMBLE_FORMAT, ModelCard
from tlpot.models.level_potential import LevelPotential
from tlpot.models.model_file import FORMATS, FileFormat, card_mapping, read_part, write_part
from tlpot.models.potential import Potential
from tlpot.models.property_target import PropertyTarget
from tlpot.models.spread import Calibration, Spread, read_calibration
from tlpot.models.trained import LevelView


class Ensemble(nn.Module):
    """The mean of potentials that were trained with other seeds or on other subsets.

    Args:
        members: two or more, with the same levels, elements, precision and device.

    Attributes:
        levels: names of the levels of theory, in the order of the first member.
        card: provenance.

    Raises:
        ConfigError: too few members, members that do not fit together, or twice the same.
    """

    def __init__(self, members: Sequence[Potential]) -> None:
        super().__init__()
        _check(members)
        self.members = nn.ModuleList(members)
        self.levels = members[0].levels
        self.card = ModelCard()
        self.calibrations = nn.ModuleDict()

    def potentials(self) -> list[Potential]:
        """Returns the members."""
        return list(self.members)  # type: ignore[arg-type]

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list that serves all members, Å."""
        return max(member.cutoff for member in self.potentials())

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the members know."""
        return self.potentials()[0].elements

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        return self.potentials()[0].uses_charge

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the networks."""
        return self.potentials()[0].dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.potentials()[0].device

    @property
    def kernels(self) -> str:
        """Name of the implementation of the sums, see `tlpot.kernels`."""
        return self.potentials()[0].kernels

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out: as the members like it, if they agree."""
        layouts = {member.layout for member in self.potentials()}
        return layouts.pop() if len(layouts) == 1 else "auto"

    def at(self, level: str | None = None) -> LevelEnsemble:
        """Returns the energy model of one level of theory; it shares the weights.

        Raises:
            UnknownLevelError: no such level, or none was named and there are several.
        """
        return LevelEnsemble(self, choose_level(level, self.levels, f"model {self.card.name!r}"))

    def calibration(self, level: str) -> Calibration | None:
        """Returns the calibration of a level by its canonical name; None if there is none."""
        found = dict(self.calibrations.named_children())
        return found.get(str(self.levels.index(level)))  # type: ignore[return-value]

    def with_calibration(self, level: str, calibration: Calibration) -> Ensemble:
        """Returns a copy with the calibration of a level, by its canonical name, replaced."""
        grown = copy.deepcopy(self)
        grown.calibrations[str(self.levels.index(level))] = calibration.to(self.device)
        return grown


class LevelEnsemble(LevelView[Ensemble]):
    """An ensemble at one level of theory: an energy model that can tell its uncertainty."""

    has_uncertainty = True

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(*self._members())

    @property
    def target(self) -> PropertyTarget | None:
        """The property that the level is of; None for energies."""
        return self._members()[0].target

    @property
    def link(self) -> Callable[[Tensor], Tensor] | None:
        """See `tlpot.energy.evaluate`."""
        return self._members()[0].link

    @property
    def calibration(self) -> Calibration | None:
        """How the spread was scaled; None if it was not."""
        return self.potential.calibration(self.level)

    def atomic_energies(self, graph: AtomGraph) -> Tensor:
        """Returns the mean energy of each atom, [n_atoms], eV, float64.

        Raises:
            UnknownElementError, GeometryError: see `LevelPotential.atomic_energies`.
        """
        return torch.stack([m.atomic_energies(graph) for m in self._members()]).mean(dim=0)

    @property
    def has_domain(self) -> bool:
        """Whether all members know what they were trained on."""
        return all(member.has_domain for member in self._members())

    @property
    def domain_parts(self) -> tuple[LevelPotential, ...]:
        """What knows of the training: the members."""
        return tuple(self._members())

    def energies_and_domain(self, graph: AtomGraph) -> tuple[Tensor, Tensor]:
        """Returns what `atomic_energies` does, and the mean of the members' domains.

        Raises:
            ConfigError: a member does not know what it was trained on.
            UnknownElementError, GeometryError: see `LevelPotential.atomic_energies`.
        """
        found = [member.energies_and_domain(graph) for member in self._members()]
        energies, inside = zip(*found, strict=True)
        return torch.stack(energies).mean(dim=0), torch.stack(inside).mean(dim=0)

    def predict(
        self,
        graph: AtomGraph,
        *,
        forces: bool = True,
        stress: bool = False,
        forces_std: bool = False,
        domain: bool = False,
        calibrated: bool = True,
    ) -> tuple[Properties, Spread]:
        """Evaluates every member once: means, and standard deviations with ddof = 1.

        Those of the forces cost nothing and come whenever there are forces; the mean of the
        forces is the force of the mean energy. See `UncertainModel` for the arguments.

        Raises:
            UnknownElementError, GeometryError: see `LevelPotential.atomic_energies`.
        """
        derived = forces or forces_std
        found = [
            evaluate(m, graph, forces=derived, stress=stress, domain=domain)
            for m in self._members()
        ]
        inside = [f.domain for f in found if f.domain is not None]

        energies = torch.stack([f.energies for f in found])
        totals = torch.stack([f.energy for f in found])
        slopes = torch.stack([f.forces for f in found if f.forces is not None]) if derived else None
        strains = torch.stack([f.stress for f in found if f.stress is not None]) if stress else None
        energy = totals.mean(dim=0)
        if self.link is not None:
            latent = segment_sum(energies.mean(dim=0), graph.system_idx, graph.n_systems)
            energy = self.link(latent)
        means = Properties(
            energy=energy,
            energies=energies.mean(dim=0),
            forces=None if slopes is None else slopes.mean(dim=0),
            stress=None if strains is None else strains.mean(dim=0),
            domain=torch.stack(inside).mean(dim=0) if inside else None,
        )
        spread = Spread(
            energy_std=totals.std(dim=0), forces_std=None if slopes is None else slopes.std(dim=0)
        )
        return means, spread.scaled(self.calibration if calibrated else None)

    def _members(self) -> list[LevelPotential]:
        return [member.at(self.level) for member in self.potential.potentials()]


def _check(members: Sequence[Potential]) -> None:
    if len(members) < 2:
        raise ConfigError(
            f"an ensemble needs two potentials or more, found {len(members)}; a single one can "
            "get a last-layer uncertainty from 'tlpot calibrate'"
        )
    first = members[0]
    for k, member in enumerate(members[1:], start=2):
        for what, mine, other in (
            ("levels", sorted(first.levels), sorted(member.levels)),
            ("elements", _symbols(first.elements), _symbols(member.elements)),
            ("precision", first.dtype, member.dtype),
            ("device", first.device, member.device),
            ("properties", _quantities(first), _quantities(member)),
            (
                "charge_spin",
                first.architecture.charge_spin,
                member.architecture.charge_spin,
            ),
        ):
            if mine != other:
                raise ConfigError(
                    f"member 1 ({first.card.name}) and member {k} ({member.card.name}) cannot "
                    f"form an ensemble: {what} {mine} and {other} differ. Train the members "
                    "alike, apart from their seeds"
                )
        twins = (j for j, m in enumerate(members[: k - 1], start=1) if _same(m, member))
        if (twin := next(twins, None)) is not None:
            raise ConfigError(
                f"members {twin} and {k} of the ensemble ({member.card.name}) have the same "
                "weights, which would understate the uncertainty; leave one out, or train it "
                "with another seed"
            )


def _quantities(potential: Potential) -> dict[str, str]:
    targets = {level: potential.target(level) for level in sorted(potential.levels)}
    return {level: t.words for level, t in targets.items() if t is not None}


def _same(one: Potential, other: Potential) -> bool:
    a, b = _fitted(one), _fitted(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _fitted(potential: Potential) -> dict[str, Tensor]:
    """Returns all that was learned but E0: weights, and corrections in closed form."""
    state = potential.state_dict()
    corrections = {name: tensor for name, tensor in state.items() if ".corrections." in name}
    return {**dict(potential.named_parameters()), **corrections}


def _symbols(numbers: tuple[int, ...]) -> str:
    return " ".join(chemical_symbols[z] for z in numbers)


def _write(ensemble: Ensemble) -> tuple[dict[str, Any], dict[str, Tensor]]:
    members = []
    tensors: dict[str, Tensor] = {}
    for k, member in enumerate(ensemble.potentials()):
        described, weights = write_part(member, f"members.{k}.")
        members.append(described)
        tensors |= weights
    for name, tensor in ensemble.calibrations.state_dict().items():
        tensors[f"calibrations.{name}"] = tensor.cpu().contiguous()
    metadata = {
        "members": members,
        "levels": list(ensemble.levels),
        "card": card_mapping(ensemble.card),
    }
    return metadata, tensors


def _read(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None,
    kernels: str,
) -> Ensemble:
    try:
        described = list(metadata["members"])
        card = parse(ModelCard, metadata["card"], name)
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{name}: the ensemble's description is damaged: {error}") from error
    rest = dict(tensors)
    members = []
    for k, description in enumerate(described):
        title = f"{name}, member {k + 1}"
        member, rest = read_part(description, rest, f"members.{k}.", title, dtype, kernels)
        members.append(member)
    try:
        ensemble = Ensemble(members)
    except ConfigError as error:
        raise ModelFileError(f"{name} is damaged: {error}") from error
    ensemble.card = card
    for k in range(len(ensemble.levels)):
        prefix = f"calibrations.{k}."
        calibration = read_calibration(rest, prefix, name)
        if calibration is not None:
            ensemble.calibrations[str(k)] = calibration
            for key in calibration.state_dict():
                rest.pop(f"{prefix}{key}")
    if rest:
        raise ModelFileError(f"{name} has unknown weights {sorted(rest)[:3]} for an ensemble")
    return ensemble


FORMATS[ENSEMBLE_FORMAT] = FileFormat(kind=Ensemble, write=_write, read=_read)

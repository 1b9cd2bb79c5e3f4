"""Domain of the training data: how far the atoms of a structure are from those of the training.

Features of an atom, the invariants of all layers, are centred, projected on the leading principal
axes of its element in the training frames and divided by the spread along them. The distance to
the nearest of some prototypes (centres of k-means clusters), in units of what held-out atoms of
the element have, is the atom's score q. The score of a structure, s = b ln ⟨exp(q/b)⟩, is near
the largest for a few atoms, and one atom far away stands out among any number. Held-out frames
say how rare a score is: the domain is the share of frames such as those of the training that are
as far away, as a conformal p-value (Vovk, Gammerman, Shafer, doi:10.1007/b106715), or rather the
upper confidence limit of that share, so that few held-out frames raise no false alarms.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tlpot.errors import ConfigError, ModelFileError
from tlpot.kernels import DistancePlan
from tlpot.models.architecture import AnyArchitecture
from tlpot.nn import DoubleBuffer

WARNING_LEVEL = 0.05
"""A structure with a lower domain is warned of; at most one in twenty frames such as those of the
training is below it."""
SOFTNESS = 0.25
"""b: how far below the largest score atoms of a structure still count."""
_FARTHEST = 1e6
"""Scores are cut off here; that of an element without any training frame is."""
_TAIL = 0.8
"""Frames above this quantile say how the domain goes on beyond the last of them."""
_NARROWEST = 0.02
"""The tail of held-out frames that are alike is at least this wide."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingContent:
    """What the training frames consisted of.

    Attributes:
        n_frames: how many there were.
        atoms: atoms of each element in all of them, [n_elements], in the order of the potential.
        most: atoms of each element in a frame, at most, [n_elements].
        states: different charges and multiplicities, [n_states, 2].
    """

    n_frames: int
    atoms: Tensor
    most: Tensor
    states: Tensor


class TrainingDomain(nn.Module):
    """What a potential was trained on, as far as a check at run time needs it.

    It belongs to these very weights of the network. All its arrays are small.

    Args:
        projection: [n_elements, n_features, n_axes], principal axes divided by the spread along
            them and by the unit of the score; zero for an element without training frames.
        shift: [n_elements, n_axes], minus the projected mean.
        prototypes: [n_prototypes, n_axes].
        owner: [n_prototypes], index of the element of each.
        held_out: [n_held_out], scores of held-out frames, or a selection of their quantiles.
        n_held_out: how many frames they stand for.
        levels: [n_held_out], the domain at each of these scores; None is the conformal p-value.
        inherited: that of an earlier training of the same network, of which this one has learned
            the readout only: what is inside of either is inside.
        content: of the training frames.
        reads_charge: whether charge and multiplicity must be among those of the training.

    Raises:
        ConfigError: shapes that do not fit together, or scores that are not finite.
    """

    projection: Tensor
    shift: Tensor
    prototypes: Tensor
    owner: Tensor
    counts: Tensor
    most: Tensor
    states: Tensor
    _flat: Tensor
    _bias: Tensor
    _table: Tensor
    _ranks: tuple[list[float], list[float], float]
    _plan: DistancePlan | None
    inherited: TrainingDomain | None
    _known_states: frozenset[tuple[int, int]]

    def __init__(
        self,
        *,
        projection: Tensor,
        shift: Tensor,
        prototypes: Tensor,
        owner: Tensor,
        held_out: Tensor,
        n_held_out: int,
        content: TrainingContent,
        reads_charge: bool,
        levels: Tensor | None = None,
        inherited: TrainingDomain | None = None,
    ) -> None:
        super().__init__()
        n_elements, _, n_axes = projection.shape
        if inherited is not None and inherited.projection.shape[:2] != projection.shape[:2]:
            raise ConfigError("an inherited training domain is of another network")
        self.inherited = inherited
        if (
            shift.shape != (n_elements, n_axes)
            or prototypes.dim() != 2
            or prototypes.shape[1] != n_axes
            or owner.shape != prototypes.shape[:1]
            or not len(owner)
            or not 0 <= int(owner.min()) <= int(owner.max()) < n_elements
            or content.atoms.shape != (n_elements,)
            or content.most.shape != (n_elements,)
            or content.states.dim() != 2
            or content.states.shape[1] != 2
        ):
            raise ConfigError("the arrays of a training domain do not fit together")
        if held_out.dim() != 1 or not len(held_out) or not bool(held_out.isfinite().all()):
            raise ConfigError("the scores of held-out frames must be finite, and there must be one")
        if levels is not None and (
            levels.shape != held_out.shape or not bool(((levels > 0.0) & (levels <= 1.0)).all())
        ):
            raise ConfigError("each score of held-out frames needs a level between 0 and 1")
        self.reads_charge = reads_charge
        self.register_buffer("projection", projection)
        self.register_buffer("shift", shift)
        self.register_buffer("prototypes", prototypes)
        self.register_buffer("owner", owner)
        self.held_out = DoubleBuffer(held_out.double().sort().values)
        # apart, so that scores that are equal keep the domain from rising
        falling = None if levels is None else levels.double().sort(descending=True).values
        self.levels = None if falling is None else DoubleBuffer(falling)
        sizes = [content.n_frames, n_held_out, int(reads_charge)]
        self.register_buffer("counts", torch.tensor([*sizes, *content.atoms.tolist()]))
        self.register_buffer("most", content.most)
        self.register_buffer("states", content.states)
        for name in ("_flat", "_bias", "_table"):
            self.register_buffer(name, torch.empty(0), persistent=False)
        self._derive()

    def _derive(self) -> None:
        n_elements, n_features, _ = self.projection.shape
        self._flat = self.projection.permute(1, 0, 2).reshape(n_features, -1).contiguous()
        self._bias = self.shift.reshape(-1)
        squares = self.prototypes.square().sum(dim=1)
        elements = torch.arange(n_elements, device=squares.device)
        # the prototypes of other elements are infinitely far
        self._table = squares.where(self.owner == elements[:, None], torch.inf)
        n = len(self.held_out.value)
        ranks = torch.arange(n + 1, 1, -1, dtype=torch.float64) / (n + 1.0)
        levels = ranks if self.levels is None else self.levels.value.sort(descending=True).values
        self._ranks = _rank_table(self.held_out.value, levels)
        self._plan = None
        self._known_states = frozenset((int(q), int(m)) for q, m in self.states.tolist())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._derive()
        return self

    @property
    def n_frames(self) -> int:
        """Number of training frames."""
        return int(self.counts[0])

    @property
    def n_held_out(self) -> int:
        """Number of frames that the domain was measured on."""
        return int(self.counts[1])

    @property
    def parts(self) -> list[TrainingDomain]:
        """This one and all that it has inherited."""
        return [self, *(self.inherited.parts if self.inherited is not None else ())]

    @property
    def content(self) -> TrainingContent:
        """What the training frames consisted of."""
        return TrainingContent(
            n_frames=self.n_frames, atoms=self.counts[3:], most=self.most, states=self.states
        )

    def atom_scores(self, features: Tensor, species: Tensor) -> Tensor:
        """Returns how far each atom is from the training, [n_atoms]; 1 is far for a held-out atom.

        Args:
            features: invariants of all layers, [n_atoms, n_features].
            species: index of each atom's element, [n_atoms].
        """
        n_elements, _, n_axes = self.projection.shape
        every = torch.addmm(self._bias, features, self._flat).view(-1, n_elements, n_axes)
        own = every.gather(1, species[:, None, None].expand(-1, 1, n_axes))[:, 0]
        table = self._table.index_select(0, species)
        squares = torch.addmm(table, own, self.prototypes.mT, alpha=-2.0).amin(dim=1)
        squares = squares + own.square().sum(dim=1)
        return squares.clamp_(0.0, _FARTHEST**2).sqrt_()

    def scores(
        self, features: Tensor, species: Tensor, system_idx: Tensor, n_systems: int
    ) -> Tensor:
        """Returns the score of each structure, [n_systems], float64."""
        return frame_scores(self.atom_scores(features, species), system_idx, n_systems)

    def forward(
        self,
        scalars: Sequence[Tensor],
        species: Tensor,
        system_idx: Tensor,
        n_systems: int,
        charge: Tensor,
        spin: Tensor,
        *,
        compiled: bool = False,
    ) -> Tensor:
        """Returns the domain of each structure, [n_systems], float64, without derivatives.

        Args:
            scalars: invariants of each layer, [n_atoms, n_channels].
            species: index of each atom's element, [n_atoms].
            system_idx: which structure each atom belongs to, [n_atoms].
            n_systems: number of structures.
            charge: [n_systems], e.
            spin: [n_systems], multiplicity.
            compiled: use the compiled kernel, which must serve device and precision. Forces of a
                small molecule take some milliseconds, and a dozen calls of torch would be felt.
        """
        if compiled:
            scores = self._compiled().scores(scalars, species, system_idx, n_systems)
        else:
            with torch.no_grad():
                features = torch.cat(list(scalars), dim=1)
                scores = self.scores(features, species, system_idx, n_systems).tolist()
        found = [self._rank(score) for score in scores]
        if self.reads_charge:
            states = zip(charge.tolist(), spin.tolist(), strict=True)
            found = [r * (s in self._known_states) for r, s in zip(found, states, strict=True)]
        if self.inherited is not None:
            earlier = self.inherited(
                scalars, species, system_idx, n_systems, charge, spin, compiled=compiled
            ).tolist()
            found = [max(both) for both in zip(found, earlier, strict=True)]
        return torch.tensor(found, dtype=torch.float64, device=species.device)

    def _compiled(self) -> DistancePlan:
        if self._plan is None:
            self._plan = DistancePlan(
                self.projection, self.shift, self.prototypes, self.owner, _FARTHEST, SOFTNESS
            )
        return self._plan

    def _rank(self, score: float) -> float:
        """Returns the domain that belongs to a score, falling and continuous.

        Between held-out scores it is interpolated, beyond the largest it goes to 0 exponentially.
        """
        held, levels, fall = self._ranks
        k = bisect_right(held, score)
        if k == 0:
            return levels[0] if score < held[0] else math.nan
        if k == len(held):
            return levels[-1] * math.exp(-fall * (score - held[-1]))
        share = (score - held[k - 1]) / (held[k] - held[k - 1])
        return levels[k - 1] + share * (levels[k] - levels[k - 1])


def frame_scores(atom_scores: Tensor, system_idx: Tensor, n_systems: int) -> Tensor:
    """Returns the score of each structure from those of its atoms, [n_systems], float64.

    Args:
        atom_scores: [n_atoms].
        system_idx: which structure each atom belongs to, [n_atoms].
        n_systems: number of structures, each of which has an atom.
    """
    atoms = atom_scores.double() / SOFTNESS
    if n_systems == 1:
        return SOFTNESS * (torch.logsumexp(atoms, 0, keepdim=True) - math.log(len(atoms)))
    top = atoms.new_zeros(n_systems).scatter_reduce(0, system_idx, atoms, "amax")
    parts = (atoms - top.index_select(0, system_idx)).exp()
    sums = atoms.new_zeros(n_systems).index_add(0, system_idx, parts)
    sizes = torch.bincount(system_idx, minlength=n_systems)
    return SOFTNESS * (top + (sums / sizes).log())


def _rank_table(held_out: Tensor, levels: Tensor) -> tuple[list[float], list[float], float]:
    """Returns scores in ascending order, the domain at each, and how it falls beyond the last."""
    tail = held_out[int(_TAIL * len(held_out)) :]
    # an exponential distribution is as wide as its mean; that of a single frame is not known
    excess = float((tail - tail[0]).mean()) if len(tail) > 1 else SOFTNESS
    return held_out.tolist(), levels.tolist(), 1.0 / max(excess, _NARROWEST)


def read_domain(
    tensors: Mapping[str, Tensor],
    prefix: str,
    architecture: AnyArchitecture,
    dtype: torch.dtype,
    name: str,
) -> TrainingDomain | None:
    """Returns the domain among the tensors of a model file; None if there is none.

    Args:
        tensors: of the potential.
        prefix: of the names of the domain's tensors.
        architecture: of the potential.
        dtype: precision of the potential.
        name: of the file, for messages.

    Raises:
        ModelFileError: it is damaged, or does not fit the architecture.
    """
    own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    if not own:
        return None
    expected = len(architecture.elements), architecture.n_layers * architecture.n_channels
    try:
        found = _restored(own)
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise ModelFileError(f"{name}: the training domain is damaged: {error}") from error
    if found.projection.shape[:2] != expected:
        raise ModelFileError(
            f"{name}: the training domain is of {tuple(found.projection.shape[:2])} elements "
            f"and features, the architecture has {expected}"
        )
    return found.to(dtype)


def _restored(tensors: Mapping[str, Tensor]) -> TrainingDomain:
    start = "inherited."
    earlier = {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
    n_frames, n_held_out, reads_charge, *atoms = map(int, tensors["counts"].tolist())
    return TrainingDomain(
        projection=tensors["projection"],
        shift=tensors["shift"],
        prototypes=tensors["prototypes"],
        owner=tensors["owner"],
        held_out=tensors["held_out.value"],
        n_held_out=n_held_out,
        content=TrainingContent(
            n_frames=n_frames,
            atoms=torch.tensor(atoms),
            most=tensors["most"],
            states=tensors["states"],
        ),
        reads_charge=bool(reads_charge),
        levels=tensors.get("levels.value"),
        inherited=_restored(earlier) if earlier else None,
    )

"""The domain of the training data: made from training frames, and warnings of what is outside."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from torch import Tensor

from tlpot.data import Dataset, collate, frames_of
from tlpot.energy import EnergyModel
from tlpot.errors import DataError, TLPotWarning
from tlpot.fragments import FragmentForceField
from tlpot.models import (
    FEW_FRAMES,
    WARNING_LEVEL,
    LevelPotential,
    LevelView,
    TrainingContent,
    TrainingDomain,
    frame_scores,
)
from tlpot.numbers import Ints

MOST_FRAMES = 4000
"""Training frames whose features are looked at."""
MOST_HELD_OUT = 1000
N_AXES = 64
N_PROTOTYPES = 64
"""For each element."""
MOST_ATOMS = 20_000
"""Atoms of an element that prototypes are found from."""
ENOUGH = 40
"""With fewer held-out frames than this, training frames are held out in turn as well."""
_FOLDS = 5
_ROUNDS = 15
_KNOTS = 200
_SHRINKAGE = 1e-5
"""Added to the variance along each axis, in units of the largest: axes hardly used say little."""
_UNIT = 0.9
"""Quantile of the distances of held-out atoms that is the unit of an element's scores."""
_CONFIDENCE = 0.9
"""With this probability over the drawing of held-out frames, no more of those like them are below a
domain than its value says (Vovk, doi:10.1007/s10994-013-5355-6)."""
_FEWEST = 10
"""Held-out atoms of an element that a unit of its own takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Atoms:
    """Features of all atoms of some frames.

    Attributes:
        features: [n_atoms, n_features].
        species: [n_atoms].
        frame: [n_atoms], which frame each belongs to.
        n_frames: how many there are.
    """

    features: Tensor
    species: Tensor
    frame: Tensor
    n_frames: int

    def of(self, frames: Tensor) -> _Atoms:
        """Returns the atoms of some frames, [n_frames] bool, which keep their numbers."""
        kept = frames[self.frame]
        return _Atoms(
            features=self.features[kept],
            species=self.species[kept],
            frame=self.frame[kept],
            n_frames=self.n_frames,
        )


def fit_domain(
    model: LevelPotential,
    dataset: Dataset,
    train: Sequence[int] | Ints,
    held_out: Sequence[int] | Ints,
    *,
    seed: int = 0,
    most_atoms: int = 1000,
    n_axes: int = N_AXES,
    n_prototypes: int = N_PROTOTYPES,
) -> TrainingDomain:
    """Returns the domain of a model's training frames.

    Of very many frames a selection is looked at that has every molecule and every element. Where
    fewer than `ENOUGH` frames were held out, each fifth of the training frames is compared with
    the rest as well. Frames with elements that the other side lacks are compared with nothing.

    Args:
        model: a potential at one level.
        dataset: the frames.
        train: those that the model was trained on.
        held_out: others like them, which the training has not seen.
        seed: of all selections.
        most_atoms: evaluated at a time.
        n_axes: of each element, at most; fewer make a smaller file of a model of many elements.
        n_prototypes: of each element, at most.

    Raises:
        DataError: there are no training frames.
        UnknownElementError: a frame has an element that the model does not know.
    """
    rng = np.random.default_rng(seed)
    train = np.unique(np.asarray(train, dtype=np.int64))
    if not len(train):
        raise DataError(f"{dataset.path}: there are no training frames to tell a domain from")
    content, counts = _content(model, dataset, train)
    chosen = train[_spread(dataset.group_idx[train], counts, rng)]
    atoms = _atoms(model, dataset, chosen, most_atoms)
    held = np.asarray(held_out, dtype=np.int64)
    if len(held) > MOST_HELD_OUT:
        held = np.sort(rng.choice(held, MOST_HELD_OUT, replace=False))
    n_elements = len(model.potential.elements)
    projection, shift = _axes(atoms, n_elements, n_axes)

    def domain(known: _Atoms, unit: Tensor, scores: Tensor) -> TrainingDomain:
        found = [
            _prototypes(_projected(known, k, projection, shift), rng, n_prototypes)
            for k in range(n_elements)
        ]
        owner = torch.cat([torch.full((len(p),), k) for k, p in enumerate(found)])
        return TrainingDomain(
            projection=projection / unit[:, None, None],
            shift=shift / unit[:, None],
            prototypes=torch.cat(found) / unit[owner][:, None],
            owner=owner,
            held_out=scores,
            n_held_out=len(scores),
            content=content,
            reads_charge=model.uses_charge,
        )

    ones, nothing = torch.ones(n_elements, dtype=torch.float64), torch.zeros(1)
    tested: list[tuple[TrainingDomain, _Atoms]] = []
    final = domain(atoms, ones, nothing)
    if len(held):
        some = _comparable(final, _atoms(model, dataset, held, most_atoms))
        held = held[some.frame.unique().numpy()]
        tested.append((final, some))
    if len(held) < ENOUGH and len(chosen) > 1:
        fold = torch.from_numpy(rng.permutation(len(chosen)) % min(_FOLDS, len(chosen)))
        for k in range(int(fold.max()) + 1):
            rest = domain(atoms.of(fold != k), ones, nothing)
            tested.append((rest, _comparable(rest, atoms.of(fold == k))))
    tested = [(one, some) for one, some in tested if len(some.frame)]
    if not tested:  # one frame, or no two that share elements: compared with themselves
        tested.append((final, atoms))
    distances = [one.atom_scores(some.features, some.species) for one, some in tested]
    unit = _units(torch.cat(distances), torch.cat([s.species for _, s in tested]), n_elements)
    scores = [_scores(d / unit[s.species], s) for d, (_, s) in zip(distances, tested, strict=True)]
    alike = len(held) - _independent(dataset, train, held)
    return _finished(final, unit, torch.cat(scores), alike)


def _comparable(domain: TrainingDomain, atoms: _Atoms) -> _Atoms:
    """Returns the atoms of frames of whose elements a domain knows all.

    An atom of any other has no distance, only the largest of all, which would stand for what is
    usual of its element and of frames.
    """
    strange = torch.zeros(atoms.n_frames, dtype=torch.bool)
    strange[atoms.frame[~torch.isin(atoms.species, domain.owner)]] = True
    return atoms.of(~strange)


def _independent(dataset: Dataset, train: Ints, held: Ints) -> int:
    """Returns how many of the held-out frames say something of their own.

    Frames of one trajectory or molecule that was held out as a whole are near or far together,
    and count as one.
    """
    groups, sizes = np.unique(dataset.group_idx[held], return_counts=True)
    whole = ~np.isin(groups, dataset.group_idx[train])
    return int(sizes[~whole].sum() + whole.sum())


def _finished(raw: TrainingDomain, unit: Tensor, scores: Tensor, alike: int) -> TrainingDomain:
    """Returns a domain in units of the distances of held-out atoms, with the ranks of scores.

    `alike` of the scores repeat what others say.
    """
    n = len(scores)
    places = torch.linspace(0.0, 1.0, min(n, _KNOTS), dtype=torch.float64)
    knots = torch.quantile(scores, places)
    return TrainingDomain(
        projection=(raw.projection / unit[:, None, None]).float(),
        shift=(raw.shift / unit[:, None]).float(),
        prototypes=(raw.prototypes / unit[raw.owner][:, None]).float(),
        owner=raw.owner,
        held_out=knots,
        n_held_out=n,
        levels=largest_shares((n - places * (n - 1)) * (1.0 - alike / n), n - alike),
        content=raw.content,
        reads_charge=raw.reads_charge,
    )


def largest_shares(as_far: Tensor, n: int) -> Tensor:
    """Returns upper confidence limits of shares (Clopper and Pearson, doi:10.1093/biomet/26.4.404).

    `as_far` of `n` held-out frames are as far away; these need not be whole numbers.
    """
    from scipy.special import betaincinv

    limits = betaincinv(as_far.numpy() + 1.0, (n - as_far).clamp(min=1e-9).numpy(), _CONFIDENCE)
    return torch.from_numpy(limits).where(as_far < n, 1.0)


def _content(model: LevelPotential, dataset: Dataset, train: Ints) -> tuple[TrainingContent, Ints]:
    """Returns what all training frames consist of, and atoms by element, [n_frames, n_elements]."""
    elements = np.array(model.potential.elements)
    counts = np.zeros((len(train), len(elements)), dtype=np.int64)
    states = set()
    for row, frame in zip(counts, frames_of(dataset, train, levels=()), strict=True):
        row[:] = (frame.system.atomic_numbers[:, None] == elements).sum(axis=0)
        states.add((frame.system.charge, frame.system.spin))
    content = TrainingContent(
        n_frames=len(train),
        atoms=torch.from_numpy(counts.sum(axis=0)),
        most=torch.from_numpy(counts.max(axis=0)),
        states=torch.tensor(sorted(states)),
    )
    return content, counts


def _spread(groups: Ints, counts: Ints, rng: np.random.Generator) -> Ints:
    """Returns at most about `MOST_FRAMES` frames: of every molecule and of every element."""
    n = len(groups)
    if n <= MOST_FRAMES:
        return np.arange(n)
    order = rng.permutation(n)
    by_group = order[np.argsort(groups[order], kind="stable")]
    _, starts, sizes = np.unique(groups[by_group], return_index=True, return_counts=True)
    turn = np.arange(n) - np.repeat(starts, sizes)
    chosen = by_group[np.lexsort((rng.random(n), turn))[:MOST_FRAMES]]
    rare = [order[counts[order, k] > 0][:ENOUGH] for k in range(counts.shape[1])]
    return np.unique(np.concatenate([chosen, *rare]))


def _atoms(model: LevelPotential, dataset: Dataset, indices: Ints, most_atoms: int) -> _Atoms:
    device = model.potential.device
    features, species, frames, done = [], [], [], 0
    for frame_batch in _batches(indices, dataset.sizes[indices], most_atoms):
        read = dataset.read(frame_batch, ())
        batch = collate(read, model.cutoff, (), layout=model.layout).to(device)
        with torch.no_grad():
            index, scalars, _ = model.invariants(batch.graph)
        features.append(torch.cat(scalars, dim=1).double().cpu())
        species.append(index.cpu())
        frames.append(done + batch.graph.system_idx.cpu())
        done += len(frame_batch)
    return _Atoms(
        features=torch.cat(features),
        species=torch.cat(species),
        frame=torch.cat(frames),
        n_frames=done,
    )


def _batches(indices: Ints, sizes: Ints, most: int) -> Iterator[Ints]:
    """Yields frames in order, as many as have a number of atoms together, or one."""
    start = 0
    while start < len(indices):
        total = np.cumsum(sizes[start:])
        stop = start + max(1, int(np.searchsorted(total, most, side="right")))
        yield indices[start:stop]
        start = stop


def _axes(atoms: _Atoms, n_elements: int, most: int) -> tuple[Tensor, Tensor]:
    """Returns whitened principal axes, [n_elements, n_features, n_axes], and minus the means."""
    n_features = atoms.features.shape[1]
    n_axes = min(most, n_features)
    projection = torch.zeros((n_elements, n_features, n_axes), dtype=torch.float64)
    shift = torch.zeros((n_elements, n_axes), dtype=torch.float64)
    for k in range(n_elements):
        own = atoms.features[atoms.species == k]
        if not len(own):
            continue
        mean = own.mean(dim=0)
        centred = own - mean
        values, vectors = torch.linalg.eigh(centred.mT @ centred / len(own))
        values, vectors = values.flip(0)[:n_axes].clamp(min=0.0), vectors.flip(1)[:, :n_axes]
        # atoms that are all alike have no spread of their own
        floor = max(_SHRINKAGE * float(values[0]), 1e-6 * float(own.square().sum(1).mean()), 1e-12)
        projection[k] = vectors / (values + floor).sqrt()
        shift[k] = -mean @ projection[k]
    return projection, shift


def _projected(atoms: _Atoms, k: int, projection: Tensor, shift: Tensor) -> Tensor:
    return atoms.features[atoms.species == k] @ projection[k] + shift[k]


def _prototypes(points: Tensor, rng: np.random.Generator, number: int) -> Tensor:
    """Returns centres of k-means clusters of points, [n, n_axes]; few points are all kept.

    Half of the centres start at points far from all others, so that rare surroundings have one.
    """
    if len(points) > MOST_ATOMS:
        points = points[torch.from_numpy(rng.choice(len(points), MOST_ATOMS, replace=False))]
    if len(points) <= number:
        return points
    drawn = rng.choice(len(points), number // 2, replace=False).tolist()
    nearest = torch.cdist(points, points[drawn]).amin(dim=1)
    while len(drawn) < number:
        drawn.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (points - points[drawn[-1]]).norm(dim=1))
    centres = points[drawn]
    for _ in range(_ROUNDS):
        own = torch.cdist(points, centres).argmin(dim=1)
        sums = torch.zeros_like(centres).index_add(0, own, points)
        sizes = torch.bincount(own, minlength=len(centres))[:, None]
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    return centres


def _units(distances: Tensor, species: Tensor, n_elements: int) -> Tensor:
    """Returns the unit of each element's distances, [n_elements]; few atoms share one of all."""
    shared = torch.quantile(distances[distances.isfinite()], _UNIT)
    units = shared.repeat(n_elements)
    for k in range(n_elements):
        own = distances[species == k]
        if len(own) >= _FEWEST:
            units[k] = torch.quantile(own, _UNIT)
    return units.clamp(min=max(1e-2 * float(shared), 1e-3))


def _scores(distances: Tensor, atoms: _Atoms) -> Tensor:
    frames, system_idx = atoms.frame.unique(return_inverse=True)
    return frame_scores(distances, system_idx, len(frames))


class DomainWarning(TLPotWarning):
    """A structure that is unlike those that the model was trained on."""


class DomainCheck:
    """Warns the first time that a structure is outside.

    Args:
        model: knows what it was trained on, see `tlpot.energy.DomainModel`.
    """

    def __init__(self, model: EnergyModel) -> None:
        self._model = model
        self._done = False

    def warn(self, domain: float, atoms: Atoms) -> None:
        """Warns of the domain of a structure with a `DomainWarning` if it is time to."""
        reason = None if self._done else self.speaks_against(domain, atoms)
        if reason is None:
            return
        self._done = True
        fragment = getattr(self._model, "farthest", None)
        formula = atoms.get_chemical_formula()
        which = f"the fragment {fragment} of {formula}" if fragment else formula
        warnings.warn(
            f"{which} is outside of what {_called(self._model)} was trained "
            f"on (domain {domain:.2g}, below {WARNING_LEVEL:g}{reason}): "
            f"{_given(self._model)} may be far off, here and in what follows. Compare some with a "
            "calculation at the level of theory, or train on such structures",
            DomainWarning,
            stacklevel=2,
        )

    def speaks_against(self, domain: float, atoms: Atoms) -> str | None:
        """Returns what is known of a structure that is outside, empty for nothing more than that.

        None for one that is inside, or of which too few training frames say that it is not.
        """
        if domain >= WARNING_LEVEL:
            return None
        parts = _parts(self._model)
        reason = self._reason(atoms, parts)
        few = any(part.known.n_frames < FEW_FRAMES for part in parts)
        return None if few and not reason else reason

    def _reason(self, atoms: Atoms, parts: Sequence[_Part]) -> str:
        """Names elements that no training frame had, or charges."""
        if not parts:
            return ""
        absent = [part.absent & {*atoms.numbers.tolist()} for part in parts]
        never = set.intersection(*absent)
        which = "" if never else " of a part of it"
        if symbols := [chemical_symbols[z] for z in sorted(never or set.union(*absent))]:
            return f"; no training frame{which} has {', '.join(symbols)}"
        if isinstance(self._model, FragmentForceField):  # the charge is of the whole
            return ""
        state = [int(atoms.info.get("charge", 0)), int(atoms.info.get("spin", 1))]
        contents = [one.content for part in parts for one in part.known.parts]
        states = [one for content in contents for one in content.states.tolist()]
        if all(part.known.reads_charge for part in parts) and state not in states:
            return f"; no training frame has charge {state[0]:+d} and multiplicity {state[1]}"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What a model, or a part of one, was trained on, and the elements that it has columns for."""

    known: TrainingDomain
    elements: tuple[int, ...]

    @property
    def absent(self) -> set[int]:
        """The elements that no training frame has."""
        counts = np.sum([part.content.atoms.tolist() for part in self.known.parts], axis=0)
        return {z for z, count in zip(self.elements, counts, strict=True) if not count}


def _parts(model: EnergyModel) -> list[_Part]:
    """Returns what a model or its members were trained on, empty where they do not say."""
    whole = model.high if isinstance(model, FragmentForceField) else model
    found = []
    for part in getattr(whole, "domain_parts", (whole,)):
        known = getattr(part, "training_domain", None)
        if isinstance(known, TrainingDomain):
            # the columns are those of the potential, of which the level may know fewer
            elements = getattr(part, "potential", part).elements
            found.append(_Part(known=known, elements=tuple(elements)))
    return found


def _given(model: EnergyModel) -> str:
    """Returns what a model gives, in words."""
    target = getattr(model, "target", None)
    return "energies and forces" if target is None else str(getattr(model, "level", "its property"))


def _called(model: EnergyModel) -> str:
    if isinstance(model, LevelView):
        return f"the model {model.potential.card.name!r}"
    return "the model"

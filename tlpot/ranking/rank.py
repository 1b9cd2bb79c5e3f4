"""Which pretrained model to transfer from: closed-form errors on folds of the target set.

The idea of shotgun transfer learning (Yamada et al., doi:10.1021/acscentsci.9b00804): try the
features of every model there is, since that costs next to nothing, and start from the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from ase.data import chemical_symbols

from tlpot import transfer
from tlpot.data import Dataset, DataSource, SpecSource, frames_of, open_dataset
from tlpot.errors import ConfigError, DataError, TLPotError, UnknownElementError, nearest
from tlpot.files import PathLike
from tlpot.levels import choose_level, difference_parts
from tlpot.models import (
    HIDDEN,
    CatalogueEntry,
    LevelPotential,
    Potential,
    PropertyTarget,
    catalogue,
    check_blocks,
    feature_blocks,
    load_potential,
    same_readout,
)
from tlpot.numbers import Bools, Floats, Ints, counted, mae, rmse
from tlpot.presentation import progress_bar
from tlpot.ranking.clusters import structural_clusters
from tlpot.ranking.ranking import FoldError, Ranking, Scheme, Score
from tlpot.targets import Quantity, is_property, property_name
from tlpot.training import fit_composition, fit_references


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """The target set.

    Attributes:
        indices: frames with a label.
        sizes: [n_frames], atoms.
        counts: [n_frames, n_elements], atoms of each element of the dataset; their fractions for
            an intensive property.
        folds: [n_frames] by scheme.
        learned: the property; None for energies.
    """

    dataset: Dataset
    level: str
    indices: Ints
    sizes: Floats
    counts: Floats
    folds: Mapping[Scheme, Ints]
    learned: PropertyTarget | None = None

    @property
    def weights(self) -> Floats:
        """What the squared error of a frame counts, [n_frames]."""
        intensive = self.learned is not None and not self.learned.quantity.extensive
        return np.ones(len(self.sizes)) if intensive else 1.0 / self.sizes

    @property
    def factor(self) -> float:
        """From eV to the meV of the table; a property keeps its unit."""
        return 1e3 if self.learned is None else 1.0

    def shifts(self, rows: Bools, left: Floats) -> Floats:
        """Returns what the elements add, fitted to some of the frames, [n_elements]."""
        if self.learned is not None:
            return fit_composition(self.counts[rows], left[rows]).shifts
        return fit_references(self.dataset.elements, self.counts[rows], left[rows]).shifts


def rank_files(
    data: DataSource,
    models: Sequence[str] | None,
    folders: Sequence[PathLike],
    *,
    level: str | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    **options: Any,
) -> Ranking:
    """Ranks models as a user names them; see `tlpot.rank`.

    Without `models` these are all that have names, or those of `folders`; `options` are those of
    `rank_models`.

    Raises:
        TLPotError: something is wrong with the data, the models or the options.
    """
    dataset = open_dataset(data, spec, level=level, keys=keys)
    chosen = models if models is not None or not folders else []
    found = rank_models(dataset, level, catalogue(folders, chosen), **options)
    return replace(found, spec=spec, keys=keys)


def rank_models(
    dataset: Dataset,
    level: str | None,
    entries: Sequence[CatalogueEntry],
    *,
    by: Scheme | None = None,
    n_folds: int = 5,
    seed: int = 0,
    cache: PathLike | None = None,
    device: str | torch.device | None = None,
) -> Ranking:
    """Scores every model, level and block of features on a target set.

    In each fold the reference energies are fitted to what the model leaves over on the other
    folds, then a ridge on the pooled features of each element, whose strength is chosen on
    those other folds. Frames that are left out decide on nothing.

    Args:
        dataset: the target set.
        level: of its labels.
        entries: the models.
        by: which folds decide on the order; None is by molecule if there are at least as many
            molecules as folds, else at random.
        n_folds: 3 or more.
        seed: of the folds.
        cache: folder for features.
        device: for the models.

    Raises:
        ConfigError: no such way to divide, fewer than 3 folds, or folds that the data do not
            allow.
        DataError: fewer labels than folds.
        UnknownLevelError: the dataset has no such level.
    """
    if by is not None and by not in get_args(Scheme):
        raise ConfigError(f"by (--by) is {by!r}{nearest(by, get_args(Scheme))}")
    if n_folds < 3:
        raise ConfigError(
            f"folds is {n_folds}, expected 3 or more: one is left out, and the "
            "others choose the regularisation among them"
        )
    target = _target(dataset, choose_level(level, dataset.levels, str(dataset.path)), n_folds, seed)
    unfixed = _unfixed(target)
    if by in unfixed:
        raise ConfigError(
            f"folds by {by} leave out molecules whose energies the compositions of the others do "
            "not fix; give free atoms at this level, more molecules, or use random"
        )
    target = replace(
        target, folds={k: folds for k, folds in target.folds.items() if k not in unfixed}
    )
    if by is None:
        molecules = target.folds.get("molecule")
        by = "molecule" if molecules is not None and molecules.max() + 1 == n_folds else "random"
    if by not in target.folds:
        raise ConfigError(
            f"folds by {by} need at least 3 of them, and the data do not have so many; use "
            f"{' or '.join(target.folds)}"
        )
    scores, refused = [], {}
    folder = None if cache is None else Path(cache)
    baseline = _composition_only(target)
    scores.append(_score(target, baseline, None, baseline))
    for entry in progress_bar(entries, disable=None, desc="models", dynamic_ncols=True):
        missing = set(dataset.elements) - set(entry.elements)
        problem = entry.problem or entry.no_parent
        if problem or missing:
            symbols = ", ".join(chemical_symbols[z] for z in sorted(missing))
            refused[entry.source] = problem or f"does not know {symbols}"
            continue
        if target.learned is None and all(map(is_property, entry.levels)):
            refused[entry.source] = "knows properties only, and no energies to start from"
            continue
        try:
            scores += _scores_of(target, entry, baseline, folder, device, refused)
        except TLPotError as error:
            refused[entry.source] = str(error)
    chosen = by
    scores.sort(key=lambda score: score.errors[chosen].mae)
    return Ranking(
        data=str(dataset.path),
        content_hash=dataset.content_hash,
        level=target.level,
        by=by,
        n_frames=len(target.indices),
        n_molecules=len(np.unique(dataset.group_idx[target.indices])),
        folds={scheme: int(folds.max()) + 1 for scheme, folds in target.folds.items()},
        seed=seed,
        scores=tuple(scores),
        refused=refused,
        unfixed=unfixed,
        unit="meV" if target.learned is None else _unit(target.learned.quantity),
        acquainted=tuple(
            entry.source
            for entry in entries
            if entry.trained_on == dataset.content_hash and entry.source not in refused
        ),
    )


def _target(dataset: Dataset, level: str, n_folds: int, seed: int) -> _Target:
    indices = np.flatnonzero(dataset.labelled(level))
    if len(indices) < n_folds:
        raise DataError(
            f"{dataset.path} has {counted(len(indices), 'energy')} at {level}, too few for "
            f"{n_folds} folds"
        )
    groups: dict[Scheme, Ints] = {
        "random": transfer.assign_folds(np.arange(len(indices)), n_folds, seed),
        "molecule": transfer.assign_folds(dataset.group_idx[indices], n_folds, seed),
        "cluster": structural_clusters(dataset, indices, n_folds, seed),
    }
    counts = np.array(
        [
            [(frame.system.atomic_numbers == z).sum() for z in dataset.elements]
            for frame in frames_of(dataset, indices, levels=())
        ],
        dtype=np.float64,
    )
    sizes, learned = counts.sum(axis=1), _property(dataset, level, indices)
    if learned is not None and not learned.quantity.extensive:
        counts = counts / sizes[:, None]
    return _Target(
        dataset=dataset,
        level=level,
        indices=indices,
        sizes=sizes,
        counts=counts,
        folds={scheme: folds for scheme, folds in groups.items() if folds.max() >= 2},
        learned=learned,
    )


def _unfixed(target: _Target) -> tuple[Scheme, ...]:
    """Schemes of which a fold has compositions whose energies the other folds leave open."""
    given = target.dataset.levels[target.level].isolated_atoms
    if target.learned is not None or set(target.dataset.elements) <= given.keys():
        return ()
    rank = np.linalg.matrix_rank(target.counts)
    return tuple(
        scheme
        for scheme, folds in target.folds.items()
        if scheme != "random"
        and any(
            np.linalg.matrix_rank(target.counts[folds != k]) < rank for k in range(folds.max() + 1)
        )
    )


def _property(dataset: Dataset, level: str, indices: Ints) -> PropertyTarget | None:
    quantity = dataset.levels[level].quantity
    if quantity is None:
        return None
    if quantity.kind == "yes_no":
        raise ConfigError(
            f"{level} is yes or no, and models are ranked by regressions of numbers; measure a "
            "learning curve with each parent instead (tlpot curve)"
        )
    values = _values(dataset, indices, level, quantity)
    return PropertyTarget(
        quantity=quantity,
        pooling="sum" if quantity.extensive else "mean",
        spread=max(float(np.std(values)), 1e-12),
    )


def _unit(quantity: Quantity) -> str:
    return f"ln({quantity.unit or 1})" if quantity.kind == "positive" else quantity.unit


def _values(dataset: Dataset, indices: Ints, level: str, quantity: Quantity | None) -> Floats:
    """Returns labels, those of a positive property as logarithms, which is what is regressed."""
    found = np.array(
        [frame.labels[level].energy for frame in frames_of(dataset, indices, levels=[level])]
    )
    return np.log(found) if quantity is not None and quantity.kind == "positive" else found


def _composition_only(target: _Target) -> Floats:
    """Returns the labels above the free atoms, eV, as far as those are given."""
    info = target.dataset.levels[target.level]
    energies = _values(target.dataset, target.indices, target.level, info.quantity)
    prior = np.array([info.isolated_atoms.get(z, 0.0) for z in target.dataset.elements])
    return energies - target.counts @ prior


def _scores_of(
    target: _Target,
    entry: CatalogueEntry,
    baseline: Floats,
    cache: Path | None,
    device: str | torch.device | None,
    refused: dict[str, str],
) -> list[Score]:
    """Scores all levels of a model; those that do not apply are added to `refused`."""
    potential = load_potential(entry.source, device=device, dtype=torch.float64).requires_grad_(
        False
    )
    sizes = feature_blocks(potential.architecture)
    choices = [*((block,) for block in sizes), check_blocks((), potential.architecture)]
    scores = []
    whole = [name for name in potential.levels if difference_parts(name) is None]
    if not whole and difference_parts(target.level) is None:
        raise ConfigError(f"gives a difference ({', '.join(potential.levels)}), which is no start")
    if target.learned is not None:
        return _property_scores(target, target.learned, entry, potential, baseline, cache)
    for source in potential.levels:
        if potential.target(source) is not None or source not in whole:
            continue
        model = potential.at(source)
        try:
            pooled = transfer.pooled_features(
                model, target.dataset, target.indices, list(sizes), cache=cache
            )
        except UnknownElementError as error:  # of this level alone; the others may know them
            refused[f"{entry.source} at {source}"] = str(error)
            continue
        bare = load_potential(entry.source, device=device, dtype=torch.float64).requires_grad_(
            False
        )
        transfer.zero_readout(bare, source)
        for on, used in (("residual", model), ("total", bare.at(source))):
            left = _residuals(target, used)
            for blocks in ([()] if on == "residual" else []) + choices:
                rows = _columns(pooled, sizes, blocks) if blocks else None
                scores.append(
                    _score(target, left, rows, baseline, entry.source, source, blocks, on)
                )
    return scores


def _property_scores(
    target: _Target,
    learned: PropertyTarget,
    entry: CatalogueEntry,
    potential: Potential,
    baseline: Floats,
    cache: Path | None,
) -> list[Score]:
    """Scores features pooled as the property needs them, and the readout where it is the same."""
    sizes, scores = feature_blocks(potential.architecture), []
    every = check_blocks((), potential.architecture)
    for source in potential.levels:
        own_target = potential.target(source)
        known = own_target
        same_name = property_name(source) == property_name(target.level)
        if known is not None and same_name and known.quantity != learned.quantity:
            raise ConfigError(
                f"its {source} is {known.quantity.words}, and {target.level} is said to be "
                f"{learned.quantity.words}; say the same of the labels to have it as a parent"
            )
        if known is not None and known.pooling == "attention":
            known = replace(known, pooling="mean")
        inherits = same_readout(target.level, learned, source, known)
        zeros = dict.fromkeys(potential.elements, 0.0)
        grown = potential.with_level(
            target.level,
            potential.references(source) if inherits else zeros,
            parent=source,
            target=own_target if inherits else learned,
        ).requires_grad_(False)
        model = grown.at(target.level)
        blocks = [name for name in sizes if inherits or name != HIDDEN]
        pooled = transfer.pooled_features(
            model, target.dataset, target.indices, blocks, cache=cache
        )
        own = {name: sizes[name] for name in blocks}
        for on in ("residual", "total") if inherits else ("total",):
            left = baseline
            if on == "residual":
                left = transfer.missing_energies(
                    model, target.dataset, target.indices, target.level
                )
            for chosen in ([()] if on == "residual" else []) + [*((b,) for b in blocks), every]:
                rows = _columns(pooled, own, chosen) if chosen else None
                scores.append(
                    _score(target, left, rows, baseline, entry.source, source, chosen, on)
                )
    return scores


def _residuals(target: _Target, model: LevelPotential) -> Floats:
    """Returns labels above the model's interaction energy, with the best E0s known beforehand."""
    left = transfer.missing_energies(model, target.dataset, target.indices, target.level)
    given = target.dataset.levels[target.level].isolated_atoms
    known, beyond = model.potential.references(model.level), model.beyond_references()
    change = np.array(
        [known[z] + beyond[z] - given[z] if z in given else 0.0 for z in target.dataset.elements]
    )
    return left + target.counts @ change


def _columns(
    pooled: transfer.PooledFeatures, sizes: Mapping[str, int], blocks: Sequence[str]
) -> Floats:
    """Returns standardised rows of some blocks, without columns that do not vary."""
    ends = np.cumsum(list(sizes.values()))
    starts = dict(zip(sizes, ends - list(sizes.values()), strict=True))
    wanted = np.concatenate([starts[b] + np.arange(sizes[b]) for b in blocks])
    scale = pooled.scale()[:, wanted].reshape(-1)
    rows = pooled.sums[:, :, wanted].reshape(len(pooled.sums), -1)
    return rows[:, np.isfinite(scale)] / scale[np.isfinite(scale)]


def _score(
    target: _Target,
    left: Floats,
    rows: Floats | None,
    baseline: Floats,
    model: str = "",
    source: str = "",
    blocks: tuple[str, ...] = (),
    on: Any = "residual",
) -> Score:
    errors: dict[str, FoldError] = {}
    for scheme, folds in target.folds.items():
        error = _left_out(target, left, rows, folds)
        same = left is baseline and rows is None
        worst = error if same else _left_out(target, baseline, None, folds)
        errors[scheme] = FoldError(
            mae=target.factor * mae(error),
            rmse=target.factor * rmse(error),
            r2=1.0 - float(np.sum(error**2) / max(np.sum(worst**2), 1e-300)),
            by_fold=tuple(
                target.factor * mae(error[folds == k]) for k in range(int(folds.max()) + 1)
            ),
        )
    return Score(model=model, source=source, features=blocks, on=on, errors=errors)


def _left_out(target: _Target, left: Floats, rows: Floats | None, folds: Ints) -> Floats:
    """Returns the error of each frame when its fold was left out, [n_frames], eV."""
    errors = np.zeros_like(left)
    for k in range(int(folds.max()) + 1):
        out = folds == k
        rest = left - target.counts @ target.shifts(~out, left)
        errors[out] = rest[out]
        if rows is not None and rows.shape[1]:
            inner = [
                transfer.Moments.of(rows[folds == j], rest[folds == j], target.weights[folds == j])
                for j in range(int(folds.max()) + 1)
                if j != k
            ]
            errors[out] -= rows[out] @ transfer.fit_ridge(inner).weights
    return errors

"""The strategy that suits the data, by k-fold errors of a few candidates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tlpot.config import to_mapping
from tlpot.data import Dataset, Split, kept_kinds, kept_together
from tlpot.errors import ConfigError
from tlpot.files import make_folder
from tlpot.jobs.data_sources import SplitSettings
from tlpot.jobs.finetune_config import FinetuneConfig, automatic_settings
from tlpot.levels import choose_level, difference_parts
from tlpot.models import content_hash, to_bytes
from tlpot.numbers import Ints
from tlpot.presentation import Column, Table, progress_bar
from tlpot.stored_results import digest, read_json, write_json
from tlpot.transfer import STRATEGY_NAMES, strategy

SIMPLEST_FIRST = (
    "shift", "frozen-ridge", "head", "gain", "lora", "discriminative", "full", "delta",
)  # fmt: skip
_KINDS = {
    "energy_per_atom_mae": "energies",
    "forces_mae": "forces",
    "stress_mae": "stresses",
    "property_mae": "values",
}
"""Errors by which candidates are compared, as far as there are such labels."""
_SAME = 1.001
"""Ratio of two errors up to which they are the same: rounding, and nothing that one would see."""
FEW = 30
"""Training frames below which strategies that move few weights are tried as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        name: of the strategy.
        errors: by candidate, one for each fold: the geometric mean over the kinds of labels of
            the errors relative to ``shift``'s.
        reason: why, in words.
        kinds: by candidate and kind of label (``energies`` are those for each atom, ``forces``,
            ``stresses``): errors relative to ``shift``'s, geometric mean over the folds.
    """

    name: str
    errors: Mapping[str, list[float]]
    reason: str
    kinds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def table(self) -> str:
        """Returns the errors and the reason as text."""
        if not self.errors:
            return f"strategy=auto\n{self.reason}"
        heads = list(next(iter(self.kinds.values()), {}))
        columns = [
            Column(width=16),
            *(Column(head, width=10, gap=1) for head in heads),
            Column("by fold, over all kinds", gap=3),
        ]
        rows = []
        for name, row in self.errors.items():
            folds = " ".join(f"{value:7.3f}" for value in row)
            worse = "   worse in one kind" if _is_worse(self.kinds[name]) else ""
            rows.append((name, *(self.kinds[name][head] for head in heads), folds + worse))
        return "\n".join(
            [
                "strategy=auto: errors relative to new reference energies alone (shift, step 0)",
                *Table(columns, rows, format=".3f", indent=2).lines(),
                self.reason,
            ]
        )


Trial = Callable[[FinetuneConfig], Mapping[str, float]]
"""Fine-tunes and returns the errors on the test frames."""


def choose_strategy(config: FinetuneConfig, trial: Trial) -> Choice:
    """Tries candidates on folds of the training frames; held-out frames are not looked at.

    Trials are kept in the run folder, so what was interrupted goes on where it stopped. ``shift``
    is always among them. A candidate that is worse than it in any kind of label is out, however
    good it is in the others. Of those that are left, the simplest is taken whose error is within
    one standard error of the smallest.

    Args:
        config: of a fine-tuning whose strategy is ``auto``.
        trial: what to do with each candidate.

    Raises:
        TLPotError: something is wrong with the settings, the parent or the data.
    """
    chosen = automatic_settings(config.strategy, "finetune")
    plain = replace(config, strategy="full").resolved()
    dataset = plain.data.open()
    level = choose_level(plain.level, dataset.levels, str(dataset.path))
    split = plain.split.divide(dataset, level, keep_elements=plain.defaults > 1)
    n = len(split.train)
    if n < 3 * chosen.folds:
        return Choice(
            name="shift",
            errors={},
            reason=f"chosen: shift, because {n} training frames are too few to compare anything "
            f"else in {chosen.folds} folds",
        )
    names = chosen.candidates or _candidates(n, plain)
    names = tuple(dict.fromkeys(("shift", *names)))
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in names}
    folder = plain.output.with_suffix(".run") / "auto"
    make_folder(folder)
    parts = _folds(dataset, split, chosen.folds)
    for name, k in progress_bar(
        [(name, k) for name in names for k in range(len(parts))], desc="trials"
    ):
        tried = config_for(config, name, epochs=chosen.epochs)
        found[name].append(_errors(tried, trial, dataset, split, parts, k, folder))
    by_kind = {
        name: [_relative(name, row, base) for row, base in zip(rows, found["shift"], strict=True)]
        for name, rows in found.items()
    }
    errors = {name: [_geometric(row.values()) for row in rows] for name, rows in by_kind.items()}
    kinds = {
        name: {kind: _geometric(row[kind] for row in rows) for kind in rows[0]}
        for name, rows in by_kind.items()
    }
    name, reason = _choice(errors, kinds)
    return Choice(
        name=name, errors=errors, reason=f"{reason}, from {n} training frames", kinds=kinds
    )


def _choice(
    errors: Mapping[str, list[float]], kinds: Mapping[str, Mapping[str, float]]
) -> tuple[str, str]:
    """Returns the strategy and why."""
    able = [name for name in errors if not _is_worse(kinds[name])]
    best = min(able, key=lambda name: float(np.mean(errors[name])))
    if best == "shift":
        return "shift", (
            "chosen: shift, because nothing beats new reference energies alone in every kind of "
            "label"
        )
    spread = float(np.std(errors[best], ddof=1) / np.sqrt(len(errors[best])))
    limit = float(np.mean(errors[best])) + spread
    order = dict.fromkeys((*SIMPLEST_FIRST, *STRATEGY_NAMES))
    rank = {name: k for k, name in enumerate(order)}
    good = [name for name in able if np.mean(errors[name]) <= limit]
    simplest = min(good, key=lambda name: rank[name])
    if simplest == "shift":
        return "shift", (
            f"chosen: shift, because nothing surely beats new reference energies alone: {best} is "
            f"within one standard error ({spread:.3f})"
        )
    if simplest != best:
        return simplest, (
            f"chosen: {simplest}, the simplest within one standard error ({spread:.3f}) of {best}"
        )
    return simplest, f"chosen: {simplest}, with the smallest error"


def _is_worse(kinds: Mapping[str, float]) -> bool:
    """Whether a candidate is worse than ``shift`` in one kind of label or more."""
    return any(value > _SAME for value in kinds.values())


def _geometric(values: Iterable[float]) -> float:
    """The mean of ratios: twice as bad and twice as good cancel."""
    row = np.array(list(values))
    if (row == 0).any():
        return 0.0
    return float(np.exp(np.log(row).mean()))


def _candidates(n: int, config: FinetuneConfig) -> tuple[str, ...]:
    few = ("gain", "lora") if n < FEW else ("lora", "discriminative")
    # a difference has no E0 of the parent, and free atoms may lack its low level
    whole = difference_parts(config.level) is None and config.references in (None, "fit")
    return ("frozen-ridge", "head", *few, "full", *(["delta"] if whole else []))


def config_for(config: FinetuneConfig, name: str, *, epochs: int | None = None) -> FinetuneConfig:
    """Returns the fine-tuning with a strategy that was tried or chosen.

    Settings of gradient steps are left out if the strategy makes none.

    Args:
        config: of a fine-tuning whose strategy is ``auto``.
        name: of the strategy.
        epochs: in place of those of `config`, where the strategy trains.
    """
    if strategy(name).defaults is None:
        seed = {k: v for k, v in config.training.items() if k == "seed"}
        return replace(config, strategy=name, training=seed, anchor=None)
    own = {} if epochs is None else {"epochs": epochs}
    return replace(config, strategy=name, training={**config.training, **own})


def _folds(dataset: Dataset, split: Split, n_folds: int) -> list[Ints]:
    """Divides the training frames, as the split keeps them together if there is enough of that."""
    rng = np.random.default_rng([split.seed, 7])
    kinds = None if split.by.startswith("random") else kept_kinds(dataset, split.by)
    if kinds is not None and len(np.unique(kinds[split.train])) >= n_folds:
        groups = kinds[split.train]
    else:  # identical structures stay together at least
        groups = kept_together(dataset, split.train, "random", None, split.seed)[1]
    shares = np.array_split(rng.permutation(np.unique(groups)), n_folds)
    return [split.train[np.isin(groups, share)] for share in shares]


def _errors(
    config: FinetuneConfig,
    trial: Trial,
    dataset: Dataset,
    split: Split,
    parts: list[Ints],
    k: int,
    folder: Path,
) -> Mapping[str, float]:
    rest = np.concatenate([part for j, part in enumerate(parts) if j != k])
    order = np.random.default_rng([split.seed, 8, k]).permutation(rest)
    n_validation = max(1, len(rest) // 5)
    division = replace(
        split,
        train=np.sort(order[n_validation:]),
        validation=np.sort(order[:n_validation]),
        test=np.sort(parts[k]),
    )
    described = {k: v for k, v in to_mapping(config).items() if k not in ("output", "split")}
    identity = [
        json.loads(json.dumps(described, default=str)), dataset.content_hash, _parent_hash(config),
        division.test.tolist(), division.train.tolist(), split.content_hash,
    ]  # fmt: skip
    file = folder / f"{digest(identity, digits=20)}.json"
    kept: dict[str, float] | None = read_json(file, "delete it to have the trial done again")
    if kept is not None:
        return kept
    with TemporaryDirectory() as place:
        division.save(Path(place) / "split.json")
        overall = trial(
            replace(
                config,
                split=SplitSettings(file=Path(place) / "split.json"),
                output=Path(place) / "trial.safetensors",
                report=None,
            )
        )
    write_json(file, overall)
    return overall


def _parent_hash(config: FinetuneConfig) -> str:
    if config.parent_model is None:
        return content_hash(config.parent)
    return hashlib.sha256(to_bytes(config.parent_model)).hexdigest()


def _relative(name: str, row: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    """Returns errors relative to ``shift``'s by kind of label."""
    missing = [k for k in _KINDS if k in base and k not in row]
    if missing:
        raise ConfigError(
            f"strategy auto: candidate {name!r} has no {missing[0]}, which the others are "
            "compared by; leave it out of strategy.candidates"
        )
    return {words: _ratio(row[k], base[k]) for k, words in _KINDS.items() if k in base}


def _ratio(error: float, base: float) -> float:
    if base > 0:
        return error / base
    return 1.0 if error == 0 else np.inf

"""Campaigns on candidates whose labels are known, beside choosing at random."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlpot._version import __version__
from tlpot.active_learning.acquisition import choose
from tlpot.active_learning.config import ActiveConfig, Candidates, labels_of
from tlpot.active_learning.surrogate import RUN, Surrogate, knows_uncertainty
from tlpot.config import to_mapping
from tlpot.errors import DataError
from tlpot.evaluation import property_errors
from tlpot.files import sole_folder
from tlpot.jobs import source_hashes
from tlpot.levels import canonical_level
from tlpot.numbers import Floats, Ints, counted
from tlpot.presentation import COLOURS, Result, Table, add_legend, drawn, make_figure, progress_bar
from tlpot.stored_results import digest, read_result, write_result
from tlpot.targets import property_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tlpot.files import PathLike

ARMS = ("active", "random")
ROUNDS = "rounds"
"""Folder of the results, whose names are hashes of all that a round depends on."""
_CONFIDENCE = 0.95
"""Of the interval of the difference from random choice, which must be above zero."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class SimulatedCampaign(Result):
    """What choosing was worth, by the number of labels.

    Attributes:
        title: what was done.
        unit: of the property.
        goal: in words.
        method: how candidates were chosen.
        labels: [n_rounds + 1], labels bought.
        mae: by arm, [n_seeds, n_rounds + 1], on the structures held out.
        found: by arm, [n_seeds, n_rounds + 1], candidates one would like to find that were found.
        best: by arm, [n_seeds, n_rounds + 1], best label.
        n_wanted: of such candidates that there are; 0 for the goal to learn.
        wanted: which those are, in words.
        in_order: candidates found by labelling in the order of a guess that needs no label, by
            its name, [n_rounds + 1]: the parent's value, or the property at another level.
    """

    title: str
    unit: str
    goal: str
    method: str
    labels: Ints
    mae: Mapping[str, Floats]
    found: Mapping[str, Floats]
    best: Mapping[str, Floats]
    n_wanted: int
    wanted: str
    in_order: Mapping[str, Ints]

    def headline(self) -> str:
        """Returns what was done."""
        return f"{self.title}, {self.method}"

    @property
    def advantage(self) -> tuple[float, float]:
        """Mean over rounds and seeds of what active choice is better by, and its standard error.

        In labels found, or in errors where the goal is to learn; the rounds before the first
        choice do not count. The error is NaN for one seed.
        """
        kind, sign = (self.found, 1.0) if self.n_wanted else (self.mae, -1.0)
        each = sign * (kind["active"] - kind["random"])[:, 1:].mean(axis=1)
        error = float(each.std(ddof=1) / math.sqrt(len(each))) if len(each) > 1 else math.nan
        return float(each.mean()), error

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of the advantage over the seeds, by Student's t.

        Infinite for one seed, which says nothing of chance.
        """
        gain, error = self.advantage
        n = len(self.mae["active"])
        if n < 2:
            return -math.inf, math.inf
        from scipy.special import stdtrit

        width = float(stdtrit(n - 1, 0.5 * (1.0 + _CONFIDENCE))) * error
        return gain - width, gain + width

    @property
    def better(self) -> bool:
        """Whether active choice was better than random choice, beyond the chance of the seeds."""
        return self.interval[0] > 0

    def verdict(self) -> str:
        """Says whether it was worth it."""
        gain, error = self.advantage
        unit = self.wanted if self.n_wanted else f"{self.unit} of MAE".strip()
        n = len(self.mae["active"])
        spread = f" ± {error:.2g}" if n > 1 else ""
        said = f"{gain:+.3g}{spread} {unit} on average over the rounds, {counted(n, 'seed')}"
        if self.better:
            return f"better than random choice by {said}"
        if n == 1:
            return (
                f"beside random choice: {said}; one seed says nothing of chance, take more (seeds)"
            )
        low, high = self.interval
        said += f" (95 % interval {low:.2g} to {high:.2g})"
        if gain > 0:
            return f"NOT SURELY BETTER THAN RANDOM CHOICE: {said}; more seeds tell"
        return f"NO BETTER THAN RANDOM CHOICE: {said}"

    def order_words(self) -> list[str]:
        """Returns a sentence for each order of a guess that finds as much, without learning."""
        own = float(self.found["active"][:, 1:].mean())
        return [
            f"NO BETTER THAN THE ORDER OF {name.upper()}: {own:.3g} found on average over the "
            f"rounds, {float(found[1:].mean()):.3g} by labelling in that order from the start"
            for name, found in self.in_order.items()
            if found[1:].mean() >= own
        ]

    def text(self) -> str:
        """Returns the table of both ways to choose."""
        columns = ["labels"]
        kinds: list[tuple[str, Mapping[str, Floats]]] = [("MAE", self.mae)]
        if self.n_wanted:
            kinds = [("found", self.found), ("best", self.best), ("MAE", self.mae)]
        columns += [f"{name}, {arm}" for name, _ in kinds for arm in ARMS]
        rows = [
            [
                int(n),
                *(float(of[arm][:, k].mean()) for _, of in kinds for arm in ARMS),
            ]
            for k, n in enumerate(self.labels)
        ]
        lines = [f"{self.title}; chosen by {self.method}"]
        if self.n_wanted:
            lines.append(
                f"found: of {self.n_wanted} {self.wanted}; best, MAE: {self.unit}".rstrip(": ")
            )
        else:
            lines.append(f"MAE: {self.unit}".rstrip(": "))
        lines += Table(columns, rows, format=".4g", widths=(8, 14)).lines()
        for name, found in self.in_order.items():
            lines.append(f"found in the order of {name}: {', '.join(map(str, found.tolist()))}")
        return "\n".join([*lines, self.verdict(), *self.order_words()])

    def as_json(self) -> dict[str, Any]:
        """Returns all numbers."""
        gain, error = self.advantage
        return {
            "title": self.title,
            "unit": self.unit,
            "goal": self.goal,
            "method": self.method,
            "labels": self.labels.tolist(),
            "n_wanted": self.n_wanted,
            **{
                name: {arm: values.tolist() for arm, values in of.items()}
                for name, of in (("mae", self.mae), ("found", self.found), ("best", self.best))
            },
            "in_order": {name: found.tolist() for name, found in self.in_order.items()},
            "advantage": gain,
            "standard_error": None if math.isnan(error) else error,
            "better_than_random": self.better,
        }

    def plot(self, path: PathLike | None = None) -> Figure:
        """Returns the curves of both ways to choose, and writes them to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        kinds = [(self.mae, f"MAE ({self.unit})" if self.unit else "MAE")]
        if self.n_wanted:
            kinds.insert(0, (self.found, f"found, of {self.n_wanted} {self.wanted}"))
        figure, panels = make_figure(4.6 * len(kinds), 3.8, 1, len(kinds), title=self.title)
        for axes, (values, name) in zip(panels[0], kinds, strict=True):
            for colour, arm in zip(COLOURS, ARMS, strict=False):
                mean, spread = values[arm].mean(axis=0), values[arm].std(axis=0)
                axes.plot(self.labels, mean, "o-", color=colour, markersize=3, label=arm)
                axes.fill_between(
                    self.labels, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
                )
            if values is self.found:
                for name, found in self.in_order.items():
                    axes.plot(self.labels, found, "--", linewidth=1, label=f"order of {name}")
            axes.set_xlabel("labels")
            axes.set_ylabel(name)
        add_legend(panels[0][0])
        return drawn(figure, path)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Simulation:
    """What all rounds have in common."""

    config: ActiveConfig
    candidates: Candidates
    pool: Ints
    test: Ints
    values: Floats
    folder: Path
    identity: Mapping[str, Any]
    device: torch.device | str | None

    def round(self, batches: list[Ints], seed: int, *, choosing: bool) -> dict[str, Any]:
        """Fits to what is labelled, measures errors, and chooses; or reads what was found."""
        labelled = np.concatenate(batches)
        key = {
            **self.identity, "seed": seed, "choosing": choosing,
            "newest": len(batches[-1]) if len(batches) > 1 else 0, "labelled": labelled.tolist(),
        }  # fmt: skip
        file = self.folder / ROUNDS / f"{digest(key, digits=24)}.json"
        stored = read_result(file, key)
        if stored is not None:
            return stored
        surrogate = Surrogate(
            config=self.config,
            candidates=self.candidates,
            folder=self.folder / RUN,
            device=self.device,
        )
        newest = batches[-1] if len(batches) > 1 else labelled[:0]
        model = surrogate.fit(labelled, newest, seed=seed)
        said, _ = surrogate.ask(model, [], self.test)
        content: dict[str, Any] = {
            "errors": property_errors(self.values[self.test], said, self.candidates.quantity)
        }
        if choosing:
            level = self.candidates.level
            members = (
                []
                if knows_uncertainty(model, level)
                else surrogate.committee(labelled, newest, seed=seed)
            )
            rest = np.setdiff1d(self.pool, labelled)
            mean, std = surrogate.ask(model, members, rest)
            score = self.config.target.score(mean, std, self.values[labelled])
            groups = self.candidates.groups[rest]
            spread = self.config.goal == "learn"
            first = choose(score, groups, self.config.batch, spread=spread, seed=seed)
            content["chosen"] = rest[first].tolist()
        write_result(file, key, content)
        return content


def simulate(
    config: ActiveConfig, candidates: Candidates, *, device: torch.device | str | None = None
) -> SimulatedCampaign:
    """Runs rounds on candidates whose labels are known, by active and by random choice.

    Both begin with the same labels, and are of the same model; what was computed before in the
    folder is not computed again.

    Raises:
        DataError: too few candidates with a label.
        TLPotError: something is wrong with the data or the settings.
    """
    values = candidates.values
    split = config.split.divide(candidates.dataset, candidates.level)
    pool, test = split.train, split.test
    needed = config.initial + config.rounds * config.batch
    if len(pool) < needed or not len(test):
        raise DataError(
            f"{candidates.dataset.path}: there are {len(pool)} candidates with {candidates.level} "
            f"and {len(test)} held out to measure errors on; {counted(config.rounds, 'round')} of "
            f"{config.batch} after {config.initial} labels need {needed} and at least one. Ask for "
            "fewer (rounds, batch, initial), or hold out others (split.test)"
        )
    settings = to_mapping(config)
    idle = ("output", "rounds", "seeds", "initial", "simulate", "parent", "data", "split", "level")
    identity = {
        "tlpot": __version__,
        "settings": {k: v for k, v in settings.items() if k not in idle},
        "sources": source_hashes(config.strategy),
        "parent": candidates.parent_hash,
        "data": candidates.dataset.content_hash,
        "level": candidates.level,
        "labels": digest(values[pool].tolist(), digits=24),
        "pool": digest(pool.tolist(), digits=24),
        "test": digest(test.tolist(), digits=24),
    }
    shared = _Simulation(
        config=config, candidates=candidates, pool=pool, test=test, values=values,
        folder=config.output, identity=identity, device=device,
    )  # fmt: skip
    wanted = np.zeros(len(values), dtype=bool)
    wanted[pool] = config.target.wanted(values[pool])
    shape = (config.seeds, config.rounds + 1)
    measured = {
        name: {arm: np.full(shape, np.nan) for arm in ARMS} for name in ("mae", "found", "best")
    }
    total = config.seeds * (2 * config.rounds + 1)
    with (
        sole_folder(config.output, "tlpot active"),
        progress_bar(total=total, desc="active learning", unit="round", disable=None) as bar,
    ):
        for row in range(config.seeds):
            seed = config.seed + row
            order = np.random.default_rng([config.seed, row]).permutation(pool)
            for arm in ARMS:
                batches = [order[: config.initial]]
                for k in range(config.rounds + 1):
                    labelled = np.concatenate(batches)
                    # both arms begin alike, and the last round has nothing to choose for
                    choosing = k < config.rounds and (arm == "active" or k == 0)
                    done = shared.round(batches, seed, choosing=choosing)
                    measured["mae"][arm][row, k] = done["errors"]["property_mae"]
                    measured["found"][arm][row, k] = wanted[labelled].sum()
                    measured["best"][arm][row, k] = config.target.best(values[labelled])
                    start = config.initial + k * config.batch
                    following = order[start : start + config.batch]
                    if arm == "active" and choosing:
                        following = np.array(done["chosen"], dtype=np.int64)
                    batches.append(following)
                    bar.update(arm == "active" or k > 0)
    shutil.rmtree(config.output / RUN, ignore_errors=True)
    labels = config.initial + config.batch * np.arange(config.rounds + 1)
    n_wanted = 0 if config.goal == "learn" else int(wanted.sum())
    name = config.strategy if isinstance(config.strategy, str) else config.strategy["name"]
    return SimulatedCampaign(
        title=(
            f"{candidates.level}, {config.target.words(candidates.quantity.unit)}: {name} from "
            f"{candidates.parent.card.name}, {counted(len(pool), 'candidate')}"
        ),
        unit=candidates.quantity.unit,
        goal=config.goal,
        method=config.target.method,
        labels=labels,
        mae=measured["mae"],
        found=measured["found"],
        best=measured["best"],
        n_wanted=n_wanted,
        wanted="in the window" if config.window else "best candidates",
        in_order={
            name: np.cumsum(wanted[pool][config.target.order(guess)])[labels - 1]
            for name, guess in (_guesses(shared) if n_wanted else {}).items()
        },
    )


def _guesses(shared: _Simulation) -> dict[str, Floats]:
    """Returns values of the candidates that are there before any label: the trivial ways to search.

    That of the parent, where it knows the same property, and the same property at other levels.
    """
    candidates, pool, found = shared.candidates, shared.pool, {}
    name, parent = property_name(candidates.level), candidates.parent
    source = shared.config.source or parent.levels[0]
    target = parent.target(canonical_level(source))
    if target is not None and property_name(source) == name and target.known is None:
        surrogate = Surrogate(
            config=shared.config,
            candidates=candidates,
            folder=shared.folder / RUN,
            device=shared.device,
        )
        found[f"the parent's {source}"] = surrogate.evaluated(parent.at(source), pool)[0]
    for other in candidates.dataset.levels:
        if other != candidates.level and property_name(other) == name:
            values = labels_of(candidates.dataset, other)[pool]
            if np.isfinite(values).all():
                found[other] = values
    return found

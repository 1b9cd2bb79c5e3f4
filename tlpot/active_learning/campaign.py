"""Campaigns in which somebody labels what was chosen: one call for each round."""

from __future__ import annotations

import csv
import io
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlpot.active_learning.acquisition import DesignTarget, calibration, choose
from tlpot.active_learning.config import ActiveConfig, Candidates, open_candidates
from tlpot.active_learning.simulation import SimulatedCampaign, simulate
from tlpot.active_learning.surrogate import RUN, Surrogate, knows_uncertainty
from tlpot.errors import DataError
from tlpot.files import check_text, sole_folder, write_text
from tlpot.models import save
from tlpot.numbers import Floats, Ints, counted
from tlpot.presentation import COLOURS, Result, Table, add_legend, drawn, make_figure
from tlpot.stored_results import as_stored, read_json, write_json
from tlpot.structures import extxyz_text
from tlpot.targets import broken_values, broken_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tlpot.files import PathLike

IDENTITY = "campaign.json"
MODEL = "model.safetensors"
_FAILED = ("failed", "nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRound:
    """Candidates of a round, and what became of them.

    Attributes:
        candidates: [n], which.
        mean: [n], what was predicted; NaN for those drawn at random.
        std: [n], its standard deviation.
        labels: [n], NaN where none could be had.
    """

    candidates: Ints
    mean: Floats
    std: Floats
    labels: Floats

    @property
    def drawn(self) -> bool:
        """Whether they were drawn at random."""
        return bool(np.isnan(self.mean).all())

    @property
    def known(self) -> Floats:
        """The labels that could be had."""
        return self.labels[np.isfinite(self.labels)]


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Campaign(Result):
    """A campaign after a call: what is known, and what to label next.

    Attributes:
        level: the property.
        unit: of it.
        target: what is wanted.
        given: labels of the file.
        rounds: that were labelled.
        table: the file with candidates to label; None when there are none left.
        n_chosen: how many.
        n_left: candidates that are neither labelled nor chosen.
        at_random: whether they were drawn at random.
        model: the file of the model; None while there are too few labels.
        unread: columns of the file that were not read.
    """

    level: str
    unit: str
    target: DesignTarget
    given: Floats
    rounds: tuple[LabelledRound, ...]
    table: Path | None
    n_chosen: int
    n_left: int
    at_random: bool
    model: Path | None
    unread: tuple[str, ...] = ()

    def verdict(self) -> str:
        """Compares what was chosen with what was drawn at random; empty if there is too little."""
        start = [r.known for r in self.rounds if r.drawn]
        later = [r.known for r in self.rounds if not r.drawn]
        if not start or not later or self.target.goal == "learn":
            return ""
        drawn, chosen = np.concatenate(start), np.concatenate(later)
        if not len(drawn) or not len(chosen):
            return ""
        if self.target.goal == "window":
            inside = [self.target.inside(each) for each in (chosen, drawn)]
            said = (
                f"{inside[0].sum()} of {len(chosen)} chosen ones are in the window, "
                f"{inside[1].sum()} of {len(drawn)} drawn at random"
            )
            better = inside[0].mean() > inside[1].mean()
        else:
            middle = [float(np.median(each)) for each in (chosen, drawn)]
            said = (
                f"median of {len(chosen)} chosen ones {middle[0]:.4g} {self.unit}, of {len(drawn)} "
                f"drawn at random {middle[1]:.4g} {self.unit}"
            )
            better = self.target.best(np.array(middle)) == middle[0] != middle[1]
        return said if better else f"NO BETTER THAN RANDOM CHOICE: {said}"

    def text(self) -> str:
        """Returns the rounds so far, and what to do."""
        lines = [f"{self.level}, {self.target.words(self.unit)}"]
        if self.unread:
            lines.append(f"not read: {', '.join(self.unread)}")
        columns = ["round", "chosen by", "labels", "best", "MAE", "within σ (68 %)"]
        window = self.target.window is not None
        columns += ["in window"] * window
        rows: list[list[Any]] = []
        if len(self.given):
            inside = int(self.target.inside(self.given).sum())
            rows.append(["", "the file", len(self.given), self._best(self.given), None, None])
            rows[-1] += [inside] * window
        for k, each in enumerate(self.rounds, start=1):
            fared = self._fared(each)
            within = fared["within"]
            rows.append([
                k, "random" if each.drawn else self.target.method, len(each.known),
                self._best(each.known), fared["mae"],
                None if math.isnan(within) else f"{100 * within:.0f} %",
            ])  # fmt: skip
            rows[-1] += [int(self.target.inside(each.known).sum())] * window
        if rows:
            lines += Table(columns, rows, format=".4g", missing="-").lines()
        lines += [text] if (text := self.verdict()) else []
        if self.model is not None:
            lines.append(f"model of all labels: {self.model}")
        if self.table is None:
            return "\n".join([*lines, "no candidates are left"])
        how = "drawn at random" if self.at_random else f"chosen by {self.target.method}"
        lines.append(
            f"next: {counted(self.n_chosen, 'candidate')}, {how}, of {self.n_chosen + self.n_left} "
            f"without a label. Fill the last column of {self.table} (structures in "
            f"{self.table.with_suffix('.xyz').name}), 'failed' or 'nan' where there is no value, "
            "and call the same command again"
        )
        return "\n".join(lines)

    def _best(self, values: Floats) -> float | None:
        return self.target.best(values) if len(values) else None

    def _fared(self, each: LabelledRound) -> dict[str, float]:
        known = np.isfinite(each.labels) & np.isfinite(each.mean)
        return calibration(each.labels[known], each.mean[known], each.std[known])

    def as_json(self) -> dict[str, Any]:
        """Returns all numbers; None for what is not known."""
        return {
            "level": self.level,
            "unit": self.unit,
            "goal": self.target.goal,
            "given": self.given.tolist(),
            "rounds": [
                {
                    "candidates": each.candidates.tolist(),
                    **{
                        name: [None if math.isnan(v) else v for v in getattr(each, name).tolist()]
                        for name in ("mean", "std", "labels")
                    },
                    **{k: None if math.isnan(v) else v for k, v in self._fared(each).items()},
                }
                for each in self.rounds
            ],
            "table": None if self.table is None else str(self.table),
            "model": None if self.model is None else str(self.model),
            "verdict": self.verdict(),
        }

    def plot(self, path: PathLike | None = None) -> Figure:
        """Returns predictions beside labels, and labels by round; writes them to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        title = f"{self.level}, {self.target.words(self.unit)}"
        figure, panels = make_figure(8.6, 3.8, 1, 2, title=title)
        unit = f" ({self.unit})" if self.unit else ""
        left, right = panels[0]
        for k, each in enumerate(self.rounds, start=1):
            colour = COLOURS[k % len(COLOURS)]
            left.plot(np.full(len(each.labels), k), each.labels, "o", color=colour, markersize=4)
            if not each.drawn:
                right.errorbar(
                    each.labels, each.mean, each.std, fmt="o", color=colour, markersize=4,
                    elinewidth=0.8, label=f"round {k}",
                )  # fmt: skip
        if len(self.given):
            left.plot(np.zeros(len(self.given)), self.given, "o", color="0.5", markersize=4)
        for end in self.target.window or ():
            left.axhline(end, color="0.6", linewidth=1)
        left.set(xlabel="round (0: the file)", ylabel=f"{self.level}{unit}")
        left.set_xticks(range(len(self.rounds) + 1))
        right.set(xlabel=f"label{unit}", ylabel=f"predicted before{unit}")
        for middle in [float(r.known.mean()) for r in self.rounds if not r.drawn and len(r.known)]:
            right.axline((middle, middle), slope=1, color="0.6", linewidth=1, zorder=0)
        add_legend(right)
        return drawn(figure, path)


def run_campaign(
    config: ActiveConfig, *, device: torch.device | str | None = None
) -> Campaign | SimulatedCampaign:
    """Simulates campaigns where all candidates have a label, or makes one round of a real one.

    Raises:
        TLPotError: something is wrong with the parent, the candidates or the settings.
    """
    candidates = open_candidates(config, device=device)
    known = np.isfinite(candidates.values)
    simulated = known.all() if config.simulate is None else config.simulate
    run = simulate if simulated else next_round
    return run(config, candidates, device=device)


def next_round(
    config: ActiveConfig, candidates: Candidates, *, device: torch.device | str | None = None
) -> Campaign:
    """Reads the labels of the rounds so far, fits to them, and chooses the next candidates.

    Called again before anything was labelled, it says so and changes nothing.

    Raises:
        DataError: candidates of the last round have no label yet, a table is damaged, or the
            folder holds a campaign of other candidates.
        TLPotError: something is wrong with the data or the settings.
    """
    folder, given = config.output, candidates.values
    unit = candidates.quantity.unit
    title = f"{candidates.level} ({unit})" if unit else candidates.level
    with sole_folder(folder, "tlpot active"):
        _check_identity(folder, candidates)
        rounds: list[LabelledRound] = []
        files: set[Path] = set()
        while (file := folder / f"round-{len(rounds) + 1}.csv").exists():
            rounds.append(_read_table(file, title, candidates))
            files.add(file)
        later = [each.name for each in folder.glob("round-*.csv") if each not in files]
        seen = np.concatenate([np.zeros(0, dtype=np.int64), *(r.candidates for r in rounds)])
        if later:
            raise DataError(
                f"{folder} has {', '.join(sorted(later))} and no {file.name}; restore that, or "
                "remove the later ones"
            )
        if len(np.unique(seen)) < len(seen):
            raise DataError(f"{folder}: a candidate is in two of the tables; restore them")
        labels = np.concatenate([np.zeros(0), *(r.labels for r in rounds)])
        known = np.isfinite(labels)
        own = candidates.with_labels(seen[known].tolist(), labels[known].tolist())
        labelled = np.sort(np.concatenate([np.flatnonzero(np.isfinite(given)), seen[known]]))
        rest = np.setdiff1d(np.arange(len(given)), np.concatenate([labelled, seen]))
        # a few that fail at the start are no reason for a round of their own
        tried = len(labelled) + int((~known).sum())
        at_random = tried < config.initial or len(labelled) < max(2, config.initial // 2)
        model: Path | None = None
        mean = std = score = np.full(len(rest), np.nan)
        if at_random:
            order = np.random.default_rng([config.seed, len(rounds)]).permutation(len(rest))
            chosen = order[: config.initial - len(labelled)]
        else:
            newest = rounds[-1].candidates if rounds else labelled[:0]
            surrogate = Surrogate(config=config, candidates=own, folder=folder / RUN, device=device)
            fitted = surrogate.fit(labelled, newest, seed=config.seed)
            model = folder / MODEL
            save(fitted, model)
            members = (
                []
                if knows_uncertainty(fitted, own.level)
                else surrogate.committee(labelled, newest, seed=config.seed)
            )
            mean, std = surrogate.ask(fitted, members, rest)
            score = config.target.score(mean, std, own.values[labelled])
            chosen = choose(
                score, own.groups[rest], config.batch, spread=config.goal == "learn",
                seed=len(rounds),
            )  # fmt: skip
        if len(chosen):
            numbers = np.stack([mean, std, score], axis=1)[chosen]
            _write_table(file, title, own, rest[chosen], numbers)
        shutil.rmtree(folder / RUN, ignore_errors=True)
    return Campaign(
        level=candidates.level,
        unit=unit,
        target=config.target,
        given=given[np.isfinite(given)],
        rounds=tuple(rounds),
        table=file if len(chosen) else None,
        n_chosen=len(chosen),
        n_left=len(rest) - len(chosen),
        at_random=at_random,
        model=model,
        unread=tuple(candidates.dataset.unused_keys),
    )


def _check_identity(folder: Path, candidates: Candidates) -> None:
    """Refuses to go on with other candidates, which are known by their place, or another parent."""
    identity = {
        "level": candidates.level,
        "candidates": candidates.dataset.content_hash,
        "parent": candidates.parent_hash,
    }
    file = folder / IDENTITY
    stored = read_json(file, "give another output (-o)")
    if stored is None:
        write_json(file, identity)
        return
    different = [key for key in identity if stored.get(key) != as_stored(identity)[key]]
    if different:
        raise DataError(
            f"{folder} holds a campaign whose {' and '.join(different)} differ; give what it began "
            "with, or another output (-o)"
        )


_COLUMNS = ("candidate", "name", "formula", "predicted", "std", "score")


def _write_table(
    file: Path, title: str, candidates: Candidates, indices: Ints, numbers: Floats
) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_COLUMNS, title])
    frames = candidates.dataset.read(indices, ())
    structures = []
    for index, frame, row in zip(indices.tolist(), frames, numbers.tolist(), strict=True):
        cells = ["" if math.isnan(value) else repr(value) for value in row]
        name, formula = candidates.names[index], candidates.formula(index)
        table.writerow([index, name, formula, *cells, ""])
        atoms = frame.system.to_atoms()
        atoms.info |= {"candidate": index, "name": name}
        structures.append(atoms)
    write_text(file.with_suffix(".xyz"), extxyz_text(structures))
    write_text(file, text.getvalue())  # last: a table says that the round is chosen


def _read_table(file: Path, title: str, candidates: Candidates) -> LabelledRound:
    """Reads a table that somebody has filled.

    Raises:
        DataError: there are empty cells, or what is in one is no label.
    """
    check_text(file)
    rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    head, body = (rows[0], [row for row in rows[1:] if any(row)]) if rows else ([], [])
    if head != [*_COLUMNS, title] or any(len(row) != len(head) for row in body):
        raise DataError(
            f"{file} is not the table that tlpot active wrote; expected the columns "
            f"{', '.join([*_COLUMNS, title])}. Restore it, or delete it to have its round chosen "
            "again"
        )
    empty = [row for row in body if not row[-1].strip()]
    if empty:
        raise DataError(
            f"{file}: {len(empty)} of {counted(len(body), 'candidate')} have no label yet, first "
            f"{empty[0][0]} ({empty[0][2]}); fill the column {title!r} ('failed' or 'nan' where "
            "there is no value), and call again"
        )
    numbers = [[_number(cell, file) for cell in (row[0], row[3], row[4], row[-1])] for row in body]
    index, mean, std, labels = np.array(numbers).reshape(-1, 4).T
    broken = broken_values(labels, candidates.quantity)
    if broken.any():
        raise DataError(
            f"{file}: the label {labels[broken][0]:g} of candidate {index[broken][0]:.0f} "
            f"{broken_words(candidates.quantity)}"
        )
    if not np.isin(index, np.arange(len(candidates.dataset))).all():
        raise DataError(f"{file} names candidates that {candidates.dataset.path} does not have")
    return LabelledRound(candidates=index.astype(np.int64), mean=mean, std=std, labels=labels)


def _number(cell: str, file: Path) -> float:
    text = cell.strip()
    if not text or text.lower() in _FAILED:
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"{file}: {text!r} is no number; write one, or 'failed' or 'nan' where there is none"
        ) from None

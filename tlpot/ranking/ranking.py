"""What a ranking of source models says."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tlpot.config import to_mapping
from tlpot.data import SpecSource
from tlpot.presentation import Result
from tlpot.targets import is_property

Scheme = Literal["random", "molecule", "cluster"]
"""What is kept together in a fold: nothing, a molecule, or structures that look alike."""

BASELINE = "composition only"
LEAST_MOLECULES = 10
"""With fewer, the folds say little about a model and much about which molecules there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldError:
    """Error on frames that were left out, over all folds.

    Attributes:
        mae: mean absolute error of the energies, meV; of a property in its unit.
        rmse: root mean square.
        r2: share of the squared error of `BASELINE` on the same folds that is gone; negative
            if it got worse.
        by_fold: mean absolute error of each fold.
    """

    mae: float
    rmse: float
    r2: float
    by_fold: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One way to use one model.

    Attributes:
        model: a shipped name or a path; empty for `BASELINE`.
        source: level of the model.
        features: blocks whose features were regressed on; none for reference energies alone.
        on: ``residual`` with the model's energy, ``total`` without it.
        errors: by scheme; a scheme that the data do not allow is left out.
    """

    model: str
    source: str
    features: tuple[str, ...]
    on: Literal["residual", "total"]
    errors: Mapping[str, FoldError]

    @property
    def what(self) -> str:
        """What was regressed, for people."""
        if not self.model:
            return BASELINE
        blocks = " + ".join(self.features) or "E0 shift alone"
        return blocks if self.on == "residual" else f"{blocks}, without its energy"


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Ranking(Result):
    """All scores.

    Attributes:
        data: file with the labels.
        content_hash: of the data.
        level: of the labels.
        by: the scheme that decides.
        n_frames: frames with a label.
        folds: number of folds by scheme.
        seed: of the folds.
        n_molecules: molecules among them.
        scores: the best first.
        refused: why a model could not be tried, by model.
        acquainted: models that were trained on frames of the same file.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of the labels, where the file has its own.
        unit: of the errors.
        unfixed: schemes that were not tried, as their folds leave out molecules whose energies
            the compositions of the others do not fix.
    """

    data: str
    content_hash: str
    level: str
    by: Scheme
    n_frames: int
    n_molecules: int
    folds: Mapping[str, int]
    seed: int
    scores: tuple[Score, ...]
    refused: Mapping[str, str]
    acquainted: tuple[str, ...] = ()
    spec: SpecSource | None = None
    keys: Mapping[str, str] | None = None
    unit: str = "meV"
    unfixed: tuple[str, ...] = ()

    @property
    def best(self) -> Score | None:
        """The use of a model with the smallest error, or None if `BASELINE` is as good."""
        best = self.scores[0]
        base = self._baseline.errors[self.by].mae
        return best if best.model and best.errors[self.by].mae < base else None

    @property
    def winner(self) -> Score | None:
        """What is recommended: `best`, unless the data cannot decide that it is better."""
        return None if self.undecided() else self.best

    def interval(self) -> tuple[float, float, float] | None:
        """Returns the error of `best` relative to `BASELINE`'s, with its 95 % interval over folds.

        From the logarithms of the ratios of the folds, by Student's t. None without a `best`.
        """
        if self.best is None:
            return None
        from scipy.special import stdtrit

        rows = self.best.errors[self.by].by_fold, self._baseline.errors[self.by].by_fold
        ratios = np.log(np.maximum(np.array(rows), 1e-12))
        logs = ratios[0] - ratios[1]
        width = stdtrit(len(logs) - 1, 0.975) * logs.std(ddof=1) / np.sqrt(len(logs))
        middle = logs.mean()
        low, mean, high = np.exp([middle - width, middle, middle + width])
        return float(mean), float(low), float(high)

    def undecided(self) -> str:
        """Returns why the data cannot decide whether a model is any good; empty if they can."""
        reasons = []
        if self.n_molecules < LEAST_MOLECULES:
            molecules = "molecule" if self.n_molecules == 1 else "molecules"
            reasons.append(
                f"there are {self.n_molecules} {molecules}, fewer than {LEAST_MOLECULES}"
            )
        found = self.interval()
        if found is not None and found[2] >= 1.0:
            mean, low, high = found
            reasons.append(
                f"the smallest error is {mean:.2g} times that of {BASELINE} "
                f"(95 % interval over the folds {low:.2g} to {high:.2g}), which may be no gain"
            )
        return "; ".join(reasons)

    @property
    def _baseline(self) -> Score:
        return next(score for score in self.scores if not score.model)

    def commands(self) -> list[str]:
        """Returns the commands that use the winner: in closed form, and with all weights.

        None without a winner.
        """
        best = self.winner
        if best is None:
            return []
        common = ["tlpot", "finetune", best.model, self.data, "--level", self.level]
        common += ["--source", best.source, "-o", "MODEL.safetensors"]
        if self.spec is not None:
            named = self.spec if isinstance(self.spec, str | os.PathLike) else "SPEC.yaml"
            common += ["--spec", os.fspath(named)]
        if self.keys:
            common += ["--keys", *(f"{quantity}={name}" for quantity, name in self.keys.items())]
        if not best.features:
            return [shlex.join([*common, "--strategy", s]) for s in ("shift", "full")]
        blocks = ", ".join(best.features)
        scored = [f"strategy.blocks=[{blocks}]", f"strategy.on={best.on}"]
        return [
            shlex.join([*common, "--strategy", "frozen-ridge", *scored]),
            shlex.join([*common, "--strategy", "full"]),
        ]

    def text(self) -> str:
        """Returns a table of all models and what to do."""
        schemes = list(self.folds)
        rows = [(score.model or "-", score.source or "-", score.what) for score in self.scores]
        heads = ("model", "source", "ridge on")
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

        def words(row: tuple[str, ...]) -> str:
            return "  ".join(f"{word:{width}}" for word, width in zip(row, widths, strict=True))

        kind = "values" if is_property(self.level) else "energies"
        lines = [
            f"{self.n_frames} {kind} at {self.level}; MAE in {self.unit} and R² on frames left "
            f"out, sorted by {self.by}",
            words(("", "", "")) + "".join(f"{f'{s} ({n})':>19}" for s, n in self.folds.items()),
            words(heads) + f"{'MAE':>10}{'R²':>9}" * len(schemes),
        ]
        for row, score in zip(rows, self.scores, strict=True):
            errors = [score.errors[scheme] for scheme in schemes]
            lines.append(
                words(row) + "".join(f"{e.mae:>10.4g} {_fraction(e.r2):>8}" for e in errors)
            )
        lines.append(
            f"R²: share of the squared error of {BASELINE!r} on the same folds that is gone"
        )
        if self.unfixed:
            lines.append(
                f"note: no folds by {' and '.join(self.unfixed)}: the compositions of the other "
                "molecules do not fix the energies of what is left out; free atoms at this level "
                "would, or more molecules"
            )
        lines += [f"not applicable: {model}: {why}" for model, why in self.refused.items()]
        lines += [
            f"note: {model} was trained on frames of this file, so that to its features not all of "
            "what is left out is new"
            for model in self.acquainted
        ]
        return "\n".join([*lines, *self._advice()])

    def _advice(self) -> list[str]:
        best, undecided = self.best, self.undecided()
        if not any(score.model for score in self.scores):
            return ["\nno model could be tried; train from scratch"]
        name = None if best is None else f"{best.model} at {best.source}, {best.what}"
        found = "no model did better than the composition alone"
        if name:
            found = f"smallest error: {name}"
        if undecided:
            return [
                "\nthe data cannot decide which model to take, so none is recommended: "
                f"{undecided}.\n{found}. Label more molecules, or compare by training: tlpot curve "
                "with strategies scratch, shift and full"
            ]
        if best is None:
            return [f"\n{found}; train from scratch"]
        commands = [f"  {command}" for command in self.commands()]
        return [f"\nbest: {name}; in closed form, and fine-tuned:", *commands]

    def as_json(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        found = self.interval()
        relative = None if found is None else dict(zip(("mean", "low", "high"), found, strict=True))
        return {
            **to_mapping(self),
            "relative to composition only": relative,
            "undecided": self.undecided(),
            "commands": self.commands(),
        }


def _fraction(r2: float) -> str:
    return f"{r2:.3f}" if r2 > -100 else f"{r2:.1e}"

"""What a ranking of source models says."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tlpot.config import to_mapping

Scheme = Literal["random", "molecule", "cluster"]
"""What is kept together in a fold: nothing, a molecule, or structures that look alike."""

BASELINE = "composition only"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldError:
    """Error on frames that were left out, over all folds.

    Attributes:
        mae: mean absolute error of the energies, meV.
        rmse: root mean square, meV.
        r2: share of the squared error of `BASELINE` on the same folds that is gone; negative
            if it got worse.
    """

    mae: float
    rmse: float
    r2: float


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """All scores.

    Attributes:
        data: file with the labels.
        content_hash: of the data.
        level: of the labels.
        by: the scheme that decides.
        n_frames: frames with a label.
        folds: number of folds by scheme.
        seed: of the folds.
        scores: the best first.
        refused: why a model could not be tried, by model.
        acquainted: models that were trained on frames of the same file.
        spec: layout of the data, if it is not tlpot's own.
    """

    data: str
    content_hash: str
    level: str
    by: Scheme
    n_frames: int
    folds: Mapping[str, int]
    seed: int
    scores: tuple[Score, ...]
    refused: Mapping[str, str]
    acquainted: tuple[str, ...] = ()
    spec: str | None = None

    @property
    def winner(self) -> Score | None:
        """The best use of a model, or None if `BASELINE` is as good."""
        best = self.scores[0]
        return best if best.model else None

    def commands(self) -> list[str]:
        """Returns the commands that use the winner: in closed form, and with all weights."""
        best = self.winner
        if best is None:
            return []
        common = ["tlpot", "finetune", best.model, self.data, "--level", self.level]
        common += ["--source", best.source, "-o", "MODEL.safetensors"]
        if self.spec is not None:
            common += ["--spec", self.spec]
        if not best.features:
            return [shlex.join([*common, "--strategy", s]) for s in ("shift", "full")]
        blocks = ", ".join(best.features)
        scored = [f"strategy.blocks=[{blocks}]", f"strategy.on={best.on}"]
        return [
            shlex.join([*common, "--strategy", "frozen-ridge", *scored]),
            shlex.join([*common, "--strategy", "full"]),
        ]

    def as_json(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {**to_mapping(self), "commands": self.commands()}

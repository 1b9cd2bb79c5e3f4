"""From a model, its parent and some frames to the transfer report."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlpot.calculators import TLPotCalculator
from tlpot.data import Dataset, Frame
from tlpot.energy import has_forces
from tlpot.evaluation import (
    LARGEST,
    PARTS,
    EvaluatedModel,
    Part,
    ReportSettings,
    TransferReport,
    choose_frame,
    force_drift,
    forgetting,
    probe_stability,
    scan_dimers,
    systematic_errors,
)
from tlpot.models import LevelPotential
from tlpot.presentation import progress_bar
from tlpot.uncertainty import DomainWarning

_NO_PARENT = "there is no parent to compare with"


def examine(
    evaluated: EvaluatedModel,
    settings: ReportSettings,
    *,
    parent: LevelPotential | None = None,
    labels: Callable[[], Dataset] | None = None,
    show: bool = False,
) -> TransferReport:
    """Looks at all parts that `settings` asks for.

    Args:
        evaluated: the model and the frames.
        settings: which parts, and how much.
        parent: the model before the transfer, at the level that the transfer started from.
        labels: opens the same frames with labels of more levels, if the dataset of `evaluated`
            was opened with some levels only.
        show: whether to show a progress bar.

    Raises:
        TLPotError: a model does not know an element, or a structure is unusable.
    """
    examiner = _Examiner(evaluated, settings, parent, labels)
    work: dict[Part, tuple[str, Callable[[], Any]]] = {
        "calibration": ("calibration", examiner.calibration),
        "drift": ("drift", examiner.drift),
        "forgetting": ("forgetting", examiner.forgetting),
        "dimers": ("dimers", examiner.dimers),
        "md": ("stability", examiner.stability),
    }
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name in progress_bar(PARTS, disable=not show, desc="report", dynamic_ncols=True):
        field, look = work[name]
        result: object = "switched off by report.parts"
        if name in settings.parts:
            result = look() if examiner.can(name) else "the model has energies only"
        if isinstance(result, str):
            skipped[name] = result
        else:
            found[field] = result
    return TransferReport(
        level=evaluated.level,
        source="" if parent is None else parent.level,
        part=evaluated.part,
        end=evaluated.end,
        start=evaluated.start,
        skipped=skipped,
        **found,
    )


class _Examiner:
    """Each method returns a part of the report, or the reason why there is none."""

    def __init__(
        self,
        evaluated: EvaluatedModel,
        settings: ReportSettings,
        parent: LevelPotential | None,
        labels: Callable[[], Dataset] | None,
    ) -> None:
        self._evaluated_model, self._settings, self._parent = evaluated, settings, parent
        self._labels = labels
        self._new = evaluated.potential.at(evaluated.level)
        self._device = evaluated.potential.device
        self._indices = _some(evaluated.indices, settings)

    def can(self, part: Part) -> bool:
        """Whether a part needs nothing that the model lacks."""
        return part == "calibration" or has_forces(self._new)

    def calibration(self) -> object:
        references = self._evaluated_model.potential.references(self._evaluated_model.level)
        return systematic_errors(self._evaluated_model.end, references)

    def drift(self) -> object:
        if self._parent is None:
            return _NO_PARENT
        return force_drift(self._new, self._parent, self._frames(), device=self._device)

    def forgetting(self) -> object:
        if self._parent is None:
            return _NO_PARENT
        potential, level = self._evaluated_model.potential, self._parent.level
        dataset = self._evaluated_model.dataset if self._labels is None else self._labels()
        if not _same_frames(dataset, self._evaluated_model.dataset, self._indices):
            return f"{dataset.path} has not the frames of the training in the same order"
        kept = level in potential.levels
        found = forgetting(
            potential.at(level) if kept else self._new,
            self._parent,
            dataset,
            self._indices,
            level,
            kept=kept,
            device=self._device,
        )
        return f"none of these frames has labels at {level} to compare" if found is None else found

    def dimers(self) -> object:
        known = set(self._new.elements)
        if self._parent is not None:
            known &= set(self._parent.elements)
        elements = [z for z in self._evaluated_model.dataset.elements if z in known]
        return scan_dimers(self._new, elements, parent=self._parent, device=self._device)

    def stability(self) -> object:
        steps, seed = self._settings.md_steps, self._settings.seed
        if not steps:
            return "switched off by report.md_steps=0"
        frame = choose_frame(self._frames(), self._new, seed=seed, device=self._device)
        if frame is None:
            return f"no frame has between 2 and {LARGEST} atoms"
        with warnings.catch_warnings():  # the dynamics are a test, wherever they lead
            warnings.simplefilter("ignore", DomainWarning)
            return probe_stability(frame, TLPotCalculator(self._new), steps=steps, seed=seed)

    def _frames(self) -> list[Frame]:
        return self._evaluated_model.dataset.read(self._indices, [])


def _same_frames(a: Dataset, b: Dataset, indices: NDArray[np.int64]) -> bool:
    if a is b:
        return True
    if indices.max() >= min(len(a), len(b)) or (a.sizes[indices] != b.sizes[indices]).any():
        return False
    names = (np.array(d.group_names)[d.group_idx[indices]] for d in (a, b))
    return bool(np.equal(*names).all())


def _some(indices: NDArray[np.int64], settings: ReportSettings) -> NDArray[np.int64]:
    """At most `settings.frames` of the frames, drawn at random, in their order."""
    indices = np.sort(np.asarray(indices, dtype=np.int64))
    if len(indices) <= settings.frames:
        return indices
    rng = np.random.default_rng(settings.seed)
    return np.sort(rng.choice(indices, settings.frames, replace=False))

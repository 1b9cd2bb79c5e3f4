"""Which geometries get expensive labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tlpot.building.config import SelectSettings
from tlpot.building.labels import LABELS, as_atoms, labels_of
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.training import MODEL, UNCERTAIN
from tlpot.config import to_mapping
from tlpot.data import Dataset, frames_of
from tlpot.sampling import ModelView, farthest_points, most_uncertain, scaled
from tlpot.stored_results import write_json

CHOSEN = "chosen.json"


def select_stage(
    settings: SelectSettings, budget: int, level: str, *, trained_charges: bool = False
) -> Stage:
    """Chooses among the geometries with cheap labels, fragment by fragment.

    Args:
        settings: how.
        budget: geometries of each kind of fragment.
        level: the cheap one.
        trained_charges: the model reads no charges.
    """

    def run(work: StageContext) -> StageResult:
        dataset = labels_of([work.of("low", LABELS)], trained_charges)
        name = UNCERTAIN if settings.how == "uncertainty" else MODEL
        view = ModelView(str(work.of("pretrain", name)), level)
        known = dataset.labelled(level)
        chosen: dict[str, list[int]] = {}
        for number, group in enumerate(dataset.group_names):
            members = np.flatnonzero((dataset.group_idx == number) & known)
            if len(members):
                picked = _pick(view, dataset, members, settings.how, budget, level)
                chosen[group] = sorted(picked.tolist())
        write_json(work.folder / CHOSEN, chosen)
        return StageResult(
            outputs=(CHOSEN,), facts={"geometries": {k: len(v) for k, v in chosen.items()}}
        )

    return Stage(
        name="select",
        summary=f"{budget} geometries of each, {settings.how}",
        settings={"select": to_mapping(settings), "budget": budget, "level": level},
        needs=("low", "pretrain"),
        run=run,
    )


def _pick(
    view: ModelView, dataset: Dataset, members: NDArray[np.int64], how: str, budget: int, level: str
) -> NDArray[np.int64]:
    frames = list(frames_of(dataset, members, levels=[level]))
    atoms = [as_atoms(frame) for frame in frames]
    rows = scaled(view.features(atoms))
    if how == "uncertainty":
        order = most_uncertain(view.uncertainty(atoms), rows, budget)
    else:
        first = int(np.argmin([frame.labels[level].energy for frame in frames]))
        order, _ = farthest_points(rows, budget, first)
    found: NDArray[np.int64] = members[order]
    return found

"""Whether new labels can be what they are called: units, signs of forces and stresses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from tlpot.data import label_problems, open_dataset
from tlpot.labelling.task import LabelOutcome
from tlpot.system import System

MOST = 512
"""Labels that are looked at."""


def label_suspicions(
    level: str, systems: Sequence[System], outcomes: Sequence[LabelOutcome]
) -> tuple[str, ...]:
    """Looks at labels as ``tlpot data validate`` does, which a calculator of one's own may need.

    Args:
        level: of theory.
        systems: the structures; of many, some are looked at.
        outcomes: of each.

    Returns:
        What is suspicious.
    """
    frames = []
    stride = -(-len(systems) // MOST) or 1
    for system, outcome in list(zip(systems, outcomes, strict=True))[::stride]:
        if outcome.energy is None:
            continue
        atoms = system.to_atoms()
        results = {"energy": outcome.energy, "forces": outcome.forces, "stress": outcome.stress}
        given = {name: value for name, value in results.items() if value is not None}
        atoms.calc = SinglePointCalculator(atoms, **given)
        frames.append(atoms)
    if not frames:
        return ()
    dataset = open_dataset(frames, level=level)
    found = []
    for problem in label_problems(dataset, level, np.arange(len(dataset))):
        refused = "TRAINING WILL REFUSE THESE LABELS: " if problem.severity == "error" else ""
        found.append(f"{refused}{problem.what}")
    return tuple(found)

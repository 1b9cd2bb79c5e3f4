"""What a force field cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlpot.labelling import label_costs


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """One kind of work.

    Attributes:
        what: such as ``label`` or ``training``.
        level: of theory; empty where it does not apply.
        count: how many were done.
        seconds: median of one by the clock; NaN if not known.
        total_seconds: of all by the clock of the workers, added up.
        total_cpu_seconds: likewise of the processors; NaN if not known.
    """

    what: str
    level: str = ""
    count: int
    seconds: float = float("nan")
    total_seconds: float
    total_cpu_seconds: float = float("nan")


def labelling_cost(paths: Sequence[Path]) -> tuple[CostRow, ...]:
    """Returns a row for each level whose labels have a cost in the files.

    Args:
        paths: outputs of ``tlpot label``.

    Raises:
        DataError: not a dataset in the native layout.
    """
    return tuple(
        CostRow(
            what="label",
            level=level,
            count=cost.labels,
            seconds=cost.seconds,
            total_seconds=cost.total_seconds,
            total_cpu_seconds=cost.total_cpu_seconds,
        )
        for level, cost in sorted(label_costs(paths).items())
    )

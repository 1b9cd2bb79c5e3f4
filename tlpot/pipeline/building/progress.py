"""Where a build stands, as a table with times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tlpot.pipeline.building.plan import Standing
from tlpot.pipeline.building.record import Record


def stage_table(standings: Sequence[Standing]) -> str:
    """Returns a line for each stage: state, time, what it does, and why it is to be done."""
    lines = [f"{'stage':18}{'state':8}{'time':>9}  what"]
    for one in standings:
        done = one.state == "done"
        seconds = duration(one.record.seconds) if done and one.record is not None else ""
        left = expected(one, {s.stage.name: s.record for s in standings})
        if not done and left is not None:
            seconds = f"~{duration(left)}"
        why = f" [{one.why}]" if one.why else ""
        lines.append(f"{one.stage.name:18}{one.state:8}{seconds:>9}  {one.stage.summary}{why}")
    lines.append(time_left(standings))
    return "\n".join(lines)


def time_left(standings: Sequence[Standing]) -> str:
    """Returns how long the stages that are not done took the last time, in words."""
    todo = [one for one in standings if one.state != "done"]
    if not todo:
        return "nothing to do"
    records = {one.stage.name: one.record for one in standings}
    known = [expected(one, records) for one in todo]
    seconds = [value for value in known if value is not None]
    text = f"{len(todo)} of {len(standings)} stages to do"
    if seconds:
        text += f", about {duration(sum(seconds))}"
        if len(seconds) < len(todo):
            text += f" and what {len(todo) - len(seconds)} stages take that have not run before"
    return text


def expected(one: Standing, records: Mapping[str, Record | None]) -> float | None:
    """Seconds that a stage took the last time, or one like it did; None if that is not known."""
    record = one.record
    if record is None and one.stage.like is not None:
        record = records.get(one.stage.like)
    return None if record is None else record.seconds


def duration(seconds: float) -> str:
    """Returns ``12 s``, ``3:04 min`` or ``2:30 h``."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02d} h"

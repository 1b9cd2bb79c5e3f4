"""A mistake in a dataset, as it is reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A kind of mistake with the frames that show it.

    Attributes:
        severity: an error makes frames unusable, a warning is worth a look, a note says what
            could not be checked.
        what: the mistake and the remedy.
        frames: names of the frames; empty when it concerns the whole file.
    """

    severity: Severity
    what: str
    frames: tuple[str, ...] = ()


SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first."""

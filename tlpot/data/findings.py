"""What opening a dataset shows, before any frame is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from tlpot.data.dataset import LevelInfo, Problem
from tlpot.data.spec import DataSpec, looks_like

COARSE = 1e-4
"""eV; energies that are stored in larger steps have lost what a converged calculation gives."""


_OF_ASE = {"free_energy": "energy", "energies": "energy", "stresses": "stress"}
"""Results that ASE writes beside others, with the one that is read."""


def unread_problems(keys: Iterable[str], kinds: Set[str] = frozenset()) -> list[Problem]:
    """Reports arrays that look like labels and are not read.

    Args:
        keys: arrays of the file that its description does not mention.
        kinds: of labels that are read.
    """
    keys = set(keys)
    usual = sorted(key for key in keys if _OF_ASE.get(key) in kinds)
    note = Problem(
        severity="note",
        what=f"{', '.join(map(repr, usual))}: known as what ASE writes beside energy and forces, "
        "and not read",
    )
    return [note] * bool(usual) + [
        Problem(
            severity="warning",
            what=f"{key!r} is not used, although it looks like {kind}; name it if it is "
            f"(keys, --keys {kind}={key}, or a description)"
            if kind != "unit"
            else f"{key!r} is not used, although it looks like a unit",
        )
        for key in sorted(keys - {*usual})
        if (kind := looks_like(key)) is not None
    ]


def outside_problems(keys: Set[str], spec: DataSpec) -> list[Problem]:
    """Reports labels that are stored apart from any structure.

    Args:
        keys: arrays in groups that hold no structures.
        spec: what is a label.
    """
    labels = {key for level in spec.levels.values() for key in level.keys}
    return [
        Problem(
            severity="warning",
            what=f"{key!r} is also in groups without {spec.numbers!r} and {spec.coordinates!r}, "
            "where it is not read; labels belong beside their structures",
        )
        for key in sorted(keys & labels)
    ]


def definitions_of(info: LevelInfo) -> tuple[str, ...]:
    """Returns every definition of a level."""
    return tuple(text for text in (info.definition, *info.other_definitions) if text)


def definition_problems(levels: Mapping[str, LevelInfo]) -> list[Problem]:
    """Reports levels of theory whose labels were computed in several ways."""
    return [
        Problem(
            severity="warning",
            what=f"{name}: its labels were computed in {len(found)} ways "
            f"({'; '.join(found)}), so they may differ where the geometry is the same; take one, "
            "or give each a name of its own",
        )
        for name, info in levels.items()
        if len(found := definitions_of(info)) > 1
    ]


def resolution_problems(steps: Mapping[str, float]) -> list[Problem]:
    """Reports energies that are stored with too few digits.

    Args:
        steps: by level of theory, the distance of neighbouring energies as they are stored, eV.
    """
    return [
        Problem(
            severity="warning",
            what=f"{level}: total energies come in steps of {1e3 * step:.2g} meV, as floats of 32 "
            "bits or whole numbers have them; store them with 64 bits, or relative to free atoms",
        )
        for level, step in steps.items()
        if step > COARSE
    ]

"""What differs between two records of settings, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, first: Sequence[str] = ()
) -> list[str]:
    """Returns ``key was 1, is 2`` for each entry that differs, sections as ``section.key``.

    An entry that is not there is one that is None.

    Args:
        old: what was recorded, as plain JSON.
        new: what is given, as plain JSON.
        first: keys, or sections, that are named before all others.
    """
    before, now = _flat(old), _flat(new)
    keys = [key for key in before.keys() | now.keys() if before.get(key) != now.get(key)]

    def rank(key: str) -> tuple[int, str]:
        leading = [k for k, name in enumerate(first) if key == name or key.startswith(f"{name}.")]
        return (leading[0] if leading else len(first)), key

    return [
        f"{key} was {_said(before.get(key))}, is {_said(now.get(key))}"
        for key in sorted(keys, key=rank)
    ]


def _said(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat

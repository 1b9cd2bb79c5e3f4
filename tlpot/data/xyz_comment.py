"""The comment line of extended XYZ: keys and values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

_CLOSING = {'"': '"', "'": "'", "[": "]", "{": "}"}
_INTEGER = re.compile(r"[+-]?\d+")
_REAL = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE
)
_BOOLEANS = {"T": True, "F": False} | {
    spelling: spelling.lower() == "true"
    for word in ("true", "false")
    for spelling in (word, word.capitalize(), word.upper())
}
_FORTRAN_ORDER = ("virial", "stress")
"""Keys whose nine numbers are the columns of a matrix, as ASE writes them."""


def parse_comment(line: str) -> dict[str, Any]:
    """Returns what a comment line holds; numbers, booleans and arrays of them are converted.

    A word without ``=`` is true; a line without any ``=`` is free text and holds nothing.

    Raises:
        ValueError: a key is given twice, or a quotation mark is not closed.
    """
    words = list(_words(line))
    if ("=", False) not in words:
        return {}
    found: dict[str, Any] = {}
    k = 0
    while k < len(words):
        key, _ = words[k]
        k += 1
        if (key, words[k - 1][1]) == ("=", False):
            raise ValueError(f"an '=' without a key in {line[:60]!r}")
        if k < len(words) and words[k] == ("=", False):
            text, quoted = words[k + 1] if k + 1 < len(words) else ("", False)
            if (text, quoted) == ("=", False):
                raise ValueError(f"{key!r} has two '='")
            value = _value(key, text)
            k += 2
        else:
            value = True
        if key in found and not (found[key] is True and value is True):
            raise ValueError(f"the key {key!r} is given twice")
        found[key] = value
    return found


def _words(line: str) -> Iterator[tuple[str, bool]]:
    """Yields keys, values and equals signs, and whether each was quoted."""
    k, after_equals = 0, False
    while k < len(line):
        char = line[k]
        if char.isspace():
            k += 1
            continue
        if char == "=":
            yield "=", False
            k, after_equals = k + 1, True
            continue
        if char in _CLOSING:
            text, k = _quoted(line, k)
            yield text, True
        else:
            text, k = _bare(line, k, value=after_equals)
            yield text, False
        after_equals = False


def _quoted(line: str, start: int) -> tuple[str, int]:
    closing, text, k = _CLOSING[line[start]], "", start + 1
    while k < len(line):
        if line[k] == "\\" and line[k + 1 : k + 2] == closing:
            text, k = text + closing, k + 2
        elif line[k] == closing:
            return text, k + 1
        else:
            text, k = text + line[k], k + 1
    raise ValueError(f"{line[start]} in the comment line is not closed: {line[start:][:40]!r}")


def _bare(line: str, start: int, *, value: bool) -> tuple[str, int]:
    """Returns a word; within a value, as in a SMILES string, ``=`` is a character."""
    k = start
    while k < len(line) and not line[k].isspace() and (value or line[k] != "="):
        k += 1
    return line[start:k], k


def _value(key: str, text: str) -> Any:
    if text.startswith("_JSON "):
        try:
            content = json.loads(text.removeprefix("_JSON "))
            array = np.array(content)
        except ValueError:  # not JSON, or a list of lists of different lengths
            return text
        return array if array.dtype.kind in "ifb" else content
    parts = re.findall(r"[^\s,]+", text)
    if key.lower() == "uid" or not parts:
        return text
    if all(part in _BOOLEANS for part in parts):
        flags = [_BOOLEANS[part] for part in parts]
        return flags[0] if len(flags) == 1 else flags
    if not all(_REAL.fullmatch(part) for part in parts):
        return text
    whole = all(_INTEGER.fullmatch(part) and len(part) < 19 for part in parts)
    numbers = np.array([int(part) if whole else float(re.sub("[dD]", "e", part)) for part in parts])
    if key in _FORTRAN_ORDER and numbers.shape == (9,):
        return numbers.reshape((3, 3), order="F")
    return numbers[0] if len(numbers) == 1 else numbers

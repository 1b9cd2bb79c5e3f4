"""Models to choose from: what their files say of them, without loading the weights."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers, chemical_symbols

from tlpot.config import parse
from tlpot.errors import ConfigError, ModelFileError, nearest
from tlpot.levels import part_of_level
from tlpot.models.description import ModelCard, describe
from tlpot.models.library import SUFFIX, file_hash, library_file, library_names


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueEntry:
    """A model file.

    Attributes:
        source: what to write where a model is asked for: a shipped name, or a path.
        name: on its card.
        levels: of theory.
        elements: atomic numbers.
        n_weights: trainable numbers.
        cutoff: of one layer, Å.
        licence: of the weights, and of those that they were made from.
        description: on its card.
        trained_on: SHA-256 of the training data; empty if not stated.
        sha256: of the file; empty if it could not be read.
        problem: why the file cannot be used; empty if it can.
        no_parent: why nothing can be fine-tuned from it; empty if something can.
    """

    source: str
    name: str = ""
    levels: tuple[str, ...] = ()
    elements: tuple[int, ...] = ()
    n_weights: int = 0
    cutoff: float = 0.0
    licence: str = ""
    description: str = ""
    trained_on: str = ""
    sha256: str = ""
    problem: str = ""
    no_parent: str = ""

    @property
    def symbols(self) -> str:
        """The elements as people write them."""
        return " ".join(chemical_symbols[z] for z in self.elements)


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What a model must have; what is None does not matter.

    Attributes:
        elements: atomic numbers, all of which it must know.
        level: level of theory, canonical; a part of the name does.
        licence: a part of the licence's name, in any case.
        max_weights: at most so many.
    """

    elements: tuple[int, ...] | None = None
    level: str | None = None
    licence: str | None = None
    max_weights: int | None = None

    def accepts(self, entry: CatalogueEntry) -> bool:
        """Whether a usable model has all that is asked for."""
        wanted = part_of_level(self.level) if self.level is not None else ""
        return (
            not entry.problem
            and set(self.elements or ()) <= set(entry.elements)
            and any(wanted in level for level in entry.levels)
            and (self.licence or "").lower() in entry.licence.lower()
            and (self.max_weights is None or entry.n_weights <= self.max_weights)
        )


def parse_elements(text: str) -> tuple[int, ...]:
    """Reads ``C,H,O``.

    Raises:
        ConfigError: not the symbol of an element.
    """
    symbols = [part.strip() for part in text.split(",") if part.strip()]
    for symbol in symbols:
        if symbol not in atomic_numbers or symbol == "X":
            raise ConfigError(
                f"elements: {symbol!r} is no element{nearest(symbol, chemical_symbols[1:])}"
            )
    return tuple(sorted({atomic_numbers[symbol] for symbol in symbols}))


def catalogue(
    folders: Collection[str | os.PathLike[str]] = (), sources: Sequence[str] | None = None
) -> list[CatalogueEntry]:
    """Describes models.

    Args:
        folders: whose model files to add; folders within them are not looked into.
        sources: paths and names; None means all that ship with tlpot and all that are
            installed.

    Raises:
        ModelFileError: no such folder, or no model of that name. What cannot be used is listed
            with its problem, as are names that stand for two models if none were asked for.
    """
    found: dict[Path, CatalogueEntry] = {}
    for source in library_names() if sources is None else sources:
        try:
            path = library_file(source)
        except ModelFileError as error:
            if sources is not None:
                raise
            found[Path(source)] = CatalogueEntry(source=source, problem=str(error))
            continue
        found[path.resolve()] = describe_file(path, source)
    for folder in folders:
        if not Path(folder).is_dir():
            raise ModelFileError(f"there is no folder {folder}")
        for path in sorted(Path(folder).glob(f"*{SUFFIX}")):
            found[path.resolve()] = describe_file(path, str(path))
    return list(found.values())


def describe_file(path: Path, source: str) -> CatalogueEntry:
    """Returns what a model file says of itself, or why it cannot be used.

    Args:
        path: the file.
        source: what the entry calls it.
    """
    digest = ""
    try:
        digest = file_hash(path)
        metadata = describe(path)
        parts, no_parent = _parts(metadata)
        card = metadata["card"]
        elements = [part["architecture"]["elements"] for part in parts]
        return CatalogueEntry(
            source=source,
            name=str(card["name"]),
            levels=tuple(metadata["levels"]),
            elements=tuple(z for z in elements[0] if all(z in own for own in elements)),
            n_weights=_n_weights(path),
            cutoff=max(float(part["architecture"]["cutoff"]) for part in parts),
            licence=parse(ModelCard, card, source).lineage_licence,
            description=str(card["description"]),
            trained_on=str(card["dataset"].get("content_hash", "")),
            sha256=digest,
            no_parent=no_parent,
        )
    except ModelFileError as error:
        return CatalogueEntry(source=source, sha256=digest, problem=str(error))
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        problem = f"its description is damaged: {error!r}"
        return CatalogueEntry(source=source, sha256=digest, problem=problem)


def _parts(metadata: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], str]:
    """Returns the descriptions of a model's networks, and why it is no parent, if it is none."""
    if "members" in metadata:
        return list(metadata["members"]), (
            "it is an ensemble, which cannot be fine-tuned; start from one of the potentials that "
            "it was made from"
        )
    if "parts" in metadata:
        return list(metadata["parts"].values()), (
            "it is the sum of a low level and a difference, which cannot be fine-tuned; start "
            "from the low level"
        )
    of_engine = metadata["architecture"].get("family") == "engine"
    return [metadata], (
        "it reads features of an engine, which cannot be fine-tuned; start from the engine"
        if of_engine
        else ""
    )


def _n_weights(path: Path) -> int:
    """Counts the weights in a file's header; constants and corrections do not count."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header: Mapping[str, Any] = json.loads(handle.read(length))
    return sum(
        math.prod(tensor["shape"])
        for name, tensor in header.items()
        if name != "__metadata__"
        and not name.endswith((".value", "readout.scale"))
        and not any(part in name for part in (".corrections.", ".domain."))
    )

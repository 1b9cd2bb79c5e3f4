"""The list of a folder of models that others install from, with the hash of each file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from tlpot.atomic_file import write_text
from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError, ModelFileError
from tlpot.models.catalogue import CatalogueEntry
from tlpot.models.library import SUFFIX, check_name

INDEX = "tlpot-models.json"
FORMAT = "tlpot-models"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexEntry:
    """One model of an index.

    Attributes:
        name: what it is installed as, unless another name is asked for.
        file: beside the index.
        sha256: of the file.
        size: of the file, bytes.
        kind: class of the model, such as ``Potential`` or ``Ensemble``.
        levels: of theory.
        elements: atomic numbers.
        n_weights: trainable numbers.
        cutoff: Å.
        licence: of the weights.
        description: on its card.
    """

    name: str
    file: str
    sha256: str
    size: int
    kind: str
    levels: tuple[str, ...]
    elements: tuple[int, ...]
    n_weights: int
    cutoff: float
    licence: str
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if Path(self.file).name != self.file or "\\" in self.file or self.file in ("", ".", ".."):
            raise ConfigError(
                f"file is {self.file!r}, expected the name of a file beside the index"
            )
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ConfigError(f"sha256 is {self.sha256!r}, expected 64 digits 0-9a-f")
        if self.size < 1:
            raise ConfigError(f"size is {self.size}, expected a number of bytes")
        if not all(0 < z < len(chemical_symbols) for z in self.elements):
            raise ConfigError(f"elements must be atomic numbers, not {self.elements}")

    def as_catalogue(self) -> CatalogueEntry:
        """Returns it in the form that `tlpot.models.Query` looks at."""
        return CatalogueEntry(
            source=self.name,
            name=self.name,
            levels=self.levels,
            elements=self.elements,
            n_weights=self.n_weights,
            cutoff=self.cutoff,
            licence=self.licence,
            description=self.description,
            sha256=self.sha256,
        )


def index_entry(path: Path) -> IndexEntry:
    """Describes a model file; it is loaded, so that what is listed can be used.

    Raises:
        ModelFileError: it cannot be read, or holds no model.
        ConfigError: its name is no name for a model.
    """
    from tlpot.models.model_file import from_bytes  # needs torch, reading an index does not

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    model = from_bytes(content, name=str(path))
    return IndexEntry(
        name=check_name(path.stem),
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        kind=type(model).__name__,
        levels=tuple(model.levels),
        elements=tuple(model.elements),
        n_weights=sum(p.numel() for p in model.parameters()),
        cutoff=float(model.cutoff),
        licence=model.card.licence,
        description=model.card.description,
    )


def write_index(folder: str | os.PathLike[str]) -> tuple[IndexEntry, ...]:
    """Writes the index of the model files in a folder, not of those in folders within it.

    Returns:
        What it lists.

    Raises:
        ModelFileError: no such folder, no model in it, or a file that cannot be used.
        ConfigError: a file whose name is no name for a model.
        OutputError: the index could not be written.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ModelFileError(f"there is no folder {folder}")
    entries = tuple(index_entry(path) for path in sorted(place.glob(f"*{SUFFIX}")))
    if not entries:
        raise ModelFileError(f"there are no model files (*{SUFFIX}) in {folder}")
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "models": [to_mapping(entry) for entry in entries],
    }
    write_text(place / INDEX, json.dumps(content, indent=1) + "\n")
    return entries


def parse_index(content: bytes, where: str) -> tuple[IndexEntry, ...]:
    """Reads an index.

    Args:
        content: of its file.
        where: the file or URL, for messages.

    Raises:
        ModelFileError: it is no index, from a newer tlpot, or damaged.
    """
    try:
        found: Any = json.loads(content)
    except ValueError as error:
        raise ModelFileError(f"{where} is not JSON ({error}); make it with 'tlpot models index'")\
            from error  # fmt: skip
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise ModelFileError(
            f"{where} is no index of models: 'format' must be {FORMAT!r}. Make one with "
            "'tlpot models index DIR'"
        )
    if found.get("format_version") != FORMAT_VERSION:
        raise ModelFileError(
            f"{where} has format version {found.get('format_version')!r}, this tlpot reads "
            f"{FORMAT_VERSION}; update tlpot"
        )
    models = found.get("models")
    if not isinstance(models, list) or not all(isinstance(m, Mapping) for m in models):
        raise ModelFileError(f"{where}: 'models' must be a list of entries")
    try:
        entries = tuple(parse(IndexEntry, m, f"models[{k}]") for k, m in enumerate(models))
    except ConfigError as error:
        raise ModelFileError(f"{where} is damaged: {error}; make it again") from error
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelFileError(f"{where} has {twice[0]!r} twice; make it again")
    return entries

"""What a model file says of its model, its card included, read without torch."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlpot._version import __version__
from tlpot.config import parse
from tlpot.errors import ConfigError, ModelFileError
from tlpot.files import has_checksum
from tlpot.models.architecture import AnyArchitecture, parse_architecture
from tlpot.models.library import library_file
from tlpot.targets import Quantity, parse_quantity


def is_reference(key: str) -> bool:
    """Whether a tensor of a model file holds the reference energies of a level."""
    return key.endswith("references.value")


def complete_references(values: NDArray[Any]) -> bool:
    """Whether reference energies are numbers, or NaN for elements that the level does not know."""
    return not np.isinf(values).any() and not np.isnan(values).all()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Provenance of a model.

    Attributes:
        name: what to call it.
        description: one or two sentences.
        licence: of the weights.
        parent: content hash of the model it was fine-tuned from, or empty.
        parent_licence: licence of the parent, or empty.
        dataset: file name, content hash and split of the training data.
        recipe: the resolved configuration that made it.
        metrics: errors on validation and test sets, in meV, meV/atom and meV/Å.
        references: by level of theory, how its isolated-atom energies were found.
        versions: of tlpot, torch and Python when it was made.
        citation: what to cite.
        charges: ``ignored`` where a model that reads no charges was trained on structures whose
            charge follows from their atoms; empty where it reads them, or saw none.
        frames: sketch of the structures it was trained on (`tlpot.data.FrameSketch`), by which
            they are known again in other files; empty if there is none.
        origin: of weights that another program trained, or of those of a parent: the file,
            its SHA-256 and its licence.
    """

    name: str = "unnamed"
    description: str = ""
    licence: str = "not stated"
    parent: str = ""
    parent_licence: str = ""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    citation: str = ""
    charges: Literal["", "ignored"] = ""
    frames: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lineage_licence(self) -> str:
        """The licences of the model and of what it was made from, which bind a child of it."""
        stated = (self.licence, self.parent_licence, str(self.origin.get("licence", "")))
        # the parent's is a list already, where it had a parent of its own
        found = dict.fromkeys(part for text in stated for part in text.split("; "))
        return "; ".join(text for text in found if text not in ("", "not stated")) or "not stated"

    @property
    def implies_charges(self) -> bool:
        """Whether the model was trained on charged structures without reading charges.

        A file from before the field says so in the configuration that made it.
        """
        data = self.recipe.get("data")
        made_so = isinstance(data, Mapping) and data.get("charges") == "ignore"
        return self.charges == "ignored" or made_so


FORMAT = "tlpot-potential"
ENSEMBLE_FORMAT = "tlpot-ensemble"
DELTA_FORMAT = "tlpot-delta"
VERSIONS = {FORMAT: 2, ENSEMBLE_FORMAT: 2, DELTA_FORMAT: 2}
"""Newest version of the metadata of each kind of file: what is read, and what is written at most.

Version 2 may have properties among its levels."""
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]
UPGRADES: Mapping[str, Mapping[int, Upgrade]] = {form: {1: dict} for form in VERSIONS}
"""By format and version, the function that turns metadata into the next version's."""
CONVENTIONS = "54bd5cd0dac11283"
"""What `tlpot.nn.couplings.fingerprint` gives: a file with another has other weights."""

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "<u1"}


def describe(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the metadata of a model file in the newest version.

    Raises:
        ModelFileError: no such file or name, or the file is damaged, foreign, from a newer
            tlpot, or made with other coupling conventions.
    """
    path = library_file(source)
    return read_metadata(path.read_bytes(), str(path))[1]


def content_hash(source: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a model file.

    Raises:
        ModelFileError: no such file or name.
    """
    return hashlib.sha256(library_file(source).read_bytes()).hexdigest()


def read_metadata(content: bytes, name: str) -> tuple[str, dict[str, Any], bool]:
    """Returns a file's format, its metadata in the newest version, and if it has a checksum.

    Args:
        content: the file's bytes.
        name: of the file, for messages.

    Raises:
        ModelFileError: see `describe`.
    """
    try:
        header = _header(content)[0].get("__metadata__", {})
        form = next((key for key in VERSIONS if key in header), None)
    except (ValueError, AttributeError, OverflowError, TypeError) as error:
        raise ModelFileError(f"{name} is not a safetensors file, or it is damaged") from error
    if form is None:
        raise ModelFileError(
            f"{name} was not written by tlpot: it has no metadata called "
            f"{' or '.join(map(repr, VERSIONS))}; expected a model saved by 'tlpot train' or "
            "'tlpot finetune'"
        )
    checked = has_checksum(content, name)  # before anything that it says is taken at its word
    try:
        metadata: dict[str, Any] = json.loads(header[form])
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{name}: the model's description is damaged: {error!r}") from error
    metadata = upgraded(form, metadata, name)
    found = metadata.get("coupling_fingerprint")
    if found != CONVENTIONS:
        raise ModelFileError(
            f"{name} was made with other spherical-harmonics or Clebsch–Gordan conventions "
            f"({found}, here {CONVENTIONS}); its weights would give wrong energies. Use the tlpot "
            "that it was made with"
        )
    return form, metadata, checked


def format_version(form: str, metadata: Mapping[str, Any]) -> int:
    """Returns the oldest version of a format that says all that there is to say."""
    members = metadata.get("members", ())
    parts = [metadata, *members, *metadata.get("parts", {}).values()]
    return VERSIONS[form] if any(part.get("targets") for part in parts) else 1


def upgraded(form: str, metadata: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the metadata of a format in its newest version.

    Raises:
        ModelFileError: it is damaged, or from a newer tlpot.
    """
    newest = VERSIONS[form]
    try:
        version = metadata["format_version"]
    except (TypeError, KeyError) as error:
        raise ModelFileError(f"{name}: the model's description is damaged: {error!r}") from error
    if not isinstance(version, int) or not 1 <= version <= newest:
        raise ModelFileError(
            f"{name} has format version {version}; this tlpot ({__version__}) reads 1 to "
            f"{newest}. Update tlpot"
        )
    for step in range(version, newest):
        metadata = UPGRADES[form][step](metadata)
    return metadata


class Tensors:
    """The tensors of a safetensors file under a prefix of their names.

    Args:
        content: the file's bytes.
        name: of the file, for messages.

    Raises:
        ModelFileError: the header does not fit the file.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._name, self._prefix = content, name, ""
        header, self._start = _header(content)
        self._entries = {k: v for k, v in header.items() if k != "__metadata__"}
        try:
            end = max((int(e["data_offsets"][1]) for e in self._entries.values()), default=0)
            for entry in self._entries.values():
                math.prod(entry["shape"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelFileError(f"{name} is damaged ({error!r}); copy it again") from error
        if self._start + end != len(content):
            raise ModelFileError(
                f"{name} is damaged: it has {len(content)} bytes, its header needs "
                f"{self._start + end}; copy it again"
            )

    def under(self, prefix: str) -> Tensors:
        """Returns those whose names begin with `prefix`, by the rest of their names."""
        made = object.__new__(Tensors)
        made.__dict__.update(self.__dict__, _prefix=self._prefix + prefix)
        return made

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._entries

    def __iter__(self) -> Iterator[str]:
        return (k.removeprefix(self._prefix) for k in self._entries if k.startswith(self._prefix))

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns the shape of one."""
        return tuple(self._entries[self._prefix + name]["shape"])

    def read(self, name: str) -> NDArray[np.number]:
        """Returns the numbers of one.

        Raises:
            ModelFileError: there is no such tensor of numbers.
        """
        key = self._prefix + name
        try:
            entry = self._entries[key]
            first, last = (self._start + offset for offset in entry["data_offsets"])
            flat = np.frombuffer(self._content[first:last], dtype=_TYPES[entry["dtype"]])
            return flat.reshape(entry["shape"])
        except (KeyError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"{self._name} is damaged: no readable tensor {key!r}; copy it again"
            ) from error


FEW_FRAMES = 100
"""Training frames below which a distance alone is no reason to warn: they do not tell how far
frames like themselves may be."""


@dataclass(frozen=True, kw_only=True)
class DomainDescription:
    """What a level was trained on.

    Attributes:
        n_frames: training frames.
        n_inherited: those of earlier trainings that a structure may be like instead.
        absent: atomic numbers of elements that none of them had.
    """

    n_frames: int
    n_inherited: int
    absent: list[int]


@dataclass(frozen=True, kw_only=True)
class PotentialDescription:
    """A single potential, in a file of its own or as a part of another model.

    Attributes:
        metadata: its description.
        tensors: its own.
        name: of the file, for messages.
    """

    metadata: Mapping[str, Any]
    tensors: Tensors
    name: str

    @cached_property
    def architecture(self) -> AnyArchitecture:
        """Its sizes."""
        return parse_architecture(self.metadata["architecture"], self.name)

    @cached_property
    def card(self) -> ModelCard:
        """Its provenance."""
        return parse(ModelCard, self.metadata["card"], self.name)

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of theory."""
        return tuple(self.metadata["levels"])

    @property
    def n_weights(self) -> int:
        """Number of trainable numbers; constants and corrections do not count."""
        return sum(
            math.prod(self.tensors.shape(name))
            for name in self.tensors
            if not name.endswith((".value", "readout.scale"))
            and not any(part in name for part in (".corrections.", ".domain."))
        )

    def references(self, level: str) -> dict[int, float]:
        """Returns E0 by atomic number, eV."""
        values = self.tensors.read(f"heads.{self.levels.index(level)}.references.value")
        return dict(zip(self.architecture.elements, values.tolist(), strict=True))

    def corrections(self, level: str) -> list[Mapping[str, Any]]:
        """Returns what is said of each regressor that adds to the energy."""
        return list(self.metadata.get("corrections", {}).get(level, ()))

    def quantity(self, level: str) -> Quantity | None:
        """Returns what a property is; None for energies."""
        said = self.metadata.get("targets", {}).get(level)
        return None if said is None else parse_quantity(said["quantity"], self.name)

    def domain(self, level: str) -> DomainDescription | None:
        """Returns what the level was trained on; None where the model does not know it."""
        own = self.tensors.under(f"heads.{self.levels.index(level)}.domain.")
        frames: list[int] = []
        atoms = [0] * len(self.architecture.elements)
        while "counts" in own:
            n_frames, _, _, *counts = map(int, own.read("counts").tolist())
            frames.append(n_frames)
            atoms = [a + b for a, b in zip(atoms, counts, strict=True)]
            own = own.under("inherited.")
        if not frames:
            return None
        known = zip(self.architecture.elements, atoms, strict=True)
        return DomainDescription(
            n_frames=frames[0], n_inherited=sum(frames[1:]), absent=[z for z, n in known if not n]
        )

    def uncertainty(self, level: str) -> int | None:
        """Returns how many frames calibrated the uncertainty; 0 for none, None without any."""
        own = self.tensors.under(f"heads.{self.levels.index(level)}.")
        last = len(self.corrections(level)) - 1
        if f"corrections.{last}.cholesky.value" in own:
            return 0
        if "rigidity.cholesky.value" not in own:
            return None
        return calibration_frames(own.under("rigidity.calibration."))


def calibration_frames(tensors: Tensors) -> int:
    """Returns how many frames a calibration was made from; 0 if there is none."""
    return tensors.shape("scores.value")[0] if "scores.value" in tensors else 0


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A model file.

    Attributes:
        path: of the file.
        form: name of its format.
        metadata: in the newest version.
        parts: the potential, the members of an ensemble, or the low level and the difference.
        tensors: all.
        sha256: of the file.
    """

    path: Path
    form: str
    metadata: Mapping[str, Any]
    parts: tuple[PotentialDescription, ...]
    tensors: Tensors
    sha256: str

    @cached_property
    def card(self) -> ModelCard:
        """Its provenance."""
        return parse(ModelCard, self.metadata["card"], str(self.path))

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of theory."""
        return tuple(self.metadata["levels"])

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that all parts know."""
        first, *others = (part.architecture.elements for part in self.parts)
        return tuple(z for z in first if all(z in other for other in others))

    @property
    def dtype(self) -> str:
        """Precision of the networks."""
        return str(self.parts[0].metadata["dtype"])

    def references(self, level: str) -> dict[int, float]:
        """Returns E0 by atomic number, eV; of a sum, the sum."""
        if self.form != DELTA_FORMAT:
            return self.parts[0].references(level)
        found = [part.references(part.levels[0]) for part in self.parts]
        return {z: sum(values[z] for values in found) for z in self.elements}

    def quantity(self, level: str) -> Quantity | None:
        """Returns what a property is; None for energies."""
        first = self.parts[0]
        return first.quantity(first.levels[0] if self.form == DELTA_FORMAT else level)

    def corrections(self, level: str) -> list[Mapping[str, Any]]:
        """Returns what is said of each regressor that adds to the energy."""
        first = self.parts[0]
        return first.corrections(first.levels[0] if self.form == DELTA_FORMAT else level)

    def uncertainty(self, level: str) -> int | None:
        """Returns how many frames calibrated the uncertainty; 0 for none, None without any."""
        if self.form == DELTA_FORMAT:
            return None
        if self.form == ENSEMBLE_FORMAT:
            prefix = f"calibrations.{self.levels.index(level)}."
            return calibration_frames(self.tensors.under(prefix))
        return self.parts[0].uncertainty(level)


def read_description(source: str | os.PathLike[str]) -> ModelDescription:
    """Reads what a model file says, and checks that its numbers are whole.

    Raises:
        ModelFileError: see `describe`; or a number is NaN or infinite.
    """
    path = library_file(source)
    content, name = path.read_bytes(), str(path)
    form, metadata, _ = read_metadata(content, name)
    tensors = Tensors(content, name)
    for key in tensors:
        values = tensors.read(key)
        if not (complete_references(values) if is_reference(key) else np.isfinite(values).all()):
            raise ModelFileError(f"{name}: weight {key!r} holds NaN or infinity")
    try:
        if form == FORMAT:
            described = {"": metadata}
        elif form == ENSEMBLE_FORMAT:
            described = {f"members.{k}.": part for k, part in enumerate(metadata["members"])}
        else:
            described = {f"{part}.": metadata["parts"][part] for part in ("low", "delta")}
        found = ModelDescription(
            path=path,
            form=form,
            metadata=metadata,
            parts=tuple(
                PotentialDescription(
                    metadata=upgraded(FORMAT, part, name), tensors=tensors.under(prefix), name=name
                )
                for prefix, part in described.items()
            ),
            tensors=tensors,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        _ = found.card, found.elements, found.dtype, [part.card for part in found.parts]
        for level in found.levels:
            _ = found.references(level), found.uncertainty(level)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, ModelFileError):
            raise
        what = str(error) if isinstance(error, ConfigError) else repr(error)
        raise ModelFileError(f"{name}: the model's description is damaged: {what}") from error
    return found


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """Returns the header of a safetensors file and where its tensors begin."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), 8 + length

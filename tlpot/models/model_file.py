"""Model files: one safetensors file whose metadata holds JSON; loading never runs code."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import e3nn
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from tlpot._version import __version__
from tlpot.atomic_file import atomic_file
from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError, ModelFileError
from tlpot.models.architecture import Architecture
from tlpot.models.card import ModelCard
from tlpot.models.delta import DeltaPotential
from tlpot.models.device import choose_device
from tlpot.models.library import library_file
from tlpot.models.potential import Potential
from tlpot.nn.couplings import fingerprint

FORMAT = "tlpot-potential"
FORMAT_VERSION = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Maps a format version to the function that turns its metadata into the next version's."""

DELTA_FORMAT = "tlpot-delta"
"""Of a sum of two networks, see `DeltaPotential`."""
DELTA_FORMAT_VERSION = 1
DELTA_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
PARTS = ("low", "delta")
"""The networks of a sum, and the prefixes of the names of their weights."""

AnyPotential = Potential | DeltaPotential
"""What a model file holds."""


def save(potential: AnyPotential, path: str | os.PathLike[str]) -> str:
    """Writes a model atomically.

    Args:
        potential: what to save; its card is completed with the versions in use.
        path: ends in ``.safetensors`` by custom.

    Returns:
        SHA-256 of the file, the name by which a fine-tuned child knows its parent.

    Raises:
        OutputError: the file could not be written.
    """
    content = to_bytes(potential)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    kernels: str = "auto",
) -> AnyPotential:
    """Reads a model: a `Potential`, or a `DeltaPotential` where two networks were saved.

    Args:
        source: a path, or the name of a model that ships with tlpot (``tlpot-tiny``).
        device: None means CUDA if there is one, else the CPU.
        dtype: None means as stored.
        kernels: ``auto``, ``compiled``, ``torch`` or ``torch_scatter``, see `tlpot.kernels`.

    Raises:
        ModelFileError: no such file or name, or the file is damaged, foreign, from a newer
            tlpot, or made with other coupling conventions.
        ConfigError: the device cannot be used.
    """
    path = library_file(source)
    potential = from_bytes(path.read_bytes(), name=str(path), dtype=dtype, kernels=kernels)
    return potential.to(choose_device(device))


def content_hash(source: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a model file.

    Raises:
        ModelFileError: no such file or name.
    """
    return hashlib.sha256(library_file(source).read_bytes()).hexdigest()


def to_bytes(potential: AnyPotential) -> bytes:
    """Returns what `save` writes; the same potential gives the same bytes."""
    versions = {
        "tlpot": __version__,
        "torch": torch.__version__,
        "e3nn": e3nn.__version__,
        "python": platform.python_version(),
    }
    metadata: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "levels": list(potential.levels),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "coupling_fingerprint": fingerprint(),
        "units": {"energy": "eV", "length": "angstrom"},
        "card": to_mapping(replace(potential.card, versions=versions)),
    }
    if isinstance(potential, DeltaPotential):
        form = DELTA_FORMAT
        metadata["format_version"] = DELTA_FORMAT_VERSION
        metadata["parts"] = {name: _part(getattr(potential, name)) for name in PARTS}
    else:
        form = FORMAT
        metadata["architecture"] = to_mapping(potential.architecture)
    tensors = {k: v.detach().cpu().contiguous() for k, v in potential.state_dict().items()}
    return safetensors.torch.save(tensors, {form: json.dumps(metadata, sort_keys=True)})


def _part(potential: Potential) -> dict[str, Any]:
    """Returns the description of a part of a sum; its card stays as it was found."""
    return {
        "architecture": to_mapping(potential.architecture),
        "levels": list(potential.levels),
        "card": to_mapping(potential.card),
    }


def from_bytes(
    content: bytes,
    *,
    name: str = "the model",
    dtype: torch.dtype | None = None,
    kernels: str = "auto",
) -> AnyPotential:
    """Rebuilds a potential on the CPU from what `to_bytes` gave; see `load` for the errors.

    Args:
        content: the file's bytes.
        name: what to call the file in a message.
        dtype: None means as stored.
        kernels: ``auto``, ``compiled``, ``torch`` or ``torch_scatter``, see `tlpot.kernels`.
    """
    form, metadata = _metadata(content, name)
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(f"{name} is damaged ({error}); copy it again") from error
    potential: AnyPotential
    try:
        stored = getattr(torch, metadata["dtype"]) if dtype is None else dtype
        card = parse(ModelCard, metadata["card"], name)
        if form == FORMAT:
            potential = _network(metadata, tensors, name, stored, kernels)
        else:
            low, delta = (
                _network(metadata["parts"][part], _with_prefix(tensors, part), f"{name}: {part}",
                         stored, kernels)
                for part in PARTS
            )  # fmt: skip
            stray = sorted(k for k in tensors if k.partition(".")[0] not in PARTS)
            if stray:
                raise ModelFileError(f"{name} has unknown weights {stray[:3]}")
            potential = DeltaPotential(low, delta)
        if list(potential.levels) != metadata["levels"]:
            raise ConfigError(f"levels {metadata['levels']}, but its parts give {potential.levels}")
    except (KeyError, AttributeError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{name}: the model's description is damaged: {error}") from error
    potential.card = card
    return potential


def _with_prefix(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def _network(
    description: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype,
    kernels: str,
) -> Potential:
    architecture = parse(Architecture, description["architecture"], name)
    zero = dict.fromkeys(architecture.elements, 0.0)
    levels = {str(level): zero for level in description["levels"]}
    potential = Potential.create(architecture, levels, dtype=dtype, kernels=kernels)
    potential.card = parse(ModelCard, description["card"], name)
    _fill(potential, tensors, name)
    return potential


def _metadata(content: bytes, name: str) -> tuple[str, dict[str, Any]]:
    """Returns which format it is and the description, checked and brought up to date."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        texts = header.get("__metadata__", {})
        form = DELTA_FORMAT if DELTA_FORMAT in texts else FORMAT
        text = texts.get(form)
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        raise ModelFileError(f"{name} is not a safetensors file, or it is damaged") from error
    if text is None:
        raise ModelFileError(
            f"{name} was not written by tlpot: it has no {FORMAT!r} metadata; "
            "expected a model saved by 'tlpot train' or 'tlpot finetune'"
        )
    try:
        metadata: dict[str, Any] = json.loads(text)
        version = metadata["format_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{name}: the model's description is damaged: {error!r}") from error
    newest = FORMAT_VERSION if form == FORMAT else DELTA_FORMAT_VERSION
    if not isinstance(version, int) or not 1 <= version <= newest:
        raise ModelFileError(
            f"{name} has format version {version}; this tlpot ({__version__}) reads 1 to "
            f"{newest}. Update tlpot"
        )
    upgrades = UPGRADES if form == FORMAT else DELTA_UPGRADES
    for step in range(version, newest):
        metadata = upgrades[step](metadata)
    found = metadata.get("coupling_fingerprint")
    if found != fingerprint():
        raise ModelFileError(
            f"{name} was made with other spherical-harmonics or Clebsch–Gordan conventions "
            f"({found}, here {fingerprint()}, e3nn {e3nn.__version__}); its weights would give "
            "wrong energies. Install the e3nn version named by 'tlpot info'"
        )
    return form, metadata


def _fill(potential: Potential, tensors: Mapping[str, Tensor], name: str) -> None:
    expected = potential.state_dict()
    for kind, keys in (
        ("lacks", expected.keys() - tensors.keys()),
        ("has unknown", tensors.keys() - expected.keys()),
    ):
        if keys:
            raise ModelFileError(
                f"{name} {kind} weights {sorted(keys)[:3]} for the architecture that it states"
            )
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape:
            raise ModelFileError(
                f"{name}: weight {key!r} has shape {tuple(tensor.shape)}, the architecture "
                f"that it states needs {tuple(expected[key].shape)}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ModelFileError(f"{name}: weight {key!r} holds NaN or infinity")
    potential.load_state_dict(dict(tensors))


def describe(source: str | Path) -> dict[str, Any]:
    """Returns the metadata of a model file without building the model.

    Raises:
        ModelFileError: see `load`.
    """
    path = library_file(source)
    return _metadata(path.read_bytes(), str(path))[1]

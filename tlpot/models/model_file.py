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
from tlpot.models.correction import CorrectionInfo
from tlpot.models.device import choose_device
from tlpot.models.features import check_blocks, feature_blocks
from tlpot.models.forest import ForestCorrection
from tlpot.models.library import library_file
from tlpot.models.potential import Potential
from tlpot.models.regressors import empty_correction
from tlpot.nn.couplings import fingerprint

FORMAT = "tlpot-potential"
FORMAT_VERSION = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Maps a format version to the function that turns its metadata into the next version's."""


def save(potential: Potential, path: str | os.PathLike[str]) -> str:
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
) -> Potential:
    """Reads a model.

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


def to_bytes(potential: Potential) -> bytes:
    """Returns what `save` writes; the same potential gives the same bytes."""
    versions = {
        "tlpot": __version__,
        "torch": torch.__version__,
        "e3nn": e3nn.__version__,
        "python": platform.python_version(),
    }
    metadata = {
        "format_version": FORMAT_VERSION,
        "architecture": to_mapping(potential.architecture),
        "levels": list(potential.levels),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "coupling_fingerprint": fingerprint(),
        "units": {"energy": "eV", "length": "angstrom"},
        "card": to_mapping(replace(potential.card, versions=versions)),
    }
    corrections = {
        level: [to_mapping(c.info) for c in potential.corrections(level)]
        for level in potential.levels
    }
    if any(corrections.values()):  # a file without any is one that older versions can read
        metadata["corrections"] = corrections
    tensors = {k: v.detach().cpu().contiguous() for k, v in potential.state_dict().items()}
    return safetensors.torch.save(tensors, {FORMAT: json.dumps(metadata, sort_keys=True)})


def from_bytes(
    content: bytes,
    *,
    name: str = "the model",
    dtype: torch.dtype | None = None,
    kernels: str = "auto",
) -> Potential:
    """Rebuilds a potential on the CPU from what `to_bytes` gave; see `load` for the errors.

    Args:
        content: the file's bytes.
        name: what to call the file in a message.
        dtype: None means as stored.
        kernels: ``auto``, ``compiled``, ``torch`` or ``torch_scatter``, see `tlpot.kernels`.
    """
    metadata = _metadata(content, name)
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(f"{name} is damaged ({error}); copy it again") from error
    try:
        architecture = parse(Architecture, metadata["architecture"], name)
        card = parse(ModelCard, metadata["card"], name)
        levels = {
            str(level): dict.fromkeys(architecture.elements, 0.0) for level in metadata["levels"]
        }
        stored = getattr(torch, metadata["dtype"])
    except (KeyError, AttributeError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{name}: the model's description is damaged: {error}") from error
    potential = Potential.create(
        architecture, levels, dtype=stored if dtype is None else dtype, kernels=kernels
    )
    _add_corrections(potential, metadata.get("corrections", {}), name)
    _fill(potential, tensors, name)
    potential.card = card
    return potential


def _metadata(content: bytes, name: str) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        text = header.get("__metadata__", {}).get(FORMAT)
    except (ValueError, AttributeError, OverflowError) as error:
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
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ModelFileError(
            f"{name} has format version {version}; this tlpot ({__version__}) reads 1 to "
            f"{FORMAT_VERSION}. Update tlpot"
        )
    for step in range(version, FORMAT_VERSION):
        metadata = UPGRADES[step](metadata)
    found = metadata.get("coupling_fingerprint")
    if found != fingerprint():
        raise ModelFileError(
            f"{name} was made with other spherical-harmonics or Clebsch–Gordan conventions "
            f"({found}, here {fingerprint()}, e3nn {e3nn.__version__}); its weights would give "
            "wrong energies. Install the e3nn version named by 'tlpot info'"
        )
    return metadata


def _add_corrections(potential: Potential, described: Any, name: str) -> None:
    """Makes room for the corrections' numbers, which are among the tensors."""
    architecture = potential.architecture
    sizes = feature_blocks(architecture)
    try:
        for level, entries in described.items():
            for entry in entries:
                info = parse(CorrectionInfo, entry, "correction")
                check_blocks(info.blocks, architecture)
                n_features = sum(sizes[block] for block in info.blocks)
                made = empty_correction(info, len(architecture.elements), n_features)
                potential.head(level).corrections.append(made)
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name}: a correction's description is damaged: {error}") from error


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
    for forest in potential.modules():
        if isinstance(forest, ForestCorrection) and not forest.is_whole():
            raise ModelFileError(f"{name}: the trees of a forest are damaged; copy the file again")


def describe(source: str | Path) -> dict[str, Any]:
    """Returns the metadata of a model file without building the model.

    Raises:
        ModelFileError: see `load`.
    """
    path = library_file(source)
    return _metadata(path.read_bytes(), str(path))

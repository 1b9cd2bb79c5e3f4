"""Model files: one safetensors file whose metadata holds JSON; loading never runs code."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from tlpot.models.domain import read_domain
from tlpot.models.features import check_blocks, feature_blocks
from tlpot.models.forest import ForestCorrection
from tlpot.models.gaussian import GaussianCorrection
from tlpot.models.library import library_file
from tlpot.models.potential import Potential
from tlpot.models.regressors import empty_correction
from tlpot.models.rigidity import LastLayerRigidity
from tlpot.models.spread import Calibration
from tlpot.models.trained import TrainedModel
from tlpot.nn.couplings import fingerprint

FORMAT = "tlpot-potential"
FORMAT_VERSION = 1
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Maps a format version to the function that turns its metadata into the next version's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFormat:
    """One kind of model file.

    Attributes:
        version: of its metadata; the newest that is read, and the one that is written.
        kind: the class of the models that it holds.
        write: gives metadata and tensors of a model.
        read: rebuilds a model on the CPU from metadata, tensors, the file's name for messages,
            precision and kernels.
        upgrades: maps a version to the function that turns its metadata into the next one's.
    """

    version: int
    kind: type
    write: Callable[[Any], tuple[dict[str, Any], dict[str, Tensor]]]
    read: Callable[
        [Mapping[str, Any], Mapping[str, Tensor], str, torch.dtype | None, str], TrainedModel
    ]
    upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]


FORMATS: dict[str, FileFormat] = {}
"""By the name of the metadata entry; the module of each format adds its own."""


def save(model: TrainedModel, path: str | os.PathLike[str]) -> str:
    """Writes a model atomically.

    Args:
        model: what to save; its card is completed with the versions in use.
        path: ends in ``.safetensors`` by custom.

    Returns:
        SHA-256 of the file, the name by which a fine-tuned child knows its parent.

    Raises:
        OutputError: the file could not be written.
    """
    content = to_bytes(model)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    kernels: str = "auto",
) -> TrainedModel:
    """Reads a model: a `Potential`, or what else is kept in model files.

    Args:
        source: a path, or the name of a model that ships with tlpot (``tlpot-tiny``)
            or is installed, see `tlpot.models.install`.
        device: None means CUDA if there is one, else the CPU.
        dtype: None means as stored.
        kernels: ``auto``, ``compiled``, ``torch`` or ``torch_scatter``, see `tlpot.kernels`.

    Raises:
        ModelFileError: no such file or name, or the file is damaged, foreign, from a newer
            tlpot, or made with other coupling conventions.
        ConfigError: the device cannot be used.
    """
    path = library_file(source)
    model = from_bytes(path.read_bytes(), name=str(path), dtype=dtype, kernels=kernels)
    return model.to(choose_device(device))


def load_potential(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    kernels: str = "auto",
) -> Potential:
    """Reads a single potential, for what works on its weights; see `load`.

    Raises:
        ModelFileError: see `load`, or the file holds another kind of model.
        ConfigError: the device cannot be used.
    """
    model = load(source, device=device, dtype=dtype, kernels=kernels)
    if not isinstance(model, Potential):
        raise ModelFileError(
            f"{source} holds {type(model).__name__}, expected a single potential; "
            "use the potentials that it was made from"
        )
    return model


def content_hash(source: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a model file.

    Raises:
        ModelFileError: no such file or name.
    """
    return hashlib.sha256(library_file(source).read_bytes()).hexdigest()


def to_bytes(model: TrainedModel) -> bytes:
    """Returns what `save` writes; the same model gives the same bytes."""
    for name, form in FORMATS.items():
        if isinstance(model, form.kind):
            metadata, tensors = form.write(model)
            metadata |= {"format_version": form.version, "coupling_fingerprint": fingerprint()}
            return safetensors.torch.save(tensors, {name: json.dumps(metadata, sort_keys=True)})
    raise TypeError(f"there is no model file for {type(model).__name__}")


def card_mapping(card: ModelCard) -> dict[str, Any]:
    """Returns a card as it is written: with the versions in use."""
    versions = {
        "tlpot": __version__,
        "torch": torch.__version__,
        "e3nn": e3nn.__version__,
        "python": platform.python_version(),
    }
    return to_mapping(replace(card, versions=versions))


def from_bytes(
    content: bytes,
    *,
    name: str = "the model",
    dtype: torch.dtype | None = None,
    kernels: str = "auto",
) -> TrainedModel:
    """Rebuilds a model on the CPU from what `to_bytes` gave; see `load` for the errors.

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
    return FORMATS[form].read(metadata, tensors, name, dtype, kernels)


def write_potential(potential: Potential) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns metadata and tensors of a potential."""
    metadata = {
        "architecture": to_mapping(potential.architecture),
        "levels": list(potential.levels),
        "dtype": str(potential.dtype).removeprefix("torch."),
        "units": {"energy": "eV", "length": "angstrom"},
        "card": card_mapping(potential.card),
    }
    corrections = {
        level: [to_mapping(c.info) for c in potential.corrections(level)]
        for level in potential.levels
    }
    if any(corrections.values()):  # a file without any is one that older versions can read
        metadata["corrections"] = corrections
    tensors = {k: v.detach().cpu().contiguous() for k, v in potential.state_dict().items()}
    return metadata, tensors


def read_potential(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None,
    kernels: str,
) -> Potential:
    """Rebuilds a potential on the CPU.

    Raises:
        ModelFileError: the description or the tensors are damaged, or do not fit together.
    """
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
    _add_corrections(potential, metadata.get("corrections", {}), tensors, name)
    for k, level in enumerate(potential.levels):
        potential.head(level).domain = read_domain(
            tensors, f"heads.{k}.domain.", architecture, potential.dtype, name
        )
        prefix = f"heads.{k}.rigidity."
        cholesky = tensors.get(f"{prefix}cholesky.value")
        if cholesky is not None:
            if potential.corrections(level):
                raise ModelFileError(
                    f"{name}: level {level!r} has both corrections and a last-layer uncertainty, "
                    "which knows nothing of them; the file is damaged"
                )
            n = len(potential.head(level).readout.last_weights())
            if cholesky.shape != (n, n):
                raise ModelFileError(
                    f"{name}: the uncertainty of level {level!r} has {tuple(cholesky.shape)} "
                    f"entries, the architecture needs {(n, n)}"
                )
            calibration = read_calibration(tensors, f"{prefix}calibration.", name)
            potential.head(level).rigidity = LastLayerRigidity(cholesky, calibration)
    _fill(potential, tensors, name)
    potential.card = card
    return potential


def read_calibration(tensors: Mapping[str, Tensor], prefix: str, name: str) -> Calibration | None:
    """Returns the calibration whose tensors' names have a prefix; None if there is none.

    Raises:
        ModelFileError: it is damaged.
    """
    scores = tensors.get(f"{prefix}scores.value")
    coverage = tensors.get(f"{prefix}coverage.value")
    if scores is None or coverage is None:
        return None
    try:
        forces = tensors.get(f"{prefix}force_scores.value")
        return Calibration(scores, float(coverage), forces)
    except (ConfigError, RuntimeError) as error:
        raise ModelFileError(f"{name}: the calibration is damaged: {error}") from error


FORMATS[FORMAT] = FileFormat(
    version=FORMAT_VERSION,
    kind=Potential,
    write=write_potential,
    read=read_potential,
    upgrades=UPGRADES,
)


def _metadata(content: bytes, name: str) -> tuple[str, dict[str, Any]]:
    """Returns the name of a file's format and its metadata in the newest version."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        form = next((key for key in FORMATS if key in header), None)
    except (ValueError, AttributeError, OverflowError, TypeError) as error:
        raise ModelFileError(f"{name} is not a safetensors file, or it is damaged") from error
    if form is None:
        raise ModelFileError(
            f"{name} was not written by tlpot: it has no metadata called "
            f"{' or '.join(map(repr, FORMATS))}; expected a model saved by 'tlpot train' or "
            "'tlpot finetune'"
        )
    try:
        metadata: dict[str, Any] = json.loads(header[form])
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{name}: the model's description is damaged: {error!r}") from error
    metadata = upgraded(form, metadata, name)
    found = metadata.get("coupling_fingerprint")
    if found != fingerprint():
        raise ModelFileError(
            f"{name} was made with other spherical-harmonics or Clebsch–Gordan conventions "
            f"({found}, here {fingerprint()}, e3nn {e3nn.__version__}); its weights would give "
            "wrong energies. Install the e3nn version named by 'tlpot info'"
        )
    return form, metadata


def upgraded(form: str, metadata: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the metadata of a format in its newest version.

    Raises:
        ModelFileError: it is damaged, or from a newer tlpot.
    """
    newest = FORMATS[form].version
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
        metadata = FORMATS[form].upgrades[step](metadata)
    return metadata


def _add_corrections(
    potential: Potential, described: Any, tensors: Mapping[str, Tensor], name: str
) -> None:
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
                corrections = potential.head(level).corrections
                prefix = f"heads.{potential.levels.index(level)}.corrections.{len(corrections)}."
                if (
                    isinstance(made, GaussianCorrection)
                    and f"{prefix}cholesky.value" not in tensors
                ):
                    made.cholesky = None
                corrections.append(made)
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
    return _metadata(path.read_bytes(), str(path))[1]

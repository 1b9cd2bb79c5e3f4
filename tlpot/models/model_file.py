"""Model files: one safetensors file whose metadata holds JSON; loading never runs code."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from tlpot._version import __version__
from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError, ModelFileError, TLPotWarning, nearest
from tlpot.files import atomic_file, with_checksum
from tlpot.models.architecture import parse_architecture
from tlpot.models.description import (
    CONVENTIONS,
    FORMAT,
    ModelCard,
    complete_references,
    format_version,
    is_reference,
    read_metadata,
    upgraded,
)
from tlpot.models.domain import read_domain
from tlpot.models.library import library_file
from tlpot.models.potential import Potential
from tlpot.models.property_target import PropertyTarget
from tlpot.models.regressors import (
    CorrectionInfo,
    ForestCorrection,
    GaussianCorrection,
    LinearCorrection,
)
from tlpot.models.spread import LastLayerRigidity, read_calibration
from tlpot.models.trained import TrainedModel
from tlpot.torch_mode import choose_device, choose_dtype, plain_torch

AnyCorrection = LinearCorrection | GaussianCorrection | ForestCorrection

_KINDS: Mapping[str, tuple[type[AnyCorrection], int]] = {
    "linear": (LinearCorrection, 0),
    "gaussian process": (GaussianCorrection, 1),
    "forest": (ForestCorrection, 2),
}
"""The class, and how many sizes it needs."""


def empty_correction(info: CorrectionInfo, n_elements: int, n_features: int) -> AnyCorrection:
    """Returns a correction whose numbers are still to be read.

    Raises:
        ConfigError: no such kind, or sizes that make no sense.
    """
    if info.kind not in _KINDS:
        raise ConfigError(f"unknown correction {info.kind!r}{nearest(info.kind, _KINDS)}")
    kind, n_sizes = _KINDS[info.kind]
    if len(info.sizes) != n_sizes or min(info.sizes, default=1) < 1:
        raise ConfigError(
            f"correction {info.kind!r} has sizes {list(info.sizes)}, expected {n_sizes} of them"
        )
    return kind(info, n_elements, n_features)


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFormat:
    """One kind of model file.

    Attributes:
        kind: the class of the models that it holds.
        write: gives metadata and tensors of a model.
        read: rebuilds a model on the CPU from metadata, tensors, the file's name for messages,
            precision and kernels.
    """

    kind: type
    write: Callable[[Any], tuple[dict[str, Any], dict[str, Tensor]]]
    read: Callable[
        [Mapping[str, Any], Mapping[str, Tensor], str, torch.dtype | None, str], TrainedModel
    ]


FORMATS: dict[str, FileFormat] = {}
"""By the name of the metadata entry; the module of each format adds its own, see `file_formats`."""


def file_formats() -> Mapping[str, FileFormat]:
    """Returns all kinds of model files by the name of their metadata entry."""
    for name in ("ensemble", "delta"):
        importlib.import_module(f"tlpot.models.{name}")
    return FORMATS


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


@plain_torch()
def load(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    kernels: str = "auto",
) -> TrainedModel:
    """Reads a model: a `Potential`, or what else is kept in model files.

    Args:
        source: a path, or the name of a model that ships with tlpot (``tlpot-tiny``)
            or is installed, see `tlpot.models.installation`.
        device: None means CUDA if there is one, else the CPU.
        dtype: ``float32`` or ``float64``, or torch's own; None means as stored.
        kernels: of the sums, see `tlpot.kernels.kernels_by_name`.

    Raises:
        ModelFileError: no such file or name, or the file is damaged, foreign, from a newer
            tlpot, or made with other coupling conventions.
        ConfigError: the device cannot be used, or another precision.
    """
    path, precision = library_file(source), choose_dtype(dtype)
    model = from_bytes(path.read_bytes(), name=str(path), dtype=precision, kernels=kernels)
    return model.to(choose_device(device))


def load_potential(
    source: str | os.PathLike[str],
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
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


def to_bytes(model: TrainedModel) -> bytes:
    """Returns what `save` writes; the same model gives the same bytes."""
    for name, form in file_formats().items():
        if isinstance(model, form.kind):
            metadata, tensors = form.write(model)
            version = format_version(name, metadata)
            metadata |= {"format_version": version, "coupling_fingerprint": CONVENTIONS}
            content = safetensors.torch.save(tensors, {name: json.dumps(metadata, sort_keys=True)})
            return with_checksum(content)
    raise TypeError(f"there is no model file for {type(model).__name__}")


def card_mapping(card: ModelCard) -> dict[str, Any]:
    """Returns a card as it is written: with the versions in use."""
    versions = {
        "tlpot": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    found = to_mapping(replace(card, versions=versions))
    for name in (
        "charges",
        "frames",
        "origin",
    ):  # a file without it is one that older versions can read
        if not found[name]:
            del found[name]
    return found


@plain_torch()
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
        kernels: of the sums, see `tlpot.kernels.kernels_by_name`.

    Warns:
        UserWarning: there is no checksum in it.
    """
    form, metadata, checked = read_metadata(content, name)
    try:
        tensors = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(f"{name} is damaged ({error}); copy it again") from error
    model = file_formats()[form].read(metadata, tensors, name, dtype, kernels)
    if not checked:
        warnings.warn(
            f"{name} has no checksum (a tlpot of before wrote it, or another program), so damage "
            "to its weights cannot be seen; load it and save it again to give it one",
            TLPotWarning,
            stacklevel=3,
        )
    return model


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
    targets = {level: potential.target(level) for level in potential.levels}
    if any(targets.values()):  # older versions would take a property for an energy
        metadata["targets"] = {k: to_mapping(t) for k, t in targets.items() if t is not None}
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
        architecture = parse_architecture(metadata["architecture"], name)
        card = parse(ModelCard, metadata["card"], name)
        levels = {
            str(level): dict.fromkeys(architecture.elements, 0.0) for level in metadata["levels"]
        }
        stored = getattr(torch, metadata["dtype"])
        targets = {
            str(level): parse(PropertyTarget, said, f"{name}: {level}")
            for level, said in metadata.get("targets", {}).items()
        }
    except (KeyError, AttributeError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{name}: the model's description is damaged: {error}") from error
    potential = Potential.create(
        architecture,
        levels,
        dtype=stored if dtype is None else dtype,
        kernels=kernels,
        targets=targets,
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


FORMATS[FORMAT] = FileFormat(kind=Potential, write=write_potential, read=read_potential)


def _add_corrections(
    potential: Potential, described: Any, tensors: Mapping[str, Tensor], name: str
) -> None:
    """Makes room for the corrections' numbers, which are among the tensors."""
    try:
        for level, entries in described.items():
            for entry in entries:
                info = parse(CorrectionInfo, entry, "correction")
                model = potential.at(level)
                n_features = sum(model.block_sizes(info.blocks)[block] for block in info.blocks)
                made = empty_correction(info, model.n_kinds, n_features)
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
        whole = bool(torch.isfinite(tensor).all())
        if not whole and not (is_reference(key) and complete_references(tensor.numpy())):
            raise ModelFileError(f"{name}: weight {key!r} holds NaN or infinity")
    potential.load_state_dict(dict(tensors))
    for forest in potential.modules():
        if isinstance(forest, ForestCorrection) and not forest.is_whole():
            raise ModelFileError(f"{name}: the trees of a forest are damaged; copy the file again")


def write_part(potential: Potential, prefix: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns description and tensors of a part; the tensors' names begin with `prefix`."""
    described, weights = write_potential(potential)
    described["format_version"] = format_version(FORMAT, described)
    # when and with what a part was made is worth more than when it was put here
    described["card"]["versions"] = dict(potential.card.versions)
    return described, {f"{prefix}{key}": tensor for key, tensor in weights.items()}


def read_part(
    description: dict[str, Any],
    tensors: Mapping[str, Tensor],
    prefix: str,
    name: str,
    dtype: torch.dtype | None,
    kernels: str,
) -> tuple[Potential, dict[str, Tensor]]:
    """Rebuilds what `write_part` described.

    Args:
        description: of the part.
        tensors: of the file.
        prefix: of the names of the part's tensors.
        name: of file and part, for messages.
        dtype: None means as stored.
        kernels: see `load`.

    Returns:
        The part, and the tensors that are not its own.

    Raises:
        ModelFileError: the description or the tensors are damaged, or do not fit together.
    """
    own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    rest = {k: t for k, t in tensors.items() if not k.startswith(prefix)}
    newest = upgraded(FORMAT, description, name)
    return read_potential(newest, own, name, dtype, kernels), rest


_IDLE = ("card", "dtype")
"""Entries of a model's description that its weights do not depend on."""


def weights_hash(model: TrainedModel) -> str:
    """Returns a SHA-256 of all that decides the energies: sizes, levels and weights.

    Unlike `content_hash` it depends neither on the card, which names versions of programs, nor
    on the training domain or the device. A model read in a higher precision than it is stored in
    keeps its hash.
    """
    form = next(form for form in file_formats().values() if isinstance(model, form.kind))
    metadata, tensors = form.write(model)
    digest = hashlib.sha256(type(model).__name__.encode())
    digest.update(json.dumps(_decisive(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        if "domain" in name.split("."):
            continue
        tensor = tensors[name].detach().cpu()
        values = (tensor.double() if tensor.is_floating_point() else tensor.long()).numpy()
        digest.update(f"|{name}{list(values.shape)}|".encode() + values.tobytes())
    return digest.hexdigest()


def _decisive(metadata: Any) -> Any:
    if isinstance(metadata, dict):
        return {key: _decisive(value) for key, value in metadata.items() if key not in _IDLE}
    return [_decisive(value) for value in metadata] if isinstance(metadata, list) else metadata

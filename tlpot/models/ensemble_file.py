"""Ensembles in one safetensors file: the members' tensors behind a prefix each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tlpot.config import parse
from tlpot.errors import ConfigError, ModelFileError
from tlpot.models.card import ModelCard
from tlpot.models.description import ENSEMBLE_FORMAT
from tlpot.models.ensemble import Ensemble
from tlpot.models.model_file import FORMATS, FileFormat, card_mapping
from tlpot.models.parts import read_part, write_part
from tlpot.models.spread import read_calibration


def _write(ensemble: Ensemble) -> tuple[dict[str, Any], dict[str, Tensor]]:
    members = []
    tensors: dict[str, Tensor] = {}
    for k, member in enumerate(ensemble.potentials()):
        described, weights = write_part(member, f"members.{k}.")
        members.append(described)
        tensors |= weights
    for name, tensor in ensemble.calibrations.state_dict().items():
        tensors[f"calibrations.{name}"] = tensor.cpu().contiguous()
    metadata = {
        "members": members,
        "levels": list(ensemble.levels),
        "card": card_mapping(ensemble.card),
    }
    return metadata, tensors


def _read(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None,
    kernels: str,
) -> Ensemble:
    try:
        described = list(metadata["members"])
        card = parse(ModelCard, metadata["card"], name)
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{name}: the ensemble's description is damaged: {error}") from error
    rest = dict(tensors)
    members = []
    for k, description in enumerate(described):
        title = f"{name}, member {k + 1}"
        member, rest = read_part(description, rest, f"members.{k}.", title, dtype, kernels)
        members.append(member)
    try:
        ensemble = Ensemble(members)
    except ConfigError as error:
        raise ModelFileError(f"{name} is damaged: {error}") from error
    ensemble.card = card
    for k in range(len(ensemble.levels)):
        prefix = f"calibrations.{k}."
        calibration = read_calibration(rest, prefix, name)
        if calibration is not None:
            ensemble.calibrations[str(k)] = calibration
            for key in calibration.state_dict():
                rest.pop(f"{prefix}{key}")
    if rest:
        raise ModelFileError(f"{name} has unknown weights {sorted(rest)[:3]} for an ensemble")
    return ensemble


FORMATS[ENSEMBLE_FORMAT] = FileFormat(kind=Ensemble, write=_write, read=_read)

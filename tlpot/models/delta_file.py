"""Sums of two networks in one safetensors file: the tensors of each behind its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tlpot.config import parse
from tlpot.errors import ConfigError, ModelFileError
from tlpot.models.card import ModelCard
from tlpot.models.delta import DeltaPotential
from tlpot.models.description import DELTA_FORMAT
from tlpot.models.model_file import FORMATS, FileFormat, card_mapping
from tlpot.models.parts import read_part, write_part


def _write(potential: DeltaPotential) -> tuple[dict[str, Any], dict[str, Tensor]]:
    low, low_tensors = write_part(potential.low, "low.")
    delta, delta_tensors = write_part(potential.delta, "delta.")
    metadata = {
        "parts": {"low": low, "delta": delta},
        "levels": list(potential.levels),
        "card": card_mapping(potential.card),
    }
    return metadata, low_tensors | delta_tensors


def _read(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    name: str,
    dtype: torch.dtype | None,
    kernels: str,
) -> DeltaPotential:
    try:
        parts = {part: metadata["parts"][part] for part in ("low", "delta")}
        levels = list(metadata["levels"])
        card = parse(ModelCard, metadata["card"], name)
    except (KeyError, TypeError, ConfigError) as error:
        raise ModelFileError(f"{name}: the sum's description is damaged: {error}") from error
    low, rest = read_part(parts["low"], tensors, "low.", f"{name}: low", dtype, kernels)
    delta, rest = read_part(parts["delta"], rest, "delta.", f"{name}: delta", dtype, kernels)
    if rest:
        raise ModelFileError(f"{name} has unknown weights {sorted(rest)[:3]} for a sum")
    try:
        potential = DeltaPotential(low, delta)
    except ConfigError as error:
        raise ModelFileError(f"{name} is damaged: {error}") from error
    if list(potential.levels) != levels:
        raise ModelFileError(
            f"{name} is damaged: it states levels {levels}, but its parts give "
            f"{list(potential.levels)}"
        )
    potential.card = card
    return potential


FORMATS[DELTA_FORMAT] = FileFormat(kind=DeltaPotential, write=_write, read=_read)

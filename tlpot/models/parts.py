"""Potentials inside the file of a model that is made of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tlpot.models.description import FORMAT, VERSIONS, upgraded
from tlpot.models.model_file import read_potential, write_potential
from tlpot.models.potential import Potential


def write_part(potential: Potential, prefix: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns description and tensors of a part; the tensors' names begin with `prefix`."""
    described, weights = write_potential(potential)
    described["format_version"] = VERSIONS[FORMAT]
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

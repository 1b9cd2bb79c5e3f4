"""Whether two models give the same energies, whatever their cards say."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlpot.models.trained import TrainedModel

_IDLE = ("card", "dtype")
"""Entries of a model's description that its weights do not depend on."""


def weights_hash(model: TrainedModel) -> str:
    """Returns a SHA-256 of all that decides the energies: sizes, levels and weights.

    Unlike `content_hash` it depends neither on the card, which names versions of programs, nor
    on the training domain or the device. A model read in a higher precision than it is stored in
    keeps its hash.
    """
    from tlpot.models.model_file import file_formats

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

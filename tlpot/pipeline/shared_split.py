"""Whether models share a split, so that none has seen what another is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlpot.errors import ConfigError
from tlpot.models import ModelCard

_WORDS = {
    "data": "data with SHA-256",
    "by": "split by",
    "seed": "split seed",
    "validation": "validation frames",
    "test": "test frames",
    "held_out": "frames held out, hash",
}


def check_shared_split(names: Sequence[str], cards: Sequence[ModelCard]) -> list[str]:
    """Checks that validation and test frames are the same; training frames may be other subsets.

    Args:
        names: of the models, for messages.
        cards: of the models.

    Returns:
        The names of those whose cards say nothing of a split, about which nothing is known.

    Raises:
        ConfigError: two models were trained with other splits, or with other data.
    """
    records = [_record(card) for card in cards]
    told = [k for k, record in enumerate(records) if record]
    for k in told[1:]:
        first, other = records[told[0]], records[k]
        differing = [
            f"{words} {_short(first[key])} and {_short(other[key])}"
            for key, words in _WORDS.items()
            if key in first and key in other and first[key] != other[key]
        ]
        if differing:
            raise ConfigError(
                f"{names[told[0]]} and {names[k]} were trained with different splits: "
                f"{'; '.join(differing)}. Frames that one is tested on may be training frames of "
                "the other. Train all members with the same split (the same split.* settings, or "
                "split.file), and with other training.seed"
            )
    return [name for name, record in zip(names, records, strict=True) if not record]


def _record(card: ModelCard) -> Mapping[str, Any]:
    split = card.dataset.get("split")
    if not split:
        return {}
    found = {key: split[key] for key in _WORDS if key in split}
    if "content_hash" in card.dataset:
        found["data"] = card.dataset["content_hash"]
    return found


def _short(value: Any) -> str:
    return str(value)[:16]

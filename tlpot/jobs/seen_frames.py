"""Which of the frames at hand a model was trained on, as far as its card tells."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.data import (
    Dataset,
    Split,
    SplitSource,
    beneath_views,
    frame_hashes,
    load_split,
    read_sketch,
    sketch_frames,
    structures_hash,
)
from tlpot.models import Ensemble, ModelCard, TrainedModel

_FEW = 20
"""Frames; a share of fewer is no percentage."""


def with_frames(
    card: ModelCard, dataset: Dataset, split: Split, structures: str = "", *, held_out: bool = True
) -> ModelCard:
    """Returns a card that knows what the model was trained on.

    Args:
        card: of the model.
        dataset: the labels.
        split: its training frames were learned from.
        structures: `structures_hash` of the dataset; empty if it is not known.
        held_out: whether the split held any frames out.
    """
    known = {**card.dataset, "file": dataset.path.name, "content_hash": split.content_hash}
    if structures:
        known["structures"] = structures
    if held_out:
        known["split"] = {
            "by": split.by, "seed": split.seed, "train": len(split.train),
            "validation": len(split.validation), "test": len(split.test),
            "held_out": held_out_hash(split),
        }  # fmt: skip
    return replace(card, dataset=known, frames=str(sketch_frames(dataset, split.train)))


def trained_on(model: TrainedModel, dataset: Dataset) -> Iterator[ModelCard]:
    """Yields the cards of a model, or of its members, that say that it was trained on a dataset.

    That is the same file, or the same structures with other labels; which of them were training
    frames, the split tells.
    """
    dataset, structures = beneath_views(dataset), ""
    for card in _cards(model):
        known = card.dataset
        same = known.get("content_hash") == dataset.content_hash
        if not same and known.get("structures"):
            structures = structures or structures_hash(dataset)
            same = known["structures"] == structures
        if same:
            yield card


def seen_words(
    model: TrainedModel, dataset: Dataset, frames: Sequence[int] | NDArray[np.int64]
) -> str:
    """Says how many of these frames a model was trained on; empty if none, or if nobody knows.

    Frames are told by their structures, in whatever file they are. Of a training on more frames
    than a card keeps, a sample of them is known.
    """
    hashes: NDArray[np.uint64] | None = None
    most, words = 0.0, ""
    for card in _cards(model):
        if not card.frames:
            continue
        sketch = read_sketch(card.frames)
        hashes = frame_hashes(dataset, frames) if hashes is None else hashes
        shared, told = sketch.shared(hashes)
        if not shared or shared / told <= most:
            continue
        most = shared / told
        if sketch.is_complete:
            share = f"{shared:,} of these {len(frames):,} frames"
        elif told < _FEW:
            share = f"some of these {len(frames):,} frames"
        else:
            share = f"about {max(1, round(100 * most))} % of these {len(frames):,} frames"
        words = f"{share} are structures that {card.name!r} was trained on"
    return words


def training_words(
    model: TrainedModel,
    dataset: Dataset,
    frames: Sequence[int] | NDArray[np.int64],
    *,
    split: SplitSource | None,
    part: str,
    run: Path | None = None,
) -> str:
    """Says what is to be known of errors on frames that a model may have been trained on.

    Args:
        model: whose errors.
        dataset: where the frames are.
        frames: their indices.
        split: how they were chosen; None for all frames.
        part: of the split; nothing is said of ``train``, which was asked for.
        run: folder of the training, for the remedy; None if nobody knows.

    Returns:
        A sentence, or nothing.
    """
    if part == "train":
        return ""
    own = "MODEL.run/split.json" if run is None else str(run / "split.json")
    divided = None if split is None else load_split(split, dataset)
    for card in trained_on(model, dataset):
        if divided is None:
            return (
                f"{dataset.path} is what {card.name!r} was trained on: its training frames are "
                f"among these, and their errors say nothing about others; split={own} (--split) "
                "looks at test frames only"
            )
        if differing := other_split(card, divided):
            return (
                f"{differing}, so that these {part} frames may have been trained on, and their "
                f"errors say nothing about others; give the split of the training ({own})"
            )
    if seen := seen_words(model, dataset, frames):
        return f"{seen}, and their errors say nothing about others"
    return ""


def other_split(card: ModelCard, split: Split) -> str:
    """Says in words how a split differs from that of a training; empty if it does not.

    The frames held out decide, and for cards that do not have them their numbers, and how and with
    which seed they were divided.
    """
    recorded = card.dataset.get("split", {})
    mine = {"by": split.by, "seed": split.seed, "validation": len(split.validation),
            "test": len(split.test)}  # fmt: skip
    trained = {key: recorded.get(key) for key in mine}
    own = recorded.get("held_out")
    if (mine == trained) if own is None else own == held_out_hash(split):
        return ""
    words = [", ".join(f"{k} {v}" for k, v in each.items()) for each in (mine, trained)]
    if mine == trained:
        words[1] = "other frames"
    return f"the split ({words[0]}) is not the one that {card.name!r} was trained with ({words[1]})"


def held_out_hash(split: Split) -> str:
    """Returns what a card says of the frames that a split holds out, validation and test."""
    frames = hashlib.sha256()
    for part in (split.validation, split.test):
        frames.update(part.astype("<i8").tobytes() + b"|")
    return frames.hexdigest()[:16]


def _cards(model: TrainedModel) -> list[ModelCard]:
    potentials = model.potentials() if isinstance(model, Ensemble) else [model]
    return [potential.card for potential in potentials]

"""Which labels are for what, so that a geometry that one training leaves out is left out of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlpot.building.labels import LABELS
from tlpot.building.stage import StageContext
from tlpot.data import Dataset, Split, fingerprint, frames_of, load_split, open_dataset
from tlpot.jobs import FinetuneConfig

UNSEEN, VALIDATED, TRAINED = 0, 1, 2
"""What a geometry was for in the pretraining."""


def pretraining_use(low: Dataset, split: Split, dataset: Dataset) -> NDArray[np.int64]:
    """Returns what the geometries of a dataset were for in the pretraining, [n_frames].

    Args:
        low: labels of the cheap level.
        split: of the pretraining.
        dataset: other labels, whose charges are read as those of `low` are.
    """
    known: dict[bytes, int] = {}
    for use, part in ((VALIDATED, split.validation), (TRAINED, split.train)):
        known |= {fingerprint(frame.system): use for frame in frames_of(low, part, levels=())}
    frames = frames_of(dataset, np.arange(len(dataset)), levels=())
    return np.array(
        [known.get(fingerprint(frame.system), UNSEEN) for frame in frames], dtype=np.int64
    )


def write_split(work: StageContext, config: FinetuneConfig, pretraining: Path, path: Path) -> None:
    """Divides the frames of a fine-tuning, unless that is done.

    For the test come first those that the pretraining left out, then those that it validated
    with, and those that it was trained on only where the others are too few; so for the
    validation with what remains. Frames of rounds never move a frame of the first labels: the
    test frames stay the same in all rounds, and a share of the new frames is for validation.

    Args:
        work: of the stage.
        config: of the fine-tuning; the first of its files has the labels before any round.
        pretraining: file of its split.
        path: to be written.
    """
    if path.exists():
        return
    dataset = config.data.open()
    first = open_dataset(config.data.files[0])
    low = open_dataset(work.of("low", LABELS))
    use = pretraining_use(low, load_split(pretraining, low), first)
    split = replace(config.split, train=None).divide(first, config.level, turn=use)
    known = np.flatnonzero(dataset.labelled(config.level))
    new = np.random.default_rng([config.split.seed, 2]).permutation(known[known >= len(first)])
    share = len(split.validation) / max(len(split.validation) + len(split.train), 1)
    n_held = round(share * len(new))
    Split(
        train=np.sort(np.concatenate([split.train, new[n_held:]])),
        validation=np.sort(np.concatenate([split.validation, new[:n_held]])),
        test=split.test,
        by=split.by,
        seed=split.seed,
        content_hash=dataset.content_hash,
    ).save(path)

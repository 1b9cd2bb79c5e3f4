"""Training, held-out and test frames of the two shipped models, for the scripts beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tlpot.data import Dataset, NeutralDataset, Split, make_split, open_dataset
from tlpot.models import library_file

TINY, FRAGMENTS = "tlpot-tiny", "tlpot-fragments"
TINY_LEVEL, FRAGMENTS_LEVEL = "wb97x/6-31g*", "gfn2-xtb"


def tiny_frames() -> tuple[Dataset, Split]:
    """The very frames that tlpot-tiny was trained and tested on."""
    dataset = open_dataset(library_file(TINY).with_name("tlpot-qm.h5"))
    shares = {"validation": 0.08, "test": 0.08}
    return dataset, make_split(dataset, by="random", labelled=TINY_LEVEL, **shares)


def fragment_frames(folder: Path) -> tuple[Dataset, Split]:
    """Frames of sample.py: whole trajectories of residues are held out, and pairs at random."""
    files = [folder / "residues.h5", folder / "pairs.h5"]
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    done = 0
    for file, by in zip(files, ("molecule", "random"), strict=True):
        own = open_dataset(file)
        split = make_split(own, by=by, validation=0.2, test=0.2)
        for part, found in parts.items():
            found.append(done + getattr(split, part))
        done += len(own)
    dataset = NeutralDataset(open_dataset(files))
    joined = {part: np.concatenate(found) for part, found in parts.items()}
    return dataset, Split(**joined, by="trajectory", seed=0, content_hash=dataset.content_hash)

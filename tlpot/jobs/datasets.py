"""Checking, translating and dividing datasets."""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from tlpot.config import listed
from tlpot.data import (
    DEFAULT_SHARE,
    SEVERITIES,
    Dataset,
    DataSource,
    FrameOrder,
    Problem,
    Share,
    SpecSource,
    Split,
    SplitBy,
    lacking_elements,
    make_split,
    open_dataset,
    renamed_molecules,
    structures_hash,
    write_dataset,
)
from tlpot.errors import DataError, TLPotWarning, UnknownLevelError, refuse_warnings
from tlpot.files import check_hdf5_name, check_replaced, check_spared
from tlpot.numbers import counted
from tlpot.presentation import Result, progress_bar, text_table

_SHOWN = 3
"""Frames named for each problem."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class DataCheck(Result):
    """What is wrong with a dataset.

    Attributes:
        path: the file.
        n_frames: frames that were looked at.
        problems: the worst first.
    """

    path: Path
    n_frames: int
    problems: tuple[Problem, ...]

    def of(self, severity: str) -> list[Problem]:
        """Returns the problems of one severity: error, warning or note."""
        return [problem for problem in self.problems if problem.severity == severity]

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not self.of("error")

    def raise_errors(self) -> None:
        """Does nothing where there are no errors.

        Raises:
            DataError: there are some; the message is about the first.
        """
        errors = self.of("error")
        if errors:
            raise DataError(
                f"{self.path}: {errors[0].what} "
                f"({counted(len(errors), 'kind of error', 'kinds of error')} in all)"
            )

    def headline(self) -> str:
        """Returns how many frames and problems there are."""
        n, m = len(self.of("error")), len(self.of("warning"))
        found = f"{counted(n, 'kind of error', 'kinds of error')}, {m} of warning"
        return f"{self.path.name}: {counted(self.n_frames, 'frame')}, {found}"

    def text(self, *, every: bool = False) -> str:
        """Returns the problems with some of their frames, or with `every` one."""
        lines = []
        for problem in self.problems:
            count = f"{counted(len(problem.frames), 'frame')}: " if problem.frames else ""
            lines.append(f"{problem.severity:8} {count}{problem.what}")
            if problem.frames:
                shown = problem.frames if every else problem.frames[:_SHOWN]
                more = ", ..." if len(problem.frames) > len(shown) else ""
                lines.append(f"{'':9}{', '.join(shown)}{more}")
        if self.ok:
            n = len(self.of("warning"))
            kinds = counted(n, "kind of warning", "kinds of warning")
            lines.append(f"{counted(self.n_frames, 'frame')} checked, no errors, {kinds}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        problems = [dataclasses.asdict(problem) for problem in self.problems]
        return {"path": str(self.path), "n_frames": self.n_frames, "problems": problems}


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ConvertedData(Result):
    """A dataset that was written in the native layout.

    Attributes:
        output: the file.
        n_frames: frames in it.
        levels: of theory.
    """

    output: Path
    n_frames: int
    levels: tuple[str, ...]

    def text(self) -> str:
        """Returns one line."""
        return f"wrote {self.output}: {counted(self.n_frames, 'frame')} at {', '.join(self.levels)}"

    def as_json(self) -> dict[str, Any]:
        """Returns everything as plain values."""
        return {"output": str(self.output), "n_frames": self.n_frames, "levels": list(self.levels)}


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class DataSplit(Result):
    """A dataset in training, validation and test frames.

    Attributes:
        split: the frames of each part.
        n_molecules: by part.
        output: the file of the split; None if it was not written.
        warnings: what is to be known of it.
    """

    split: Split
    n_molecules: Mapping[str, int]
    output: Path | None
    warnings: tuple[str, ...] = ()

    def headline(self) -> str:
        """Returns how many frames each part has."""
        sizes = [f"{len(getattr(self.split, part))} {part}" for part in self.n_molecules]
        return f"{', '.join(sizes)} frames, {self.split.way}"

    def text(self) -> str:
        """Returns a table."""
        rows = [["", "frames", "molecules"]]
        for part, n in self.n_molecules.items():
            rows.append([part, f"{len(getattr(self.split, part)):,}", f"{n:,}"])
        how = f"{self.split.way}, seed {self.split.seed}"
        last = how if self.output is None else f"wrote {self.output} ({how})"
        return "\n".join([*text_table(rows), last])

    def as_json(self) -> dict[str, Any]:
        """Returns how many frames and molecules each part has."""
        parts = {
            part: {"frames": len(getattr(self.split, part)), "molecules": n}
            for part, n in self.n_molecules.items()
        }
        return {"by": self.split.by, "seed": self.split.seed, **parts}


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFiles:
    """Labels, and how to read them; the fields are the arguments of `open_dataset`."""

    data: DataSource
    spec: SpecSource | None = None
    level: str | None = None
    keys: Mapping[str, str] | None = None

    def open(self) -> Dataset:
        """Opens them as one dataset.

        Raises:
            TLPotError: see `open_dataset`.
        """
        return open_dataset(self.data, self.spec, level=self.level, keys=self.keys)

    @property
    def words(self) -> str:
        """What they are called."""
        given = [self.data] if not isinstance(self.data, list | tuple) else self.data
        paths = [getattr(each, "path", each) for each in given]
        return ", ".join(str(p) for p in paths if isinstance(p, str | os.PathLike)) or "the data"

    def announced(self) -> Dataset:
        """Opens them, and says what that has shown before anything is written.

        Warns:
            TLPotWarning: for each problem that is more than a note.
        """
        dataset = self.open()
        _announce(dataset)
        return dataset


def _announce(dataset: Dataset) -> None:
    for problem in dataset.problems:
        if problem.severity == "note":
            logging.getLogger("tlpot").info("note: %s", problem.what)
        else:
            warnings.warn(problem.what, TLPotWarning, stacklevel=6)  # of who calls tlpot.api


def check_data(files: DataFiles, against: str | os.PathLike[str] | None = None) -> DataCheck:
    """Looks for mistakes in a dataset; `tlpot.validate_dataset` says more.

    Raises:
        TLPotError: the files cannot be read.
    """
    # looks for neighbours, whose library loads torch
    from tlpot.data import find_problems, overlap_problems
    from tlpot.labelling import read_structures

    dataset = files.open()
    others = () if against is None else read_structures(against).systems
    with _progress(dataset, "checking") as progress:
        problems = find_problems(dataset, progress=progress)
    if against is not None:
        with _progress(dataset, "comparing") as progress:
            problems += overlap_problems(dataset, others, str(against), progress=progress)
        problems.sort(key=lambda problem: SEVERITIES.index(problem.severity))
    return DataCheck(path=dataset.path, n_frames=len(dataset), problems=tuple(problems))


def convert(
    files: DataFiles, output: str | os.PathLike[str], *, overwrite: bool = False
) -> ConvertedData:
    """Writes a dataset in the native layout; `tlpot.convert_dataset` says more.

    Raises:
        OutputError: the output is no HDF5 name, one of the files, or there already.
        TLPotError: the files cannot be read, or the output not be written.
    """
    _check_written(check_hdf5_name(output), files, what="dataset", overwrite=overwrite)
    dataset = files.announced()
    with _progress(dataset, "writing") as progress:
        write_dataset(dataset, output, progress=progress)
    return ConvertedData(output=Path(output), n_frames=len(dataset), levels=tuple(dataset.levels))


def _check_written(
    output: str | os.PathLike[str], files: DataFiles, *, what: str, overwrite: bool
) -> None:
    """Refuses to replace what is read, ever, and any other file unless told."""
    check_spared(output, files.data, files.spec)
    check_replaced(output, what=what, overwrite=overwrite)


def divide(
    files: DataFiles,
    *,
    validation: Share | str | None = None,
    test: Share | str | None = None,
    by: SplitBy | None = None,
    key: str | None = None,
    labelled: str | None = None,
    together_with: str | os.PathLike[str] | None = None,
    seed: int = 0,
    strict: bool = False,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> DataSplit:
    """Divides a dataset; `tlpot.split_dataset` says what the arguments are.

    Raises:
        OutputError: the output is one of the files, or there already.
        TLPotError: the files cannot be read, or not be divided so.
    """
    if output is not None:
        check_spared(output, together_with)
        _check_written(output, files, what="split", overwrite=overwrite)
    own = dataclasses.replace(files, level=files.level or labelled)
    try:
        dataset = own.announced()
    except UnknownLevelError:
        if own.level is not None:
            raise
        # the file has one level and does not name it; frames are divided all the same
        dataset = dataclasses.replace(own, level="unnamed").announced()
    labelled = labelled or files.level
    kept = None
    if together_with is not None:
        from tlpot.jobs.data_sources import shared_formulas  # whose rooms load torch

        kept = shared_formulas(dataset, Path(together_with))
    split = make_split(
        dataset, validation=_share(validation), test=_share(test), by=by, key=key, seed=seed,
        labelled=labelled, order=FrameOrder(kept=kept),
    )  # fmt: skip
    split = dataclasses.replace(split, structures=structures_hash(dataset))
    held_out = np.concatenate([split.validation, split.test])
    absent = [chemical_symbols[z] for z in lacking_elements(dataset, split.train, held_out)]
    lacking = (
        f"{', '.join(absent)} is in no training frame, only in held-out ones; a model refuses "
        "elements that it was not trained on, unless it knows them by features of the elements"
    )
    found = (lacking,) if absent else ()
    if split.by == "molecule" and (renamed := renamed_molecules(dataset, split.train, held_out)):
        found = (*found, renamed)
    if strict and not split.by.startswith("element "):
        refuse_warnings(found)
    if output is not None:
        split.save(output)
    parts = ("train", "validation", "test")
    return DataSplit(
        split=split,
        n_molecules={p: len(np.unique(dataset.group_idx[getattr(split, p)])) for p in parts},
        output=None if output is None else Path(output),
        warnings=found,
    )


def _share(given: Share | str | None) -> Share:
    """Returns a number, or names, which a text has with commas; what is usual for nothing."""
    if given is None:
        return DEFAULT_SHARE
    if not isinstance(given, str):
        return given
    try:
        return float(given)
    except ValueError:
        return listed(given, commas=True)


@contextmanager
def _progress(dataset: Dataset, what: str) -> Iterator[Callable[[int], object]]:
    """Yields a progress bar's update, silent where nobody watches."""
    with progress_bar(
        total=len(dataset), desc=what, unit=" frames", leave=False, disable=None
    ) as bar:
        yield bar.update

"""Which data a job uses and how it is divided."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.config import IN_MEMORY, LATER, check_seed
from tlpot.data import (
    DEFAULT_SHARE,
    Dataset,
    FrameOrder,
    NeutralDataset,
    Split,
    SplitBy,
    default_by,
    frames_of,
    load_split,
    make_split,
    open_dataset,
    reduced_formula,
    with_any_label,
    with_difference,
)
from tlpot.errors import ConfigError, DataError, UnknownElementError, UnknownLevelError
from tlpot.files import file_hash
from tlpot.labelling import read_structures
from tlpot.levels import difference_parts, level_words
from tlpot.models import Ensemble, ModelCard, Potential, TrainedModel
from tlpot.targets import is_property

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


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Where the labels are.

    Attributes:
        files: one file, or several that hold different frames.
        spec: name, path or content of the layout's description; None for tlpot's own layout.
        level: level of theory of the labels, where the file does not say.
        keys: names of the labels, where the file uses its own: ``{energy: E_dft}``; a whole number
            for ``charge`` or ``spin`` is that of every frame.
        charges: ``ignore`` has every frame read as a neutral singlet, for a model that reads no
            charges and molecules whose charge follows from their atoms.
        assumed: level of the labels where neither the file nor `level` says: the one to learn.
        dataset: the labels themselves, opened already; `files` then only says what they are.
    """

    files: tuple[Path, ...]
    spec: str | Mapping[str, Any] | None = None
    level: str | None = None
    keys: Mapping[str, str | int] = field(default_factory=dict)
    charges: Literal["read", "ignore"] = "read"
    assumed: str | None = field(default=None, compare=False, repr=False, metadata=IN_MEMORY)
    dataset: Dataset | None = field(default=None, compare=False, repr=False, metadata=IN_MEMORY)

    def open(self, *, every_level: bool = False) -> Dataset:
        """Opens the files as one dataset; see `open_dataset` for the errors.

        Args:
            every_level: read the other levels, too, where the files say which is which, as for a
                property; `level` alone would be the only one to read.
        """
        dataset = self._opened(every_level)
        return NeutralDataset(dataset) if self.charges == "ignore" else dataset

    def _opened(self, every_level: bool) -> Dataset:
        asked = self.level or self.assumed
        if self.dataset is not None:
            return self.dataset if asked is None else with_difference(self.dataset, asked)
        paths, keys = list(self.files), {name: str(key) for name, key in self.keys.items()} or None
        if asked is not None and difference_parts(asked) is not None:
            try:
                found = open_dataset(paths, self.spec, keys=keys)
            except UnknownLevelError:  # the files do not say what they hold, but the user does
                pass
            else:
                return with_difference(found, asked)
        # what a property is at another level is a line that a model has to beat
        every_level = every_level or (asked is not None and is_property(asked))
        if every_level and all(is_property(name) for name in self.keys):
            try:
                return open_dataset(paths, self.spec, keys=keys)
            except UnknownLevelError:
                if self.level is None and self.assumed is None:
                    raise
        try:
            return open_dataset(paths, self.spec, level=self.level, keys=keys)
        except UnknownLevelError:
            if self.level is not None or self.assumed is None:
                raise
            return open_dataset(paths, self.spec, level=self.assumed, keys=keys)

    def assuming(self, level: str | Sequence[str] | None) -> DataSettings:
        """Returns the same for labels of one level to learn, which the file need not name."""
        return replace(self, assumed=only_level(level))

    def open_all_levels(self) -> Dataset:
        """Opens the files with labels of every level, where the layout says which these are."""
        try:
            return replace(self, level=None).open()
        except UnknownLevelError:
            return self.open()


def check_elements(parent: TrainedModel, dataset: Dataset, name: str) -> None:
    """Checks that a model to start from knows the elements of the data.

    Raises:
        UnknownElementError: it does not.
    """
    unknown = [chemical_symbols[z] for z in dataset.elements if z not in parent.elements]
    if unknown:
        known = ", ".join(chemical_symbols[z] for z in parent.elements)
        first = next(
            frame.name
            for frame in frames_of(dataset, levels=())
            if not set(frame.system.atomic_numbers.tolist()) <= set(parent.elements)
        )
        raise UnknownElementError(
            f"{first} and perhaps others have {', '.join(unknown)}, which the parent {name} does "
            f"not know; it knows {known}. Choose a parent with these elements, or leave these "
            "molecules out"
        )


def kept_low(parent: Potential, level: str) -> dict[str, Any]:
    """Returns the engine below a difference as the card of the model that is continued has it."""
    low = parent.card.dataset.get("low")
    return {"low": low} if low and difference_parts(level) is not None else {}


def only_level(level: str | Sequence[str] | None) -> str | None:
    """Returns the level that all labels may be of; None if several are asked for."""
    return level if level is None or isinstance(level, str) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSettings:
    """How the frames that carry a label are divided.

    Attributes:
        file: a split stored by ``tlpot data split``; by, validation, test and seed then do
            not apply.
        by: ``molecule`` keeps all frames of a molecule together, ``source`` all fragments of a
            protein, ``trajectory`` all frames of a run, ``formula`` all structures of a reduced
            formula, ``prototype`` those of a type of structure, ``composition`` those of a cluster
            of compositions, ``key`` those with the same value of `key`; ``element`` leaves the
            elements of the test out of the training; ``random`` divides frames. None for
            ``molecule``, ``formula`` for periodic structures (properties, and energies where a
            formula has several cells), or ``random`` where all frames are of one.
        key: the array with one value for each frame, for ``by: key``.
        together_with: a file of structures, such as the parent's data; what has one of their
            formulas stays in training, with all that is kept together with it.
        validation: fraction (below 1), number of frames, or names of molecules (or sources);
            where nothing is said, a tenth, of few frames one.
        test: the same; these frames are seen by nothing but the final evaluation. Named
            molecules are held out whole even when the other frames are divided at random.
        train: use only this many of the training frames; smaller subsets are part of larger
            ones.
        seed: of the division and of the subset.
        divided: the division itself; nothing else but `train` then applies, and `file` is where
            it will be stored.
    """

    file: Path | None = None
    by: SplitBy | None = None
    key: str | None = field(default=None, metadata=LATER)
    together_with: Path | None = field(default=None, metadata=LATER)
    validation: float | tuple[str, ...] = DEFAULT_SHARE
    test: float | tuple[str, ...] = 0.0
    train: int | None = None
    seed: int = 0
    divided: Split | None = field(default=None, compare=False, repr=False, metadata=IN_MEMORY)

    def __post_init__(self) -> None:
        check_seed(self.seed, "split.seed")
        if self.file is not None:
            changed = [
                name
                for name in ("by", "key", "together_with", "validation", "test", "seed")
                if getattr(self, name) != SplitSettings.__dataclass_fields__[name].default
            ]
            if changed:
                raise ConfigError(f"{', '.join(changed)} does not apply when split.file is given")
        if (self.by == "key") != (self.key is not None):
            raise ConfigError("split.by=key and split.key=NAME of the array go together")

    def divide(
        self,
        dataset: Dataset,
        level: str | Sequence[str],
        *,
        turn: NDArray[np.int64] | None = None,
        keep_elements: bool = True,
    ) -> Split:
        """Divides the frames of `dataset` that have an energy, forces or a stress at `level`.

        Args:
            dataset: the frames.
            level: of theory, or several, of which a frame has one at least.
            turn: which are held out first, see `FrameOrder`; a stored split has no use for it.
            keep_elements: see `FrameOrder`; a stored split stays as it is.

        Raises:
            DataError: a part would be empty, or the stored split belongs to another dataset.
            UnknownLevelError: the dataset has no such level.
        """
        if self.divided is not None:
            split = _labelled(load_split(self.divided, dataset), dataset, level)
            return split if self.train is None else replace(split, train=split.subset(self.train))
        by = self.by or default_by(dataset, level)
        order = FrameOrder(turn=turn, keep_elements=keep_elements)
        if self.together_with is not None:
            order = replace(order, kept=shared_formulas(dataset, self.together_with))
        if self.file is not None:
            split = _labelled(load_split(self.file, dataset), dataset, level)
        elif by == "random" and not isinstance(self.test, float):
            split = self._hold_out_molecules(dataset, level, order)
        else:
            split = make_split(
                dataset,
                validation=self.validation,
                test=self.test,
                by=self.by,
                key=self.key,
                seed=self.seed,
                labelled=level,
                order=order,
            )
        return split if self.train is None else replace(split, train=split.subset(self.train))

    def _hold_out_molecules(
        self, dataset: Dataset, level: str | Sequence[str], order: FrameOrder
    ) -> Split:
        """Holds out whole molecules for the test and divides the other frames at random."""
        outer = make_split(
            dataset, validation=0, test=self.test, by="molecule", seed=self.seed, labelled=level,
            order=FrameOrder(kept=order.kept),
        )  # fmt: skip
        inner = make_split(
            dataset,
            validation=self.validation,
            test=0,
            by="random",
            seed=self.seed,
            order=replace(order, indices=outer.train),
        )
        return replace(inner, test=outer.test, by="random, test by molecule")


def shared_formulas(dataset: Dataset, path: Path) -> NDArray[np.bool_]:
    """Returns which frames have the reduced formula of a structure in another file, [n_frames].

    Raises:
        DataError: the file holds no structures that can be read without a description.
    """
    others = {reduced_formula(system.atomic_numbers) for system in read_structures(path).systems}
    return np.array(
        [
            reduced_formula(frame.system.atomic_numbers) in others
            for frame in frames_of(dataset, levels=())
        ]
    )


def _labelled(split: Split, dataset: Dataset, level: str | Sequence[str]) -> Split:
    """Leaves out the frames of a stored split that have no label at `level`."""
    return _restricted(split, with_any_label(dataset, level), f"a label at {level_words(level)}")


def with_energies(
    split: Split, dataset: Dataset, level: str, *, or_forces: bool = False
) -> tuple[Split, int]:
    """Leaves out frames without an energy at `level`, for what learns from nothing else.

    Args:
        split: the frames.
        dataset: where they are from.
        level: canonical.
        or_forces: keep frames with forces, too.

    Returns:
        The others, and how many were left out.

    Raises:
        DataError: a part that has frames would lose them all.
    """
    known, what = dataset.labelled(level), "an energy"
    if or_forces:
        known, what = known | dataset.labelled(level, "forces"), "an energy or forces"
    kept = _restricted(split, known, f"{what} at {level}")
    before, after = (len(s.train) + len(s.validation) + len(s.test) for s in (split, kept))
    return kept, before - after


def _restricted(split: Split, known: NDArray[np.bool_], what: str) -> Split:
    parts = {
        name: frames[known[frames]]
        for name in ("train", "validation", "test")
        if len(frames := getattr(split, name))
    }
    for name, frames in parts.items():
        if not len(frames):
            raise DataError(f"none of the {name} frames of the split has {what}")
    return replace(split, **parts)


def check_charges(
    settings: DataSettings, reads_charge: bool, *, parent: Path | str | None = None
) -> Literal["", "ignored"]:
    """Checks that charges are not kept from a model that reads them; returns the card's field.

    Args:
        settings: of the data.
        reads_charge: whether the model does.
        parent: the model that is fine-tuned; None for a new one.

    Raises:
        ConfigError: they are.
    """
    if settings.charges == "ignore" and reads_charge:
        whose = "(model.charge_spin=true); leave one of them out"
        if parent is not None:
            whose = f"as the parent {parent} does; leave it out, or take another parent"
        raise ConfigError(
            f"data.charges=ignore does not apply to a model that reads charges {whose}"
        )
    return "ignored" if settings.charges == "ignore" else ""


def known_charges(settings: DataSettings, start: Potential) -> Literal["", "ignored"]:
    """Returns the card's field of a model: charges that its start implies it goes on implying.

    Args:
        settings: of the data.
        start: the model before the first update.

    Raises:
        ConfigError: see `check_charges`.
    """
    implied = start.card.implies_charges and not start.uses_charge
    return check_charges(settings, start.uses_charge) or ("ignored" if implied else "")


def as_trained(dataset: Dataset, model: TrainedModel) -> Dataset:
    """Returns frames as a model saw those of its training: neutral if that had ``charges=ignore``.

    Args:
        dataset: the frames.
        model: whose card tells.
    """
    potentials = model.potentials() if isinstance(model, Ensemble) else [model]
    cards = [model.card, *(potential.card for potential in potentials)]
    ignored = any(_charges(card.recipe) == "ignore" for card in cards)
    return NeutralDataset(dataset) if ignored else dataset


def _charges(recipe: Mapping[str, Any]) -> object:
    section = recipe.get("data")
    return section.get("charges") if isinstance(section, Mapping) else None


def source_hashes(strategy: str | Mapping[str, Any], *, outside: Path | None = None) -> list[str]:
    """Returns hashes of the files of source data that a strategy reads.

    Args:
        strategy: name, or a section with its settings.
        outside: a folder whose files are passed over.

    Raises:
        DataError: a file cannot be read.
    """
    files: Sequence[str | os.PathLike[str]] = ()
    if not isinstance(strategy, str):
        files = (*strategy.get("files", ()), *(strategy.get("adapt") or {}).get("files", ()))
    paths = [Path(path) for path in files]
    if outside is not None:
        folder = outside.resolve()
        paths = [path for path in paths if not path.resolve().is_relative_to(folder)]
    return [file_hash(path) for path in paths]

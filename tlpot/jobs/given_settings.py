"""What a job is told: a file of settings, arguments that win, and objects that no file can hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tlpot.config import Settings, job_settings, parse
from tlpot.data import Dataset, DataSource, SpecSource, Split, SplitPart, as_split, open_dataset
from tlpot.errors import ConfigError, UnknownLevelError
from tlpot.jobs.data_sources import DataSettings, SplitSettings, only_level
from tlpot.levels import choose_level

ConfigSource = str | os.PathLike[str] | Mapping[str, Any] | None
"""A YAML file, what is in one, or nothing."""

_PATHS = (str, os.PathLike)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobObjects:
    """What a job is given that no file of settings can hold.

    Attributes:
        dataset: the labels; None where they are in files.
        split: how they are divided; None for what the settings say.
    """

    dataset: Dataset | None = None
    split: Split | None = None

    def dividing(self, settings: SplitSettings, output: Path | None = None) -> SplitSettings:
        """Returns the settings of the split, with the split itself if it was given.

        Args:
            settings: those of the job.
            output: the model that the job writes, beside which the split is then stored; the
                settings name that file, so that they say what was done.
        """
        if self.split is None:
            return settings
        file = None if output is None else output.with_suffix(".run") / "split.json"
        return SplitSettings(file=file, divided=self.split, train=settings.train)


def settings_with_data(
    config: ConfigSource, job: str, data: DataSource | None, **given: Any
) -> tuple[Settings, JobObjects]:
    """Returns the settings of a job on labels, and what of these is in no file.

    Args:
        config: a YAML file, what is in one, or nothing.
        job: what the settings are for.
        data: files, structures or a dataset; None for what `config` says.
        given: other settings by key, which win, None for those that are not given; and how to
            read `data`: ``spec`` and ``keys``.

    Raises:
        TLPotError: `config` or `data` cannot be read.
    """
    reading = {name: given.pop(name, None) for name in ("spec", "keys")}
    section: dict[str, Any] = {k: v for k, v in reading.items() if v is not None}
    given["split"], split = _stored_or_given(given.get("split"))
    if data is None:
        settings = job_settings(config, job, data=section or None, **given)
        _refuse_indices(settings)
        return settings, JobObjects(split=split)
    files = [data] if isinstance(data, str | os.PathLike) else data
    dataset = None
    if not isinstance(files, list | tuple) or not all(isinstance(f, _PATHS) for f in files):
        dataset = _opened(data, only_level(given.get("level")), **reading)
        section, files = {}, [dataset.path]
    section["files"] = [os.fspath(file) for file in files if isinstance(file, _PATHS)]
    settings = job_settings(config, job, data=section, **given)
    settings["data"].setdefault("level", only_level(given.get("level")))
    _refuse_indices(settings)
    return settings, JobObjects(dataset=dataset, split=split)


def _stored_or_given(split: Any) -> tuple[Any, Split | None]:
    """Returns the section of a split, and the split itself where that, or as its file, is given."""
    section: Mapping[str, Any] = split if isinstance(split, Mapping) else {"file": split}
    divided = as_split(section.get("file"))
    if divided is not None:
        section = {key: value for key, value in section.items() if key != "file"}
    return (section if split is not None else None), divided


def _refuse_indices(settings: Settings) -> None:
    """Says how frames are divided by hand, which a section of settings cannot.

    Raises:
        ConfigError: the section of the split holds lists of frames.
    """
    section = settings.get("split")
    if not isinstance(section, Mapping):
        return
    for part in get_args(SplitPart):
        value = section.get(part)
        several = isinstance(value, list | tuple | np.ndarray)
        named = several and all(isinstance(each, str) for each in value)  # type: ignore[union-attr]
        if isinstance(value, Mapping) or (several and not named):
            raise ConfigError(
                f"{settings.where}: split.{part} is {value!r:.60}, expected "
                + ("how many frames" if part == "train" else "a share, a number of frames or names")
                + "; to divide frames by their indices, give split=tlpot.data.Split(train=[...], "
                "validation=[...], test=[...], by='hand', seed=0, "
                "content_hash=dataset.content_hash), or the file that its save(path) writes"
            )


def _opened(
    data: DataSource, level: str | None, spec: SpecSource | None, keys: Mapping[str, str] | None
) -> Dataset:
    """Opens labels with all levels that a description has, of which a job may need two."""
    if spec is not None:
        with suppress(UnknownLevelError):
            return open_dataset(data, spec, keys=keys)
    return open_dataset(data, spec, level=level, keys=keys)


def choose_only_level(settings: Settings, dataset: Dataset | None) -> None:
    """Puts the level of the labels into the settings of a job that name none.

    Args:
        settings: of the job, with a section ``data``.
        dataset: the labels, if they are in no file.

    Raises:
        UnknownLevelError: there are several.
        TLPotError: the labels cannot be read.
    """
    if settings.get("level") is None:
        read = parse(DataSettings, settings["data"], f"{settings.where}: data")
        found = dataset or read.open()
        settings["level"] = choose_level(None, found.levels, str(found.path))


def with_epochs(given: dict[str, Any]) -> dict[str, Any] | None:
    """Takes ``epochs`` out of the settings of a job; returns those of its training."""
    epochs = given.pop("epochs", None)
    return (
        given.get("training")
        if epochs is None
        else {**(given.get("training") or {}), "epochs": epochs}
    )

"""A measured learning curve and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError, DataError, nearest
from tlpot.learning_curves.power_law import Law, Measured, fit_law
from tlpot.stored_results import read_json, write_json
from tlpot.targets import is_property

RECORD = "curve.json"
FORMAT_VERSION = 2
UNITS = {
    "energy": "meV", "energy_per_atom": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³",
    "property": "",
}  # fmt: skip
"""Of the errors in reports and records; those of a property are in its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """The result of one fine-tuning, in the units of `UNITS`.

    Attributes:
        key: name of its file in the folder ``points``.
        size: training frames.
        seed: which repeat.
        start: errors on the test frames at step 0.
        end: errors on the test frames after training.
        seconds: of training.
        updates: gradient steps made; None in records that do not say.
        late_fall: share by which each validation error fell in the last fifth of the updates;
            empty in records that do not say, and where nothing is trained by steps.
        baselines: of a property, errors of what needs no network by its name.
    """

    key: str
    size: int
    seed: int
    start: Mapping[str, float]
    end: Mapping[str, float]
    seconds: float
    updates: int | None = None
    late_fall: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """The points of one strategy with one parent.

    Attributes:
        label: in tables and pictures.
        name: of the strategy with its settings, the same for all parents.
        strategy: its name and settings.
        parent: name of the parent.
        pretraining: labels of the parent's training, None if its card does not say.
        points: in no particular order.
    """

    label: str
    name: str
    strategy: Mapping[str, Any]
    parent: str
    pretraining: int | None
    points: tuple[CurvePoint, ...]

    @property
    def is_scratch(self) -> bool:
        """Whether it is the baseline without a pretraining."""
        return self.strategy["name"] == "scratch"

    def lacks(self, quantity: str) -> str:
        """Returns why there is nothing to see of an error; empty if there is, or no points."""
        if not self.points or any(quantity in p.end for p in self.points):
            return ""
        kind, error = quantity.rsplit("_", 1)
        return f"no {kind.replace('_', ' ')} {error.upper()} was measured; its models give none"

    def law(self, quantity: str, up_to: float = np.inf) -> Law | str:
        """Returns the law of an error for sizes of at most `up_to`, or why none falls."""
        if lacking := self.lacks(quantity):
            return lacking
        try:
            law = fit_law(self.measured(quantity, up_to))
        except DataError as error:
            return str(error)
        return law if law.falls else law.notes[0]

    def measured(self, quantity: str, up_to: float = np.inf) -> list[Measured]:
        """Returns the errors by size, ascending, for sizes of at most `up_to`."""
        rows = []
        for size in sorted({p.size for p in self.points if p.size <= up_to}):
            same = sorted((p for p in self.points if p.size == size), key=lambda p: p.seed)
            errors = tuple(p.end[quantity] for p in same if quantity in p.end)
            if errors:
                rows.append(Measured(sizes=(size,), errors=errors))
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A point that could not be measured.

    Attributes:
        label: of its series.
        size: training frames.
        seed: which repeat.
        error: what went wrong.
        recurs: whether it would again, as labels or settings are at fault and the draw is fixed.
    """

    label: str
    size: int
    seed: int
    error: str
    recurs: bool = False

    @classmethod
    def of(cls, label: str, size: int, seed: int, error: Exception) -> Failure:
        """Returns the failure of a point that ended in an error."""
        return cls(
            label=label,
            size=size,
            seed=seed,
            error=f"{type(error).__name__}: {error}",
            # not so a file that could not be read, or one that another run has (a subclass)
            recurs=type(error) in (ConfigError, DataError)
            and not isinstance(error.__cause__, OSError),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A learning curve, perhaps unfinished.

    Attributes:
        level: of the labels, canonical.
        n_validation: frames that decide which weights are kept; labels too.
        n_test: frames the errors belong to.
        series: what was measured.
        failures: what failed in this run.
        n_missing: points that this run was to measure and that are not there, failures included.
        n_train: training frames that there are, the largest size that can be measured; None in
            records that do not say.
        config: the resolved configuration, with all that was measured in any run.
        unit: of a property; empty for energies.
    """

    level: str
    n_validation: int
    n_test: int
    series: tuple[Series, ...]
    failures: tuple[Failure, ...] = ()
    n_missing: int = 0
    n_train: int | None = None
    config: Mapping[str, Any]
    unit: str = ""

    def unit_of(self, quantity: str) -> str:
        """Returns the unit of ``energy_mae``: meV."""
        return self.unit if quantity.startswith("property_") else UNITS[quantity.rsplit("_", 1)[0]]

    def baselines(self, quantity: str) -> dict[str, list[Measured]]:
        """Returns an error of what needs no network, by its name and by size, ascending."""
        points = {(p.size, p.seed): p for s in self.series for p in s.points if p.baselines}
        found: dict[str, list[Measured]] = {}
        for name in {name: None for p in points.values() for name in p.baselines}:
            for size in sorted({size for size, _ in points}):
                errors = tuple(
                    p.baselines[name][quantity]
                    for (n, _), p in sorted(points.items())
                    if n == size and quantity in p.baselines.get(name, {})
                )
                if errors:
                    found.setdefault(name, []).append(Measured(sizes=(size,), errors=errors))
        return found

    @property
    def scratch(self) -> Series | None:
        """The baseline."""
        return next((s for s in self.series if s.is_scratch and s.points), None)

    def quantities(self) -> list[str]:
        """Returns the errors that any series has, such as ``energy_mae``.

        Not all need have them: a strategy whose models give energies only has no ``forces_mae``.
        """
        names = {name for s in self.series for p in s.points for name in p.end}
        return [name for name in _quantities() if name in names]

    def check_quantity(self, name: str) -> str:
        """Returns `name` if any series has it.

        Raises:
            ConfigError: none has; the message lists what there is, or says why.
        """
        there = self.quantities()
        if name == "energy_mae" and is_property(self.level):  # the default
            name = "property_mae"
        if name in there:
            return name
        if name in _quantities():
            kind = name.rsplit("_", 1)[0].replace("_", " ")
            raise ConfigError(
                f"no error is called {name!r} in this curve, whose test frames have no {kind} at "
                f"{self.level}; take one that it has ({', '.join(there) or 'none'}), or label "
                f"{kind} and measure a curve with them"
            )
        raise ConfigError(f"no error is called {name!r}{nearest(name, there)}")

    def save(self, folder: Path) -> None:
        """Writes ``curve.json``.

        Raises:
            OutputError: the file could not be written.
        """
        content = {"format_version": FORMAT_VERSION, "units": UNITS, **to_mapping(self)}
        write_json(folder / RECORD, content)


def load_curve(folder: Path) -> Curve:
    """Reads what `Curve.save` wrote.

    Raises:
        DataError: there is no curve in the folder, or it is damaged or from a newer tlpot.
    """
    path = folder / RECORD
    content = read_json(path, "run tlpot curve again; the points of its folder are not repeated")
    if content is None:
        raise DataError(
            f"{folder} has no {RECORD}; expected the folder that tlpot curve -o ... wrote"
        )
    try:
        version = content.pop("format_version")
        content.pop("units")
        if version > FORMAT_VERSION:
            raise DataError(f"{path} was written by a newer tlpot (format {version}); update tlpot")
        return parse(Curve, content, str(path))
    except ConfigError as error:
        raise DataError(f"{path} is damaged: {error}") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not a curve written by tlpot ({error!r})") from error


def geometric(values: Sequence[float]) -> float:
    """Returns the geometric mean, the middle on a log scale: the mean of tables and pictures.

    It is the one that laws are fitted to; 0 if one of the values is.
    """
    if min(values) <= 0:
        return 0.0
    return float(np.exp(np.mean(np.log(values))))


def relative_spread(values: Sequence[float]) -> float:
    """Returns the standard deviation about the geometric mean as a share of it; 0 for one value.

    That of the logarithms, σ, as exp(σ) − 1: for small spreads the usual one over the mean.
    """
    if len(values) < 2 or min(values) <= 0 or np.ptp(values) <= 1e-12 * max(values):
        return 0.0
    return float(np.expm1(np.std(np.log(values), ddof=1)))


def _quantities() -> list[str]:
    return [f"{kind}_{error}" for kind in UNITS for error in ("mae", "rmse")]

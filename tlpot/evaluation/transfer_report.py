"""The transfer report: what a fine-tuning gained, what it cost, and whether the model is sound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from ase.data import chemical_symbols

from tlpot.config import check_least
from tlpot.data import Dataset
from tlpot.errors import ConfigError
from tlpot.evaluation.drift import ForceDrift, Forgetting
from tlpot.evaluation.error_tables import ErrorReport, error_report, offset_words
from tlpot.evaluation.offsets import SystematicErrors
from tlpot.evaluation.predictions import Predictions
from tlpot.evaluation.stability import Stability
from tlpot.evaluation.walls import DimerScan
from tlpot.files import PathLike, write_text
from tlpot.models import DeltaPotential, Potential
from tlpot.numbers import Floats, Ints, short, signed
from tlpot.presentation import COLOURS, Result, add_legend, drawn, letter_panels, make_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tlpot.evaluation.walls import DimerCurve

Part = Literal["calibration", "drift", "forgetting", "dimers", "md"]
PARTS: tuple[Part, ...] = get_args(Part)

_SLOPE = 0.1
_REACHABLE = 3.0
"""eV; 35 kT at 1000 K."""
_DRIFT = 5.0
"""meV/atom/ps; of the order of 10 % of the thermal energy at 300 K each ps."""
_MOVED = 0.1
"""Share of the parent's RMS force."""

_CHEMICAL_ACCURACY = 43.4
"""1 kcal/mol in meV."""
_PAIRS = 4
_TALLEST = 10.0
"""eV; walls are cut off here, or above the highest barrier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedModel:
    """A model after its transfer, and frames that it was not trained on.

    Attributes:
        potential: the model.
        level: its new level, canonical.
        dataset: where the frames come from.
        indices: which frames.
        part: what they are called: test, validation, all.
        end: predictions of the model beside the labels, on these frames.
        start: the same of the model at step 0, if known.
    """

    potential: Potential | DeltaPotential
    level: str
    dataset: Dataset
    indices: Ints
    part: str
    end: Predictions
    start: Predictions | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportSettings:
    """Settings of the transfer report.

    Attributes:
        enabled: whether there is one.
        parts: what is looked at besides the errors.
        frames: look at so many frames at most, drawn at random, where models are compared.
        md_steps: length of the dynamics in steps of 0.5 fs; 0 for none.
        seed: of the frames that are drawn and of the velocities.
    """

    enabled: bool = True
    parts: tuple[Part, ...] = PARTS
    frames: int = 200
    md_steps: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, frames=1)
        if self.md_steps < 0:
            raise ConfigError(f"md_steps is {self.md_steps}, expected 0 (none) or more")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, expected a whole number of at least 0")
        default = type(self).__dataclass_fields__["md_steps"].default
        if "md" not in self.parts and self.md_steps not in (0, default):
            raise ConfigError("md_steps does not apply: md is not among the parts")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class TransferReport(Result):
    """All parts; one that was not looked at is None and has its reason in `skipped`.

    Attributes:
        level: the new level of theory.
        source: the parent's level; empty without a parent.
        part: which frames: test, validation or all.
        end: predictions of the new model beside the labels.
        start: predictions of the model at step 0, if known.
        calibration: systematic errors.
        drift: of the forces from the parent.
        forgetting: errors at the source level.
        dimers: short-range walls.
        stability: short dynamics.
        skipped: why a part is missing.
        worse: in which respects the model ends worse than it began.
        offsets_matter: whether constant errors of molecules do; not where energies were learned
            relative to their mean alone.
    """

    level: str
    source: str
    part: str
    end: Predictions
    start: Predictions | None = None
    calibration: SystematicErrors | None = None
    drift: ForceDrift | None = None
    forgetting: Forgetting | None = None
    dimers: DimerScan | None = None
    stability: Stability | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    worse: tuple[str, ...] = ()
    offsets_matter: bool = True

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should look at before using the model; empty if nothing."""
        found = list(self.worse)
        if self.stability is not None:
            if self.stability.broken:
                found.append(f"the molecule breaks in dynamics: {self.stability.broken}")
            elif abs(self.stability.drift) > _DRIFT:
                found.append(
                    f"the total energy drifts by {short(self.stability.drift, sign=True)} "
                    "meV/atom/ps; conserved energy should stay within a few meV/atom/ps"
                )
        dimers = () if self.dimers is None else self.dimers.worst_first
        for dimer in dimers:
            hole = dimer.new.hole
            if hole is None or not (hole.barrier < _REACHABLE or (dimer.worse and hole.bottom < 0)):
                continue
            found.append(
                f"{dimer.name} has a hole in its wall: {hole.words()}"
                + (", opened or made easier to reach by the transfer" if dimer.worse else "")
            )
        weak = [d.name + (" (by the transfer)" if d.worse else "") for d in dimers if d.new.weak]
        if weak:
            found.append(
                f"hardly a repulsive wall between {', '.join(weak)}: energies and forces of close "
                "contacts are not to be trusted (a model with zbl=true has a wall)"
            )
        unwatched = not np.isfinite(self.end.forces[..., 0]).any()
        if unwatched and self.drift is not None and self.drift.relative > _MOVED:
            found.append(
                f"no label watches the forces, and they moved by {100 * self.drift.relative:.0f} % "
                "of the parent's: check them, raise the anchor, or move less (head, ewc)"
            )
        lines = {} if self.calibration is None else self.calibration.lines
        for name in ("relative_energy", "force"):
            line = lines.get(name)
            if line is not None and abs(line.slope - 1) > max(_SLOPE, 2 * line.slope_error):
                found.append(
                    f"slope {line.slope:.2f} of predicted against labelled {name.replace('_', ' ')}"
                    f": {_verdict(line.slope)}"
                )
        if self.offsets_matter:
            found += offset_words(self.end, self.part)
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Returns plain dicts; units are meV, meV/Å, Å; eV for dimers; K and fs for dynamics."""
        parts = {
            "calibration": self.calibration,
            "drift": self.drift,
            "forgetting": self.forgetting,
            "dimers": self.dimers,
            "md": self.stability,
        }
        return {
            "level": self.level,
            "source": self.source or None,
            "part": self.part,
            "before": None if self.start is None else dict(error_report(self.start).overall),
            **{name: None if part is None else part.as_json() for name, part in parts.items()},
            "skipped": dict(self.skipped),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """Returns a line for each part."""
        lines = [part.summary() for part in self._parts]
        lines += [f"{name}: not looked at, {reason}" for name, reason in self.skipped.items()]
        return "\n".join([*lines, *self._warning_lines()])

    def text(self) -> str:
        """Returns everything as text, the error tables first."""
        origin = f", from {self.source}" if self.source else ""
        blocks = [f"transfer report: {self.level}{origin}; {self.part} frames"]
        if self.start is not None:
            before = ErrorReport(overall=error_report(self.start).overall)
            blocks.append(f"target error before training\n{before.text()}")
        blocks.append(f"target error\n{error_report(self.end).text()}")
        blocks += [part.text() for part in self._parts]
        if self.skipped:
            rows = [f"  {name}: {reason}" for name, reason in self.skipped.items()]
            blocks.append("\n".join(["not looked at", *rows]))
        blocks.append("\n".join(self._warning_lines()))
        return "\n\n".join(blocks) + "\n"

    def save(self, path: PathLike) -> None:
        """Writes text and picture beside the JSON file `path`, and that one last.

        The JSON file holds the error tables as every training writes them, and the rest under
        ``transfer``.

        Raises:
            OutputError: a file could not be written.
        """
        target = Path(path)
        write_text(target.with_suffix(".txt"), self.text())
        self.plot(target.with_suffix(".png"))
        found = {**error_report(self.end).as_json(), "transfer": self.as_json()}
        write_text(target, json.dumps(found, indent=2))

    def plot(self, path: PathLike | None = None) -> Figure:
        """Returns the picture, and writes it to `path`.

        Raises:
            OutputError: the file could not be written.
        """
        return drawn(report_figure(self), path)

    @property
    def _parts(self) -> list[SystematicErrors | ForceDrift | Forgetting | DimerScan | Stability]:
        parts = (self.calibration, self.drift, self.forgetting, self.dimers, self.stability)
        return [part for part in parts if part is not None]

    def _warning_lines(self) -> list[str]:
        return [f"warning: {w}" for w in self.warnings] or ["no warnings"]


def _verdict(slope: float) -> str:
    """What a slope other than 1 says of the surface."""
    if slope <= 0:
        return (
            "predictions do not rise with the labels; look at the sign and the units of the "
            "labels, and whether anything was learned"
        )
    return "the surface is too " + ("soft" if slope < 1 else "stiff")


def report_figure(report: TransferReport) -> Figure:
    """Returns the figure with its four panels."""
    origin = f"{report.source} → " if report.source else ""
    title = f"{origin}{report.level}, {report.part} frames"
    figure, panels = make_figure(9.6, 7.4, 2, 2, title=title)
    for draw, axes in zip((_errors, _drift, _dimers, _dynamics), panels.ravel(), strict=True):
        draw(axes, report)
    letter_panels(panels.ravel())
    return figure


def _errors(axes: Axes, report: TransferReport) -> None:
    kind, unit = ("energy", "meV")
    if not np.isfinite(report.end.energy[:, 0]).any():
        kind, unit = ("force component", "meV/Å")
    axes.set_title(f"errors of the {kind}")
    runs = [(report.start, "before training", "0.55", "--"), (report.end, "after", COLOURS[0], "-")]
    smallest = np.inf
    for predictions, name, colour, style in runs:
        if predictions is None:
            continue
        error = np.sort(_absolute_errors(predictions, kind))
        share = np.arange(1, len(error) + 1) / len(error)
        label = f"{name}: median {short(np.median(error))}, mean {short(error.mean())} {unit}"
        axes.step(error, 100 * share, where="post", color=colour, linestyle=style, label=label)
        smallest = min(smallest, float(np.quantile(error, 0.02)))
    if kind == "energy":
        axes.plot([_CHEMICAL_ACCURACY] * 2, [0, 100], color="0.8", linewidth=1, zorder=0)
        # errors may all be far above or below it, and a text outside would squeeze the panels
        axes.text(
            _CHEMICAL_ACCURACY, 100.5, "1 kcal/mol", color="0.5", fontsize=8, ha="center",
            va="bottom", clip_on=True,
        ).set_in_layout(False)  # fmt: skip
    axes.set_xscale("log")
    if smallest > 0:
        axes.set_xlim(left=0.7 * smallest)
    axes.set_ylim(0, 125)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel(f"|model − label| ({unit})")
    axes.set_ylabel("frames below (%)" if kind == "energy" else "components below (%)")
    add_legend(axes, loc="upper left")


def _absolute_errors(predictions: Predictions, kind: str) -> Floats:
    pair = predictions.energy if kind == "energy" else predictions.forces.reshape(-1, 2)
    error = 1e3 * np.abs(pair[:, 1] - pair[:, 0])
    return error[np.isfinite(error)]


def _drift(axes: Axes, report: TransferReport) -> None:
    axes.set_title("force drift from the parent")
    drift = report.drift
    if drift is None:
        return _nothing(axes, report.skipped["drift"])
    sizes = np.abs(drift.components)
    if not sizes.any():
        return _nothing(axes, "every force is the parent's")
    edges = np.geomspace(max(np.quantile(sizes[sizes > 0], 0.005), 1e-6), sizes.max() * 1.001, 26)
    for k, z in enumerate(sorted(set(drift.atomic_numbers.tolist()))):
        of_element = sizes[drift.atomic_numbers == z].reshape(-1)
        name = f"{chemical_symbols[z]}: RMS {short(drift.by_element[chemical_symbols[z]])}"
        weights = np.full(of_element.size, 100.0 / of_element.size)
        axes.hist(
            np.clip(of_element, edges[0], None), edges.tolist(), weights=weights, histtype="step",
            color=COLOURS[k % len(COLOURS)], linewidth=1.4, label=name,
        )  # fmt: skip
    height = axes.get_ylim()[1]
    for value, name, style in (
        (drift.rms, "all: RMS", "-"),
        (drift.parent_rms, "RMS force of the parent", ":"),
    ):
        label = f"{name} {short(value)}"
        axes.plot([value] * 2, [0, height], color="black", linewidth=1, ls=style, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("|new − parent|, force component (meV/Å)")
    axes.set_ylabel("components of the element (%)")
    axes.set_ylim(0, 1.4 * height)
    add_legend(axes, loc="upper left")
    return None


def _dimers(axes: Axes, report: TransferReport) -> None:
    scan = report.dimers
    if scan is None:
        axes.set_title("dimer walls")
        return _nothing(axes, report.skipped["dimers"])
    holes = sum(d.new.hole is not None for d in scan.dimers)
    weak = sum(d.new.weak for d in scan.dimers)
    axes.set_title(f"dimer walls: {holes} with a hole, {weak} weak, of {len(scan.dimers)}")
    shown = scan.worst_first[:_PAIRS]
    for k, dimer in enumerate(shown):
        curve, colour = dimer.new, COLOURS[k]
        axes.plot(curve.distances, curve.energies, color=colour, label=dimer.name)
        if dimer.parent is not None:
            axes.plot(dimer.parent.distances, dimer.parent.energies, color=colour, ls="--", lw=1)
        if curve.hole is not None:
            at = int(np.argmin(np.abs(curve.distances - curve.hole.distance)))
            axes.plot(curve.hole.distance, curve.energies[at], "v", color=colour, markersize=8)
    if scan.dimers[0].parent is not None:
        axes.plot([], [], color="0.3", ls="--", lw=1, label="parent")
    if holes:
        axes.plot([], [], "v", color="0.3", linestyle="none", label="hole")
    lowest = min(float(d.new.energies.min()) for d in shown)
    walls = min(_TALLEST, max(float(d.new.energies.max()) for d in shown))
    axes.set_ylim(1.1 * lowest - 0.3, 1.1 * max([walls, *(_top(d.new) for d in shown)]) + 0.3)
    axes.axhline(0, color="0.8", linewidth=1, zorder=0)
    axes.set_xlabel("distance (Å)")
    axes.set_ylabel("energy − free atoms (eV)")
    add_legend(axes, title="worst pairs")
    return None


def _dynamics(axes: Axes, report: TransferReport) -> None:
    run = report.stability
    if run is None:
        axes.set_title("dynamics at constant energy")
        return _nothing(axes, report.skipped["md"])
    axes.set_title(f"dynamics of {run.formula} at constant energy")
    time = np.array([s.time for s in run.samples])
    potential = np.array([s.potential for s in run.samples])
    potential = 1e3 * (potential - run.samples[0].total) / run.n_atoms
    drift = f", drift {signed(run.drift)} meV/atom/ps"
    if run.broken or not np.isfinite(run.drift):
        drift = ""
    axes.plot(time, run.deviations, color="black", label=f"total energy{drift}")
    axes.plot(
        time,
        potential,
        color=COLOURS[0],
        linewidth=1,
        label=f"potential energy, mean {run.kelvin:.0f} K",
    )
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.3 * (high - low))
    axes.set_xlabel("time (fs)")
    axes.set_ylabel("energy − first total (meV/atom)")
    # the reason may be long, and a legend wider than its panel squeezes the figure
    title = f"BROKEN at {shorten(run.broken, 48, placeholder=' ...')}" if run.broken else None
    add_legend(axes, loc="upper left", title=title)
    return None


def _nothing(axes: Axes, reason: str) -> None:
    axes.text(
        0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color="0.4",
        fontsize=9, wrap=True,
    )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])


def _top(curve: DimerCurve) -> float:
    """Energy of the barrier in front of the hole, eV; 0 without a hole."""
    if curve.hole is None:
        return 0.0
    at = int(np.argmin(np.abs(curve.distances - curve.hole.barrier_distance)))
    return float(curve.energies[at])

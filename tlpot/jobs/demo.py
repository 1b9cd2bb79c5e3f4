"""The main job, start to end, on the data and weights that ship with tlpot."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlpot.calculators import TLPotCalculator
from tlpot.dynamics import MDResult, MDSettings, run_md
from tlpot.errors import ConfigError
from tlpot.files import make_folder
from tlpot.jobs.finetune import finetune
from tlpot.jobs.finetune_config import finetune_config
from tlpot.jobs.training_job import as_part
from tlpot.models import LIBRARY
from tlpot.presentation import COLOURS, Table, make_figure, progress_bar, save_picture

_STYLES = {
    "scratch": ("0.45", "o", "from scratch"),
    "shift only": (COLOURS[1], "s", "pretrained, reference energies refitted"),
    "head": (COLOURS[2], "^", "pretrained, readout fine-tuned"),
    "full": (COLOURS[0], "D", "pretrained, all weights fine-tuned"),
}
_CHEMICAL_ACCURACY = 43.4
"""1 kcal/mol in meV."""
_TICKS = [20, 50, 100, 200, 500, 1000, 2000]


def plot_demo(errors: Mapping[int, Mapping[str, list[float]]], path: Path) -> None:
    """Draws error against number of labels, one line for each strategy.

    Args:
        errors: MAE in meV for each seed, by number of labels and strategy.
        path: of the picture.

    Raises:
        OutputError: the file could not be written.
    """
    figure, ((axes,),) = make_figure(6.2, 4.4)
    sizes = sorted(errors)
    for name, (colour, marker, label) in _STYLES.items():
        mean = np.array([np.mean(errors[n][name]) for n in sizes])
        spread = np.array([np.std(errors[n][name]) for n in sizes])
        axes.plot(sizes, mean, color=colour, marker=marker, label=label)
        axes.fill_between(sizes, mean - spread, mean + spread, color=colour, alpha=0.15)
    axes.axhline(_CHEMICAL_ACCURACY, color="0.7", linestyle="--", linewidth=1)
    axes.annotate(
        "1 kcal/mol", (1.0, _CHEMICAL_ACCURACY), (4, 0), xycoords=("axes fraction", "data"),
        textcoords="offset points", va="center", color="0.5", fontsize=8,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(n) for n in sizes])
    low, high = axes.get_ylim()
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("coupled-cluster labels")
    axes.set_ylabel("energy MAE (meV), other molecules")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    axes.set_title("AIMNet2 → CCSD(T) with tlpot", fontsize=11)
    save_picture(figure, path)


PARENT, SOURCE = "tlpot-peptides-tiny", "aimnet2"
"""The model that is fine-tuned, and the level of it at which the fine-tuning starts."""
LEVEL = "ccsd(t)/cbs(dt)"
DATA = LIBRARY / "tlpot-qm.h5"
HELD_OUT = ("aziridine", "dimethylamine", "ethanol", "formic_acid", "methanol")
"""No coupled-cluster label of these molecules is used in any training; the parent has seen cheap
labels of them, which is what cheap labels are for."""
STRATEGIES = ("scratch", "head", "full")
SIZES = (12, 24, 48)
"""Coupled-cluster labels in all; a fifth of them decides which weights are kept."""
EPOCHS = 200
SHIFT = "shift only"
MD_KELVIN = 600.0
"""Of the first velocities; half of it is left once they are shared with the potential energy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """What the demo found.

    Attributes:
        errors: mean absolute energy errors on the held-out molecules, meV, one for each seed,
            by number of labels and strategy; ``shift only`` is the parent with refitted
            reference energies, before any update.
        by_molecule: the same for the largest number of labels, by strategy and molecule, meV,
            mean over seeds.
        n_test: held-out frames with a label.
        md: the molecular dynamics.
        model: file of the model that was best on the held-out molecules, among those of the first
            seed with the largest number of labels.
        seconds: wall time.
    """

    errors: Mapping[int, Mapping[str, list[float]]]
    by_molecule: Mapping[str, Mapping[str, float]]
    n_test: int
    md: MDResult
    model: Path
    seconds: float

    def table(self) -> str:
        """Returns the table of the errors."""
        names = (*STRATEGIES[:1], SHIFT, *STRATEGIES[1:])
        errors = Table(
            ["labels", *names],
            [
                (size, *(f"{np.mean(row[n]):.1f}" + _spread(row[n]) for n in names))
                for size, row in self.errors.items()
            ],
            widths=(6, 18),
            indent=2,
        )
        molecules = Table(
            ["", *STRATEGIES],
            [(name, *(self.by_molecule[s][name] for s in STRATEGIES)) for name in HELD_OUT],
            format=".1f",
            widths=(14, 10),
            indent=2,
        )
        return "\n".join(
            [
                f"energy MAE in meV on {self.n_test} frames of molecules without any CCSD(T) label "
                "in training",
                *errors.lines(),
                f"\nby molecule, {max(self.errors)} labels",
                *molecules.lines(),
            ]
        )


def run_demo(out: Path, *, n_seeds: int = 1, show: bool = True) -> DemoResult:
    """Fine-tunes a shipped model to coupled cluster and runs MD with the best result.

    Args:
        out: folder for models, pictures and the trajectory; made if need be.
        n_seeds: repeats with other labels and other random weights.
        show: whether to show progress bars.

    Raises:
        OutputError: a file could not be written.
        ConfigError: there are no seeds.
    """
    if n_seeds < 1:
        raise ConfigError(f"the number of seeds is {n_seeds}, expected 1 or more")
    from ase.build import molecule  # with much that nothing else needs

    started = time.perf_counter()
    make_folder(out)
    jobs = [(n, s, seed) for seed in range(n_seeds) for n in SIZES for s in STRATEGIES]
    errors: dict[int, dict[str, list[float]]] = {
        n: {name: [] for name in (*STRATEGIES, SHIFT)} for n in SIZES
    }
    molecules: dict[str, list[Mapping[str, float]]] = {s: [] for s in STRATEGIES}
    n_test = 0
    for n_labels, strategy, seed in progress_bar(jobs, disable=not show, desc="fine-tuning"):
        config = _config(out, n_labels, strategy, seed)
        with as_part():
            outcome = finetune(finetune_config(config), overwrite=True, show=False)
        errors[n_labels][strategy].append(outcome.end.overall["energy_mae"])
        if strategy == "full":
            errors[n_labels][SHIFT].append(outcome.start.overall["energy_mae"])
        if n_labels == max(SIZES):
            rows = outcome.end.by_molecule
            molecules[strategy].append({k: v["energy_mae"] for k, v in rows.items()})
        n_test = int(outcome.end.overall["n_frames"])
    best = min(STRATEGIES, key=lambda name: errors[max(SIZES)][name][0])
    model = _model_file(out, max(SIZES), best, 0)
    atoms = molecule("CH3CH2OH")
    settings = MDSettings(ensemble="nve", temperature=MD_KELVIN, timestep=0.5, steps=2000)
    md = run_md(
        atoms,
        TLPotCalculator(model, level=LEVEL, device="cpu"),
        settings,
        out / "md",
        overwrite=True,
        progress=show,
    )
    result = DemoResult(
        errors=errors,
        by_molecule={
            s: {name: float(np.mean([run[name] for run in runs])) for name in HELD_OUT}
            for s, runs in molecules.items()
        },
        n_test=n_test,
        md=md,
        model=model,
        seconds=time.perf_counter() - started,
    )
    plot_demo(errors, out / "demo.png")
    return result


def _config(out: Path, n_labels: int, strategy: str, seed: int) -> dict[str, object]:
    n_validation = n_labels // 5
    return {
        "parent": PARENT,
        "data": {"files": [str(DATA)]},
        "level": LEVEL,
        "source": SOURCE,
        "strategy": strategy,
        "output": str(_model_file(out, n_labels, strategy, seed)),
        "split": {
            "by": "random",
            "test": list(HELD_OUT),
            "validation": n_validation,
            "train": n_labels - n_validation,
            "seed": seed,
        },
        "training": {"epochs": EPOCHS, "batch_size": 8, "seed": seed, "validate_every": 10},
        "licence": "CC0-1.0",
    }


def _model_file(out: Path, n_labels: int, strategy: str, seed: int) -> Path:
    return out / f"{strategy}-{n_labels}-{seed}.safetensors"


def _spread(values: list[float]) -> str:
    return f" ± {np.std(values):.1f}" if len(values) > 1 else ""

"""Trainings that take a given time, and what they end with."""

from __future__ import annotations

import copy
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from tlpot.calculators import TLPotCalculator
from tlpot.data import open_dataset
from tlpot.evaluation import predict
from tlpot.jobs import train_config, train_from_scratch
from tlpot.models import load

PILOT = 4
"""Epochs of the run that measures how long an epoch takes."""


def epochs_within(settings: dict, output: Path, seconds: float) -> int:
    """Returns how many epochs fit into a time; measured once, so do it on a quiet machine.

    Args:
        settings: of ``tlpot train``, without output and epochs.
        output: the model file; the number is kept beside it.
        seconds: wall time of the training.
    """
    epochs_file = output.with_suffix(".epochs")
    output.parent.mkdir(parents=True, exist_ok=True)
    if not epochs_file.exists():
        pilot = output.with_name(output.stem + "-pilot.safetensors")
        _train(settings, pilot, PILOT, overwrite=True)
        lines = (pilot.with_suffix(".run") / "metrics.jsonl").read_text().splitlines()
        spent = {(e := json.loads(line))["epoch"]: e["seconds"] for line in lines}
        per_epoch = (spent[PILOT] - spent[1]) / (PILOT - 1)
        epochs_file.write_text(str(max(int(seconds / per_epoch), 1)))
        shutil.rmtree(pilot.with_suffix(".run"))
        pilot.unlink()
    return int(epochs_file.read_text())


def train_within(settings: dict, output: Path, seconds: float) -> dict:
    """Trains for as many epochs as fit into a time, or resumes; returns what it took.

    What counts is the time on the machine as `epochs_within` found it; if it is busier later,
    the training takes longer and is not shortened. See there for the arguments.
    """
    epochs = epochs_within(settings, output, seconds)
    if not output.exists():
        _train(settings, output, epochs)
    lines = (output.with_suffix(".run") / "metrics.jsonl").read_text().splitlines()
    return {"epochs": epochs, "seconds": json.loads(lines[-1])["seconds"]}


def _train(settings: dict, output: Path, epochs: int, overwrite: bool = False) -> None:
    settings = copy.deepcopy(settings)
    settings |= {"output": str(output), "defaults": 1}  # as in RESULTS.md
    settings.setdefault("training", {})["epochs"] = epochs
    resume = (output.with_suffix(".run") / "checkpoint.safetensors").exists() and not overwrite
    train_from_scratch(train_config(settings), resume=resume, overwrite=overwrite)


def errors(model: Path, files: list[Path], level: str, indices=None, spec=None) -> dict:
    """Returns RMSE, MAE and mean of the errors of energies (meV) and forces (meV/Å)."""
    dataset = open_dataset(files, spec, level=level)
    chosen = range(len(dataset)) if indices is None else indices
    found = predict(load(model).at(), dataset, list(chosen), level)
    energy = 1e3 * np.diff(found.energy, axis=-1).ravel()
    forces = 1e3 * np.diff(found.forces, axis=-1).ravel()
    return {
        "energy_rmse": float(np.sqrt(np.mean(energy**2))),
        "energy_mae": float(np.abs(energy).mean()),
        "energy_mean": float(energy.mean()),
        "forces_rmse": float(np.sqrt(np.mean(forces**2))),
        "forces_mae": float(np.abs(forces).mean()),
        "frames": len(found.energy),
    }


def step_time(model: Path, atoms, repeats: int = 200) -> float:
    """Returns the median milliseconds of an energy and force call through the calculator."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    atoms = atoms.copy()
    start = atoms.positions.copy()
    atoms.calc = TLPotCalculator(model)
    times = []
    for _ in range(repeats):
        atoms.positions = start + rng.normal(0, 2e-3, start.shape)
        started = time.perf_counter()
        atoms.get_forces()
        times.append(time.perf_counter() - started)
    return float(1e3 * np.median(times[10:]))

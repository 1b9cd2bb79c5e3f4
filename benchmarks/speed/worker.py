"""The loop of a worker: say what you are, then do the task whenever told to."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def serve(task: Callable[[], object], facts: dict) -> None:
    """Answers each line of the standard input with the seconds that one task took."""
    print(">", json.dumps(facts), flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        task()
        print(">", time.perf_counter() - started, flush=True)


def calculator_task(atoms, calculator) -> Callable[[], object]:
    """A step of dynamics as a calculator sees it: small moves, then forces and energy."""
    import numpy as np

    rng = np.random.default_rng(0)
    atoms = atoms.copy()
    start = atoms.positions.copy()
    atoms.calc = calculator

    def task() -> None:
        atoms.positions = start + rng.normal(0, 2e-3, start.shape)
        atoms.get_forces()
        atoms.get_potential_energy()

    return task


def ani2x():
    """Returns one network of ANI-2x's shape with random weights, in TorchANI's environment."""
    from torchani.arch import simple_ani

    # the arguments that TorchANI's documentation gives for the descriptors of ANI-2x
    return simple_ani(
        ("H", "C", "N", "O", "S", "F", "Cl"),
        "wb97x-631gd",
        ensemble_size=1,
        cutoff_fn="cosine",
        radial_start=0.8,
        angular_start=0.8,
        radial_cutoff=5.1,
        activation="celu",
        bias=True,
        container_ctor="ani2x",
        repulsion=False,
    )

"""The same file converted to symmetrix as a contestant; see ../speed/contest.py."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))

import ase
from ase.io import read
from symmetrix import Symmetrix
from worker import calculator_task, serve

settings = json.loads(sys.argv[1])
found = read(settings["frames"], "0")
atoms = ase.Atoms(found.numbers, found.positions, cell=found.cell, pbc=found.pbc)
calculator = Symmetrix(
    settings["model"], dtype=settings["dtype"], use_kokkos=settings["kernels"] == "kokkos"
)
facts = {"weights": 0, "forces": calculator.get_forces(atoms).tolist()}
serve(calculator_task(atoms, calculator), facts)

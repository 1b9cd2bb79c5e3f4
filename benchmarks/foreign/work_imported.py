"""The same file imported into tlpot as a contestant; see ../speed/contest.py."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))

import ase
import torch
from ase.io import read
from worker import calculator_task, serve

from tlpot.calculators import TLPotCalculator
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import import_mace
from tlpot.system import System

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
frames = [
    ase.Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc)
    for a in read(settings["frames"], f":{settings['n_frames']}")
]
potential = import_mace(
    settings["model"], dtype=getattr(torch, settings["dtype"]), kernels=settings["kernels"]
).potential
facts = {"weights": sum(w.numel() for w in potential.parameters()), "torch": torch.__version__}
if settings["task"] == "calculator":
    calculator = TLPotCalculator(potential)
    task = calculator_task(frames[0], calculator)
    facts["forces"] = calculator.get_forces(frames[0]).tolist()
else:
    potential.requires_grad_(True)
    model = potential.at()
    graph = build_graph(
        [System.from_atoms(a) for a in frames], potential.cutoff, layout=potential.layout
    )
    optimizer = torch.optim.AdamW(potential.parameters(), lr=1e-3, amsgrad=True, fused=True)

    def task() -> None:
        optimizer.zero_grad(set_to_none=True)
        found = evaluate(model, graph, create_graph=True)
        loss = 1e-6 * found.energy.square().sum() + found.forces.square().sum()
        loss.backward()
        optimizer.step()


serve(task, facts)

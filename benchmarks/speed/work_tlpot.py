"""tlpot as a contestant; see contest.py."""

import json
import sys

import torch
from ase.io import read
from worker import calculator_task, serve

from tlpot.calculators import TLPotCalculator
from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import Potential, preset
from tlpot.system import System

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
frames = read(settings["frames"], f":{settings['n_frames']}")
references = dict.fromkeys((1, 6, 7, 8), 0.0)
potential = Potential.create(
    preset(settings["preset"], tuple(references), **settings.get("model", {})),
    {"random": references},
    kernels=settings.get("kernels", "auto"),
)
facts = {"weights": sum(w.numel() for w in potential.parameters()), "torch": torch.__version__}
graph = build_graph(
    [System.from_atoms(a) for a in frames], potential.cutoff, layout=potential.layout
)
model = potential.at()

if settings["task"] == "train":
    optimizer = torch.optim.AdamW(potential.parameters(), lr=1e-3, amsgrad=True, fused=True)

    def task() -> None:
        optimizer.zero_grad(set_to_none=True)
        found = evaluate(model, graph, create_graph=True)
        loss = 1e-6 * found.energy.square().sum() + found.forces.square().sum()
        loss.backward()
        optimizer.step()

elif settings["task"] == "batch":
    potential.requires_grad_(False)

    def task() -> None:
        evaluate(model, graph)

else:
    task = calculator_task(frames[0], TLPotCalculator(potential))

serve(task, facts)

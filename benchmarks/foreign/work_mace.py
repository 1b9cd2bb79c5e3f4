"""A mace-torch file as a contestant, in its own environment; see ../speed/contest.py."""

import json
import logging
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.INFO)
sys.path.insert(0, str(Path(__file__).parents[1] / "speed"))

import ase
import torch
from ase.io import read
from mace import data, tools
from mace.calculators import MACECalculator
from mace.tools import torch_geometric
from worker import calculator_task, serve

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
dtype = settings["dtype"]
frames = [
    ase.Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc)
    for a in read(settings["frames"], f":{settings['n_frames']}")
]
for atoms in frames:
    atoms.info = {"charge": 0, "spin": 1}
model = torch.load(settings["model"], weights_only=False).to(getattr(torch, dtype))
facts = {"weights": sum(w.numel() for w in model.parameters()), "torch": torch.__version__}
torch.set_default_dtype(getattr(torch, dtype))

if settings["task"] == "calculator":
    calculator = MACECalculator(models=[model], device="cpu", default_dtype=dtype)
    task = calculator_task(frames[0], calculator)
    facts["forces"] = calculator.get_forces(frames[0]).tolist()
else:
    keys = data.KeySpecification(info_keys={}, arrays_keys={})
    table = tools.AtomicNumberTable([int(z) for z in model.atomic_numbers])
    heads = getattr(model, "heads", ["Default"])
    graphs = [
        data.AtomicData.from_config(
            data.config_from_atoms(a, key_specification=keys, head_name=heads[-1]),
            z_table=table, cutoff=float(model.r_max), heads=heads,
        )
        for a in frames
    ]  # fmt: skip
    loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs))
    batch = next(iter(loader))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

    def task() -> None:
        optimizer.zero_grad(set_to_none=True)
        out = model(batch.to_dict(), compute_force=True, training=True)
        loss = 1e-6 * out["energy"].square().sum() + out["forces"].square().sum()
        loss.backward()
        optimizer.step()


serve(task, facts)

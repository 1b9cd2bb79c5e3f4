"""mace-torch as a contestant, in an environment of its own; see contest.py."""

import json
import logging
import sys
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.INFO)

import numpy as np
import torch
from ase.io import read
from e3nn import o3
from mace import data, modules, tools
from mace.calculators import MACECalculator
from mace.tools import torch_geometric
from worker import calculator_task, serve

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
torch.manual_seed(0)
frames = read(settings["frames"], f":{settings['n_frames']}")
numbers, cutoff = [1, 6, 7, 8], settings["cutoff"]
block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
model = modules.ScaleShiftMACE(
    r_max=cutoff,
    num_bessel=8,
    num_polynomial_cutoff=6,
    max_ell=settings["l_max"],
    interaction_cls=block,
    interaction_cls_first=block,
    num_interactions=2,
    num_elements=len(numbers),
    hidden_irreps=o3.Irreps(settings["irreps"]),
    MLP_irreps=o3.Irreps("16x0e"),
    gate=torch.nn.functional.silu,
    atomic_energies=np.zeros(len(numbers)),
    avg_num_neighbors=15.0,
    atomic_numbers=numbers,
    correlation=3,
    radial_type="bessel",
    atomic_inter_scale=1.0,
    atomic_inter_shift=0.0,
)
facts = {"weights": sum(w.numel() for w in model.parameters()), "torch": torch.__version__}

if settings["task"] == "calculator":
    calculator = MACECalculator(models=[model], device="cpu", default_dtype="float32")
    task = calculator_task(frames[0], calculator)
else:
    keys = data.KeySpecification(info_keys={}, arrays_keys={})
    configurations = [data.config_from_atoms(a, key_specification=keys) for a in frames]
    table = tools.AtomicNumberTable(numbers)
    graphs = [data.AtomicData.from_config(c, z_table=table, cutoff=cutoff) for c in configurations]
    loader = torch_geometric.dataloader.DataLoader(graphs, batch_size=len(graphs))
    batch = next(iter(loader))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)

    def task() -> None:
        training = settings["task"] == "train"
        optimizer.zero_grad(set_to_none=True)
        out = model(batch.to_dict(), compute_force=True, training=training)
        if training:
            loss = 1e-6 * out["energy"].square().sum() + out["forces"].square().sum()
            loss.backward()
            optimizer.step()


serve(task, facts)

"""One network of ANI-2x shape in TorchANI, in an environment of its own; see contest.py."""

import json
import sys

import torch
from ase.io import read
from torchani.arch import simple_ani
from worker import calculator_task, serve

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
torch.manual_seed(0)
atoms = read(settings["frames"], "0")
# the arguments that TorchANI's documentation gives for the descriptors of ANI-2x
model = simple_ani(
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
facts = {"weights": sum(w.numel() for w in model.parameters()), "torch": torch.__version__}
serve(calculator_task(atoms, model.ase()), facts)

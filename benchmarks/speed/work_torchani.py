"""One network of ANI-2x shape in TorchANI, in an environment of its own; see contest.py."""

import json
import sys

import torch
from ase.io import read
from worker import ani2x, calculator_task, serve

settings = json.loads(sys.argv[1])
torch.set_num_threads(settings["threads"])
torch.manual_seed(0)
atoms = read(settings["frames"], "0")
model = ani2x()
facts = {"weights": sum(w.numel() for w in model.parameters()), "torch": torch.__version__}
serve(calculator_task(atoms, model.ase()), facts)

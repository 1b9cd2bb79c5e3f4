"""Calculators of foreign models for ``env:PYTHON ase:factories:NAME``; docs/foreign.md says how.

They run in the environment of the model, which needs numpy, ase and the packages imported here,
and nothing of tlpot. Start where this file lies, or put its folder on PYTHONPATH.
"""

from __future__ import annotations

import os
from pathlib import Path


def aimnet2(file):
    """AIMNet2 (2023): a TorchScript file, such as that of the wheel Auto3D 2.3.1."""
    import torch
    from ase.calculators.calculator import Calculator, all_changes

    net = torch.jit.load(file)

    class AIMNet2(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms=None, properties=(), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            positions, found = self.run(atoms)
            (slope,) = torch.autograd.grad(found["energy"].sum(), positions)
            self.results = {
                "energy": float(found["energy"].detach()),
                "forces": -slope[0].double().numpy(),
            }

        def get_descriptors(self, atoms):
            return self.run(atoms)[1]["aim"][0].detach().numpy()

        def run(self, atoms):
            positions = torch.tensor(atoms.positions, dtype=torch.float32)[None]
            positions.requires_grad_(True)
            charge = torch.tensor([float(atoms.info.get("charge", 0))])
            numbers = torch.tensor(atoms.numbers)[None]
            return positions, net({"coord": positions, "numbers": numbers, "charge": charge})

    made = AIMNet2()
    made.about = {
        "name": "aimnet2",
        "licence": "MIT",
        "origin": "https://github.com/isayevlab/AIMNet2, doi:10.1039/D4SC08572H",
        "elements": ["H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "I"],
        "files": [file],
    }
    return made


def so3lr():
    """SO3LR of the package so3krates-torch, with the weights in its wheel (a pickle)."""
    # the file is older than torch's refusal to unpickle
    os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    import so3krates_torch
    from so3krates_torch.calculator.so3 import SO3LRCalculator

    made = SO3LRCalculator(r_max_lr=1000.0, default_dtype="float64")
    given = made.get_descriptors
    made.get_descriptors = lambda atoms: given(atoms)["invariant_features"][0]
    (file,) = Path(so3krates_torch.__file__).parent.rglob("so3lr.model")
    made.about = {
        "name": "so3lr",
        "licence": "MIT",
        "origin": "https://github.com/general-molecular-simulations/so3lr",
        "elements": ["H", "C", "N", "O", "F", "P", "S", "Cl"],
        "files": [str(file)],
    }
    return made


def ani(folder, name="ani-1ccx"):
    """ANI-1ccx or ANI-1x of the folder ``ani_models`` of isayev/ASE_ANI, all eight networks."""
    import torch
    import torchani.neurochem

    folder = Path(folder)
    torchani.neurochem.neurochem_dir = lambda: folder
    net = torchani.neurochem.load_model_from_info_file(folder / f"{name}_8x.info").double()
    made = net.ase()

    def get_descriptors(atoms):
        elements = net.species_converter(torch.tensor(atoms.numbers)[None])
        features = net.aev_computer(elements, torch.tensor(atoms.positions)[None])
        return getattr(features, "aevs", features)[0].detach().numpy()

    made.get_descriptors = get_descriptors
    files = [folder / f"{name}_8x", folder / f"{name}_8x.info"]
    made.about = {
        "name": name,
        "licence": "MIT",
        "origin": "https://github.com/isayev/ASE_ANI",
        "elements": ["H", "C", "N", "O"],
        "files": [str(file) for file in files],
    }
    return made

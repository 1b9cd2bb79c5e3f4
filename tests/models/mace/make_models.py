"""Random MACE models of mace-torch with their energies and forces: python make_models.py OUT.

Run it in an environment with mace-torch; the files of this folder were made with 0.3.6, 0.3.10,
0.3.13 and 0.3.16, e3nn 0.4.4 and torch 2.13.0. Weights of the products are raised, so that all
orders count.
"""

import inspect
import logging
import sys
import warnings
from pathlib import Path

import ase
import mace
import numpy as np
import torch
from ase.build import molecule
from e3nn import o3
from mace import modules

warnings.filterwarnings("ignore")
logging.disable(logging.INFO)

BLOCKS = modules.interaction_classes
PLAIN, RESIDUAL = (BLOCKS[f"RealAgnostic{k}InteractionBlock"] for k in ("", "Residual"))
DENSITY = BLOCKS.get("RealAgnosticDensityInteractionBlock")
DENSITY_RESIDUAL = BLOCKS.get("RealAgnosticDensityResidualInteractionBlock")
NONLINEAR = BLOCKS.get("RealAgnosticResidualNonLinearInteractionBlock")
COMMON = {
    "r_max": 4.0, "num_bessel": 4, "num_polynomial_cutoff": 5, "max_ell": 2, "num_interactions": 2,
    "hidden_irreps": "8x0e+8x1o", "MLP_irreps": "4x0e", "gate": torch.nn.functional.silu,
    "correlation": 2, "radial_type": "bessel", "radial_MLP": [8, 8], "avg_num_neighbors": 5.0,
    "atomic_numbers": [1, 6, 7, 8], "interaction_cls_first": RESIDUAL, "interaction_cls": RESIDUAL,
    "atomic_inter_scale": 0.8, "atomic_inter_shift": 0.1,
}  # fmt: skip
CHARGED = {
    "total_charge": {"type": "categorical", "per": "graph", "num_classes": 9, "in_dim": 1,
                     "emb_dim": 4, "offset": 4},
    "total_spin": {"type": "categorical", "per": "graph", "num_classes": 6, "in_dim": 1,
                   "emb_dim": 4, "offset": 0},
}  # fmt: skip
VARIANTS = {
    "0.3.6": {
        "off": {"interaction_cls_first": PLAIN, "hidden_irreps": "8x0e", "max_ell": 3},
        "mp": {},
    },
    "0.3.10": {
        "heads": {"heads": ["dft", "cc"], "atomic_inter_scale": [1.3, 0.8],
                  "atomic_inter_shift": [0.11, -0.2]},
        "mpa": {"interaction_cls_first": DENSITY, "interaction_cls": DENSITY_RESIDUAL,
                "distance_transform": "Agnesi", "pair_repulsion": True},
    },
    "0.3.13": {
        "deep": {"interaction_cls_first": PLAIN, "hidden_irreps": "4x0e+4x1o+4x2e",
                 "num_interactions": 3, "correlation": [2, 2, 1], "cls": "MACE"},
        "soft": {"interaction_cls_first": DENSITY_RESIDUAL, "interaction_cls": DENSITY_RESIDUAL,
                 "distance_transform": "Soft"},
        "plain": {"interaction_cls_first": PLAIN, "interaction_cls": PLAIN},
    },
    "0.3.16": {
        "off": {"interaction_cls_first": PLAIN, "correlation": 3},
        "omol": {
            "interaction_cls_first": NONLINEAR, "interaction_cls": NONLINEAR,
            "apply_cutoff": False, "use_agnostic_product": True, "use_last_readout_only": True,
            "use_embedding_readout": True, "distance_transform": "Agnesi", "pair_repulsion": True,
            "embedding_specs": CHARGED, "readout": "NonLinearBiasReadoutBlock",
        },
        "mh": {
            "interaction_cls_first": NONLINEAR, "interaction_cls": NONLINEAR, "apply_cutoff": False,
            "heads": ["omat", "spice"], "atomic_inter_scale": [1.3, 0.8],
            "atomic_inter_shift": [0.11, -0.2], "num_interactions": 3,
            "hidden_irreps": "6x0e+6x1o", "edge_irreps": "4x0e+4x1o",
            "readout": "NonLinearBiasReadoutBlock",
        },
    },
}  # fmt: skip


def build(changes):
    settings = {**COMMON, **changes}
    kind = getattr(modules, settings.pop("cls", "ScaleShiftMACE"))
    readout = settings.pop("readout", None)
    if readout:
        settings["readout_cls"] = modules.readout_classes[readout]
    if kind is modules.MACE:
        del settings["atomic_inter_scale"], settings["atomic_inter_shift"]
    for key in ("hidden_irreps", "MLP_irreps", "edge_irreps"):
        if key in settings:
            settings[key] = o3.Irreps(settings[key])
    n, n_heads = len(settings["atomic_numbers"]), len(settings.get("heads", ["Default"]))
    rng = np.random.default_rng(1)
    e0 = rng.normal(-20, 5, (n_heads, n)) if n_heads > 1 else rng.normal(-20, 5, n)
    torch.manual_seed(7)
    model = kind(num_elements=n, atomic_energies=e0, **settings)
    with torch.no_grad():
        for block in model.interactions:
            name = type(block).__name__
            factor = 2.0 if "Density" in name else 1.0 if "NonLinear" in name else 2.5
            for linear in ("linear", "linear_1"):
                if hasattr(block, linear):
                    getattr(block, linear).weight.mul_(factor)
        for product in model.products:
            for part in product.symmetric_contractions.contractions:
                for weights in (*part.weights, part.weights_max):
                    weights.mul_(4.0)
        for name, parameter in model.named_parameters():
            if name.endswith(("bias", "beta")) and parameter.numel():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def structures(charged):
    found = [molecule("CH3CH2OH"), molecule("CH3NO2"), molecule("O"), molecule("H")]
    for k, atoms in enumerate(found[:2]):
        atoms.rattle(0.05, seed=k)
    pair = molecule("H2O")
    other = molecule("NH3")
    other.translate([0, 0, 3.9])
    far = molecule("CH4")
    far.translate([0, 0, 40.0])
    close = ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.55]])
    edge = ase.Atoms("CO", [[0, 0, 0], [0, 0, 3.999999]])
    beyond = ase.Atoms("CO", [[0, 0, 0], [0, 0, 4.0000001]])
    found += [pair + other, pair + far, close, edge, beyond]
    cell = molecule("H2O")
    cell.set_cell([3.1, 3.3, 3.0])
    cell.pbc = True
    found.append(cell)
    states = [(0, 1)] * len(found)
    if charged:
        for state in ((1, 2), (-1, 1), (0, 3), (4, 5)):
            found.append(found[0].copy())
            states.append(state)
    made = []
    for atoms, (charge, spin) in zip(found, states, strict=True):
        bare = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        bare.info = {"charge": charge, "spin": spin}
        made.append(bare)
    return made


def calculator(path, head, dtype):
    from mace.calculators import MACECalculator

    known = inspect.signature(MACECalculator.__init__).parameters
    which = {} if head.lower() == "default" else {"head": head}
    key = "model_paths" if "model_paths" in known else "model_path"
    return MACECalculator(**{key: str(path)}, device="cpu", default_dtype=dtype, **which)


def main():
    out = Path(sys.argv[1])
    for name, changes in VARIANTS[mace.__version__].items():
        torch.set_default_dtype(torch.float64)
        path = out / f"{name}-{mace.__version__}.model"
        model = build(changes)
        torch.save(model, path)
        frames = structures("embedding_specs" in changes)
        data = {"n": len(frames)}
        for k, atoms in enumerate(frames):
            data |= {f"numbers_{k}": atoms.numbers, f"positions_{k}": atoms.positions}
            data |= {f"cell_{k}": atoms.cell.array, f"pbc_{k}": atoms.pbc}
            data |= {f"charge_{k}": atoms.info["charge"], f"spin_{k}": atoms.info["spin"]}
        for head in getattr(model, "heads", ["Default"]):
            for dtype in ("float64", "float32"):
                calc = calculator(path, head, dtype)
                mark = "" if dtype == "float64" else "single/"
                for k, atoms in enumerate(frames):
                    atoms = atoms.copy()
                    atoms.info["head"] = head
                    atoms.calc = calc
                    if mark and "omat" in changes.get("heads", ()):
                        continue  # mace-torch 0.3.16 does not run this one in float32
                    data[f"{mark}{head}/energy_{k}"] = atoms.get_potential_energy()
                    data[f"{mark}{head}/forces_{k}"] = atoms.get_forces()
                    if atoms.pbc.all():
                        data[f"{mark}{head}/stress_{k}"] = atoms.get_stress()
        torch.set_default_dtype(torch.float64)
        np.savez_compressed(path.with_suffix(".npz"), **data)
        print(path, path.stat().st_size, data[f"{head}/energy_0"], flush=True)


if __name__ == "__main__":
    main()

"""Random mace-torch models of the sizes of the published ones: python make_mace.py OUT [NAME ...].

Run it in an environment with mace-torch 0.3.16. What the published models add to these is their
weights, so speed and rounding are the same. Only mh-like has sizes of its own: the blocks are those
of MACE-MH, which sends fewer channels than it has.
"""

import logging
import sys
import warnings
from pathlib import Path

import mace.modules
import numpy as np
import torch
from e3nn import o3

modules = mace.modules

warnings.filterwarnings("ignore")
logging.disable(logging.INFO)

B = modules.interaction_classes
PLAIN, RESIDUAL = (B[f"RealAgnostic{kind}InteractionBlock"] for kind in ("", "Residual"))
DENSITY, DENSITY_RESIDUAL = (
    B[f"RealAgnosticDensity{kind}InteractionBlock"] for kind in ("", "Residual")
)
NONLINEAR = B["RealAgnosticResidualNonLinearInteractionBlock"]
ORGANIC = [1, 6, 7, 8, 9, 15, 16, 17, 35, 53]
COMMON = {
    "num_bessel": 8, "num_polynomial_cutoff": 5, "max_ell": 3, "num_interactions": 2,
    "MLP_irreps": "16x0e", "gate": torch.nn.functional.silu, "correlation": 3,
    "radial_type": "bessel", "radial_MLP": [64, 64, 64], "atomic_inter_scale": 0.8,
    "atomic_inter_shift": 0.0, "atomic_numbers": ORGANIC, "avg_num_neighbors": 17.9,
    "interaction_cls_first": PLAIN, "interaction_cls": RESIDUAL, "r_max": 5.0,
}  # fmt: skip
STATE = {"type": "categorical", "per": "graph", "in_dim": 1, "emb_dim": 64}
MODELS = {
    "off-small": {"r_max": 4.5, "hidden_irreps": "96x0e"},
    "off-medium": {"hidden_irreps": "128x0e+128x1o"},
    "off-large": {"hidden_irreps": "192x0e+192x1o+192x2e"},
    "mp-0": {
        "r_max": 6.0, "hidden_irreps": "128x0e+128x1o", "num_bessel": 10,
        "interaction_cls_first": RESIDUAL, "atomic_numbers": list(range(1, 90)),
        "avg_num_neighbors": 61.96,
    },
    "mpa-0": {
        "r_max": 6.0, "hidden_irreps": "128x0e+128x1o", "num_bessel": 10,
        "interaction_cls_first": DENSITY, "interaction_cls": DENSITY_RESIDUAL,
        "atomic_numbers": list(range(1, 90)), "avg_num_neighbors": 61.96,
        "distance_transform": "Agnesi", "pair_repulsion": True,
    },
    "omol": {
        "r_max": 6.0, "hidden_irreps": "128x0e+128x1o", "interaction_cls_first": NONLINEAR,
        "interaction_cls": NONLINEAR, "avg_num_neighbors": 30.0, "apply_cutoff": False,
        "use_agnostic_product": True, "use_last_readout_only": True, "use_embedding_readout": True,
        "readout_cls": modules.readout_classes["NonLinearBiasReadoutBlock"],
        "distance_transform": "Agnesi", "pair_repulsion": True,
        "embedding_specs": {
            "total_charge": {**STATE, "num_classes": 200, "offset": 100},
            "total_spin": {**STATE, "num_classes": 100, "offset": 0},
        },
    },
    "mh-like": {
        "r_max": 6.0, "hidden_irreps": "256x0e+256x1o", "edge_irreps": "128x0e+128x1o",
        "interaction_cls_first": NONLINEAR, "interaction_cls": NONLINEAR, "apply_cutoff": False,
        "avg_num_neighbors": 40.0, "atomic_numbers": list(range(1, 90)), "num_bessel": 10,
        "readout_cls": modules.readout_classes["NonLinearBiasReadoutBlock"],
    },
}  # fmt: skip

torch.set_default_dtype(torch.float64)
out = Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
for name in sys.argv[2:] or MODELS:
    settings = {**COMMON, **MODELS[name]}
    for key in {"hidden_irreps", "MLP_irreps", "edge_irreps"} & settings.keys():
        settings[key] = o3.Irreps(settings[key])
    n = len(settings["atomic_numbers"])
    torch.manual_seed(0)
    e0 = np.random.default_rng(0).normal(-500, 100, n)
    model = modules.ScaleShiftMACE(num_elements=n, atomic_energies=e0, **settings)
    torch.save(model, out / f"{name}.model")
    print(name, sum(p.numel() for p in model.parameters()), "weights", flush=True)

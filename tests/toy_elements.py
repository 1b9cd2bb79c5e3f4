"""A model of crystals with features of elements, trained on some elements only."""

from ase.build import bulk

import tlpot


def trained_without_bromine(folder):
    """Returns the model, and its features of elements before the training."""
    frames = []
    for k in range(24):
        anion, a = ("F", "Cl")[k % 2], 5.2 + 0.05 * k
        atoms = bulk(f"Na{anion}", "rocksalt", a=a)
        atoms.info["gap"] = 9.0 - a + 0.5 * (k % 2)
        frames.append(atoms)
    given = {
        "level": "gap@toy", "keys": {"gap@toy": "gap, eV, intensive"}, "epochs": 3,
        "model": {
            "cutoff": 4.0, "hidden_irreps": "8x0e+8x1o", "l_max": 2, "correlation": 2,
            "species": "elemental", "elements": "all",
        },
        "split": {"by": "random", "validation": 6}, "training": {"batch_size": 4},
        "progress": False,
    }  # fmt: skip
    start = tlpot.train(frames, output=folder / "start.safetensors", dry_run=True, **given)
    before = start.potential.backbone.species.detach().clone()
    found = tlpot.train(frames, output=folder / "m.safetensors", **given)
    return found.potential.double(), before.double()

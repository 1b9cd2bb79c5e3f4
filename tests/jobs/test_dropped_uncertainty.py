"""A changed model has no uncertainty of its own any more."""

import torch
from shipped_levels import CC, DFT

from tlpot.jobs import finetune_config, prepare_finetune
from tlpot.models import LastLayerRigidity, load_potential, save, uncertain


def test_fine_tuning_drops_the_uncertainty_of_the_parent(data_file, tmp_path):
    parent = load_potential("tlpot-tiny", device="cpu")
    n = len(parent.head(DFT).readout.last_weights())
    parent = parent.with_rigidity(DFT, LastLayerRigidity(torch.eye(n, dtype=torch.float64)))
    path = tmp_path / "parent.safetensors"
    save(parent, path)
    assert uncertain(load_potential(path, device="cpu").at(DFT)) is not None
    config = finetune_config(
        {
            "parent": str(path),
            "data": {"files": [str(data_file)]},
            "level": CC,
            "strategy": "head",  # keeps the parent's level
            "output": str(tmp_path / "model.safetensors"),
            "split": {"by": "random", "validation": 8, "train": 24},
        }
    )
    start = prepare_finetune(config, device="cpu").job.potential
    assert set(start.levels) == {DFT, CC}
    assert all(uncertain(start.at(level)) is None for level in start.levels)

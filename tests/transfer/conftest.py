"""A parent with random weights and a few real frames to transfer to."""

import pytest
import torch
from ase.build import molecule
from parents import ALL_PARENTS, imported_parent
from transfer_levels import LEVEL, LOW

from tlpot.data import open_dataset
from tlpot.graph import build_graph
from tlpot.jobs import SplitSettings
from tlpot.models import LIBRARY, Potential, preset
from tlpot.system import System
from tlpot.transfer import TransferContext


@pytest.fixture(scope="session", params=ALL_PARENTS)
def parent(request):
    # one way to compute for what is trained and what is not: it is in this that step 0 is the
    # parent to the last bit, while fixed weights by themselves go through the fused call
    if request.param != "tlpot":
        return imported_parent(request.param, "low", LOW, kernels="compiled")
    made = Potential.create(
        preset("tiny", tuple(LOW), zbl=True), {"low": LOW}, seed=3, kernels="compiled"
    )
    return made.requires_grad_(False)


@pytest.fixture(scope="session")
def context(parent):
    dataset = open_dataset([LIBRARY / "tlpot-qm.h5"], level=LEVEL)
    split = SplitSettings(by="random", validation=8, test=0.0, train=24).divide(dataset, LEVEL)
    return TransferContext(parent=parent, source="low", level=LEVEL, dataset=dataset, split=split)


@pytest.fixture
def graph(parent):
    return build_graph([System.from_atoms(molecule("CH3OH"))], parent.cutoff)


@pytest.fixture
def nudge():
    """Moves weights by a little, reproducibly."""

    @torch.no_grad()
    def move(potential, names):
        torch.manual_seed(0)
        for name, weight in potential.named_parameters():
            if name in names:
                weight += 0.05 * torch.randn_like(weight)

    return move

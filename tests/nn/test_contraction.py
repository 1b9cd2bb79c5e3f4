"""Sums over padded blocks against sums over pairs, with their derivatives."""

import pytest
import torch

from tlpot.graph import Blocks
from tlpot.nn.edges import contract

SIZES = ((3, 2), (2, 5))


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    place = torch.tensor([2, 0, 4, 1, 3])
    blocks = Blocks(sizes=SIZES, place=place)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)

    return blocks, random(blocks.n_slots, 3, 2), random(blocks.n_slots, 3, 4)


def test_contraction_equals_a_sum_over_pairs(given):
    blocks, angular, features = given
    rows = torch.arange(5).repeat_interleave(torch.tensor([2, 2, 2, 5, 5]))
    messages = torch.einsum("ekm,ekc->emc", angular, features)
    sums = torch.zeros((5, 2, 4), dtype=torch.float64).index_add(0, rows, messages)
    torch.testing.assert_close(contract(angular, features, blocks), sums[blocks.place])


def test_one_block_keeps_the_order_of_the_atoms(given):
    _, angular, features = given
    blocks = Blocks(sizes=((4, 4),), place=None)
    sums = torch.einsum("ekm,ekc->emc", angular, features).view(4, 4, 2, 4).sum(dim=1)
    torch.testing.assert_close(contract(angular, features, blocks), sums)


def test_first_and_second_derivatives(given):
    blocks, angular, features = given
    torch.autograd.gradcheck(lambda a, f: contract(a, f, blocks), (angular, features))
    torch.autograd.gradgradcheck(lambda a, f: contract(a, f, blocks), (angular, features))


def test_derivatives_of_transposed_and_sliced_input(given):
    blocks, angular, features = given
    wide = torch.cat([angular, angular], dim=2).detach().requires_grad_(True)
    torch.autograd.gradcheck(lambda w: contract(w[:, :, 1:3], features.detach(), blocks), wide)
    turned = features.detach().mT.contiguous().requires_grad_(True)
    torch.autograd.gradgradcheck(lambda t: contract(angular.detach(), t.mT, blocks), turned)

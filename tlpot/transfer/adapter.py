"""Small additions to the matrices of a potential that merge into it when training is over."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.nn.utils import parametrize

from tlpot.models import Potential
from tlpot.nn import ChannelLinear


def attach(potential: Potential, level: str, make: Callable[[nn.Parameter], nn.Module]) -> None:
    """Lets each channel-mixing matrix of a level go through an adapter, in place.

    A channel-mixing matrix maps features of one degree to features of the same degree, so
    whatever an adapter does to it, the network stays equivariant.

    Args:
        potential: the model.
        level: readouts of other levels are left alone.
        make: gives the adapter of a matrix [n_in, n_out]; its ``forward`` maps the matrix to
            the one in use.
    """
    for module in (potential.backbone, potential.head(level)):
        for linear in list(module.modules()):
            if isinstance(linear, ChannelLinear):
                adapter = make(linear.weight).to(linear.weight)
                parametrize.register_parametrization(linear, "weight", adapter)


def merge(potential: Potential) -> Potential:
    """Puts the matrices in use in the place of the originals; returns the same potential."""
    for module in list(potential.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return potential


def adapter_weights(potential: Potential) -> list[str]:
    """Lists the names of the adapters' weights."""
    names = [name for name, _ in potential.named_parameters()]
    return [n for n in names if ".parametrizations." in n and not n.endswith(".original")]

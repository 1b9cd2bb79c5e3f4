"""Linear maps of channels, and the readout from invariant features to energies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn


class Kept:
    """A tensor made of others, kept while they stay as they are and none of them is trained.

    Weights that are evaluated again and again are scaled and expanded once. A change in place, as
    optimizers make it, raises a tensor's version; one through ``.data`` does not, and has to be
    told with `torch.autograd.graph.increment_version`.
    """

    def __init__(self) -> None:
        self._found: tuple[tuple[Tensor, int, int], ...] = ()
        # as long as it is held, no other numbers can have its address
        self._memory: list[torch.UntypedStorage] = []
        self._value: Tensor | None = None

    def get(self, make: Callable[[], Tensor], *sources: Tensor) -> Tensor:
        """Returns ``make()``, or what it gave for the same `sources` before."""
        if any(s.requires_grad or s.is_inference() for s in sources):
            return make()
        now = tuple((s, s._version, s.data_ptr()) for s in sources)
        same = self._value is not None and len(now) == len(self._found)
        if not same or any(
            a is not d or (b, c) != (e, f)
            for (a, b, c), (d, e, f) in zip(now, self._found, strict=True)
        ):
            self._found, self._value = now, make().detach()
            self._memory = [s.untyped_storage() for s in sources]
        assert self._value is not None
        return self._value

    def __deepcopy__(self, memo: object) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()


class ChannelLinear(nn.Module):
    """y = x W / √n_in on the last axis, without bias.

    Weights are drawn from a unit normal and the scale stands outside of them, so that one
    learning rate fits layers of every width.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out))
        self.scale = 1.0 / math.sqrt(n_in)
        self._kept = Kept()

    def matrix(self) -> Tensor:
        """Returns the map as a matrix, [n_in, n_out]."""
        weight = self.weight
        return self._kept.get(lambda: weight * self.scale, weight)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., n_in] to [..., n_out]."""
        return x @ self.matrix()


SILU_SCALE = 1.6765
"""Keeps the second moment of SiLU at one for normal input."""


class ChannelMLP(nn.Module):
    """Linear layers with SiLU between them and no bias: zero goes to zero.

    Args:
        widths: sizes from input to output; two of them make a linear map.
        biased: whether the hidden layers after the first have a bias.
    """

    def __init__(self, *widths: int, biased: bool = False) -> None:
        super().__init__()
        pairs = itertools.pairwise(widths)
        self.n_hidden = widths[-2]
        self.layers = nn.ModuleList(ChannelLinear(a, b) for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(n) for n in widths[2:-1]) if biased else None

    def hidden(self, x: Tensor) -> Tensor:
        """Maps [..., widths[0]] to what enters the last layer, [..., widths[-2]]."""
        for k in range(len(self.layers) - 1):
            x = self.layers[k](x)
            if self.biases is not None and k:
                x = x + self.biases[k - 1]
            x = nn.functional.silu(x) * SILU_SCALE
        return x

    def last(self) -> Tensor:
        """Returns the last layer as a matrix, [widths[-2], widths[-1]]."""
        return cast(ChannelLinear, self.layers[-1]).matrix()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., widths[0]] to [..., widths[-1]]."""
        return self.layers[-1](self.hidden(x))


class Readout(nn.Module):
    """E_i = s · (Σ_{t<T} w_t · h_i^{(t)} + MLP(h_i^{(T)})): linear on all layers but the last.

    Unless it is biased, zero features give zero energy.

    Args:
        n_layers: number of layers T.
        n_channels: channels.
        n_hidden: width of the network on the last layer.
        scale: s, eV; of the size of the forces, so that the network works with numbers near 1.
        last_only: leave out the linear terms.
        biased: give the network a second hidden layer, with a bias.
    """

    scale: Tensor

    def __init__(
        self,
        *,
        n_layers: int,
        n_channels: int,
        n_hidden: int,
        scale: float,
        last_only: bool = False,
        biased: bool = False,
    ) -> None:
        super().__init__()
        n_linear = 0 if last_only else n_layers - 1
        self.linears = nn.ModuleList(ChannelLinear(n_channels, 1) for _ in range(n_linear))
        hidden = (n_hidden, n_hidden) if biased else (n_hidden,)
        self.mlp = ChannelMLP(n_channels, *hidden, 1, biased=biased)
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, scalars: Sequence[Tensor]) -> Tensor:
        """Maps the invariants of each layer, [n_atoms, c], to energies [n_atoms], eV."""
        energies = self.mlp(scalars[-1])
        for linear, x in zip(self.linears, self._read_linearly(scalars), strict=True):
            energies = energies + linear(x)
        return energies[:, 0] * self.scale

    @torch.no_grad()
    def silence(self) -> None:
        """Zeroes what is linear, so that the rest can still learn from the start."""
        for layer in self._last_layers():
            layer.weight.zero_()

    def features(self, scalars: Sequence[Tensor]) -> Tensor:
        """Returns what the last weights multiply, [n_atoms, n_features], scales included.

        Linear layers come first, the network on the last layer at the end, as in `last_weights`;
        the energies are ``features(scalars) @ last_weights()``.
        """
        layers = self._last_layers()
        inputs = [*self._read_linearly(scalars), self.mlp.hidden(scalars[-1])]
        parts = [x * layer.scale for layer, x in zip(layers, inputs, strict=True)]
        return torch.cat(parts, dim=1) * self.scale

    def last_weights(self) -> Tensor:
        """Returns the weights that enter the energy linearly, [n_features]."""
        return torch.cat([layer.weight[:, 0] for layer in self._last_layers()])

    def _read_linearly(self, scalars: Sequence[Tensor]) -> Sequence[Tensor]:
        return scalars[:-1] if len(self.linears) else ()

    def _last_layers(self) -> list[ChannelLinear]:
        return [*self.linears, self.mlp.layers[-1]]

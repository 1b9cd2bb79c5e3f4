"""From invariant features to the interaction energy of an atom."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tlpot.nn.channels import ChannelLinear, ChannelMLP


class Readout(nn.Module):
    """E_i = s · (Σ_{t<T} w_t · h_i^{(t)} + MLP(h_i^{(T)})): linear on all layers but the last.

    No bias anywhere: zero features give zero energy.

    Args:
        n_layers: number of layers T.
        n_channels: channels.
        n_hidden: width of the network on the last layer.
        scale: s, eV; of the size of the forces, so that the network works with numbers near 1.
    """

    scale: Tensor

    def __init__(self, *, n_layers: int, n_channels: int, n_hidden: int, scale: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(ChannelLinear(n_channels, 1) for _ in range(n_layers - 1))
        self.mlp = ChannelMLP(n_channels, n_hidden, 1)
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, scalars: Sequence[Tensor]) -> Tensor:
        """Maps the invariants of each layer, [n_atoms, c], to energies [n_atoms], eV."""
        energies = self.mlp(scalars[-1])
        for linear, x in zip(self.linears, scalars[:-1], strict=True):
            energies = energies + linear(x)
        return energies[:, 0] * self.scale

    def features(self, scalars: Sequence[Tensor]) -> Tensor:
        """Returns what the last weights multiply, [n_atoms, n_features], scales included.

        Linear layers come first, the network on the last layer at the end, as in `last_weights`;
        the energies are ``features(scalars) @ last_weights()``.
        """
        layers = self._last_layers()
        inputs = [*scalars[:-1], self.mlp.hidden(scalars[-1])]
        parts = [x * layer.scale for layer, x in zip(layers, inputs, strict=True)]
        return torch.cat(parts, dim=1) * self.scale

    def last_weights(self) -> Tensor:
        """Returns the weights that enter the energy linearly, [n_features]."""
        return torch.cat([layer.weight[:, 0] for layer in self._last_layers()])

    def _last_layers(self) -> list[ChannelLinear]:
        return [*self.linears, self.mlp.layers[-1]]

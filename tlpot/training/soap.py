"""SOAP: Adam in the slowly turning eigenbasis of the gradients of each matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

LARGEST_SIDE = 300
"""Sides of matrices that are longer keep their own axes: the basis of a side costs its cube."""

_QUIET = 1e-4
_EVERY = 10
"""Updates between two turns of a basis."""


class Soap(torch.optim.Optimizer):
    """Moves a matrix along Adam's step in the eigenbasis of E[G Gᵀ] and E[Gᵀ G].

    For the gradient G of a matrix, with moving averages L of G Gᵀ and R of Gᵀ G and their
    eigenvectors Q_L and Q_R, the step is Q_L (M' / √V) Q_Rᵀ, where M' is the average of G turned
    into the basis and V that of the square of the turned G: Algorithm 3 of SOAP (N. Vyas et al.,
    arXiv:2409.11321). Bases are turned every ten updates by one round of orthogonal iteration. A
    side of more than `LARGEST_SIDE`, or of 1, keeps its axes; vectors are moved as by Adam.
    Tensors of three and more axes have a basis for each. The first update only finds the first
    bases.

    Args:
        groups: of weights, as for `torch.optim`.
        lr: learning rate.
        betas: decay of the average of the gradient, and of all averages of squares.
        eps: added to √V, as is `_QUIET` of its largest element: where gradients have a low rank,
            the other directions hold rounding only, which is not to be followed.
        weight_decay: decoupled, as AdamW's.
    """

    def __init__(
        self,
        groups: Iterable[Mapping[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__([dict(group) for group in groups], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Moves all weights that have a gradient; there is no `closure`."""
        assert closure is None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, group)

    def _move(self, weight: nn.Parameter, group: Mapping[str, Any]) -> None:
        gradient = cast(Tensor, weight.grad)
        state = self.state[weight]
        first = not state
        if first:
            _begin(state, gradient)
        else:
            state["step"] += 1
            weight.mul_(1.0 - group["lr"] * group["weight_decay"])
            step = _direction(state, gradient, group)
            weight.add_(step, alpha=-group["lr"])
        for side in _turned(gradient):
            rows = gradient.movedim(side, 0).reshape(gradient.shape[side], -1)
            state[f"covariance_{side}"].lerp_(rows @ rows.T, 1.0 - group["betas"][1])
        if first:
            for side in _turned(gradient):
                vectors = torch.linalg.eigh(state[f"covariance_{side}"].double())[1]
                state[f"basis_{side}"] = vectors.flip(1).to(gradient.dtype).contiguous()
        elif int(state["step"]) % _EVERY == 0:
            _turn(state, _turned(gradient))


def _turned(gradient: Tensor) -> list[int]:
    """Returns the axes that have a basis."""
    if gradient.dim() < 2:
        return []
    return [k for k, n in enumerate(gradient.shape) if 1 < n <= LARGEST_SIDE]


def _begin(state: dict[str, Tensor], gradient: Tensor) -> None:
    state["step"] = torch.zeros(())
    state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    for side in _turned(gradient):
        n = gradient.shape[side]
        state[f"covariance_{side}"] = gradient.new_zeros(n, n)


def _direction(state: Mapping[str, Tensor], gradient: Tensor, group: Mapping[str, Any]) -> Tensor:
    """Takes in a gradient; returns the step at a learning rate of one, without its sign."""
    n, (first, second) = float(state["step"]), group["betas"]
    state["mean"].lerp_(gradient, 1.0 - first)
    state["square"].lerp_(_rotated(gradient, state).square(), 1.0 - second)
    mean = _rotated(state["mean"], state) / (1.0 - first**n)
    spread = (state["square"] / (1.0 - second**n)).sqrt_()
    spread += group["eps"] + _QUIET * spread.max()
    return _rotated(mean / spread, state, back=True)


def _rotated(values: Tensor, state: Mapping[str, Tensor], *, back: bool = False) -> Tensor:
    """Returns `values` in the bases, or `back` from them."""
    for side in _turned(values):
        basis = state[f"basis_{side}"]
        turned = torch.tensordot(values, basis, dims=([side], [1 if back else 0]))
        values = turned.movedim(-1, side)
    return values


def _turn(state: dict[str, Tensor], sides: Iterable[int]) -> None:
    """Brings the bases nearer to the eigenvectors, the largest eigenvalue first."""
    for side in sides:
        covariance, basis = state[f"covariance_{side}"], state[f"basis_{side}"]
        moved = covariance @ basis
        order = (basis * moved).sum(0).argsort(descending=True, stable=True)
        state["square"] = state["square"].index_select(side, order)
        state[f"basis_{side}"] = torch.linalg.qr(moved[:, order])[0].contiguous()

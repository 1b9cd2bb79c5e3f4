"""What a call of a kernel needs, and the end of the chain of its derivatives."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tlpot.kernels.build import library
from tlpot.kernels.structures import MAX_DEGREE, Degrees


class KernelPlan:
    """Tables that never change: a copy is the same object, and a pickle holds the arguments.

    Args:
        *arguments: of the constructor.
    """

    def __init__(self, *arguments: object) -> None:
        self._arguments = arguments

    def __deepcopy__(self, memo: dict[int, Any]) -> KernelPlan:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments


def run(
    kernel: str, dtype: torch.dtype, tables: ctypes.Structure, data: ctypes.Structure, *task: int
) -> None:
    """Runs a kernel in a precision."""
    getattr(library(dtype), f"tlpot_{kernel}")(tables, data, *task)


def number_of_threads() -> int:
    """Returns how many threads a call and its derivatives use: as many as torch, one in a fork.

    The threads of OpenMP do not survive a fork, but its record of them does, so that a forked
    process that asks for several would wait for ever.
    """
    number = torch.get_num_threads()
    return number if number == 1 or os.getpid() == _own_process() else 1


@functools.cache
def _own_process() -> int:
    """Returns the process that first used threads; those forked from it inherit the answer."""
    return os.getpid()


def expect(name: str, tensor: Tensor, dtype: torch.dtype, *shape: int) -> Tensor:
    """Returns a tensor in one piece, if it is what C would take it for.

    Raises:
        ValueError: another shape, precision or device.
    """
    if tensor.shape != shape or tensor.dtype is not dtype or not tensor.is_cpu:
        raise ValueError(
            f"the compiled kernels need {name} as {dtype} {list(shape)} on the CPU, not "
            f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
        )
    return tensor.contiguous()


def expect_degrees(
    name: str, tensors: Sequence[Tensor], dtype: torch.dtype, n_degrees: int, n: int, c: int
) -> list[Tensor]:
    """As `expect`, for [n, 2l+1, c] of every degree."""
    found = []
    for l, x in enumerate(tensors):
        if x.shape != (n, 2 * l + 1, c) or x.dtype is not dtype or not x.is_cpu:
            expect(f"{name} of degree {l}", x, dtype, n, 2 * l + 1, c)  # which raises
        found.append(x.contiguous())
    if len(found) != n_degrees or n_degrees > MAX_DEGREE + 1:
        raise ValueError(
            f"the compiled kernels need {name} of {n_degrees} degrees, at most {MAX_DEGREE + 1}, "
            f"not {len(found)}"
        )
    return found


def expect_species(species: Tensor, n_atoms: int, n_elements: int, dtype: torch.dtype) -> Tensor:
    """As `expect`, for the index of each atom's element; `dtype` says whose kernels look.

    Raises:
        ValueError: an index of no element, too.
    """
    species = expect("species", species, torch.int64, n_atoms)
    atom = library(dtype).tlpot_outside(species.data_ptr(), n_atoms, n_elements)
    if atom < n_atoms:
        raise ValueError(
            f"species must be 0 to {n_elements - 1}; that of atom {atom} is {int(species[atom])}"
        )
    return species


def pointer(tensor: Tensor | None) -> int | None:
    """Returns the address of a contiguous tensor, or None."""
    return None if tensor is None else tensor.data_ptr()


def pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    """Returns the addresses of one tensor for each degree."""
    return Degrees(*(None if t is None else t.data_ptr() for t in tensors))


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Makes what is not None contiguous."""
    return [None if t is None else t.contiguous() for t in tensors]


def index32(values: object) -> Tensor:
    """Returns an int32 table."""
    return torch.as_tensor(values, dtype=torch.int32, device="cpu").contiguous()


NO_THIRD = (
    "the compiled kernels have first and second derivatives; for higher ones load the model with "
    "kernels='torch'"
)


def pull_back(output: Tensor, source: Tensor, weights: Tensor) -> Tensor:
    """Returns the gradient of Σ output · weights with respect to `source`.

    As ``torch.autograd.grad(output, source, weights)``, which however imports all of sympy.
    """
    with torch.enable_grad():
        seed = _Seed.apply(output, weights)
    return torch.autograd.grad(seed, source)[0]


class _Seed(torch.autograd.Function):
    """A number whose gradient by `output` is said to be `weights`."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return output.new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0], None


def last_derivative(message: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Marks a backward whose results cannot be differentiated again.

    Unlike ``once_differentiable`` of torch, which drops terms without a word when the derivative
    is taken by ``torch.autograd.grad``, whoever tries gets an error.

    Args:
        message: of the RuntimeError.
    """

    def mark(backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def wrapped(ctx: Any, *grads: Tensor | None) -> Any:
            with torch.no_grad():
                results = backward(ctx, *grads)
            if not torch.is_grad_enabled():
                return results
            sources = [t for t in (*grads, *ctx.saved_tensors) if t is not None and t.requires_grad]
            if not sources:
                return results
            tensors = [r for r in results if isinstance(r, Tensor)]
            guarded = iter(_Refusal.apply(message, len(tensors), *tensors, *sources))
            return tuple(next(guarded) if isinstance(r, Tensor) else r for r in results)

        return wrapped

    return mark


class _Refusal(torch.autograd.Function):
    """The identity on the first tensors; they depend on all others, but not differentiably."""

    @staticmethod
    def forward(ctx: Any, message: str, n: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.message = message
        return tuple(t.clone() for t in tensors[:n])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(ctx.message)

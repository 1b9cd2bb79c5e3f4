"""Tensors as the C structures that the kernels read."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from tlpot.kernels.build import MAX_DEGREE

_Degrees = ctypes.c_void_p * (MAX_DEGREE + 1)


class ConvolutionTables(ctypes.Structure):
    """See convolution.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_channels", "n_paths", "n_angular")),
        *((name, ctypes.c_int64) for name in ("n_couplings", "n_harmonics")),
        *((name, ctypes.c_void_p) for name in ("paths", "places", "couplings")),
    )


class ConvolutionData(ctypes.Structure):
    """See convolution.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_nodes", "n_edges", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("first", "neighbor", "center", "into", "order")),
        *((name, ctypes.c_void_p) for name in ("harmonics", "d_harmonics")),
        *((name, ctypes.c_void_p) for name in ("weights", "d_weights")),
        *((name, _Degrees) for name in ("senders", "d_senders", "grad", "out")),
        *((name, ctypes.c_void_p) for name in ("grad_harmonics", "grad_weights")),
        ("grad_senders", _Degrees),
    )


class ProductTables(ctypes.Structure):
    """See product.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_channels", "n_in", "n_out", "n_pairs")),
        *((name, ctypes.c_int64) for name in ("n_terms", "n_elements")),
        *((name, ctypes.c_void_p) for name in ("pairs", "terms")),
    )


class ProductData(ctypes.Structure):
    """See product.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("species", "in_place", "out_place")),
        *((name, ctypes.c_void_p) for name in ("coefficients", "d_coefficients")),
        *((f"{name}", _Degrees) for name in ("inputs", "d_inputs", "grad", "out", "grad_inputs")),
        ("grad_coefficients", ctypes.c_void_p),
    )


class ElementTables(ctypes.Structure):
    """See elements.cpp."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("n_left", "n_right", "n_elements"))


class ElementData(ctypes.Structure):
    """See elements.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_atoms", "n_edges", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("first", "center", "neighbor", "element")),
        *((name, ctypes.c_void_p) for name in ("left", "right", "sums", "by_left", "by_right")),
    )


class EmbeddingTables(ctypes.Structure):
    """See embedding.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_basis", "power", "n_harmonics", "n_entries")),
        ("cutoff", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("entries", "values")),
    )


class EmbeddingData(ctypes.Structure):
    """See embedding.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n_edges", "n_threads")),
        *((name, ctypes.c_void_p) for name in ("vectors", "d_vectors")),
        *((name, ctypes.c_void_p) for name in ("grad_harmonics", "grad_radial")),
        *((name, ctypes.c_void_p) for name in ("harmonics", "radial", "grad_vectors")),
    )


def pointer(tensor: Tensor | None) -> int | None:
    """Returns the address of a contiguous tensor, or None."""
    return None if tensor is None else tensor.data_ptr()


def pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    """Returns the addresses of one tensor for each degree."""
    return _Degrees(*(None if t is None else t.data_ptr() for t in tensors))


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Makes what is not None contiguous."""
    return [None if t is None else t.contiguous() for t in tensors]


def index32(values: object) -> Tensor:
    """Returns an int32 table."""
    return torch.as_tensor(values, dtype=torch.int32, device="cpu").contiguous()

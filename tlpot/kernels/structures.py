"""The C structures that the kernels read, and proof that C lays them out in the same way.

Each unit of C++ is compiled with a few lines made here, which export the size of its structures
and the place and size of every field that Python knows.
"""

from __future__ import annotations

import ctypes
from typing import Any

from tlpot.errors import KernelError

MAX_DEGREE = 3
"""Highest degree that the kernels are compiled for."""

Degrees = ctypes.c_void_p * (MAX_DEGREE + 1)
"""One address for each degree."""


def _integers(names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_int64) for name in names.split()]


def _addresses(names: str, kind: Any = ctypes.c_void_p) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


class ConvolutionTables(ctypes.Structure):
    """See convolution.cpp."""

    _fields_ = (
        *_integers("n_channels n_paths n_angular n_couplings n_harmonics"),
        *_addresses("paths places couplings"),
    )


class ConvolutionData(ctypes.Structure):
    """See convolution.cpp."""

    _fields_ = (
        *_integers("n_atoms n_nodes n_edges n_threads"),
        *_addresses("first neighbor center into order"),
        *_addresses("harmonics d_harmonics weights d_weights"),
        *_addresses("senders d_senders grad out", Degrees),
        *_addresses("grad_harmonics grad_weights"),
        *_addresses("grad_senders", Degrees),
    )


class ProductTables(ctypes.Structure):
    """See product.cpp."""

    _fields_ = (
        *_integers("n_channels n_in n_out n_pairs n_terms n_elements"),
        *_addresses("pairs terms"),
    )


class ProductData(ctypes.Structure):
    """See product.cpp."""

    _fields_ = (
        *_integers("n_atoms n_threads"),
        *_addresses("species in_place out_place coefficients d_coefficients"),
        *_addresses("inputs d_inputs grad out grad_inputs", Degrees),
        *_addresses("grad_coefficients"),
    )


class ElementTables(ctypes.Structure):
    """See elements.cpp."""

    _fields_ = tuple(_integers("n_left n_right n_elements"))


class ElementData(ctypes.Structure):
    """See elements.cpp."""

    _fields_ = (
        *_integers("n_atoms n_edges n_threads"),
        *_addresses("first center neighbor element left right sums by_left by_right"),
    )


class EmbeddingTables(ctypes.Structure):
    """See embedding.cpp."""

    _fields_ = (
        *_integers("n_basis power n_harmonics n_entries"),
        ("cutoff", ctypes.c_double),
        *_addresses("entries values"),
    )


class EmbeddingData(ctypes.Structure):
    """See embedding.cpp."""

    _fields_ = (
        *_integers("n_edges n_threads"),
        *_addresses("vectors d_vectors grad_harmonics grad_radial"),
        *_addresses("harmonics radial grad_vectors"),
    )


class DistanceTables(ctypes.Structure):
    """See distances.cpp."""

    _fields_ = (
        *_integers("n_layers n_axes"),
        *_addresses("widths projection shift prototypes first"),
        ("farthest", ctypes.c_double),
        ("softness", ctypes.c_double),
    )


class DistanceData(ctypes.Structure):
    """See distances.cpp."""

    _fields_ = (
        *_integers("n_atoms n_systems n_threads"),
        *_addresses("layers element system scores"),
    )


class FusedMaps(ctypes.Structure):
    """See fused.hpp."""

    _fields_ = (*_integers("kinds"), *_addresses("of back", Degrees))


class FusedPairNetwork(ctypes.Structure):
    """See fused.hpp."""

    _fields_ = (
        *_integers("n_layers"),
        *_addresses("widths sizes of_basis of_neighbor of_center"),
        *_addresses("gains offsets matrices biases last last_t last_bias"),
    )


class FusedBlock(ctypes.Structure):
    """See fused.hpp."""

    _fields_ = (
        *_integers("n_sent sent_degrees n_paths angular_width"),
        *_addresses("paths couplings couplings_t"),
        *_addresses("radial density", FusedPairNetwork),
        *_addresses("residual gated", FusedMaps),
        *((name, ctypes.c_double) for name in ("alpha", "beta")),
    )


class FusedLayer(ctypes.Structure):
    """See fused.hpp."""

    _fields_ = (
        *_integers("n_hidden n_radial in_degrees out_degrees n_pairs n_terms product_kinds"),
        *_addresses("radial_widths radial last last_t"),
        *_addresses("by_neighbor mix sender update skip", FusedMaps),
        *_addresses("gain offset density pairs terms coefficients"),
    )


class FusedTables(ctypes.Structure):
    """See fused.hpp."""

    _fields_ = (
        *_integers("n_elements n_channels n_layers n_degrees n_basis basis_width"),
        *_integers("harmonic_width power n_entries n_paths angular_width"),
        *_integers("n_readout most_kept transform"),
        *((name, ctypes.c_double) for name in ("cutoff", "scale")),
        *_addresses("species"),
        *_integers("n_numbers"),
        *_addresses("entries values paths couplings couplings_t layers"),
        *_addresses("blocks initial read_initial references linear hidden hidden_t last"),
        *_addresses("middle middle_t middle_bias transform_constants covalent_radii"),
        *_addresses("numbers reach screening exponents coefficients"),
        *_integers("repulsion_power"),
        ("coulomb", ctypes.c_double),
    )


class FusedData(ctypes.Structure):
    """See fused.hpp."""

    _fields_ = (
        *_integers("n_atoms n_edges n_systems n_threads"),
        *_addresses("positions atomic_numbers system center neighbor shifts cell charge spin"),
        *_addresses("state energies energy forces virial invariants scratch"),
        *_integers("room"),
    )


_UNITS: dict[str, tuple[tuple[type[ctypes.Structure], ...], tuple[str, ...], tuple[Any, ...]]] = {
    "convolution.cpp": (
        (ConvolutionTables, ConvolutionData),
        ("convolve", "convolve_edges", "convolve_senders"),
        (ctypes.c_int,),
    ),
    "product.cpp": (
        (ProductTables, ProductData),
        ("multiply", "multiply_backward", "multiply_dual"),
        (),
    ),
    "elements.cpp": ((ElementTables, ElementData), ("sum_by_element", "spread_by_element"), ()),
    "distances.cpp": ((DistanceTables, DistanceData), ("distance_scores",), ()),
    "embedding.cpp": ((EmbeddingTables, EmbeddingData), ("embed",), (ctypes.c_int,)),
    "fused.cpp": (
        (FusedMaps, FusedPairNetwork, FusedBlock, FusedLayer, FusedTables, FusedData),
        (),
        (),
    ),
}
"""Of each unit of C++: its structures, the kernels that take them, and what these take besides."""


def _names(structure: type[ctypes.Structure]) -> list[str]:
    return [field for field, *_ in structure._fields_]


def layout_export(unit: str) -> str:
    """Returns C++ that exports the layout of a unit's structures, to stand at its end."""
    lines = []
    for structure in _UNITS[unit][0] if unit in _UNITS else ():
        name = structure.__name__
        values = [f"sizeof({name})"]
        for field in _names(structure):
            values += [f"offsetof({name}, {field})", f"sizeof({name}::{field})"]
        numbers = ", ".join([str(len(values)), *values])
        lines.append(f'extern "C" {{ extern const int64_t tlpot_layout_{name}[];')
        lines.append(f"const int64_t tlpot_layout_{name}[] = {{{numbers}}}; }}\n")
    return "\n".join(lines)


def declare(kernels: ctypes.CDLL) -> None:
    """Compares the structures of a library with those of this module and types its functions.

    Raises:
        KernelError: they differ, or the library lacks something.
    """
    try:
        for structures, names, more in _UNITS.values():
            for structure in structures:
                _compare(kernels, structure)
            for name in names:
                function = getattr(kernels, f"tlpot_{name}")
                function.argtypes = [*map(ctypes.POINTER, structures), *more]
                function.restype = None
        integer, index = ctypes.c_int64, ctypes.c_void_p
        kernels.tlpot_group_edges.argtypes = (index, integer, integer, index, index)
        kernels.tlpot_fused.argtypes = tuple(map(ctypes.POINTER, (FusedTables, FusedData)))
        kernels.tlpot_fused.restype = kernels.tlpot_fused_lanes.restype = integer
        outside = kernels.tlpot_outside
        outside.argtypes, outside.restype = (index, integer, integer), integer
    except (AttributeError, ValueError) as error:
        raise KernelError(f"the compiled library is not that of this tlpot: {error}") from error


def _compare(kernels: ctypes.CDLL, structure: type[ctypes.Structure]) -> None:
    name, fields = structure.__name__, _names(structure)
    symbol = f"tlpot_layout_{name}"
    count = ctypes.c_int64.in_dll(kernels, symbol).value
    _, size, *numbers = (ctypes.c_int64 * (count + 1)).in_dll(kernels, symbol)
    found = list(zip(numbers[::2], numbers[1::2], strict=True))
    known = [(place.offset, place.size) for place in (getattr(structure, f) for f in fields)]
    if size == ctypes.sizeof(structure) and found == known:
        return
    pairs = zip(fields, found, known, strict=False)
    moved = next((f"; {f} has place and size {a} and {b}" for f, a, b in pairs if a != b), "")
    raise KernelError(
        f"the library and tlpot differ in the structure {name}: {size} and "
        f"{ctypes.sizeof(structure)} bytes, {len(found)} and {len(fields)} fields{moved}"
    )

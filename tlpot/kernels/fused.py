"""Energies, forces and virial of a whole network in one compiled call; see fused.cpp."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tlpot.graph import AtomGraph
from tlpot.kernels.build import library
from tlpot.kernels.calls import index32, number_of_threads
from tlpot.kernels.convolution import MOST_KEPT
from tlpot.kernels.product import ProductPlan
from tlpot.kernels.structures import Degrees, FusedData, FusedLayer, FusedMaps, FusedTables

SHARED = 128
"""Atoms from which on threads share the work; with fewer they would wait more than they help."""

_SERVED, _NEEDS_ROOM, _ONE_WAY = 0, 1, 4  # statuses of fused.hpp


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerWeights:
    """One interaction, as matrices that are applied from the right, scales included.

    A matrix of `mix` and `skip` may be one for each element of the atom, [n_elements, n_in, n_out].

    Attributes:
        radial: of the radial network, SiLU between them; without the last in the first layer,
            whose `by_neighbor` holds it.
        by_neighbor: of the first layer only: from sums by the neighbours' element to what `mix`
            is applied to, by degree, [n_elements · n_hidden, n_channels].
        mix: from sums to the atomic basis, by degree, [n_paths · n_channels, n_channels]; may be
            missing in the first layer.
        sender: by degree of the layer's features; none in the first layer, as `skip` and `gain`.
        update: by degree of the result.
        skip: by degree of both; may be missing.
        gain: of the skipped features, [n_elements, n_channels].
        offset: of the resulting scalars, [n_elements, n_channels].
        density: weights of the radial functions in the density of neighbours, [n_basis], by which
            sums are divided.
        product: the terms.
        coefficients: see `tlpot.kernels.multiply`.
    """

    radial: Sequence[Tensor]
    by_neighbor: Sequence[Tensor] = ()
    mix: Sequence[Tensor] = ()
    sender: Sequence[Tensor] = ()
    update: Sequence[Tensor]
    skip: Sequence[Tensor] = ()
    gain: Tensor | None = None
    offset: Tensor | None = None
    density: Tensor | None = None
    product: ProductPlan
    coefficients: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Repulsion:
    """Constants of the nuclear repulsion of each element.

    Attributes:
        numbers: atomic numbers.
        reach: half the distance at which that of two equal atoms ends, Å.
        screening: Å⁻¹.
        exponents: of the four terms of the screening function.
        coefficients: of them.
        power: of the envelope.
        coulomb: e²/4πε₀, eV Å.
    """

    numbers: Tensor
    reach: Tensor
    screening: Tensor
    exponents: Sequence[float]
    coefficients: Sequence[float]
    power: int
    coulomb: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """What the radial functions see in place of the distance.

    Attributes:
        kind: ``agnesi`` or ``soft``.
        constants: a, q and p of the former; the steepness of the latter.
        radii: covalent radii of the elements, Å.
    """

    kind: Literal["agnesi", "soft"]
    constants: Sequence[float]
    radii: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkWeights:
    """A network and one of its readouts.

    Attributes:
        species: index of the element of each atomic number; negative where there is none.
        references: E0 of each element, eV.
        cutoff: Å.
        n_basis: number of radial basis functions.
        power: of the envelope.
        harmonics: see `EmbeddingPlan`.
        paths: see `ConvolutionPlan`; of all layers after the first.
        couplings: see there.
        layers: in their order.
        linear: readouts of all layers but the last, [n_layers − 1, n_channels].
        hidden: of the readout of the last, [n_channels, n].
        last: [n].
        scale: of the readout, eV.
        repulsion: None without one.
        transform: of the distances; None without one.
    """

    species: Tensor
    references: Tensor
    cutoff: float
    n_basis: int
    power: int
    harmonics: NDArray[np.float64]
    paths: Sequence[tuple[int, int, int]]
    couplings: NDArray[np.float64]
    layers: Sequence[LayerWeights]
    linear: Tensor
    hidden: Tensor
    last: Tensor
    scale: float
    repulsion: Repulsion | None
    transform: Transform | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedResult:
    """What a call gives.

    Attributes:
        energies: [n_atoms], eV, float64.
        energy: [n_systems].
        forces: [n_atoms, 3], eV/Å, or None.
        virial: ∂E/∂ε by a symmetric strain, [n_systems, 3, 3], eV, or None.
        invariants: of each layer, [n_atoms, n_channels], in the network's precision; or none.
    """

    energies: Tensor
    energy: Tensor
    forces: Tensor | None
    virial: Tensor | None
    invariants: list[Tensor]


class FusedNetwork:
    """A network's weights as the fused call reads them: copies, rows padded to whole registers.

    Calls from several threads at a time are allowed; each has its own working memory, which is
    kept.

    Args:
        network: the weights, on the CPU.
        dtype: precision of the network.

    Raises:
        KernelError: the library cannot be compiled.
    """

    def __init__(self, network: NetworkWeights, dtype: torch.dtype) -> None:
        self._call = library(dtype).tlpot_fused
        self._lanes: int = library(dtype).tlpot_fused_lanes()
        self._dtype = dtype
        self._kept: list[Any] = []
        self._local = threading.local()
        self.n_channels = network.hidden.shape[0]
        self.n_layers = len(network.layers)
        self._tables = self._pack(network)

    def _pack(self, network: NetworkWeights) -> FusedTables:
        n = network
        couplings = self._padded(torch.from_numpy(n.couplings))
        n_degrees = round(len(n.harmonics) ** 0.5)
        places = np.nonzero(n.harmonics)
        offsets, seen, paths = 0, [0] * n_degrees, []
        for _, l2, l3 in n.paths:
            paths.append((l2, l3, offsets, seen[l3], sum(path[2] == l3 for path in n.paths)))
            seen[l3] += 1
            offsets += (2 * l2 + 1) * (2 * l3 + 1)
        hidden = self._padded(n.hidden)
        layers = [self._layer(layer, k, n) for k, layer in enumerate(n.layers)]
        array = (FusedLayer * len(layers))(*layers)
        self._kept.append(array)
        return FusedTables(
            n_elements=len(n.references),
            n_channels=hidden.shape[0],
            n_layers=len(layers),
            n_degrees=n_degrees,
            n_basis=n.n_basis,
            basis_width=self._width(n.n_basis),
            harmonic_width=couplings.shape[0],
            power=n.power,
            n_entries=len(places[0]),
            n_paths=len(paths),
            angular_width=couplings.shape[1],
            n_readout=hidden.shape[1],
            most_kept=MOST_KEPT,
            cutoff=n.cutoff,
            scale=n.scale,
            species=self._keep(n.species),
            n_numbers=len(n.species),
            entries=self._keep(index32(np.stack(places, axis=1))),
            values=self._keep(torch.from_numpy(n.harmonics[places])),
            paths=self._keep(index32(paths)),
            couplings=self._keep(couplings),
            couplings_t=self._keep(couplings.T),
            layers=ctypes.addressof(array),
            references=self._keep(n.references.double()),
            linear=self._keep(self._padded(n.linear, rows=False)),
            hidden=self._keep(hidden),
            hidden_t=self._keep(hidden.T),
            last=self._keep(self._padded(n.last[None], rows=False)),
            **self._pair_terms(n),
        )

    def _pair_terms(self, network: NetworkWeights) -> dict[str, Any]:
        """Returns what the tables hold of repulsion and transform, where there are any."""
        fields: dict[str, Any] = {}
        if network.transform is not None:
            form = network.transform
            fields["transform"] = {"agnesi": 1, "soft": 2}[form.kind]
            fields["transform_constants"] = self._keep(_doubles(form.constants))
            fields["covalent_radii"] = self._keep(_doubles(form.radii))
        if network.repulsion is not None:
            terms = network.repulsion
            names = ("numbers", "reach", "screening", "exponents", "coefficients")
            fields |= {name: self._keep(_doubles(getattr(terms, name))) for name in names}
            fields |= {"repulsion_power": terms.power, "coulomb": terms.coulomb}
        return fields

    def _layer(self, layer: LayerWeights, k: int, network: NetworkWeights) -> FusedLayer:
        hidden = list(layer.radial) if k == 0 else list(layer.radial[:-1])
        widths = [self._width(matrix.shape[1]) for matrix in hidden]
        n_hidden = hidden[-1].shape[1] if hidden else network.n_basis
        addresses = [self._keep(self._padded(matrix)) for matrix in hidden]
        radial = (ctypes.c_void_p * len(addresses))(*addresses)
        self._kept.append(radial)
        last: Tensor | None = None
        if k:
            last = self._padded(layer.radial[-1], blocks=len(network.paths), axis=-1)
        pairs, terms = layer.product.tables
        maps = {name: self._maps(getattr(layer, name)) for name in ("sender", "update", "skip")}
        maps["mix"] = self._maps(layer.mix, [m.shape[-2] // self.n_channels for m in layer.mix])
        by_neighbor = [m.unflatten(0, (-1, n_hidden)) for m in layer.by_neighbor]
        maps["by_neighbor"] = self._maps(by_neighbor)
        vectors = {"gain": layer.gain, "offset": layer.offset, "density": layer.density}
        kept = {
            name: self._keep(self._padded(x, rows=False))
            for name, x in vectors.items()
            if x is not None
        }
        return FusedLayer(
            n_hidden=self._width(n_hidden),
            n_radial=len(hidden),
            in_degrees=max(len(layer.sender), 1),
            out_degrees=len(layer.update),
            n_pairs=len(pairs) - 1,
            n_terms=layer.product.n_terms,
            radial_widths=self._keep(torch.tensor(widths, dtype=torch.int64)),
            radial=ctypes.addressof(radial),
            last=None if last is None else self._keep(last),
            last_t=None if last is None else self._keep(last.T),
            pairs=self._keep(pairs),
            terms=self._keep(terms),
            coefficients=self._keep(self._padded(layer.coefficients, rows=False)),
            **maps,
            **kept,
        )

    def _maps(self, matrices: Sequence[Tensor], n_blocks: Sequence[int] = ()) -> FusedMaps:
        """Keeps matrices by degree, or stacks of them, whose rows are so many blocks."""
        blocks = n_blocks or [1] * len(matrices)
        padded = [self._padded(m, blocks=n) for m, n in zip(matrices, blocks, strict=True)]
        kinds = 0 if not padded else 1 if padded[0].ndim == 2 else len(padded[0])
        both = (Degrees(*(self._keep(x) for x in way)) for way in (padded, [m.mT for m in padded]))
        return FusedMaps(kinds, *both)

    def _keep(self, tensor: Tensor) -> int:
        """Returns the address of a copy that lives as long as this object."""
        self._kept.append(tensor.detach().clone(memory_format=torch.contiguous_format))
        return int(self._kept[-1].data_ptr())

    def _width(self, n: int) -> int:
        return -(-n // self._lanes) * self._lanes

    def _padded(
        self, matrix: Tensor, *, rows: bool = True, blocks: int = 1, axis: int = -2
    ) -> Tensor:
        """Pads the last axis to whole registers, and the first if it is one of `rows`.

        Along `axis` of a matrix (−2, −1) there may be several blocks, each of which is padded.
        """
        matrix = matrix.detach().to(self._dtype)
        across = (0, -matrix.shape[-1] % self._lanes)
        if not rows:
            return torch.nn.functional.pad(matrix, across)
        split = matrix.unflatten(axis, (blocks, -1))
        kept = matrix.shape[-2] if axis == -1 else split.shape[-2]
        across, down = (0, -split.shape[-1] % self._lanes), (0, -kept % self._lanes)
        if axis == -2:
            return torch.nn.functional.pad(split, (*across, *down)).flatten(-3, -2)
        return torch.nn.functional.pad(split, (*across, 0, 0, *down)).flatten(-2, -1)

    def __call__(
        self, graph: AtomGraph, *, forces: bool, virial: bool, invariants: bool
    ) -> FusedResult | str | None:
        """Evaluates a batch on the CPU, or says why it cannot.

        Args:
            graph: the batch.
            forces: whether they are wanted.
            virial: likewise.
            invariants: likewise.

        Returns:
            The result, or what is in the way; None for an element or a charge that the model does
            not know, about which torch has to complain.
        """
        n_atoms, n_systems = graph.n_atoms, graph.n_systems
        n_threads = number_of_threads() if n_atoms >= SHARED else 1
        graph = graph.by_center()
        given = [graph.positions, graph.atomic_numbers, graph.system_idx, graph.center]
        given += [graph.neighbor, graph.charge, graph.spin]
        wanted = [torch.float64, *[torch.int64] * 6]
        periodic = graph.shifts is not None and graph.cell is not None
        if graph.shifts is not None and graph.cell is not None:
            given += [graph.shifts, graph.cell]
            wanted += [torch.float64, torch.float64]
        if any(x.dtype is not t for x, t in zip(given, wanted, strict=True)):
            return "the graph's arrays are not float64 and int64"
        given = [x.detach().contiguous() for x in given]
        shifts, cell = given[7:] if periodic else (None, None)
        width = self._tables.n_channels
        new = graph.positions.new_empty
        energies, energy = new(n_atoms), new(n_systems)
        by_atoms = new((n_atoms, 3)) if forces else None
        by_cell = new((n_systems, 3, 3)) if virial else None
        features = new((self.n_layers, n_atoms, width), dtype=self._dtype) if invariants else None
        outputs = (energies, energy, by_atoms, by_cell, features)
        data = FusedData(
            n_atoms, graph.n_edges, n_systems, n_threads,
            *(x.data_ptr() for x in given[:5]),
            None if shifts is None else shifts.data_ptr(),
            None if cell is None else cell.data_ptr(),
            *(x.data_ptr() for x in given[5:7]),
            *(None if x is None else x.data_ptr() for x in outputs),
        )  # fmt: skip
        status = self._run(data)
        if status == _ONE_WAY:
            return "a graph that lists a pair of atoms in one direction only"
        if status != _SERVED:
            return None
        found = [] if features is None else [x[:, : self.n_channels] for x in features]
        return FusedResult(
            energies=energies, energy=energy, forces=by_atoms, virial=by_cell, invariants=found
        )

    def _run(self, data: FusedData) -> int:
        while True:
            scratch = getattr(self._local, "scratch", None)
            if scratch is not None:
                data.scratch, data.room = scratch.data_ptr(), len(scratch)
            status: int = self._call(self._tables, data)
            if status != _NEEDS_ROOM:
                return status
            self._local.scratch = torch.empty(data.room * 5 // 4, dtype=torch.uint8)


def _doubles(values: Tensor | Sequence[float]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)

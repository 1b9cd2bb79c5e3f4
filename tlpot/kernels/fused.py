"""Energies, forces and virial of a whole network in one compiled call; see fused.cpp."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlpot.graph import AtomGraph
from tlpot.kernels.build import library
from tlpot.kernels.calls import index32, number_of_threads
from tlpot.kernels.convolution import MOST_KEPT
from tlpot.kernels.structures import (
    Degrees,
    FusedBlock,
    FusedData,
    FusedLayer,
    FusedMaps,
    FusedPairNetwork,
    FusedTables,
)
from tlpot.kernels.weights import BlockWeights, LayerWeights, NetworkWeights, PairNetworkWeights

SHARED = 128
"""Atoms from which on threads share the work; with fewer they would wait more than they help."""

_SERVED, _NEEDS_ROOM, _ONE_WAY = 0, 1, 4  # statuses of fused.hpp


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
        self._state = network.state
        self._tables = self._pack(network)

    def _pack(self, network: NetworkWeights) -> FusedTables:
        n = network
        couplings = self._padded(torch.from_numpy(n.couplings))
        n_degrees = round(len(n.harmonics) ** 0.5)
        places = np.nonzero(n.harmonics)
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
            n_paths=len(n.paths),
            angular_width=couplings.shape[1],
            n_readout=hidden.shape[1],
            most_kept=MOST_KEPT,
            cutoff=n.cutoff,
            scale=n.scale,
            species=self._keep(n.species),
            n_numbers=len(n.species),
            entries=self._keep(index32(np.stack(places, axis=1))),
            values=self._keep(torch.from_numpy(n.harmonics[places])),
            paths=self._keep(_path_table(n.paths)),
            couplings=self._keep(couplings),
            couplings_t=self._keep(couplings.T),
            layers=ctypes.addressof(array),
            references=self._keep(n.references.double()),
            linear=self._keep(self._padded(n.linear, rows=False)),
            hidden=self._keep(hidden),
            hidden_t=self._keep(hidden.T),
            last=self._keep(self._padded(n.last[None], rows=False)),
            **self._pair_terms(n),
            **self._starting_terms(n),
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

    def _starting_terms(self, network: NetworkWeights) -> dict[str, Any]:
        """Returns what the tables hold of non-linear layers and biased readouts."""
        fields: dict[str, Any] = {}
        blocks = [self._block(layer.block) for layer in network.layers if layer.block is not None]
        if blocks:
            array = (FusedBlock * len(blocks))(*blocks)
            self._kept.append(array)
            fields["blocks"] = ctypes.addressof(array)
        if network.middle is not None:
            matrix, bias = self._padded(network.middle[0]), network.middle[1]
            fields["middle"], fields["middle_t"] = self._keep(matrix), self._keep(matrix.T)
            fields["middle_bias"] = self._vector(bias)
        if network.initial is not None:
            fields["initial"] = self._vector(network.initial)
        if network.read_initial is not None:
            fields["read_initial"] = self._vector(network.read_initial)
        return fields

    def _block(self, block: BlockWeights) -> FusedBlock:
        couplings = self._padded(torch.from_numpy(block.couplings))
        n = len(block.paths)
        sent = block.residual[0].shape[0]
        return FusedBlock(
            n_sent=self._width(sent),
            sent_degrees=len(block.residual),
            n_paths=n,
            angular_width=couplings.shape[1],
            paths=self._keep(_path_table(block.paths)),
            couplings=self._keep(couplings),
            couplings_t=self._keep(couplings.T),
            radial=self._pair_network(block.radial, n),
            density=self._pair_network(block.density, 1),
            residual=self._maps(block.residual, columns=self._columns(block.residual)),
            gated=self._maps(block.gated),
            alpha=block.alpha,
            beta=block.beta,
        )

    def _pair_network(self, network: PairNetworkWeights, n_blocks: int) -> FusedPairNetwork:
        sizes = [len(gain) for gain, _ in network.norms]
        (*middle, last), n = network.layers, len(sizes)
        matrix = self._padded(last[0], columns=n_blocks)
        bias = self._padded(last[1][None], rows=False, columns=n_blocks)
        return FusedPairNetwork(
            n_layers=n,
            widths=self._keep(torch.tensor([self._width(size) for size in sizes])),
            sizes=self._keep(torch.tensor(sizes)),
            of_basis=self._keep(self._padded(network.of_basis)),
            of_neighbor=self._vector(network.of_neighbor),
            of_center=self._vector(network.of_center),
            gains=self._list([self._vector(gain) for gain, _ in network.norms]),
            offsets=self._list([self._vector(offset) for _, offset in network.norms]),
            matrices=self._list([self._keep(self._padded(m)) for m, _ in middle]),
            biases=self._list([self._vector(b) for _, b in middle]),
            last=self._keep(matrix),
            last_t=self._keep(matrix.T),
            last_bias=self._keep(bias),
        )

    def _columns(self, matrices: Sequence[Tensor]) -> list[int]:
        return [m.shape[-1] // self.n_channels for m in matrices]

    def _list(self, addresses: Sequence[int]) -> int:
        """Returns the address of a list of addresses."""
        array = (ctypes.c_void_p * len(addresses))(*addresses)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _layer(self, layer: LayerWeights, k: int, network: NetworkWeights) -> FusedLayer:
        hidden = list(layer.radial) if k == 0 else list(layer.radial[:-1])
        widths = [self._width(matrix.shape[1]) for matrix in hidden]
        n_hidden = hidden[-1].shape[1] if hidden else network.n_basis
        sent = self.n_channels
        if layer.block is not None:
            n_hidden, sent = len(layer.block.radial.norms[-1][0]), layer.sender[0].shape[1]
        last: Tensor | None = None
        if k and layer.block is None:
            last = self._padded(layer.radial[-1], columns=len(network.paths))
        pairs, terms = layer.product.tables
        maps = {name: self._maps(getattr(layer, name)) for name in ("sender", "update", "skip")}
        fan_in = [m.shape[-2] // sent for m in layer.mix]
        maps["mix"] = self._maps(layer.mix, fan_in, self._columns(layer.mix))
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
            in_degrees=network.degrees(k),
            out_degrees=len(layer.update),
            n_pairs=len(pairs) - 1,
            n_terms=layer.product.n_terms,
            product_kinds=len(layer.coefficients),
            radial_widths=self._keep(torch.tensor(widths, dtype=torch.int64)),
            radial=self._list([self._keep(self._padded(matrix)) for matrix in hidden]),
            last=None if last is None else self._keep(last),
            last_t=None if last is None else self._keep(last.T),
            pairs=self._keep(pairs),
            terms=self._keep(terms),
            coefficients=self._keep(self._padded(layer.coefficients, rows=False)),
            **maps,
            **kept,
        )

    def _maps(
        self, matrices: Sequence[Tensor], rows: Sequence[int] = (), columns: Sequence[int] = ()
    ) -> FusedMaps:
        """Keeps matrices by degree, or stacks of them; rows and columns may be several blocks."""
        ones = [1] * len(matrices)
        blocks = zip(matrices, rows or ones, columns or ones, strict=True)
        padded = [self._padded(m, blocks=n, columns=c) for m, n, c in blocks]
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
        self, matrix: Tensor, *, rows: bool = True, blocks: int = 1, columns: int = 1
    ) -> Tensor:
        """Pads the last axis to whole registers, and the one before if it is one of `rows`.

        Rows may be several blocks, and columns too, each of which is padded.
        """
        matrix = matrix.detach().to(self._dtype)

        def last_axis(x: Tensor, n: int) -> Tensor:
            split = x.unflatten(-1, (n, -1))
            padding = (0, -split.shape[-1] % self._lanes)
            return torch.nn.functional.pad(split, padding).flatten(-2)

        across = last_axis(matrix, columns)
        return last_axis(across.mT, blocks).mT if rows else across

    def _vector(self, rows: Tensor) -> int:
        """Keeps rows of numbers, padded."""
        return self._keep(self._padded(rows if rows.ndim > 1 else rows[None], rows=False))

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
        state = None if self._state is None else self._state(graph)
        if state is not None:
            state = self._padded(state, rows=False).contiguous()
        elif self._state is not None:
            return None
        data = FusedData(
            n_atoms, graph.n_edges, n_systems, n_threads,
            *(x.data_ptr() for x in given[:5]),
            None if shifts is None else shifts.data_ptr(),
            None if cell is None else cell.data_ptr(),
            *(x.data_ptr() for x in given[5:7]),
            None if state is None else state.data_ptr(),
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


def _path_table(paths: Sequence[tuple[int, int, int]]) -> Tensor:
    """Returns degrees, places and numbers of paths as convolution.cpp reads them."""
    offset, seen, rows = 0, [0] * (1 + max(l3 for *_, l3 in paths)), []
    for _, l2, l3 in paths:
        rows.append((l2, l3, offset, seen[l3], sum(path[2] == l3 for path in paths)))
        seen[l3] += 1
        offset += (2 * l2 + 1) * (2 * l3 + 1)
    return index32(rows)


def _doubles(values: Tensor | Sequence[float]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)

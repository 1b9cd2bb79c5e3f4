"""Scores of structures from the distances of their atoms to prototypes; see distances.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from tlpot.kernels.calls import KernelPlan, expect, number_of_threads, run
from tlpot.kernels.structures import DistanceData, DistanceTables


class DistancePlan(KernelPlan):
    """Projections and prototypes on the CPU, ready for the kernel.

    Args:
        projection: [n_elements, n_features, n_axes].
        shift: [n_elements, n_axes].
        prototypes: [n_prototypes, n_axes].
        owner: [n_prototypes], index of the element of each.
        farthest: distances are cut off here; that of an element without prototypes is.
        softness: b in s = b ln ⟨exp(q/b)⟩ of a structure's atoms.
    """

    def __init__(
        self,
        projection: Tensor,
        shift: Tensor,
        prototypes: Tensor,
        owner: Tensor,
        farthest: float,
        softness: float,
    ) -> None:
        super().__init__(projection, shift, prototypes, owner, farthest, softness)
        by_element = owner.argsort(stable=True)
        sizes = torch.bincount(owner, minlength=len(shift))
        self._dtype, self._n_features = projection.dtype, projection.shape[1]
        self._limits = farthest, softness
        first = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        arrays = (projection, shift, prototypes[by_element], first)
        self._arrays = tuple(array.detach().contiguous() for array in arrays)
        self._tables: dict[tuple[int, ...], tuple[Tensor, DistanceTables]] = {}

    def scores(
        self, layers: Sequence[Tensor], species: Tensor, system_idx: Tensor, n_systems: int
    ) -> list[float]:
        """Returns the score of each structure, without derivatives.

        Args:
            layers: features of each layer, [n_atoms, width]; together as many as projected.
            species: index of each atom's element, [n_atoms].
            system_idx: which structure each atom belongs to, [n_atoms].
            n_systems: number of structures, each of which has an atom.

        Raises:
            ValueError: the tensors do not fit, or are not on the CPU.
        """
        n = len(species)
        kept = [
            *(expect("features", x, self._dtype, n, x.shape[1]) for x in layers),
            expect("elements", species, torch.int64, n),
            expect("structures", system_idx, torch.int64, n),
        ]
        *addresses, element, system = (tensor.data_ptr() for tensor in kept)
        of_layers = (ctypes.c_void_p * len(addresses))(*addresses)
        found = (ctypes.c_double * n_systems)()
        data = DistanceData(
            *(n, n_systems, number_of_threads()),
            *(ctypes.addressof(of_layers), element, system, ctypes.addressof(found)),
        )
        tables = self._tables_of(tuple(layer.shape[1] for layer in layers))
        run("distance_scores", self._dtype, tables, data)
        return list(found)

    def _tables_of(self, widths: tuple[int, ...]) -> DistanceTables:
        if widths not in self._tables:
            if sum(widths) != self._n_features:
                raise ValueError(f"layers of {widths} features, expected {self._n_features}")
            kept = torch.tensor(widths)
            pointers = [array.data_ptr() for array in (kept, *self._arrays)]
            n_axes = self._arrays[1].shape[1]
            tables = DistanceTables(len(widths), n_axes, *pointers, *self._limits)
            self._tables[widths] = kept, tables
        return self._tables[widths][1]

"""A network's weights as the fused call is given them: matrices, applied from the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from tlpot.graph import AtomGraph
from tlpot.kernels.product import ProductPlan
from tlpot.numbers import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class PairNetworkWeights:
    """A network on radial functions and the elements of both ends, SiLU and norms between layers.

    Attributes:
        of_basis: of the first layer, [n_basis, n_first].
        of_neighbor: what the neighbour's element adds, [n_elements, n_first].
        of_center: likewise the center's.
        norms: gain and offset of each layer norm.
        layers: matrix and bias of each layer after the first, applied from the right.
    """

    of_basis: Tensor
    of_neighbor: Tensor
    of_center: Tensor
    norms: Sequence[tuple[Tensor, Tensor]]
    layers: Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockWeights:
    """What a non-linear interaction has beside its `LayerWeights`.

    Attributes:
        paths: see `ConvolutionPlan`.
        couplings: see there.
        radial: to the weights of the paths.
        density: to one number, of which neighbours' densities are made.
        alpha: the sums are divided by it,
        beta: and by so much of the density.
        residual: of the senders, by degree.
        gated: from gated features to the atomic basis, by degree.
    """

    paths: Sequence[tuple[int, int, int]]
    couplings: Floats
    radial: PairNetworkWeights
    density: PairNetworkWeights
    alpha: float
    beta: float
    residual: Sequence[Tensor]
    gated: Sequence[Tensor]


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
        coefficients: see `tlpot.kernels.multiply`; those of one element may be for all.
        block: of a non-linear interaction, in the first layer, too; `radial` is then empty.
    """

    radial: Sequence[Tensor] = ()
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
    block: BlockWeights | None = None


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
        middle: matrix and bias of the readout's second hidden layer; None without one.
        initial: features that non-linear layers start from, [n_elements, n_channels].
        state: what charges and multiplicities add to them, [n_systems, n_channels]; it returns
            None for those that the model does not know. None where it reads none.
        read_initial: readout of them, [n_channels]; None without one.
    """

    species: Tensor
    references: Tensor
    cutoff: float
    n_basis: int
    power: int
    harmonics: Floats
    paths: Sequence[tuple[int, int, int]]
    couplings: Floats
    layers: Sequence[LayerWeights]
    linear: Tensor
    hidden: Tensor
    last: Tensor
    scale: float
    repulsion: Repulsion | None
    transform: Transform | None = None
    middle: tuple[Tensor, Tensor] | None = None
    initial: Tensor | None = None
    state: Callable[[AtomGraph], Tensor | None] | None = None
    read_initial: Tensor | None = None

    def degrees(self, layer: int) -> int:
        """Returns how many degrees the features have that a layer gets."""
        return len(self.layers[layer - 1].update) if layer else 1

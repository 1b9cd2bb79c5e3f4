"""The weights of a network as the fused call reads them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from tlpot.bond_thresholds import REPULSION_REACH
from tlpot.errors import GeometryError
from tlpot.graph import AtomGraph
from tlpot.kernels import (
    BlockWeights,
    LayerWeights,
    NetworkWeights,
    PairNetworkWeights,
    Repulsion,
    Transform,
)
from tlpot.models.architecture import AnyArchitecture, Architecture
from tlpot.models.backbone import Backbone, Head
from tlpot.models.mace import (
    ElementMap,
    ElementMaps,
    MaceArchitecture,
    MaceBackbone,
    MaceInteraction,
    MaceRepulsion,
    NonlinearInteraction,
    PairNetwork,
)
from tlpot.nn import ChannelLinear, Interaction, ZBLRepulsion, harmonic_polynomials

if TYPE_CHECKING:
    from tlpot.models.potential import Potential


@torch.no_grad()
def network_weights(potential: Potential, head: Head) -> NetworkWeights:
    """Returns the network of one level as matrices."""
    backbone, readout, a = potential.backbone, head.readout, potential.architecture
    assert isinstance(backbone, Backbone | MaceBackbone)
    assert isinstance(a, Architecture | MaceArchitecture)
    if isinstance(backbone, MaceBackbone) and backbone.nonlinear:
        # factors are then rounded once, with what they multiply; the sums of these networks cancel
        backbone, readout = copy.deepcopy(backbone).double(), copy.deepcopy(readout).double()
    interactions = cast(list[Interaction | MaceInteraction], list(backbone.interactions))
    later = interactions[-1].convolution
    references, species = head.references.value, potential.index.clone()
    species[torch.tensor(a.elements)[references.isnan()]] = -1
    linear = backbone.species.new_zeros((len(interactions) - 1, a.n_channels))
    for row, linear_readout in zip(linear, readout.linears, strict=False):
        row.copy_(cast(ChannelLinear, linear_readout).matrix()[:, 0])
    hidden, *middle, last = _matrices(readout.mlp.layers)
    biases = readout.mlp.biases
    return NetworkWeights(
        species=species,
        references=references,
        cutoff=a.cutoff,
        n_basis=a.n_basis,
        power=a.envelope_power,
        harmonics=harmonic_polynomials(a.l_max),
        paths=later.paths,
        couplings=later.couplings.exact.numpy(),
        layers=_layers(backbone),
        linear=linear,
        hidden=hidden,
        last=last[:, 0],
        scale=float(readout.scale),
        repulsion=_repulsion(potential.repulsion, head),
        transform=_transform(a),
        middle=(middle[0], biases[0]) if middle and biases is not None else None,
        **_start(backbone, head),
    )


def _start(backbone: Backbone | MaceBackbone, head: Head) -> dict[str, Any]:
    """Returns the features that non-linear layers start from, and what is read of them."""
    if not isinstance(backbone, MaceBackbone) or not backbone.nonlinear:
        return {}
    found: dict[str, Any] = {"initial": backbone.species}
    if backbone.state is not None:
        embeddings = backbone.state

        @torch.no_grad()
        def state(graph: AtomGraph) -> Tensor | None:
            try:
                rows: Tensor = embeddings(graph)
                return rows
            except GeometryError:  # which torch has to raise
                return None

        found["state"] = state
    if head.embedding is not None:
        found["read_initial"] = head.embedding.matrix()[:, 0]
    return found


def _repulsion(module: nn.Module | None, head: Head) -> Repulsion | None:
    if isinstance(module, ZBLRepulsion):
        return Repulsion(
            numbers=module.numbers.exact,
            reach=REPULSION_REACH * module.radii.exact,
            screening=module.screening.exact,
            exponents=module.exponents,
            coefficients=module.coefficients,
            power=module.power,
            coulomb=module.coulomb,
        )
    if isinstance(module, MaceRepulsion):
        numbers, screening, radii = module.table.value
        scale = 1.0 if head.repulsion_scale is None else float(head.repulsion_scale.value)
        return Repulsion(
            numbers=numbers,
            reach=radii,
            screening=screening,
            exponents=module.exponents,
            coefficients=module.constants.coefficients,
            power=module.constants.power,
            coulomb=scale * module.coulomb,
        )
    return None


def _transform(a: AnyArchitecture) -> Transform | None:
    if not isinstance(a, MaceArchitecture) or a.transform is None:
        return None
    names = {"agnesi": ("a", "q", "p"), "soft": ("alpha",)}[a.transform.kind]
    return Transform(
        kind=a.transform.kind,
        constants=[a.transform.constants[name] for name in names],
        radii=torch.tensor(a.radii, dtype=torch.float64),
    )


def _layers(backbone: Backbone | MaceBackbone) -> list[LayerWeights]:
    species, interactions = backbone.species, list(backbone.interactions)
    later: list[Tensor | None] = [None] * (len(interactions) - 1)
    if isinstance(backbone, Backbone):
        tables = [backbone.embedding(species), *later]
        plain = zip(cast(list[Interaction], interactions), tables, strict=True)
        return [_layer(interaction, species, table) for interaction, table in plain]
    one_hot = torch.eye(len(species)).to(species)
    if backbone.nonlinear:
        nonlinear = cast(list[NonlinearInteraction], interactions)
        return [_nonlinear_layer(block, one_hot) for block in nonlinear]
    blocks = zip(cast(list[MaceInteraction], interactions), [species, *later], strict=True)
    return [_mace_layer(block, one_hot, table) for block, table in blocks]


def _layer(interaction: Interaction, species: Tensor, table: Tensor | None) -> LayerWeights:
    """Returns one layer's matrices; `table` are the senders' features where this is the first."""
    convolution, gain = interaction.convolution, interaction.gain
    radial = _matrices(convolution.radial.layers)
    sender, skip = interaction.sender, interaction.skip
    return LayerWeights(
        radial=radial if table is None else radial[:-1],
        by_neighbor=() if table is None else convolution.element_maps(table),
        mix=_matrices(convolution.mix) if table is None else (),
        sender=() if sender is None else _matrices(sender.linears),
        update=_matrices(interaction.update),
        skip=() if skip is None else _matrices(skip.linears),
        gain=None if gain is None else gain(species),
        product=interaction.product.plan,
        coefficients=interaction.product.coefficients(species),
    )


def _mace_layer(
    interaction: MaceInteraction, one_hot: Tensor, table: Tensor | None
) -> LayerWeights:
    """Does what `_layer` does for a layer of MACE."""
    convolution, over = interaction.convolution, 1.0 / interaction.divisor
    radial = _matrices(convolution.radial.layers)
    by_neighbor = [] if table is None else convolution.element_maps(table)
    mix = _matrices(convolution.mix) if table is None else []
    if interaction.element_mix is not None:
        mix = _element_matrices(interaction.element_mix)
    if mix:
        mix = [over * m for m in mix]
    else:
        by_neighbor = [over * m for m in by_neighbor]
    return LayerWeights(
        radial=radial if table is None else radial[:-1],
        by_neighbor=by_neighbor,
        mix=mix,
        sender=() if interaction.sender is None else _matrices(interaction.sender),
        update=_matrices(interaction.update),
        skip=() if interaction.skip is None else _element_matrices(interaction.skip),
        offset=interaction.offset,
        density=interaction.density,
        product=interaction.product.plan,
        coefficients=interaction.product.coefficients(one_hot),
    )


def _nonlinear_layer(interaction: NonlinearInteraction, one_hot: Tensor) -> LayerWeights:
    """Does what `_layer` does for a non-linear one."""
    convolution = interaction.convolution
    if interaction.agnostic:
        one_hot = one_hot.new_ones((1, 1))
    block = BlockWeights(
        paths=convolution.paths,
        couplings=convolution.couplings.exact.numpy(),
        radial=_pair_network(convolution.radial),
        density=_pair_network(interaction.density),
        alpha=float(interaction.alpha),
        beta=float(interaction.beta),
        residual=_matrices(interaction.residual),
        gated=_matrices(interaction.gated),
    )
    return LayerWeights(
        mix=_matrices(convolution.mix),
        sender=_matrices(interaction.sender),
        update=_matrices(interaction.update),
        skip=_matrices(interaction.skip),
        product=interaction.product.plan,
        coefficients=interaction.product.coefficients(one_hot),
        block=block,
    )


def _pair_network(network: PairNetwork) -> PairNetworkWeights:
    norms = cast(list[nn.LayerNorm], list(network.norms))
    return PairNetworkWeights(
        of_basis=network.of_basis.matrix(),
        of_neighbor=network.of_neighbor,
        of_center=network.of_center,
        norms=[(norm.weight, norm.bias) for norm in norms],
        layers=list(zip(_matrices(network.layers), network.biases, strict=True)),
    )


def _matrices(linears: nn.ModuleList) -> list[Tensor]:
    return [cast(ChannelLinear, linear).matrix() for linear in linears]


def _element_matrices(maps: ElementMaps) -> list[Tensor]:
    return [each.scale * each.weight for each in cast(list[ElementMap], list(maps.maps))]

"""From the weights of a mace-torch model to those of the same network here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tlpot.errors import ModelFileError
from tlpot.models.mace.architecture import MaceArchitecture
from tlpot.models.mace.archive import Module
from tlpot.models.mace.backbone import MaceBackbone
from tlpot.models.mace.layers import ElementMaps, MaceInteraction, NonlinearInteraction, PairNetwork
from tlpot.nn import SILU_SCALE, Readout, SymmetricProduct, product_basis
from tlpot.numbers import Floats

Array = Floats

MACE_SILU = 1.6791767923989418
"""By which e3nn multiplies SiLU: its second moment for normal input is then one."""
MACE_SIGMOID = 1.8467055342154763
"""The same for the sigmoid."""


@dataclass(frozen=True, kw_only=True)
class ConvertedHead:
    """What one head of a mace-torch model gives a level.

    Attributes:
        references: E0 of each element with the head's shift, eV.
        scale: of the interaction energy.
    """

    references: list[float]
    scale: float


class Weights:
    """The tensors of a mace-torch model under a prefix of their names, in float64.

    Args:
        tensors: by name.
        name: of the file, for messages.
        prefix: of the names.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], name: str, prefix: str = "") -> None:
        self.tensors, self.name, self.prefix = tensors, name, prefix

    def under(self, prefix: str) -> Weights:
        """Returns those whose names go on with `prefix`."""
        return Weights(self.tensors, self.name, self.prefix + prefix)

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.tensors

    def __call__(self, name: str, *shape: int) -> Array:
        """Returns one of them in a shape; −1 is what is left over.

        Raises:
            ModelFileError: there is none of that name, or of that many numbers; or it holds NaN
                or infinity.
        """
        key = self.prefix + name
        if key not in self.tensors:
            raise ModelFileError(
                f"{self.name} lacks the weights {key!r}, which a model with its other weights has; "
                "it is damaged, or of a version of mace-torch that is not known"
            )
        found = np.asarray(self.tensors[key], dtype=np.float64)
        if not np.isfinite(found).all():
            raise ModelFileError(f"{self.name}: the weights {key!r} hold NaN or infinity")
        try:
            return found.reshape(shape) if shape else found
        except ValueError:
            raise ModelFileError(
                f"{self.name}: the weights {key!r} are {found.size} numbers, which do not make "
                f"{' x '.join(map(str, shape))}, as the model's other weights need"
            ) from None


class Conversion:
    """Fills a network with the weights of a mace-torch model.

    Args:
        module: the model.
        architecture: of the network, with all or some of the model's elements.
        name: of the file, for messages.

    Attributes:
        residual: the largest difference between the model's couplings and their expansion in
            tlpot's.
    """

    def __init__(self, module: Module, architecture: MaceArchitecture, name: str) -> None:
        self.architecture, self.name = architecture, name
        self.weights = Weights(module.state(), name)
        numbers = [int(z) for z in self.weights("atomic_numbers")]
        self.n_elements = len(numbers)
        self.kept = [numbers.index(z) for z in architecture.elements]
        self.heads = list(module.attributes.get("heads") or ["Default"])
        self.shifted = "scale_shift.scale" in self.weights
        self.residual = 0.0
        layer = module.within("interactions.0.conv_tp_weights.layer0")
        self.silu = _activation(layer, MACE_SILU)

    def head(self, index: int) -> ConvertedHead:
        """Returns reference energies and scale of one head."""
        e0 = self.weights("atomic_energies_fn.atomic_energies")
        e0 = np.atleast_2d(e0)[index, self.kept]
        scale, shift = 1.0, 0.0
        if self.shifted:
            scale = float(np.atleast_1d(self.weights("scale_shift.scale"))[index])
            shift = float(np.atleast_1d(self.weights("scale_shift.shift"))[index])
        if self.architecture.readout_biased:
            bias = self._last_readout()("linear_2.bias", len(self.heads))
            shift += scale * float(bias[index])
        return ConvertedHead(references=(e0 + shift).tolist(), scale=scale)

    def backbone(self, backbone: MaceBackbone) -> None:
        """Fills the layers."""
        a, w = self.architecture, self.weights
        table = w("node_embedding.linear.weight", self.n_elements, a.n_channels)
        table = table[self.kept] / math.sqrt(self.n_elements)
        if backbone.state is not None:
            joint = w.under("joint_embedding.")
            for embedding, rows in zip(a.embeddings, backbone.state.tables, strict=True):
                name = f"embedders.{embedding.quantity}.weight"
                _put(rows, joint(name, embedding.classes, embedding.width))
            width = sum(e.width for e in a.embeddings)
            _set(backbone.state.project, joint("project.0.weight", a.n_channels, width).T)
        for k, interaction in enumerate(backbone.interactions):
            own = w.under(f"interactions.{k}.")
            if isinstance(interaction, NonlinearInteraction):
                self._nonlinear(interaction, own, k)
            else:
                assert isinstance(interaction, MaceInteraction)
                table = self._interaction(interaction, own, k, table)
            self._product(interaction.product, w.under(f"products.{k}."), k)
            degrees = len(interaction.update)
            c = a.n_channels
            linear = w(f"products.{k}.linear.weight").reshape(-1)[: degrees * c * c]
            if linear.size < degrees * c * c:
                raise ModelFileError(f"{self.name}: products.{k}.linear.weight is too short")
            _set_all(interaction.update, linear.reshape(degrees, c, c) / math.sqrt(c))
        _put(backbone.species, table)

    def readout(self, readout: Readout, index: int) -> None:
        """Fills the readout of one head."""
        a, n = self.architecture, len(self.heads)
        c, h = a.n_channels, a.readout_hidden
        for k, linear in enumerate(readout.linears):
            flat = self.weights(f"readouts.{k}.linear.weight").reshape(-1)[: c * n]
            _set(linear, flat.reshape(c, n)[:, index : index + 1] / math.sqrt(c))
        w = self._last_readout()
        own = slice(index * h, (index + 1) * h)
        matrices = [w("linear_1.weight").reshape(-1)[: c * n * h].reshape(c, n * h) / math.sqrt(c)]
        if a.readout_biased:
            middle = w("linear_mid.weight", n * h, n * h)[own, own] / math.sqrt(n * h)
            matrices.append(middle)
            assert readout.mlp.biases is not None
            _put(readout.mlp.biases[0], w("linear_mid.bias", n * h)[own])
        matrices[0] = matrices[0][:, own]
        last = w("linear_2.weight", n * h, n)[own, index : index + 1] / math.sqrt(n * h)
        ratio = self.silu / SILU_SCALE
        _set_all(readout.mlp.layers, [matrices[0], *(m * ratio for m in (*matrices[1:], last))])

    def embedding_readout(self, linear: nn.Module, index: int) -> None:
        """Fills what reads one head's energy from the embedding."""
        c, n = self.architecture.n_channels, len(self.heads)
        matrix = self.weights("embedding_readout.linear.weight", c, n)
        _set(linear, matrix[:, index : index + 1] / math.sqrt(c))

    def _last_readout(self) -> Weights:
        last = 0 if self.architecture.last_readout_only else self.architecture.n_layers - 1
        return self.weights.under(f"readouts.{last}.")

    def _interaction(self, layer: MaceInteraction, w: Weights, k: int, table: Array) -> Array:
        """Fills one layer; returns the element table, through the first layer's map if it is it."""
        a, n, kept = self.architecture, self.n_elements, self.kept
        c, sent = a.n_channels, a.edge_channels[k]
        element_features = table
        up = _by_degree(w("linear_up.weight"), c, sent)
        if layer.sender is None:
            table = table @ up[0]
        else:
            _set_all(layer.sender, up)
        convolution = layer.convolution
        radial = convolution.radial
        basis_scale = math.sqrt(2.0 / a.cutoff)
        for i, linear in enumerate(radial.layers):
            matrix = w(f"conv_tp_weights.layer{i}.weight")
            factor = basis_scale if i == 0 else self.silu / SILU_SCALE
            matrix = matrix / math.sqrt(matrix.shape[0]) * factor
            if i == len(radial.layers) - 1:
                matrix = matrix * _signs(convolution.paths, sent)
            _set(linear, matrix)
        mixes = self._mixes(w("linear.weight"), convolution.paths, sent, [c] * (a.l_max + 1))
        if layer.element_mix is None:
            _set_all(convolution.mix, mixes)
        else:
            by_element = w("skip_tp.weight", len(mixes), c, n, c)[:, :, kept] / math.sqrt(c * n)
            _set_maps(
                layer.element_mix,
                [np.einsum("ab,bzd->zad", m, z) for m, z in zip(mixes, by_element, strict=True)],
            )
        if layer.offset is not None:  # only scalars come of scalars
            skip = w("skip_tp.weight").reshape(-1)[: c * n * c].reshape(c, n, c)[:, kept]
            _put(layer.offset, np.einsum("za,azb->zb", element_features, skip) / math.sqrt(c * n))
        if layer.skip is not None:
            degrees = len(layer.skip.maps)
            flat = w("skip_tp.weight").reshape(-1)[: degrees * c * n * c]
            skip = flat.reshape(degrees, c, n, c)[:, :, kept] / math.sqrt(c * n)
            _set_maps(layer.skip, list(skip.transpose(0, 2, 1, 3)))
        if layer.density is not None:
            density = w("density_fn.layer0.weight", a.n_basis, 1)[:, 0]
            _put(layer.density, density / math.sqrt(a.n_basis) * basis_scale)
        return table

    def _mixes(
        self,
        flat: Array,
        paths: Sequence[tuple[int, int, int]],
        sent: int,
        outs: Sequence[int],
    ) -> list[Array]:
        """Cuts a linear map of all paths' sums into one matrix for each degree."""
        fan_in = [sum(p[2] == l for p in paths) * sent for l in range(len(outs))]
        sizes = [f * o for f, o in zip(fan_in, outs, strict=True)]
        flat = flat.reshape(-1)
        if flat.size != sum(sizes):
            raise ModelFileError(
                f"{self.name}: the map of an interaction has {flat.size} weights, expected "
                f"{sum(sizes)} for its degrees; it was made with other irreps than are known"
            )
        pieces = np.split(flat, np.cumsum(sizes)[:-1])
        return [
            piece.reshape(f, o) / math.sqrt(f)
            for piece, f, o in zip(pieces, fan_in, outs, strict=True)
        ]

    def _nonlinear(self, layer: NonlinearInteraction, w: Weights, k: int) -> None:
        a, c = self.architecture, self.architecture.n_channels
        sent, l_max = a.edge_channels[k], a.l_max
        _set_all(layer.sender, _by_degree(w("linear_up.weight"), c, sent))
        paths = layer.convolution.paths
        network: PairNetwork = layer.convolution.radial
        self._pair_network(network, w, "conv_tp_weights.", _signs(paths, sent))
        self._pair_network(layer.density, w, "density_fn.", np.ones(1))
        outs = [c * (1 + l_max)] + [c] * l_max
        _set_all(layer.convolution.mix, self._mixes(w("linear_1.weight"), paths, sent, outs))
        sizes = [sent * outs[l] for l in range(len(layer.residual))]
        flat = w("linear_res.weight").reshape(-1)[: sum(sizes)]
        pieces = np.split(flat, np.cumsum(sizes)[:-1])
        _set_all(
            layer.residual,
            [p.reshape(sent, -1) / math.sqrt(sent) for p in pieces],
        )
        gated = w("linear_2.weight", l_max + 1, c, c) / math.sqrt(c)
        # the norms of SiLU and sigmoid, which stand before this map
        gated = gated * np.array([MACE_SILU] + [MACE_SIGMOID] * l_max)[:, None, None]
        _set_all(layer.gated, gated)
        kept = len(layer.skip)
        flat = w("skip_tp.weight").reshape(-1)[: kept * c * c]
        _set_all(layer.skip, flat.reshape(kept, c, c) / math.sqrt(c))
        _put(layer.alpha, w("alpha").reshape(()))
        _put(layer.beta, w("beta").reshape(()))

    def _pair_network(self, network: PairNetwork, w: Weights, where: str, signs: Array) -> None:
        """Fills a network on the functions and elements of pairs.

        Layers of mace-torch stand at 0, 3, 6, … of a sequence, norms at 1, 4, ….
        """
        n, c, n_basis = self.n_elements, self.architecture.n_channels, self.architecture.n_basis
        w_net = w.under(f"{where}net.")
        first = w_net("0.weight", -1, n_basis + 2 * c).T
        ends = [
            w(f"{end}_embedding.weight", n, c)[self.kept] / math.sqrt(n)
            for end in ("source", "target")
        ]
        _set(network.of_basis, first[:n_basis] * math.sqrt(2.0 / self.architecture.cutoff))
        _put(network.of_neighbor, ends[0] @ first[n_basis : n_basis + c] + w_net("0.bias"))
        _put(network.of_center, ends[1] @ first[n_basis + c :])
        count = len(network.layers)
        for i, (norm, layer, bias) in enumerate(
            zip(network.norms, network.layers, network.biases, strict=True)
        ):
            _put(norm.weight, w_net(f"{3 * i + 1}.weight"))
            _put(norm.bias, w_net(f"{3 * i + 1}.bias"))
            factor = signs if i == count - 1 else 1.0
            _set(layer, w_net(f"{3 * i + 3}.weight").T * factor)
            _put(bias, w_net(f"{3 * i + 3}.bias") * factor)

    def _product(self, product: SymmetricProduct, w: Weights, k: int) -> None:
        """Expands the couplings, which a mace-torch file holds with more than are independent."""
        a, order = self.architecture, self.architecture.correlation[k]
        total = {
            L: sum(product.n_paths[v, L] for v in range(1, order + 1)) for L in product.degrees
        }
        kept = [0] if a.agnostic_product else self.kept
        blocks = []
        for v, degree in product.n_paths:
            own = w.under(f"symmetric_contractions.contractions.{degree}.")
            couplings = own(f"U_matrix_{v}")
            weights = own("weights_max" if v == order else f"weights.{order - 1 - v}")[kept]
            expansion, residual = expand(couplings, a.l_max, degree, v)
            self.residual = max(self.residual, residual)
            blocks.append(np.einsum("pk,zkc->zpc", expansion, weights) * math.sqrt(total[degree]))
        joined = np.concatenate(blocks, axis=1)
        _set(product.weights, joined.reshape(len(joined), -1))
        if self.residual > COUPLING_TOLERANCE:
            raise ModelFileError(
                f"{self.name}: the couplings of product {k} are not those of spherical harmonics "
                f"as they are known here (off by {self.residual:.1e}); it would give other "
                "energies. The file is damaged, or of an unknown version of mace-torch"
            )


COUPLING_TOLERANCE = 2e-6
"""Couplings of a float32 model are rounded to seven digits."""


def expand(couplings: Array, l_max: int, degree: int, order: int) -> tuple[Array, float]:
    """Returns P [n_paths, n_params] with Σ_p P_pk basis_p = U_k, and the largest residual.

    Args:
        couplings: U of mace-torch, [2L+1, (l_max+1)², …, n_params]; without the first axis for
            degree 0.
        l_max: highest degree of the factors.
        degree: L.
        order: number of factors.
    """
    basis = product_basis(l_max, degree, order)
    column = {monomial: k for k, monomial in enumerate(basis.monomials)}
    u = couplings[None] if degree == 0 else couplings
    size = (l_max + 1) ** 2
    if u.shape[:-1] != (2 * degree + 1, *[size] * order):
        raise ModelFileError(f"couplings of shape {couplings.shape} for degree {degree}")
    target = np.zeros((2 * degree + 1, len(basis.monomials), u.shape[-1]))
    outside: dict[tuple[int, ...], Array] = {}
    for place in map(tuple, np.argwhere(np.abs(u).max(axis=(0, -1)) > 1e-12)):
        monomial = tuple(sorted(int(p) for p in place))
        value = u[(slice(None), *place)]
        if monomial in column:
            target[:, column[monomial]] += value
        else:
            outside[monomial] = outside.get(monomial, 0.0) + value
    a = basis.coefficients.reshape(basis.n_paths, -1).T
    b = target.reshape(-1, u.shape[-1])
    found, *_ = np.linalg.lstsq(a, b, rcond=None)
    lost = max((float(np.abs(v).max()) for v in outside.values()), default=0.0)
    return np.asarray(found, np.float64), max(lost, float(np.abs(a @ found - b).max()))


def _signs(paths: Sequence[tuple[int, int, int]], channels: int) -> Array:
    """Edge vectors of mace-torch run the other way, so harmonics of odd degree change sign."""
    return np.repeat([(-1.0) ** l1 for l1, _, _ in paths], channels)


def _by_degree(flat: Array, n_in: int, n_out: int) -> Array:
    return flat.reshape(-1, n_in, n_out) / math.sqrt(n_in)


def _activation(module: Module | None, default: float) -> float:
    """Returns the factor of an activation, where the file states it."""
    act = None if module is None else module.attributes.get("act")
    state = getattr(act, "state", None)
    found = state.get("cst") if isinstance(state, dict) else None
    return float(found) if isinstance(found, float) else default


def _put(parameter: Tensor | nn.Module, values: Array | float) -> None:
    found = torch.as_tensor(np.array(values, dtype=np.float64, order="C"))
    assert isinstance(parameter, Tensor)
    if parameter.shape != found.shape:
        raise ModelFileError(
            f"weights of shape {tuple(found.shape)} where the network needs "
            f"{tuple(parameter.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(found)


def _set(linear: nn.Module, matrix: Array) -> None:
    _put(linear.weight, matrix / linear.scale)  # type: ignore[operator]


def _set_all(linears: nn.ModuleList, matrices: Sequence[Array] | Array) -> None:
    for linear, matrix in zip(linears, matrices, strict=True):
        _set(linear, matrix)


def _set_maps(maps: ElementMaps, matrices: Sequence[Array]) -> None:
    _set_all(maps.maps, matrices)

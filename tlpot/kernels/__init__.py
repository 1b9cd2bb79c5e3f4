"""Compiled CPU kernels for the sums in which a network spends its time."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.kernels.choice import Kernels, kernels_by_name
    from tlpot.kernels.convolution import ConvolutionPlan, EdgeLists, convolve, convolve_in_parts
    from tlpot.kernels.distances import DistancePlan
    from tlpot.kernels.elements import sum_by_element, sum_by_element_in_parts
    from tlpot.kernels.embedding import EmbeddingPlan, embed
    from tlpot.kernels.fused import FusedNetwork, FusedResult
    from tlpot.kernels.product import ProductPlan, multiply
    from tlpot.kernels.structures import MAX_DEGREE
    from tlpot.kernels.weights import (
        BlockWeights,
        LayerWeights,
        NetworkWeights,
        PairNetworkWeights,
        Repulsion,
        Transform,
    )

__getattr__ = lazy_exports(__name__)

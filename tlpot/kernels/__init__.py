"""Compiled CPU kernels for the two sums in which a network spends its time."""

from tlpot.kernels.choice import Kernels, kernels_by_name
from tlpot.kernels.convolution import ConvolutionPlan, EdgeLists, convolve
from tlpot.kernels.product import ProductPlan, multiply

__all__ = [
    "ConvolutionPlan",
    "EdgeLists",
    "Kernels",
    "ProductPlan",
    "convolve",
    "kernels_by_name",
    "multiply",
]

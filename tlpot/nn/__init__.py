"""Neural building blocks: tensors in, tensors out."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.nn.channels import SILU_SCALE, ChannelLinear, Kept, Readout
    from tlpot.nn.couplings import (
        Constant,
        DoubleBuffer,
        ProductBasis,
        harmonic_polynomials,
        product_basis,
    )
    from tlpot.nn.edges import EdgeEmbedding, Edges, ZBLRepulsion, envelope
    from tlpot.nn.elements import HEAVIEST, N_ELEMENTAL, elemental_features
    from tlpot.nn.interaction import Convolution, Interaction, SymmetricProduct

__getattr__ = lazy_exports(__name__)

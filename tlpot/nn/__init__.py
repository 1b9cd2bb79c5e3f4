"""Neural building blocks: tensors in, tensors out."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.nn.channels import ChannelLinear, Readout
    from tlpot.nn.convolution import Convolution
    from tlpot.nn.couplings import DoubleBuffer
    from tlpot.nn.edges import EdgeEmbedding, Edges, ZBLRepulsion
    from tlpot.nn.interaction import Interaction

__getattr__ = lazy_exports(__name__)

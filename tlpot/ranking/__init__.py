"""Which pretrained model to transfer from."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.ranking.rank import rank_files, rank_models
    from tlpot.ranking.ranking import Ranking, Scheme

__getattr__ = lazy_exports(__name__)

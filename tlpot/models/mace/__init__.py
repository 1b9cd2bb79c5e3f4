"""Networks of mace-torch, read without it and evaluated with tlpot's modules and kernels."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.models.mace.architecture import MaceArchitecture
    from tlpot.models.mace.backbone import MaceBackbone, MaceRepulsion
    from tlpot.models.mace.importing import MaceImport, import_mace
    from tlpot.models.mace.layers import (
        ElementMap,
        ElementMaps,
        MaceInteraction,
        NonlinearInteraction,
        PairNetwork,
    )

__getattr__ = lazy_exports(__name__)

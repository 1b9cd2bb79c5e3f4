"""Potentials made of the building blocks, and their files."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.models.architecture import (
        Architecture,
        EngineArchitecture,
        preset,
        read_architecture,
    )
    from tlpot.models.backbone import EngineBackbone
    from tlpot.models.calculator import BlockEnergies, CalculatorModel, contradiction, mark_charge
    from tlpot.models.catalogue import CatalogueEntry, Query, catalogue, parse_elements
    from tlpot.models.delta import DeltaLevel, DeltaPotential
    from tlpot.models.description import (
        DELTA_FORMAT,
        ENSEMBLE_FORMAT,
        FEW_FRAMES,
        ModelCard,
        ModelDescription,
        PotentialDescription,
        content_hash,
        describe,
        read_description,
    )
    from tlpot.models.domain import WARNING_LEVEL, TrainingContent, TrainingDomain, frame_scores
    from tlpot.models.ensemble import Ensemble, LevelEnsemble
    from tlpot.models.features import (
        HIDDEN,
        KNOWN,
        atomic_features,
        check_blocks,
        feature_blocks,
        pool_features,
        pooled_rows,
    )
    from tlpot.models.identity import identity, plain
    from tlpot.models.installation import IndexEntry, Installed, ModelSource, install, write_index
    from tlpot.models.level_potential import LevelPotential
    from tlpot.models.library import (
        LIBRARY,
        installed_names,
        library_file,
        library_names,
        named_file,
        own_library,
    )
    from tlpot.models.mace import MaceArchitecture, MaceImport, import_mace
    from tlpot.models.model_file import (
        from_bytes,
        load,
        load_potential,
        save,
        to_bytes,
        weights_hash,
    )
    from tlpot.models.potential import (
        Potential,
        channel_maps,
        fixed_parameters,
        level_parameters,
        parameter_blocks,
    )
    from tlpot.models.property_target import (
        N_KNOWN,
        PoolingMethod,
        PropertyTarget,
        known_columns,
        known_term,
        same_readout,
    )
    from tlpot.models.regressors import (
        CorrectionInfo,
        ForestCorrection,
        GaussianCorrection,
        LinearCorrection,
    )
    from tlpot.models.spread import (
        ONE_SIGMA,
        Calibration,
        LastLayerRigidity,
        Spread,
        UncertainModel,
        system_features,
        uncertain,
    )
    from tlpot.models.trained import LevelModel, LevelView, TrainedModel

__getattr__ = lazy_exports(__name__)

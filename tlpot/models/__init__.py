"""Potentials made of the building blocks, and their files."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.models.architecture import Architecture as Architecture
    from tlpot.models.architecture import preset as preset
    from tlpot.models.architecture import read_architecture as read_architecture
    from tlpot.models.blocks import level_parameters as level_parameters
    from tlpot.models.blocks import parameter_blocks as parameter_blocks
    from tlpot.models.card import ModelCard as ModelCard
    from tlpot.models.catalogue import CatalogueEntry as CatalogueEntry
    from tlpot.models.catalogue import Query as Query
    from tlpot.models.catalogue import catalogue as catalogue
    from tlpot.models.catalogue import parse_elements as parse_elements
    from tlpot.models.correction import Correction as Correction
    from tlpot.models.correction import CorrectionInfo as CorrectionInfo
    from tlpot.models.delta import DeltaLevel as DeltaLevel
    from tlpot.models.delta import DeltaPotential as DeltaPotential
    from tlpot.models.description import DELTA_FORMAT as DELTA_FORMAT
    from tlpot.models.description import ENSEMBLE_FORMAT as ENSEMBLE_FORMAT
    from tlpot.models.description import content_hash as content_hash
    from tlpot.models.description import describe as describe
    from tlpot.models.description import read_description as read_description
    from tlpot.models.device import choose_device as choose_device
    from tlpot.models.domain import WARNING_LEVEL as WARNING_LEVEL
    from tlpot.models.domain import TrainingContent as TrainingContent
    from tlpot.models.domain import TrainingDomain as TrainingDomain
    from tlpot.models.domain import frame_scores as frame_scores
    from tlpot.models.ensemble import Ensemble as Ensemble
    from tlpot.models.ensemble import LevelEnsemble as LevelEnsemble
    from tlpot.models.features import atomic_features as atomic_features
    from tlpot.models.features import check_blocks as check_blocks
    from tlpot.models.features import feature_blocks as feature_blocks
    from tlpot.models.features import pool_features as pool_features
    from tlpot.models.forest import ForestCorrection as ForestCorrection
    from tlpot.models.gaussian import GaussianCorrection as GaussianCorrection
    from tlpot.models.install import Installed as Installed
    from tlpot.models.install import install as install
    from tlpot.models.level_view import LevelView as LevelView
    from tlpot.models.library import LIBRARY as LIBRARY
    from tlpot.models.library import installed_names as installed_names
    from tlpot.models.library import library_file as library_file
    from tlpot.models.library import library_names as library_names
    from tlpot.models.library import own_library as own_library
    from tlpot.models.library import shipped_names as shipped_names
    from tlpot.models.linear import LinearCorrection as LinearCorrection
    from tlpot.models.model_file import from_bytes as from_bytes
    from tlpot.models.model_file import load as load
    from tlpot.models.model_file import load_potential as load_potential
    from tlpot.models.model_file import save as save
    from tlpot.models.model_file import to_bytes as to_bytes
    from tlpot.models.model_index import IndexEntry as IndexEntry
    from tlpot.models.model_index import write_index as write_index
    from tlpot.models.place import Place as Place
    from tlpot.models.potential import LevelPotential as LevelPotential
    from tlpot.models.potential import Potential as Potential
    from tlpot.models.rigidity import LastLayerRigidity as LastLayerRigidity
    from tlpot.models.rigidity import system_features as system_features
    from tlpot.models.spread import ONE_SIGMA as ONE_SIGMA
    from tlpot.models.spread import Calibration as Calibration
    from tlpot.models.spread import Spread as Spread
    from tlpot.models.spread import UncertainModel as UncertainModel
    from tlpot.models.spread import uncertain as uncertain
    from tlpot.models.trained import LevelModel as LevelModel
    from tlpot.models.trained import TrainedModel as TrainedModel
    from tlpot.models.weights_hash import weights_hash as weights_hash

__getattr__ = lazy_exports(__name__)

"""Potentials made of the building blocks, and their files."""

from tlpot.models.architecture import Architecture as Architecture
from tlpot.models.architecture import preset as preset
from tlpot.models.blocks import level_parameters as level_parameters
from tlpot.models.blocks import parameter_blocks as parameter_blocks
from tlpot.models.card import ModelCard as ModelCard
from tlpot.models.correction import Correction as Correction
from tlpot.models.correction import CorrectionInfo as CorrectionInfo
from tlpot.models.device import choose_device as choose_device
from tlpot.models.features import atomic_features as atomic_features
from tlpot.models.features import check_blocks as check_blocks
from tlpot.models.features import feature_blocks as feature_blocks
from tlpot.models.features import pool_features as pool_features
from tlpot.models.forest import ForestCorrection as ForestCorrection
from tlpot.models.gaussian import GaussianCorrection as GaussianCorrection
from tlpot.models.library import LIBRARY as LIBRARY
from tlpot.models.library import library_file as library_file
from tlpot.models.library import library_names as library_names
from tlpot.models.linear import LinearCorrection as LinearCorrection
from tlpot.models.model_file import content_hash as content_hash
from tlpot.models.model_file import describe as describe
from tlpot.models.model_file import from_bytes as from_bytes
from tlpot.models.model_file import load as load
from tlpot.models.model_file import save as save
from tlpot.models.model_file import to_bytes as to_bytes
from tlpot.models.potential import LevelPotential as LevelPotential
from tlpot.models.potential import Potential as Potential

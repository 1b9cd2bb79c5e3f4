"""Geometries to label: fragments and crystals, ways to move them, and a choice to a budget."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.sampling.candidate import (
        ModelView,
        SampledGeometry,
        farthest_points,
        most_uncertain,
        scaled,
    )
    from tlpot.sampling.collection import Parts, sample, sample_with
    from tlpot.sampling.dataset_selection import DatasetSelection, FrameChoice, choose_frames
    from tlpot.sampling.diversity import SamplingReport
    from tlpot.sampling.fragment import FragmentSamples, SamplingTarget
    from tlpot.sampling.settings import SamplingSettings
    from tlpot.sampling.sources import given_fragments, named_fragments, pairs

__getattr__ = lazy_exports(__name__)

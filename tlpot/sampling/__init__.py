"""Geometries to label: fragments, ways to move them, and a choice to a budget."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.sampling.calculators import Engine as Engine
    from tlpot.sampling.candidate import Candidate as Candidate
    from tlpot.sampling.collection import sample as sample
    from tlpot.sampling.dataset_file import write_samples as write_samples
    from tlpot.sampling.diversity import Diversity as Diversity
    from tlpot.sampling.diversity import diversity as diversity
    from tlpot.sampling.fragment import Fragment as Fragment
    from tlpot.sampling.fragment import FragmentSamples as FragmentSamples
    from tlpot.sampling.fragment import sample_fragment as sample_fragment
    from tlpot.sampling.settings import SamplingSettings as SamplingSettings
    from tlpot.sampling.sources import named_fragments as named_fragments

__getattr__ = lazy_exports(__name__)

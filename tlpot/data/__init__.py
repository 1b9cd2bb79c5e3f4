"""Datasets of QM labels: reading, describing, splitting, batching."""

from typing import TYPE_CHECKING

from tlpot.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from tlpot.data.batch import Batch as Batch
    from tlpot.data.batch import Targets as Targets
    from tlpot.data.batch import collate as collate
    from tlpot.data.dataset import Dataset as Dataset
    from tlpot.data.dataset import LabelKind as LabelKind
    from tlpot.data.dataset import LevelInfo as LevelInfo
    from tlpot.data.dataset import frames_of as frames_of
    from tlpot.data.dataset import with_any_label as with_any_label
    from tlpot.data.difference import DifferenceDataset as DifferenceDataset
    from tlpot.data.difference import LowValues as LowValues
    from tlpot.data.filled import FilledDataset as FilledDataset
    from tlpot.data.findings import definitions_of as definitions_of
    from tlpot.data.fragment_kind import FragmentKind as FragmentKind
    from tlpot.data.fragment_kind import FragmentRows as FragmentRows
    from tlpot.data.fragment_kind import FragmentSource as FragmentSource
    from tlpot.data.fragment_labels import add_labels as add_labels
    from tlpot.data.fragment_labels import add_level as add_level
    from tlpot.data.fragment_labels import store_split as store_split
    from tlpot.data.fragment_labels import stored_split as stored_split
    from tlpot.data.fragment_layout import is_fragment_file as is_fragment_file
    from tlpot.data.fragment_protein import ProteinAssembly as ProteinAssembly
    from tlpot.data.fragment_protein import assembled as assembled
    from tlpot.data.fragment_writer import append_fragments as append_fragments
    from tlpot.data.frame import Frame as Frame
    from tlpot.data.frame import Labels as Labels
    from tlpot.data.hdf5 import printable as printable
    from tlpot.data.joined import JoinedDataset as JoinedDataset
    from tlpot.data.loader import Loader as Loader
    from tlpot.data.open import Source as Source
    from tlpot.data.open import open_dataset as open_dataset
    from tlpot.data.problem import Problem as Problem
    from tlpot.data.problems import find_problems as find_problems
    from tlpot.data.split import Split as Split
    from tlpot.data.split import default_by as default_by
    from tlpot.data.split import load_split as load_split
    from tlpot.data.split import make_split as make_split
    from tlpot.data.statistics import average_neighbors as average_neighbors
    from tlpot.data.statistics import energy_scale as energy_scale
    from tlpot.data.statistics import force_scale as force_scale
    from tlpot.data.summary import Summary as Summary
    from tlpot.data.summary import summarize as summarize
    from tlpot.data.uncharged import UnchargedDataset as UnchargedDataset
    from tlpot.data.writer import write_dataset as write_dataset
    from tlpot.data.writer import write_structures as write_structures

__getattr__ = lazy_exports(__name__)

"""Datasets of QM labels: reading, describing, splitting, batching."""

from tlpot.data.batch import Batch as Batch
from tlpot.data.batch import Targets as Targets
from tlpot.data.batch import collate as collate
from tlpot.data.dataset import Dataset as Dataset
from tlpot.data.dataset import LabelKind as LabelKind
from tlpot.data.dataset import LevelInfo as LevelInfo
from tlpot.data.dataset import frames_of as frames_of
from tlpot.data.filled import FilledDataset as FilledDataset
from tlpot.data.frame import Frame as Frame
from tlpot.data.frame import Labels as Labels
from tlpot.data.joined import JoinedDataset as JoinedDataset
from tlpot.data.loader import Loader as Loader
from tlpot.data.open import Source as Source
from tlpot.data.open import open_dataset as open_dataset
from tlpot.data.problems import Problem as Problem
from tlpot.data.problems import find_problems as find_problems
from tlpot.data.split import Split as Split
from tlpot.data.split import load_split as load_split
from tlpot.data.split import make_split as make_split
from tlpot.data.summary import Summary as Summary
from tlpot.data.summary import summarize as summarize
from tlpot.data.writer import write_dataset as write_dataset

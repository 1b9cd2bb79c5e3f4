"""Whole jobs made of the parts below."""

from tlpot.pipeline.finetune import FinetuneConfig as FinetuneConfig
from tlpot.pipeline.finetune import finetune as finetune
from tlpot.pipeline.finetune import finetune_config as finetune_config
from tlpot.pipeline.finetune import prepare_finetune as prepare_finetune
from tlpot.pipeline.fitting import Outcome as Outcome
from tlpot.pipeline.fitting import fit as fit
from tlpot.pipeline.rank import rank_models as rank_models
from tlpot.pipeline.ranking import Ranking as Ranking
from tlpot.pipeline.train import TrainConfig as TrainConfig
from tlpot.pipeline.train import prepare_train as prepare_train
from tlpot.pipeline.train import train_config as train_config
from tlpot.pipeline.train import train_from_scratch as train_from_scratch

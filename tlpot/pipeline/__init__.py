"""Whole jobs made of the parts below."""

from tlpot.pipeline.automatic import Choice as Choice
from tlpot.pipeline.automatic import choose_strategy as choose_strategy
from tlpot.pipeline.finetune import FinetuneConfig as FinetuneConfig
from tlpot.pipeline.finetune import finetune as finetune
from tlpot.pipeline.finetune import finetune_config as finetune_config
from tlpot.pipeline.finetune import prepare_finetune as prepare_finetune
from tlpot.pipeline.fitting import Outcome as Outcome
from tlpot.pipeline.fitting import check_output as check_output
from tlpot.pipeline.fitting import fit as fit
from tlpot.pipeline.train import TrainConfig as TrainConfig
from tlpot.pipeline.train import prepare_train as prepare_train
from tlpot.pipeline.train import train_config as train_config
from tlpot.pipeline.train import train_from_scratch as train_from_scratch
from tlpot.pipeline.uncertainty import Calibrated as Calibrated
from tlpot.pipeline.uncertainty import calibrate_model as calibrate_model
from tlpot.pipeline.uncertainty import make_ensemble as make_ensemble

"""The model of one round: fitted to the labels that there are, asked about all candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tlpot.active_learning.config import ActiveConfig, Candidates
from tlpot.data import Split, evaluation_batches
from tlpot.evaluation import evaluated
from tlpot.files import make_folder
from tlpot.jobs import (
    FinetuneConfig,
    SplitSettings,
    as_part,
    finetune,
    fit_closed_form,
    prepare_finetune,
)
from tlpot.models import LevelModel, Potential, TrainedModel, uncertain
from tlpot.numbers import Floats, Ints
from tlpot.transfer import strategy

KEPT = 0.8
"""Share of the labels that a member of a committee is fitted to."""
HELD = 0.1
"""Share that decides which weights of a training are kept."""
RUN = "run"
"""Folder of what is only needed while a round lasts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surrogate:
    """Fits models to labelled candidates.

    Attributes:
        config: of the campaign.
        candidates: structures and labels.
        folder: for models.
        device: where to compute.
    """

    config: ActiveConfig
    candidates: Candidates
    folder: Path
    device: torch.device | str | None = None

    def fit(self, labelled: Ints, newest: Ints, *, seed: int) -> TrainedModel:
        """Returns a model of the labels; its file, `model.safetensors`, is in the folder.

        Args:
            labelled: candidates with a label.
            newest: those of them that count `ActiveConfig.repeat` times.
            seed: of the training.

        Raises:
            KeyboardInterrupt: a training was interrupted.
            TLPotError: something is wrong with the labels or the settings.
        """
        chosen, given = strategy(self.config.strategy), self.config
        train, held = np.sort(labelled), labelled[:0]
        if chosen.defaults is not None:
            order = np.random.default_rng([seed, 11]).permutation(train)
            n = max(1, round(HELD * len(order)))
            train, held = np.sort(order[n:]), np.sort(order[:n])
        if given.repeat > 1:
            again = train[np.isin(train, newest)]
            train = np.sort(np.concatenate([train, *[again] * (given.repeat - 1)]))
        dataset = self.candidates.dataset
        split = Split(
            train=train, validation=held, test=labelled[:0], by="active learning", seed=seed,
            content_hash=dataset.content_hash,
        )  # fmt: skip
        make_folder(self.folder)
        config = FinetuneConfig(
            parent=given.parent,
            data=replace(given.data, dataset=dataset),
            level=self.candidates.level,
            output=self.folder / "model.safetensors",
            strategy=given.strategy,
            source=given.source,
            split=SplitSettings(divided=split),
            training={**given.training, "seed": seed},
            parent_model=self.candidates.parent,
        )
        if chosen.defaults is None:
            return fit_closed_form(prepare_finetune(config, device=self.device).job)
        with as_part():
            return finetune(config, device=self.device, overwrite=True, show=False).potential

    def committee(self, labelled: Ints, newest: Ints, *, seed: int) -> list[TrainedModel]:
        """Returns models on random subsets of the labels."""
        n = max(2, round(KEPT * len(labelled)))
        found = []
        for k in range(self.config.members):
            drawn = np.random.default_rng([seed, k, 7]).permutation(labelled)[:n]
            found.append(self.fit(drawn, newest, seed=seed + k))
        return found

    def ask(
        self, model: TrainedModel, members: list[TrainedModel], indices: Ints
    ) -> tuple[Floats, Floats]:
        """Returns predictions with standard deviations for candidates, [n] each.

        The model's own deviations, or those of the members: for models on subsets that leave a
        share d of the labels out, the deviation of the delete-d jackknife, √((1 − d)/d) times
        theirs from their mean (Shao and Wu, doi:10.1214/aos/1176347263). NaN with neither.

        Args:
            model: fitted to all labels.
            members: see `committee`; none for a model that knows how sure it is.
            indices: of the candidates.
        """
        mean, std = self.evaluated(model.at(self.candidates.level), indices)
        if members:
            level = self.candidates.level
            said = np.stack([self.evaluated(m.at(level), indices)[0] for m in members])
            std = said.std(axis=0, ddof=1) * np.sqrt(KEPT / (1.0 - KEPT))
        return mean, std

    def evaluated(self, model: LevelModel, indices: Ints) -> tuple[Floats, Floats]:
        """Returns what a model says, and how sure it is (NaN if it cannot tell), [n] each."""
        if not len(indices):
            return np.zeros(0), np.zeros(0)
        dataset, device = self.candidates.dataset, self.candidates.parent.device
        order = np.argsort(dataset.sizes[indices], kind="stable")
        mean, std = [], []
        batches = evaluation_batches(
            model, dataset, indices[order], (), device=device, batch_size=64, show=False
        )
        for batch, found, spread in evaluated(model, batches, forces=False, std="energy"):
            mean.append(found.energy.cpu().numpy())
            nothing = np.full(len(batch.sizes), np.nan)
            std.append(nothing if spread is None else spread.energy_std.cpu().numpy())
        back = np.argsort(order)
        return np.concatenate(mean)[back], np.concatenate(std)[back]


def knows_uncertainty(model: TrainedModel, level: str) -> bool:
    """Whether a model can tell how sure it is at a level."""
    return isinstance(model, Potential) and uncertain(model.at(level)) is not None

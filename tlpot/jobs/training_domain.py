"""What a model that was just trained knows of the frames that it has learned."""

from __future__ import annotations

import copy
from collections.abc import Collection

import numpy as np
import torch

from tlpot.data import with_any_label
from tlpot.jobs.training_job import Job
from tlpot.models import FEW_FRAMES, DeltaPotential, LevelPotential, Potential, TrainingDomain
from tlpot.uncertainty import fit_domain


def tell_domain(model: Potential | DeltaPotential, job: Job, levels: Collection[str]) -> str | None:
    """Gives each level of a model its training domain, or takes it away.

    Levels that were learned, or rehearsed, have that of all training frames; where the network
    below the readout is still the parent's, frames like the parent's are inside as well. Another
    level keeps its own if the network is what it was, and else has none.

    Args:
        model: just trained; of a sum the difference was.
        job: its training. If all levels counted alike, the domain of each is that of the frames
            with a label there, not of all.
        levels: those that the training had labels of.

    Returns:
        What the domain of the learned levels speaks of, for the card; None if there is none.
    """
    trained = model.delta if isinstance(model, DeltaPotential) else model
    dataset, split, parent = job.dataset, job.split, job.parent
    moved = any(name.startswith("backbone.") for name in job.plan.rates)
    learned = [level for level in trained.levels if level in levels]
    frames = np.concatenate([split.train, job.others])
    found: dict[bytes, TrainingDomain] = {}
    for level in trained.levels:
        head = trained.head(level)
        if level not in learned:
            head.domain = None if moved else head.domain
            continue
        known = np.ones(len(dataset), dtype=bool)
        if job.joint:
            known = with_any_label(dataset, level)
        own, held = frames[known[frames]], split.validation[known[split.validation]]
        which = own.tobytes()
        if which not in found:
            found[which] = fit_domain(trained.at(level), dataset, own, held, seed=job.settings.seed)
            if parent is not None and _same_network(trained, parent.potential):
                found[which].inherited = copy.deepcopy(parent.training_domain)
        head.domain = copy.deepcopy(found[which]).to(device=trained.device, dtype=trained.dtype)
    return "; ".join(_words(domain, parent) for domain in found.values()) or None


def _same_network(one: Potential, other: Potential) -> bool:
    """Whether the same structure has the same features in both, bit for bit."""
    if one.elements != other.elements:
        return False
    weights, others = one.backbone.state_dict(), other.backbone.state_dict()
    return weights.keys() == others.keys() and all(
        tensor.dtype == others[name].dtype and torch.equal(tensor, others[name].to(tensor.device))
        for name, tensor in weights.items()
    )


def _words(found: TrainingDomain, parent: LevelPotential | None) -> str:
    words = f"the {found.n_frames} training frames"
    if found.inherited is not None:
        words += f" and the {sum(p.n_frames for p in found.inherited.parts)} of the parent"
    elif parent is not None and parent.training_domain is not None:
        words += " of this training only; the network has moved away from what the parent knew"
    elif parent is not None:
        words += " of this training only; the parent does not say what it was trained on"
    if found.n_frames < FEW_FRAMES:
        words += f"; fewer than {FEW_FRAMES} calibrate no warning, but for elements and charges"
    return words

"""A toy potential and a toy dataset: small, smooth, and enough for a loop to learn from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tlpot.data import Frame, Labels, LevelInfo, Loader
from tlpot.graph import segment_sum
from tlpot.system import System
from tlpot.training import TrainingPlan, TrainingSettings, train

CUTOFF = 4.0
E0 = {1: -13.6, 8: -2040.0}
SETTINGS = TrainingSettings(epochs=4, batch_size=4, ema=0.9, learning_rate=2e-2)


class ToyPotential(nn.Module):
    """E_i = E0(z_i) + Σ_j head(tanh(W_{z_i z_j} g(r_ij))) f(r_ij); one head for each level."""

    def __init__(self, levels=("low",), *, seed=0, dtype=torch.float64):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))

        self.levels = tuple(levels)
        self.cutoff, self.elements = CUTOFF, (1, 8)
        self.backbone = draw(3, 6, 8)
        self.heads = nn.ParameterList([draw(8) for _ in levels])
        self.to(dtype)

    @property
    def device(self):
        return self.backbone.device

    def target(self, level):
        return None

    def at(self, level):
        return ToyLevel(self, self.heads[self.levels.index(level)])


class ToyLevel:
    cutoff, elements, uses_charge, link = CUTOFF, (1, 8), False, None

    def __init__(self, potential, head):
        self.potential, self.head = potential, head

    def atomic_energies(self, graph):
        distance = graph.edge_vectors().norm(dim=-1).to(self.head.dtype)
        oxygen = (graph.atomic_numbers == 8).long()
        kind = oxygen[graph.center] + oxygen[graph.neighbor]
        centers = torch.linspace(0.7, 3.2, 6, dtype=distance.dtype)
        basis = torch.exp(-4.0 * (distance[:, None] - centers) ** 2)
        hidden = torch.tanh(torch.einsum("ek,ekc->ec", basis, self.potential.backbone[kind]))
        smooth = (1 - (distance / CUTOFF).clamp(max=1) ** 2) ** 3
        pair = (hidden @ self.head * smooth).double()
        reference = torch.where(oxygen == 1, E0[8], E0[1]).double()
        return reference + segment_sum(pair, graph.center, graph.n_atoms)


@dataclass
class ToyDataset:
    """Frames in memory."""

    frames: list[Frame]
    path: Path = Path("toy.h5")
    content_hash: str = "toy"
    elements: tuple[int, ...] = (1, 8)
    unused_keys: tuple[str, ...] = ()

    @property
    def levels(self):
        names = sorted({level for frame in self.frames for level in frame.labels})
        kinds = frozenset({"energy", "forces"})
        return {name: LevelInfo(name=name, kinds=kinds) for name in names}

    @property
    def sizes(self):
        return np.array([len(frame.system) for frame in self.frames])

    @property
    def group_names(self):
        return sorted({frame.group for frame in self.frames})

    @property
    def group_idx(self):
        return np.array([self.group_names.index(frame.group) for frame in self.frames])

    def __len__(self):
        return len(self.frames)

    def labelled(self, level, kind="energy"):
        labels = [frame.labels.get(level, Labels()) for frame in self.frames]
        if kind == "energy":
            return np.isfinite([label.energy for label in labels])
        return np.array([getattr(label, kind) is not None for label in labels])

    def read(self, indices, levels=None):
        return [self.frames[k] for k in indices]


def morse(numbers, positions, depth):
    """Energy and forces of a sum of Morse pairs on top of E0."""
    difference = positions[:, None] - positions
    distance = np.linalg.norm(difference, axis=-1) + 10.0 * np.eye(len(numbers))
    x = np.exp(-1.5 * (distance - 1.1))
    energy = sum(E0[z] for z in numbers) + 0.5 * depth * (x**2 - 2 * x).sum()
    slope = depth * -3.0 * (x**2 - x) / distance
    return float(energy), -(slope[..., None] * difference).sum(axis=1)


def make_frames(n, seed=0):
    """Frames of 2 to 4 atoms with energies and forces at ``low``; every third also has ``high``."""
    rng = np.random.default_rng(seed)
    shape = np.array([[0, 0, 0], [1.1, 0, 0], [0.2, 1.3, 0], [1.2, 1.1, 0.8]])
    frames = []
    for k in range(n):
        size = 2 + k % 3
        numbers = np.array([8, 1, 1, 8])[:size]
        positions = shape[:size] + 0.1 * rng.normal(size=(size, 3))
        energy, forces = morse(numbers, positions, 1.0)
        labels = {"low": Labels(energy=energy, forces=forces)}
        if k % 3 == 0:
            labels["high"] = Labels(energy=morse(numbers, positions, 1.3)[0])
        system = System(
            atomic_numbers=numbers,
            positions=positions,
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=bool),
        )
        frames.append(
            Frame(system=system, labels=labels, group=f"molecule{size}", name=f"toy.h5[{k}]")
        )
    return frames


def loaders(levels=("low",), *, n=18, batch_size=4, rank=0, world_size=1, frames=None):
    """Loaders of training and validation frames."""
    dataset = ToyDataset(make_frames(n + 6) if frames is None else frames)
    share = {"levels": levels, "cutoff": CUTOFF, "rank": rank, "world_size": world_size}
    last = len(dataset) - 6
    return (
        Loader(dataset, range(last), batch_size=batch_size, **share),
        Loader(dataset, range(last, len(dataset)), batch_size=4, shuffle=False, **share),
    )


def everything(potential, **kwargs):
    """A plan that moves all weights."""
    return TrainingPlan(rates={name: 1.0 for name, _ in potential.named_parameters()}, **kwargs)


def fit(potential, run_dir, settings=SETTINGS, **kwargs):
    """Trains all weights at ``low``."""
    training, validation = loaders(batch_size=settings.batch_size)
    return train(
        potential,
        levels=("low",),
        train_loader=training,
        validation_loader=validation,
        settings=settings,
        run_dir=run_dir,
        **{"plan": everything(potential), "show": False, **kwargs},
    )

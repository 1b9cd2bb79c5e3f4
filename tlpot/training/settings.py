"""Settings of a training; field names are the keys of the YAML file."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

from tlpot.config import LATER, check_positive, check_seed
from tlpot.data import LabelKind
from tlpot.errors import ConfigError

ErrorKind = Literal["energy", "relative", "forces", "stress", "property"]
"""What is minimised and decides: errors of labels, and of differences of energies."""

_RISE = 100.0
"""Of the weight of the energy, from the first half of a training to its end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossSettings:
    """What is minimised: Σ weight · ρ(error), averaged over the labels of a batch.

    Attributes:
        energy: weight of the error of the energy per atom.
        energy_end: what it is at the end: `energy` for half of the training, then a geometric
            rise. Forces come first, and energies are left with no common offset. The loss of a
            validation has this weight. None for a hundred times `energy`, or for `energy`
            throughout where the labels are energies only, or have none.
        forces: weight of the error of each force component.
        stress: weight of the error of each stress component.
        relative: weight of the error of the energy per atom relative to its molecule's mean in the
            batch, in which frames of a molecule then come together: for labels whose offsets from
            molecule to molecule mean nothing, with ``energy=0``, or beside it. Rises as `energy`
            does.
        kind: ``huber``, quadratic up to delta and linear beyond, divided by delta; or ``mse``.
        energy_delta: eV per atom.
        force_delta: eV/Å.
        stress_delta: eV/Å³.
    """

    energy: float = 1.0
    energy_end: float | None = None
    forces: float = 1.0
    stress: float = 1.0
    relative: float = field(default=0.0, metadata=LATER)
    kind: Literal["huber", "mse"] = "huber"
    energy_delta: float | None = None
    force_delta: float | None = None
    stress_delta: float | None = None

    def __post_init__(self) -> None:
        weights = (self.energy, self.forces, self.stress, self.relative)
        if not all(0 <= weight < math.inf for weight in weights):
            raise ConfigError("loss weights must be finite and must not be negative")
        if not any(weights):
            raise ConfigError("all loss weights are zero; nothing would be learned")
        if self.energy_end is not None:
            if not 0 < self.energy_end < math.inf:
                raise ConfigError(f"energy_end is {self.energy_end}, expected a positive number")
            if self.energy == 0:
                raise ConfigError("energy_end rises from energy, which is 0; set both or neither")
        deltas = {
            name: getattr(self, name) for name in ("energy_delta", "force_delta", "stress_delta")
        }
        for name, delta in deltas.items():
            if delta is not None and self.kind != "huber":
                raise ConfigError(f"{name} does not apply to kind={self.kind!r}")
            if delta is not None and not 0 < delta < math.inf:
                raise ConfigError(f"{name} is {delta}, expected a positive number")

    def at(self, progress: float) -> LossSettings:
        """Returns the weights at `progress`, the share of the training that is done (0 to 1)."""
        if not self.energy:
            return self
        end = _RISE * self.energy if self.energy_end is None else self.energy_end
        risen = max(0.0, 2.0 * progress - 1.0)
        energy = self.energy * (end / self.energy) ** risen
        return replace(self, energy=energy, relative=self.relative * energy / self.energy)

    def for_labels(self, kinds: Collection[LabelKind]) -> LossSettings:
        """Returns the settings for labels of these kinds: no rise where it would say nothing."""
        if self.energy_end is None and not {"energy", "forces"} <= set(kinds):
            return replace(self, energy_end=self.energy or None)
        return self

    @property
    def kinds(self) -> tuple[ErrorKind, ...]:
        """Kinds of errors that have a weight."""
        weights: dict[ErrorKind, float] = {
            "energy": self.energy,
            "relative": self.relative,
            "forces": self.forces,
            "stress": self.stress,
            "property": self.energy,
        }
        return tuple(kind for kind, weight in weights.items() if weight > 0)

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of energy, forces and stress; and of relative energies, if they have one."""
        three = (self.energy, self.forces, self.stress)
        return (*three, self.relative) if self.relative else three

    @property
    def deltas(self) -> tuple[float, float, float]:
        """Huber deltas of energy (0.01), forces (0.1) and stress (0.001)."""
        return (self.energy_delta or 0.01, self.force_delta or 0.1, self.stress_delta or 0.001)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """How the weights are moved.

    Attributes:
        epochs: passes over the training frames.
        batch_size: frames in a batch, over all processes.
        max_atoms: atoms in a batch, over all processes; None for no bound.
        optimizer: ``adamw``, or ``soap``, Adam in the eigenbasis of each matrix's gradients
            (`tlpot.training.soap.Soap`): fewer updates to the same errors where a network learns
            from scratch or goes on for long.
        learning_rate: its peak rate.
        warmup: share of the training over which the rate rises from zero.
        schedule: ``cosine`` down to `floor`; ``plateau``: times `plateau_factor` after
            `plateau_patience` validations without progress; ``constant``.
        floor: lowest rate as a share of the peak, default 0.01; not with ``constant``.
        plateau_factor: default 0.8; only with ``plateau``.
        plateau_patience: validations, default 20; only with ``plateau``.
        clip: largest norm of the gradient.
        ema: decay of the averaged weights, which are the ones validated and saved.
        weight_decay: decoupled decay of the weights towards zero.
        patience: stop after so many validations without progress; None to go to the end.
        validate_every: epochs between validations.
        checkpoint_every: batches between checkpoints within an epoch; one is always written
            at the end of an epoch.
        selection: which weights are kept: ``relative``, those with the least errors relative to
            step 0, none of which may rise in any kind of label; or ``loss``, those with the
            least validation loss.
        seed: of the order of the frames and of new weights.
        loss: what is minimised.
        tensorboard: also write event files for TensorBoard.
    """

    epochs: int = 200
    batch_size: int = 16
    max_atoms: int | None = None
    optimizer: Literal["adamw", "soap"] = field(default="adamw", metadata=LATER)
    learning_rate: float = 1e-2
    warmup: float = 0.02
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    floor: float | None = None
    plateau_factor: float | None = None
    plateau_patience: int | None = None
    clip: float = 10.0
    ema: float = 0.999
    weight_decay: float = 0.0
    patience: int | None = None
    validate_every: int = 1
    checkpoint_every: int = 500
    selection: Literal["relative", "loss"] = "relative"
    seed: int = 0
    loss: LossSettings = field(default_factory=LossSettings)
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_positive(
            self,
            "epochs",
            "batch_size",
            "learning_rate",
            "clip",
            "validate_every",
            "checkpoint_every",
            "patience",
            "max_atoms",
            "plateau_factor",
            "plateau_patience",
        )
        check_seed(self.seed, "training.seed")
        for name in ("warmup", "floor", "ema", "plateau_factor", "weight_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ConfigError(f"{name} is {value}, expected 0 <= {name} < 1")
        for name in ("plateau_factor", "plateau_patience"):
            if getattr(self, name) is not None and self.schedule != "plateau":
                raise ConfigError(f"{name} does not apply to schedule={self.schedule!r}")
        if self.floor is not None and self.schedule == "constant":
            raise ConfigError("floor does not apply to schedule='constant'")

    @property
    def lowest_rate(self) -> float:
        """`floor`, or its default."""
        return 0.01 if self.floor is None else self.floor

"""What `tlpot build` is asked to do: one YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tlpot.config import check_least, check_positive, check_seed, parse
from tlpot.errors import ConfigError

UncertaintyMethod = Literal["none", "last-layer", "ensemble"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentSettings:
    """Which fragments the model learns.

    Attributes:
        source: ``structures`` for the kinds of fragments that the scheme makes of the
            structures, dimers included; ``residues`` for the 20 capped residues and the cap;
            ``states`` for these in all protonation states.
        also: further fragments by name, see `tlpot.sampling.named_fragments`.
        pairs: dimers to scan as well, ``NAME+NAME``.
    """

    source: Literal["structures", "residues", "states"] = "structures"
    also: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSettings:
    """A level of theory and how many labels of it to pay for.

    Attributes:
        engine: as for ``tlpot label``.
        budget: labels of each kind of fragment.
        settings: of the engine.
        level: name of the level of theory, instead of the engine's.
        forces: as for ``tlpot label``.
    """

    engine: str
    budget: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    level: str | None = None
    forces: Literal["auto", "no", "analytic", "numerical"] = "auto"

    def __post_init__(self) -> None:
        check_least(self, budget=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectSettings:
    """Which geometries are labelled at the high level.

    Attributes:
        how: ``farthest`` from each other in the features of the pretrained model, or
            ``uncertainty``: farthest points among those that it is least sure of.
    """

    how: Literal["farthest", "uncertainty"] = "farthest"


@dataclass(frozen=True, kw_only=True, slots=True)
class UncertaintySettings:
    """How the force field knows how sure it is.

    Attributes:
        method: ``last-layer`` (one model), ``ensemble`` (several, of other seeds) or ``none``.
        members: of an ensemble.
    """

    method: UncertaintyMethod = "none"
    members: int = 4

    def __post_init__(self) -> None:
        check_least(self, members=2)


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveSettings:
    """Rounds in which the force field looks for geometries that it is not sure of.

    Attributes:
        rounds: how many; 0 for none.
        steps: of MD of each structure and round.
        temperature: K.
        timestep: fs.
        interval: steps between two looks.
        trigger: a fragment is taken when its standard deviation is above this, meV per atom.
        budget: fragments that are labelled in each round, at most.
        seed: of velocities and noise.
    """

    rounds: int = 0
    steps: int = 1000
    temperature: float = 400.0
    timestep: float = 0.5
    interval: int = 20
    trigger: float = 1.0
    budget: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, rounds=0, trigger=0)
        check_seed(self.seed)
        check_positive(self, "steps", "temperature", "timestep", "interval", "budget")


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurveSettings:
    """Errors against the number of expensive labels.

    Attributes:
        sizes: numbers of labels to train with; none for no curve.
        strategies: as for ``tlpot curve``; left out, the fine-tuning's and ``scratch``.
        seeds: repeats with other labels.
    """

    sizes: tuple[int, ...] = ()
    strategies: tuple[str | Mapping[str, Any], ...] = ()
    seeds: int = 1

    def __post_init__(self) -> None:
        if not self.sizes and (self.strategies or self.seeds != 1):
            raise ConfigError("sizes is empty, so strategies and seeds do not apply; give sizes")


@dataclass(frozen=True, kw_only=True, slots=True)
class AssembleSettings:
    """The force field of the structures, and how it is tested.

    Attributes:
        two_layer: add what the fragments leave out at the low level: the whole structure by the
            low head of the model, or by the pretrained model where the strategy keeps no levels.
        steps: of test dynamics at constant temperature, and again at constant energy.
        temperature: K.
        timestep: fs.
        interval: steps between two frames.
        reference: level of theory that whole structures and their fragments are computed at for
            the error budget: ``high``, ``low`` (then it is about the cheap level of the model,
            in one layer) or ``none``.
        frames: geometries of the error budget: the relaxed structure and frames of the dynamics.
        reference_steps: of the same dynamics with a level of theory, for φ and ψ of the force
            field to be held against; 0 for none.
        reference_dynamics: that level, ``low`` if left out, or ``high``.
        seed: of velocities and noise.
    """

    two_layer: bool = False
    steps: int = 1000
    temperature: float = 300.0
    timestep: float = 0.5
    interval: int = 20
    reference: Literal["high", "low", "none"] = "none"
    frames: int = 3
    reference_steps: int = 0
    reference_dynamics: Literal["low", "high"] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(self, "steps", "temperature", "timestep", "interval", "frames")
        check_least(self, reference_steps=0)
        check_seed(self.seed)
        if self.reference_dynamics is not None and not self.reference_steps:
            raise ConfigError(
                "reference_dynamics is the level of reference_steps, which is 0; set the steps, or "
                "leave reference_dynamics out"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildConfig:
    """A force field from structures, levels of theory and budgets.

    Attributes:
        output: folder of everything that is made.
        low: the cheap level.
        high: the expensive level.
        structures: files; each frame of one is a conformation.
        sequence: a peptide to build instead, one-letter codes or names.
        conformations: of that peptide.
        n_cap: of that peptide.
        c_cap: of that peptide.
        fragments: what the model learns.
        scheme: name of a fragment scheme, or a section with its ``name`` and settings.
        sample: settings of ``tlpot sample`` but budget, model and selection.
        pretrain: keys of ``tlpot train`` but data, level and output; or a ``parent`` to start
            from, with keys of ``tlpot finetune``.
        select: which geometries get expensive labels.
        finetune: keys of ``tlpot finetune`` but parent, data, level, source and output.
        uncertainty: how the force field knows how sure it is.
        active: active rounds.
        curve: errors against the number of expensive labels.
        assemble: the force field of the structures and its tests.
        trained_charges: the model reads no charges; it learns every kind of fragment with the
            charge that it always has. So does a model without a parent, and one whose parent's
            card says so, without a word.
        name: of the force field; that of the folder if left out.
    """

    output: Path
    low: LevelSettings
    high: LevelSettings
    structures: tuple[Path, ...] = ()
    sequence: str | tuple[str, ...] | None = None
    conformations: tuple[str, ...] | None = None
    n_cap: str | None = None
    c_cap: str | None = None
    fragments: FragmentSettings = field(default_factory=FragmentSettings)
    scheme: str | Mapping[str, Any] = "mfcc_mbe2"
    sample: Mapping[str, Any] = field(default_factory=dict)
    pretrain: Mapping[str, Any] = field(default_factory=dict)
    select: SelectSettings = field(default_factory=SelectSettings)
    finetune: Mapping[str, Any] = field(default_factory=dict)
    uncertainty: UncertaintySettings = field(default_factory=UncertaintySettings)
    active: ActiveSettings = field(default_factory=ActiveSettings)
    curve: LearningCurveSettings = field(default_factory=LearningCurveSettings)
    assemble: AssembleSettings = field(default_factory=AssembleSettings)
    trained_charges: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if self.structures:
            if self.sequence is not None:
                raise ConfigError("give either structures or a sequence; both are given")
            for name in ("conformations", "n_cap", "c_cap"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{name} goes with a sequence, not with structures")
        if self.active.rounds and self.uncertainty.method == "none":
            raise ConfigError(
                "active.rounds needs a model that knows how sure it is; set uncertainty.method to "
                "'last-layer' or 'ensemble'"
            )
        if self.high.budget > self.low.budget:
            raise ConfigError(
                f"high.budget is {self.high.budget} and low.budget {self.low.budget}; the "
                "expensive labels are a choice of the geometries with cheap ones"
            )


def build_config(settings: Mapping[str, Any], where: str = "build") -> BuildConfig:
    """Reads a configuration.

    Raises:
        ConfigError: a typo, a missing key, or values that make no sense.
    """
    return parse(BuildConfig, settings, where)

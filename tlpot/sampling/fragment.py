"""One fragment: settings, a pool of geometries from several methods, and the choice from it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from tlpot.calculators import CalculatorFactory
from tlpot.config import check_least, check_seed
from tlpot.errors import ConfigError, SimulationError, TLPotError, nearest
from tlpot.sampling.candidate import (
    ModelView,
    SampledGeometry,
    farthest_points,
    geometry_features,
    most_uncertain,
    scaled,
    stream,
)
from tlpot.sampling.scans import approaches, dimer, scan
from tlpot.sampling.thermal_motion import NormalModes, dynamics, hessian_of
from tlpot.structures import check_charge, name_charge
from tlpot.topology import MolecularGraph

Selection = Literal["farthest", "uncertainty"]
SELECTIONS = ("farthest", "uncertainty")
METHODS = ("scan", "modes", "md")

_STARTS = 6
"""Trajectories for each temperature: from the minimum and from unlike geometries of the scan."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSettings:
    """Settings of a sampling; impossible values raise a `ConfigError`.

    Attributes:
        methods: of ``scan`` (backbone and rotamers), ``modes`` (normal modes) and ``md``; the
            pool is shared equally. Dimers have a scan of their own.
        temperatures: of ``md`` and ``modes``, K.
        budget: geometries of each fragment.
        pool: times the budget; how many geometries the budget is chosen from.
        window: geometries more than this above the lowest are dropped, eV per atom.
        interval: MD steps of 1 fs between two geometries.
        select: how to choose.
        model: whose features and uncertainty to choose by; None for distances and angles.
        level: of the model's uncertainty, where it has several.
        seed: of everything that is drawn.
    """

    methods: tuple[str, ...] = METHODS
    temperatures: tuple[float, ...] = (300.0, 600.0)
    budget: int = 500
    pool: float = 3.0
    window: float = 0.2
    interval: int = 20
    select: Selection = "farthest"
    model: str | None = None
    level: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ConfigError(f"unknown method {method!r}{nearest(method, METHODS)}")
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise ConfigError(f"methods are {list(self.methods)}, expected one or more, each once")
        if self.select not in SELECTIONS:
            raise ConfigError(
                f"unknown selection {self.select!r}{nearest(self.select, SELECTIONS)}"
            )
        if self.select == "uncertainty" and self.model is None:
            raise ConfigError("selection by uncertainty needs a model: model='...' (--model)")
        if self.level is not None and self.select != "uncertainty":
            raise ConfigError("level applies to selection by uncertainty; leave it out")
        if self.needs_temperature and not self.temperatures:
            raise ConfigError("md and modes need a temperature")
        if any(not 0 < t < 1e4 for t in self.temperatures):
            raise ConfigError(f"temperatures are {list(self.temperatures)}, expected K above 0")
        check_least(self, budget=1, pool=1.0, window=1e-3, interval=1)
        check_seed(self.seed)

    @property
    def needs_temperature(self) -> bool:
        """Whether a method has a temperature."""
        return bool({"md", "modes"} & set(self.methods))

    @property
    def candidates(self) -> int:
        """Geometries that the budget is chosen from."""
        return math.ceil(self.pool * self.budget)


@dataclass(frozen=True, kw_only=True)
class SamplingTarget:
    """What is sampled.

    Attributes:
        name: also of the group in the file.
        atoms: the structure, with ``info["charge"]`` and ``info["spin"]`` where not 0 and 1; what
            else states them is understood, too.
        partners: the two molecules of a dimer.

    Raises:
        GeometryError: a charge or multiplicity that is ambiguous, or that the electrons cannot
            have.
    """

    name: str
    atoms: Atoms
    partners: tuple[Atoms, Atoms] | None = None

    def __post_init__(self) -> None:
        atoms = self.atoms.copy()
        name_charge(atoms, self.name)
        check_charge(atoms, self.name)
        object.__setattr__(self, "atoms", atoms)

    @classmethod
    def pair(cls, one: SamplingTarget, other: SamplingTarget) -> SamplingTarget:
        """The dimer of two fragments, named ``A+B``.

        Args:
            one: a single molecule.
            other: a single molecule.
        """
        return cls(
            name=f"{one.name}+{other.name}",
            atoms=dimer(one.atoms, other.atoms),
            partners=(one.atoms, other.atoms),
        )


@dataclass(frozen=True, kw_only=True)
class FragmentSamples:
    """What came of one fragment.

    Attributes:
        name: of the fragment.
        atoms: the fragment, relaxed.
        chosen: geometries with energies and forces, in order of choice.
        counts: how many geometries were made by each method, and lost for each reason.
        radius: greatest distance of a geometry of the pool to the nearest chosen one, in scaled
            features.
        random_radius: the same for as many drawn at random, mean of ten draws.
    """

    name: str
    atoms: Atoms
    chosen: tuple[SampledGeometry, ...]
    counts: dict[str, int]
    radius: float
    random_radius: float


def sample_fragment(
    fragment: SamplingTarget, settings: SamplingSettings, engine: CalculatorFactory
) -> FragmentSamples:
    """Samples one fragment.

    Args:
        fragment: what.
        settings: how.
        engine: what calculates.

    Raises:
        SimulationError: the structure falls apart when relaxed, or no geometry is left.
        UnknownElementError: the model of the selection does not know an element.
    """
    view = None if settings.model is None else _view(settings.model, settings.level)
    if view is not None:
        view.check(fragment.atoms.numbers, fragment.name)
    molecule = MolecularGraph(fragment.atoms)
    calculator = engine.calculator(fragment.atoms)
    counts: Counter[str] = Counter()
    if fragment.partners is None:
        atoms = _relaxed(fragment.atoms, molecule, calculator, fragment.name)
        pool = _molecule_pool(fragment.name, atoms, molecule, calculator, settings, counts)
    else:
        atoms = fragment.atoms
        one, other = (
            _relaxed(part, MolecularGraph(part), engine.calculator(part), fragment.name).positions
            for part in fragment.partners
        )
        seed = stream(settings.seed, fragment.name, "dimer")
        made = approaches(one, other, atoms, settings.candidates, seed)
        pool = _kept(made, atoms, molecule, calculator, counts)
    pool = _within(pool, settings.window * len(atoms), counts)
    if not pool:
        raise SimulationError(
            f"{fragment.name}: no geometry is left of {dict(counts)}; raise the energy window, "
            "lower the temperatures, or take another calculator"
        )
    return _choose(fragment.name, atoms, pool, settings, view, counts)


def _molecule_pool(
    name: str,
    atoms: Atoms,
    molecule: MolecularGraph,
    calculator: Calculator,
    settings: SamplingSettings,
    counts: Counter[str],
) -> list[SampledGeometry]:
    share = -(-settings.candidates // len(settings.methods))
    warm = -(-share // max(len(settings.temperatures), 1))
    minimum = SampledGeometry(
        positions=atoms.positions.copy(),
        method="relaxed",
        seed=settings.seed,
        step=0,
    )
    pool = _kept([minimum], atoms, molecule, calculator, counts)
    if "scan" in settings.methods:
        made = scan(atoms, molecule, share, stream(settings.seed, name, "scan"))
        pool += _kept(made, atoms, molecule, calculator, counts)
    if "modes" in settings.methods and len(atoms) > 1:
        modes = NormalModes(atoms, hessian_of(atoms, calculator))
        counts["imaginary modes"] += modes.imaginary
        for kelvin in settings.temperatures:
            made = modes.sample(kelvin, warm, stream(settings.seed, name, "modes", kelvin))
            pool += _kept(made, atoms, molecule, calculator, counts)
    if "md" in settings.methods:
        starts = _starts(atoms, pool, molecule, calculator)
        for kelvin in settings.temperatures:
            found, lost = dynamics(
                starts,
                molecule,
                calculator,
                temperature=kelvin,
                count=warm,
                seed=stream(settings.seed, name, "md", kelvin),
                interval=settings.interval,
            )
            counts["md"] += warm
            counts["lost: trajectory ended early"] += lost
            pool += found
    return pool


def _relaxed(atoms: Atoms, molecule: MolecularGraph, calculator: Calculator, name: str) -> Atoms:
    from ase.optimize import LBFGS

    relaxed = atoms.copy()
    if len(atoms) == 1:
        return relaxed
    relaxed.calc = calculator
    LBFGS(relaxed, logfile=None, maxstep=0.1).run(fmax=0.02, steps=500)  # type: ignore[arg-type]
    relaxed.calc = None
    if not molecule.intact(relaxed):
        raise SimulationError(
            f"{name}: the bonds change when the structure is relaxed; give another conformation, "
            "protonation state or calculator"
        )
    return relaxed


def _starts(
    atoms: Atoms, pool: list[SampledGeometry], molecule: MolecularGraph, calculator: Calculator
) -> list[Atoms]:
    """The minimum, and unlike geometries of the scan after a few steps downhill."""
    from ase.optimize import LBFGS

    starts = [atoms]
    turned = [c for c in pool if c.method == "scan"]
    if turned:
        low = sorted(turned, key=lambda c: c.energy)[: max(len(turned) // 2, 1)]
        rows = scaled(geometry_features([c.placed(atoms) for c in low]))
        chosen, _ = farthest_points(rows, _STARTS - 1, 0)
        for index in chosen.tolist():
            start = low[index].placed(atoms)
            start.calc = calculator
            LBFGS(start, logfile=None, maxstep=0.1).run(fmax=0.5, steps=40)  # type: ignore[arg-type]
            start.calc = None
            if molecule.intact(start):
                starts.append(start)
    return starts


def _kept(
    made: list[SampledGeometry],
    atoms: Atoms,
    molecule: MolecularGraph,
    calculator: Calculator,
    counts: Counter[str],
) -> list[SampledGeometry]:
    """Evaluates geometries that have their bonds; counts those that do not, or cannot be."""
    kept = []
    for candidate in made:
        counts[candidate.method] += 1
        if not molecule.intact(candidate.placed(atoms)):
            counts["lost: bonds changed"] += 1
            continue
        try:
            found = candidate.evaluated(atoms, calculator)
        except TLPotError:
            raise
        except Exception:  # programs have their own errors for what does not converge
            counts["lost: calculator failed"] += 1
            continue
        if np.isfinite(found.energy) and np.isfinite(found.forces).all():
            kept.append(found)
        else:
            counts["lost: calculator failed"] += 1
    return kept


def _within(
    pool: list[SampledGeometry], window: float, counts: Counter[str]
) -> list[SampledGeometry]:
    lowest = min((c.energy for c in pool), default=0.0)
    kept = [c for c in pool if c.energy <= lowest + window]
    counts["lost: energy"] += len(pool) - len(kept)
    return kept


def _choose(
    name: str,
    atoms: Atoms,
    pool: list[SampledGeometry],
    settings: SamplingSettings,
    view: ModelView | None,
    counts: Counter[str],
) -> FragmentSamples:
    frames = [c.placed(atoms) for c in pool]
    features = geometry_features(frames) if view is None else view.features(frames)
    rows = scaled(features)
    if settings.select == "uncertainty":
        assert view is not None
        order = most_uncertain(view.uncertainty(frames), rows, settings.budget)
    else:
        first = int(np.argmin([c.energy for c in pool]))
        order, _ = farthest_points(rows, settings.budget, first)
    rng = np.random.default_rng(stream(settings.seed, name, "random"))
    draws = [rng.choice(len(rows), len(order), replace=False) for _ in range(10)]
    return FragmentSamples(
        name=name,
        atoms=atoms,
        chosen=tuple(pool[k] for k in order.tolist()),
        counts=dict(counts),
        radius=_radius(rows, order),
        random_radius=float(np.mean([_radius(rows, draw) for draw in draws])),
    )


def _radius(rows: NDArray[np.float64], chosen: NDArray[np.int64]) -> float:
    nearest = np.full(len(rows), np.inf)
    for index in chosen.tolist():
        nearest = np.minimum(nearest, np.linalg.norm(rows - rows[index], axis=1))
    return float(nearest.max())


@cache
def _view(model: str, level: str | None) -> ModelView:
    return ModelView(model, level)

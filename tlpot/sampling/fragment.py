"""One fragment: a pool of geometries from several methods, and the choice from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from tlpot.errors import SimulationError, TLPotError
from tlpot.sampling.calculators import SamplingEngine
from tlpot.sampling.candidate import Candidate, farthest_points, most_uncertain, scaled, stream
from tlpot.sampling.descriptor import ModelView, geometry_features
from tlpot.sampling.dimers import approaches, dimer
from tlpot.sampling.dynamics import dynamics
from tlpot.sampling.modes import NormalModes, hessian_of
from tlpot.sampling.scan import scan
from tlpot.sampling.settings import SamplingSettings
from tlpot.structures import check_charge, name_charge
from tlpot.topology import Molecule

_STARTS = 6
"""Trajectories for each temperature: from the minimum and from unlike geometries of the scan."""


@dataclass(frozen=True, kw_only=True)
class Fragment:
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
    def pair(cls, one: Fragment, other: Fragment) -> Fragment:
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
    chosen: tuple[Candidate, ...]
    counts: dict[str, int]
    radius: float
    random_radius: float


def sample_fragment(
    fragment: Fragment, settings: SamplingSettings, engine: SamplingEngine
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
    molecule = Molecule(fragment.atoms)
    calculator = engine.calculator(fragment.atoms)
    counts: Counter[str] = Counter()
    if fragment.partners is None:
        atoms = _relaxed(fragment.atoms, molecule, calculator, fragment.name)
        pool = _molecule_pool(fragment.name, atoms, molecule, calculator, settings, counts)
    else:
        atoms = fragment.atoms
        one, other = (
            _relaxed(part, Molecule(part), engine.calculator(part), fragment.name).positions
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
    molecule: Molecule,
    calculator: Calculator,
    settings: SamplingSettings,
    counts: Counter[str],
) -> list[Candidate]:
    share = -(-settings.candidates // len(settings.methods))
    warm = -(-share // max(len(settings.temperatures), 1))
    minimum = Candidate(
        positions=atoms.positions.copy(),
        method="relaxed",
        temperature=float("nan"),
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


def _relaxed(atoms: Atoms, molecule: Molecule, calculator: Calculator, name: str) -> Atoms:
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
    atoms: Atoms, pool: list[Candidate], molecule: Molecule, calculator: Calculator
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
    made: list[Candidate],
    atoms: Atoms,
    molecule: Molecule,
    calculator: Calculator,
    counts: Counter[str],
) -> list[Candidate]:
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


def _within(pool: list[Candidate], window: float, counts: Counter[str]) -> list[Candidate]:
    lowest = min((c.energy for c in pool), default=0.0)
    kept = [c for c in pool if c.energy <= lowest + window]
    counts["lost: energy"] += len(pool) - len(kept)
    return kept


def _choose(
    name: str,
    atoms: Atoms,
    pool: list[Candidate],
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

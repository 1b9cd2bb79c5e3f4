"""One fragment: a pool of geometries from several methods, and the choice from it."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from tlpot.calculators import CalculatorFactory
from tlpot.errors import ConfigError, SimulationError, TLPotWarning
from tlpot.numbers import Floats, Ints
from tlpot.sampling.candidate import (
    ModelView,
    SampledGeometry,
    cell_of,
    check_of_geometry,
    farthest_points,
    geometry_features,
    most_uncertain,
    scaled,
    stream,
)
from tlpot.sampling.crystal import AtomsApart, crystal_shares, strained
from tlpot.sampling.scans import approaches, dimer, in_contact, scan, separated
from tlpot.sampling.settings import SamplingSettings
from tlpot.sampling.thermal_motion import (
    Lasting,
    NormalModes,
    displaced,
    downhill,
    downhill_to,
    dynamics,
    hessian_of,
    minimum_of,
)
from tlpot.structures import check_charge, conformers, name_charge
from tlpot.topology import MolecularGraph

SEPARATIONS = (-0.4, 4.0)
"""Å beyond contact; of complexes of three molecules and more."""

_STARTS = 6
"""Trajectories for each temperature: from the minimum and from unlike geometries of the scan."""
_PER_START = 4
"""Geometries that are made from one complex in contact, unless the number of these is given."""
_MOVING = {"md", "noise", "downhill"}
"""Methods that start from conformers, or from complexes in contact."""
_PER_TRAJECTORY = 5
"""Geometries of a trajectory with a temperature of its own."""


@dataclass(frozen=True, kw_only=True)
class SamplingTarget:
    """What is sampled.

    Attributes:
        name: also of the group in the file.
        atoms: the structure, with ``info["charge"]`` and ``info["spin"]`` where not 0 and 1; what
            else states them is understood, too; and a SMILES, see `tlpot.structures.SMILES`.
        partners: the molecules of a complex.

    Raises:
        GeometryError: a charge or multiplicity that is ambiguous, or that the electrons cannot
            have.
    """

    name: str
    atoms: Atoms
    partners: tuple[Atoms, ...] | None = None

    def __post_init__(self) -> None:
        atoms = self.atoms.copy()
        name_charge(atoms, self.name)
        check_charge(atoms, self.name)
        if atoms.constraints:  # ASE would move atoms and forces of labels by them
            atoms.set_constraint()
            warnings.warn(
                f"{self.name}: constraints are not kept, all atoms move in samples",
                TLPotWarning,
                stacklevel=3,
            )
        object.__setattr__(self, "atoms", atoms)
        if self.partners is not None:
            free = tuple(part.copy() for part in self.partners)
            for part in free:
                part.set_constraint()
            object.__setattr__(self, "partners", free)

    @classmethod
    def pair(cls, one: SamplingTarget, other: SamplingTarget) -> SamplingTarget:
        """The dimer of two fragments, named ``A+B``.

        Args:
            one: a single molecule.
            other: a single molecule.
        """
        return cls.complex(f"{one.name}+{other.name}", [one.atoms, other.atoms])

    @classmethod
    def complex(cls, name: str, molecules: Sequence[Atoms]) -> SamplingTarget:
        """The complex of two or more molecules.

        Args:
            name: of the complex.
            molecules: with charge and multiplicity.
        """
        return cls(name=name, atoms=dimer(*molecules), partners=tuple(molecules))


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
    calculator = engine.calculator(fragment.atoms)
    counts: Counter[str] = Counter()
    if fragment.atoms.pbc.any():
        if fragment.partners is not None:
            raise ConfigError(f"{fragment.name} is periodic, and complexes are of molecules")
        lattice = AtomsApart()
        atoms = minimum_of(fragment.atoms, lattice, calculator, fragment.name, counts)
        pool = _crystal_pool(fragment.name, atoms, lattice, calculator, settings, counts)
    elif fragment.partners is None:
        molecule = MolecularGraph(fragment.atoms)
        atoms = minimum_of(fragment.atoms, molecule, calculator, fragment.name, counts)
        pool = _molecule_pool(fragment.name, atoms, molecule, calculator, settings, counts)
    else:
        atoms, molecule = fragment.atoms, MolecularGraph(fragment.atoms)
        pool = _complex_pool(fragment, molecule, calculator, engine, settings, counts)
    pool = _within(pool, settings.window * len(atoms), counts)
    atoms = atoms.copy()
    atoms.set_constraint()  # what held protons
    if not pool:
        evaluated = atoms.copy()
        evaluated.calc = calculator
        evaluated.get_forces()  # says what is wrong, if it is the calculator
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
    if "strain" in settings.weights:
        raise ConfigError(f"{name} is not periodic, and method strain changes cells; leave it out")
    shares = settings.shares(settings.weights, settings.candidates)
    minimum = SampledGeometry(
        positions=atoms.positions.copy(),
        method="relaxed",
        seed=settings.seed,
        step=0,
    )
    pool = _kept([minimum], atoms, molecule, calculator, counts)
    starts: list[Atoms] | None = None
    if "etkdg" in shares:
        number = settings.conformers or shares.pop("etkdg")
        made = _conformers(name, atoms, number, settings.seed)
        # rigid molecules, which have few, leave more to the other methods
        others = [method for method in settings.weights if method != "etkdg"]
        shares = settings.shares(others, max(settings.candidates - len(made), len(others)))
        pool += _kept(made, atoms, molecule, calculator, counts)
        starts = [c.placed(atoms) for c in pool]
    if "scan" in shares:
        made = scan(atoms, molecule, shares["scan"], stream(settings.seed, name, "scan"))
        pool += _kept(made, atoms, molecule, calculator, counts)
    if "modes" in shares and len(atoms) > 1:
        modes = NormalModes(atoms, hessian_of(atoms, calculator))
        counts["imaginary modes"] += modes.imaginary
        plan = _temperatures(settings, name, "modes", [atoms], shares["modes"], 1)
        for kelvin, _, number, seed in plan:
            made = modes.sample(kelvin, number, seed)
            pool += _kept(made, atoms, molecule, calculator, counts)
    if _MOVING & shares.keys():
        starts = starts or _starts(atoms, pool, molecule, calculator)
        pool += _moving(name, starts, molecule, calculator, settings, shares, counts)
    return pool


def _crystal_pool(
    name: str,
    atoms: Atoms,
    lattice: Lasting,
    calculator: Calculator,
    settings: SamplingSettings,
    counts: Counter[str],
) -> list[SampledGeometry]:
    shares = crystal_shares(name, settings)
    start = SampledGeometry(
        positions=atoms.positions.copy(),
        cell=cell_of(atoms),
        method="relaxed",
        seed=settings.seed,
        step=0,
    )
    pool = _kept([start], atoms, lattice, calculator, counts)
    starts = [atoms]
    if "strain" in shares:
        own = stream(settings.seed, name, "strain")
        made = strained([atoms], shares["strain"], settings.strain, settings.noise, own)
        found = _kept(made, atoms, lattice, calculator, counts)
        starts += [c.placed(atoms) for c in found[: _STARTS - 1]]
        pool += found
    return pool + _moving(name, starts, lattice, calculator, settings, shares, counts)


def _conformers(name: str, atoms: Atoms, number: int, seed: int) -> list[SampledGeometry]:
    own = stream(seed, name, "etkdg")
    return [
        SampledGeometry(positions=positions, method="etkdg", seed=own, step=k)
        for k, positions in enumerate(conformers(atoms, number, own))
    ]


def _complex_pool(
    fragment: SamplingTarget,
    molecule: MolecularGraph,
    calculator: Calculator,
    engine: CalculatorFactory,
    settings: SamplingSettings,
    counts: Counter[str],
) -> list[SampledGeometry]:
    assert fragment.partners is not None
    name, atoms, partners = fragment.name, fragment.atoms, fragment.partners
    seed = stream(settings.seed, name, "dimer")
    if "etkdg" in settings.weights:
        number = settings.conformers or _STARTS
        parts = [conformers(part, number, seed) for part in partners]
    else:
        parts = [
            [minimum_of(p, MolecularGraph(p), engine.calculator(p), name, counts).positions]
            for p in partners
        ]
    if settings.separations is None and len(partners) == 2:
        made = approaches(parts[0][0], parts[1][0], atoms, settings.candidates, seed)
        return _kept(made, atoms, molecule, calculator, counts)
    moving = [method for method in settings.weights if method in _MOVING]
    shares = settings.shares(["scan", *moving], settings.candidates)
    starts = []
    for k in range(settings.conformers or -(-settings.candidates // _PER_START)):
        rows = [some[k % len(some)] for some in parts]
        start = atoms.copy()
        start.set_positions(
            in_contact(rows, atoms.numbers, stream(settings.seed, name, "contact", k))
        )
        start = downhill_to(start, calculator, 0.05, 150) if settings.minimise else start
        if molecule.intact(start):
            starts.append(start)
        else:
            counts["lost: bonds changed in contact"] += 1
    if not starts:
        return []
    low, high = settings.separations or SEPARATIONS
    made = separated(starts, molecule.pieces, shares["scan"], (low, high), seed)
    pool = _kept(made, atoms, molecule, calculator, counts)
    return pool + _moving(name, starts, molecule, calculator, settings, shares, counts)


def _moving(
    name: str,
    starts: list[Atoms],
    molecule: Lasting,
    calculator: Calculator,
    settings: SamplingSettings,
    shares: Mapping[str, int],
    counts: Counter[str],
) -> list[SampledGeometry]:
    """What dynamics, noise and relaxations make of starting geometries, a share of each."""
    pool: list[SampledGeometry] = []
    atoms = starts[0]
    if "md" in shares:
        plan = _temperatures(settings, name, "md", starts, shares["md"], _PER_TRAJECTORY)
        for kelvin, some, number, seed in plan:
            found, lost = dynamics(
                some,
                molecule,
                calculator,
                temperature=kelvin,
                count=number,
                seed=seed,
                interval=settings.interval,
            )
            counts["md"] += number
            counts["lost: trajectory ended early"] += lost
            pool += found
    if "noise" in shares:
        own = stream(settings.seed, name, "noise")
        made = displaced(starts, shares["noise"], settings.noise, own)
        pool += _kept(made, atoms, molecule, calculator, counts)
    if "downhill" in shares:
        seed = stream(settings.seed, name, "downhill")
        rough = displaced(starts, shares["downhill"], settings.noise, seed)
        relaxing = calculator
        if settings.downhill is not None:
            relaxing = CalculatorFactory.of(settings.downhill).calculator(atoms)
        made = downhill(rough, atoms, relaxing, settings.downhill_steps, seed)
        counts["lost: calculator failed"] += len(rough) - len(made)
        pool += _kept(made, atoms, molecule, calculator, counts)
    return pool


def _temperatures(
    settings: SamplingSettings,
    name: str,
    method: str,
    starts: list[Atoms],
    share: int,
    each: int,
) -> list[tuple[float, list[Atoms], int, int]]:
    """Temperatures with the starts, the number of geometries and the seed of each.

    Of a range each start has a temperature of its own, and more than one where a start would
    have to give more geometries than `each`.
    """
    if not settings.in_range:
        warm = -(-share // max(len(settings.kelvin), 1))
        return [
            (kelvin, starts, warm, stream(settings.seed, name, method, kelvin))
            for kelvin in settings.kelvin
        ]
    rng = np.random.default_rng(stream(settings.seed, name, method))
    low, high = settings.kelvin
    number = max(min(len(starts), share), -(-share // each))
    counts = [len(part) for part in np.array_split(np.arange(share), number)]
    return [
        (
            float(rng.uniform(low, high)),
            [starts[k % len(starts)]],
            count,
            stream(settings.seed, name, method, k),
        )
        for k, count in enumerate(counts)
    ]


def _starts(
    atoms: Atoms, pool: list[SampledGeometry], molecule: MolecularGraph, calculator: Calculator
) -> list[Atoms]:
    """The minimum, and unlike geometries of the scan after a few steps downhill."""
    starts = [atoms]
    turned = [c for c in pool if c.method == "scan"]
    if turned:
        low = sorted(turned, key=lambda c: c.energy)[: max(len(turned) // 2, 1)]
        rows = scaled(geometry_features([c.placed(atoms) for c in low]))
        chosen, _ = farthest_points(rows, _STARTS - 1, 0)
        for index in chosen.tolist():
            try:
                start = downhill_to(low[index].placed(atoms), calculator, 0.5, 40)
            except Exception as error:
                check_of_geometry(error)
                continue
            if molecule.intact(start):
                starts.append(start)
    return starts


def _kept(
    made: list[SampledGeometry],
    atoms: Atoms,
    molecule: Lasting,
    calculator: Calculator,
    counts: Counter[str],
) -> list[SampledGeometry]:
    """Evaluates geometries that have their bonds; counts those that do not, or cannot be."""
    kept = []
    for candidate in made:
        counts[candidate.method] += 1
        placed = candidate.placed(atoms)
        if not molecule.intact(placed) or molecule.overlaps(placed):
            counts["lost: bonds changed"] += 1
            continue
        try:
            found = candidate.evaluated(atoms, calculator)
        except Exception as error:
            check_of_geometry(error)
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


def _radius(rows: Floats, chosen: Ints) -> float:
    nearest = np.full(len(rows), np.inf)
    for index in chosen.tolist():
        nearest = np.minimum(nearest, np.linalg.norm(rows - rows[index], axis=1))
    return float(nearest.max())


@cache
def _view(model: str, level: str | None) -> ModelView:
    return ModelView(model, level)

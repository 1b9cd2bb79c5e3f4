"""Bonds that break or form: between two geometries, and in short runs that are watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import covalent_radii

from tlpot.bond_thresholds import BONDED, BROKEN, RADII, RELAXED_BROKEN, RELAXED_FORMED
from tlpot.dynamics import runner
from tlpot.dynamics.settings import MDSettings
from tlpot.errors import GeometryError
from tlpot.numbers import Floats, Ints
from tlpot.system import System
from tlpot.topology import Continuity, Lattice, Topology


def bond_changes(before: Atoms, after: Atoms) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Compares the bonds of two geometries of the same atoms, by distances.

    The second one is unwrapped as the first, in whatever cell.

    Returns:
        The bonds that broke and those that formed, such as ``C0-H4 (1.09 to 2.31 Å)``.
    """
    old = _pairs(before, BONDED)
    broken = []
    for key in sorted(old):
        i, j, *image = key
        length = float(
            np.linalg.norm(
                after.positions[j] - after.positions[i] + np.array(image) @ after.cell.array
            )
        )
        if length > RELAXED_BROKEN * (
            covalent_radii[after.numbers[i]] + covalent_radii[after.numbers[j]]
        ):
            broken.append(_named(before, i, j, old[key], length))
    formed = []
    for key, length in sorted(_pairs(after, RELAXED_FORMED).items()):
        if key not in old:
            i, j, *image = key
            vector = before.positions[j] - before.positions[i] + np.array(image) @ before.cell.array
            formed.append(_named(before, i, j, float(np.linalg.norm(vector)), length))
    return tuple(broken), tuple(formed)


def rmsd(before: Atoms, after: Atoms) -> float:
    """Returns the root mean square displacement of the atoms in Å.

    Of a free molecule, after the best superposition (Kabsch, doi:10.1107/S0567739476001873); of a
    periodic one without the mean displacement, in the fractional coordinates of the last cell;
    with constraints as it is.
    """
    if before.constraints:
        shift = after.positions - before.positions
    elif before.pbc.any():
        old = before.get_scaled_positions(wrap=False) @ after.cell.array
        if before.cell.rank < 3:
            old = before.positions
        shift = after.positions - old
        shift = shift - shift.mean(axis=0)
    else:
        old = before.positions - before.positions.mean(axis=0)
        new = after.positions - after.positions.mean(axis=0)
        shift = new - old @ superposition(old, new)
    return float(np.sqrt((shift**2).sum(axis=1).mean()))


def superposition(old: Floats, new: Floats) -> Floats:
    """Returns the proper rotation R, [3, 3], for which ``old @ R`` is nearest to `new`."""
    left, _, right = np.linalg.svd(old.T @ new)
    sign = np.sign(np.linalg.det(left @ right))
    return left @ np.diag([1.0, 1.0, sign]) @ right


def _pairs(atoms: Atoms, factor: float) -> dict[tuple[int, ...], float]:
    """Returns the length of each pair, keyed by both atoms and the image of the second."""
    from ase.neighborlist import neighbor_list

    radii = factor * covalent_radii[atoms.numbers]
    i, j, images, lengths = neighbor_list("ijSd", atoms, list(radii))
    found: dict[tuple[int, ...], float] = {}
    for first, second, image, length in zip(
        i.tolist(), j.tolist(), images.tolist(), lengths.tolist(), strict=True
    ):
        turned = (second, first, *(-k for k in image))
        found[min((first, second, *image), turned)] = length
    return found


def _named(atoms: Atoms, i: int, j: int, before: float, after: float) -> str:
    return f"{atoms.symbols[i]}{i}-{atoms.symbols[j]}{j} ({before:.2f} to {after:.2f} Å)"


PROTOCOL = (
    "Short runs from the given structures. NVE: velocity Verlet, velocities scaled to the "
    "temperature at the start. Langevin: constant temperature. A bond that is beyond "
    f"{BROKEN} times its first length after any step counts as broken and ends the run."
)
"""How `simulate` makes its runs."""


class BondMonitor:
    """Bonds, and how far they were stretched: a hook of `MDRunner` that ends it where one breaks.

    Args:
        pairs: [n_bonds, 2].
        images: which copy of the second atom, in cell vectors, [n_bonds, 3].
        lengths: at the start, [n_bonds], Å.

    Attributes:
        stretch: longest bond so far relative to its first length.
    """

    def __init__(self, pairs: Ints, images: Ints, lengths: Floats) -> None:
        self._pairs, self._images, self._lengths = pairs, images, lengths
        self.stretch = 1.0

    @classmethod
    def near(cls, atoms: Atoms) -> BondMonitor:
        """Monitors the pairs closer than 1.25 times the sum of their covalent radii."""
        from ase.neighborlist import neighbor_list

        radii = BONDED * RADII[atoms.numbers]
        i, j, images, lengths = neighbor_list("ijSd", atoms, list(radii))
        once = i <= j
        return cls(np.stack([i, j], 1)[once], images[once], lengths[once])

    @classmethod
    def of_molecule(cls, atoms: Atoms, pairs: Ints) -> BondMonitor:
        """Monitors given pairs, none of which reaches into another copy of the cell."""
        images = np.zeros((len(pairs), 3), dtype=np.int64)
        return cls(pairs, images, _lengths(atoms, pairs, images))

    def measure(self, atoms: Atoms, step: int) -> str:
        """Measures the bonds, and returns in words which one is broken; empty if none is."""
        if not len(self._pairs):
            return ""
        ratios = _lengths(atoms, self._pairs, self._images) / self._lengths
        k = int(ratios.argmax())
        ratio = float(ratios[k])
        self.stretch = max(self.stretch, ratio)
        if not ratio > BROKEN:
            return ""
        i, j = self._pairs[k]
        bond = f"{atoms.symbols[i]}{i}-{atoms.symbols[j]}{j}"
        return f"step {step}: bond {bond} is {ratio:.2f} times its first length"

    def __call__(self, run: runner.MDRunner) -> str:
        """Measures the bonds where a run is."""
        return self.measure(run.atoms, run.step)


@dataclass(frozen=True, kw_only=True)
class MonitoredRun:
    """What a run gave.

    Attributes:
        n_atoms: of the structure.
        samples: every ``log_every`` steps, the start and the last step included.
        positions: of the samples, [n_samples, n_atoms, 3], Å.
        stretch: longest bond relative to its first length.
        broken: what broke, in words; empty if nothing did.
        seconds_per_step: by the clock.
    """

    n_atoms: int
    samples: tuple[runner.Sample, ...]
    positions: Floats
    stretch: float
    broken: str
    seconds_per_step: float

    @property
    def picoseconds(self) -> float:
        """Simulated time."""
        return 1e-3 * self.samples[-1].time

    @property
    def drift(self) -> float:
        """Slope of the total energy, meV/atom/ps; NaN with fewer than three samples."""
        return runner.energy_drift(self.samples, self.n_atoms)

    @property
    def deviations(self) -> Floats:
        """Total energy relative to the start, [n_samples], meV/atom."""
        total = np.array([s.total for s in self.samples])
        return 1e3 * (total - total[0]) / self.n_atoms


@dataclass(frozen=True, kw_only=True)
class Motion(MonitoredRun):
    """A run of a structure of which a report tells; molecules are whole.

    Attributes:
        structure: name of the structure.
        calculator: name of what computed the forces.
        settings: what was asked for.
        protocol: how the run was made and monitored, in words.
    """

    structure: str
    calculator: str
    settings: MDSettings
    protocol: str = PROTOCOL

    @property
    def kelvin(self) -> tuple[float, float]:
        """Mean and standard deviation of the temperature in the second half, K."""
        values = np.array([s.temperature for s in self.samples])[len(self.samples) // 2 :]
        return float(values.mean()), float(values.std())

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers with the samples; what is not defined is null."""
        drift = self.drift if self.settings.ensemble == "nve" else float("nan")
        return {
            "structure": self.structure,
            "calculator": self.calculator,
            "ensemble": self.settings.ensemble,
            "temperature_asked_K": self.settings.temperature,
            "friction_per_ps": self.settings.friction,
            "timestep_fs": self.settings.timestep,
            "seed": self.settings.seed,
            "steps_asked": self.settings.steps,
            "steps": self.samples[-1].step,
            "n_atoms": self.n_atoms,
            "drift_meV_per_atom_per_ps": drift if np.isfinite(drift) else None,
            "temperature_mean_K": self.kelvin[0],
            "temperature_std_K": self.kelvin[1],
            "longest_bond_ratio": self.stretch,
            "broken": self.broken or None,
            "seconds_per_step": self.seconds_per_step,
            "time_fs": [s.time for s in self.samples],
            "total_energy_eV": [s.total for s in self.samples],
            "temperature_K": [s.temperature for s in self.samples],
        }


def run_monitored(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    monitor: BondMonitor,
    *,
    on_step: Callable[[], object] | None = None,
) -> MonitoredRun:
    """Runs dynamics until a bond breaks or the steps are done.

    The atoms move, and velocities are drawn; at constant energy a run starts at exactly the
    temperature asked for. `on_step` is called after each step.

    Raises:
        TLPotError: the calculator refuses the structure as it is at the start.
    """
    rng = np.random.default_rng(settings.seed)
    rigid = runner.rigid_motions(atoms, settings)
    runner.draw_velocities(atoms, settings, rigid, rng)
    if settings.ensemble == "nve" and settings.temperature > 0:
        # a few atoms have a temperature by chance; every seed shall be as hard a test
        runner.scale_velocities(atoms, settings, rigid)
    atoms.calc = calculator
    atoms.get_potential_energy()  # what the calculator refuses now is no explosion
    samples: list[runner.Sample] = []
    frames: list[Floats] = []

    def record(run: runner.MDRunner) -> None:
        if run.logs:
            samples.append(run.sample())
            frames.append(run.atoms.positions.copy())
        if on_step is not None and run.step and not run.ended:
            on_step()

    run = runner.MDRunner(atoms, settings, rng, rigid=rigid)
    try:
        broken = run.advance(settings.steps, (runner.check_finite, monitor, record))
    except GeometryError as error:
        broken = f"step {run.step}: {error}"
    return MonitoredRun(
        n_atoms=len(atoms),
        samples=tuple(samples),
        positions=np.array(frames),
        stretch=monitor.stretch,
        broken=broken,
        seconds_per_step=run.seconds_per_step,
    )


def simulate(
    atoms: Atoms,
    calculator: Calculator,
    settings: MDSettings,
    topology: Topology,
    *,
    structure: str,
    name: str,
    on_step: Callable[[], object] | None = None,
) -> Motion:
    """Runs dynamics until a bond breaks or the steps are done.

    The atoms, wrapped into their cell or not, are copied; the bonds of `topology` are monitored.
    The other arguments are those of `run_monitored`.

    Raises:
        TLPotError: the calculator refuses the structure as it is at the start.
    """
    moving = atoms.copy()
    # dynamics never wrap atoms, so molecules that start whole have true bonds and angles to the end
    moving.positions = _whole(atoms, topology)
    monitor = BondMonitor.of_molecule(moving, topology.bonds)
    run = run_monitored(moving, calculator, settings, monitor, on_step=on_step)
    return Motion(structure=structure, calculator=name, settings=settings, **vars(run))


def _whole(atoms: Atoms, topology: Topology) -> Floats:
    """Positions with molecules in one piece, [n_atoms, 3], Å."""
    positions: Floats = atoms.get_positions()
    lattice = Lattice.of(System.from_atoms(atoms))
    if lattice is not None:
        found = Continuity(len(atoms), topology.bonds).shifts(positions, lattice)
        positions = positions + found @ lattice.vectors
    return positions


def _lengths(atoms: Atoms, pairs: Ints, images: Ints) -> Floats:
    i, j = pairs.T
    vectors = atoms.positions[j] - atoms.positions[i] + images @ atoms.cell.array
    return np.linalg.norm(vectors, axis=1)

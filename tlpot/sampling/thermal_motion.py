"""Motion about a minimum: normal modes, Langevin dynamics, noise, and the way back down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.constraints import Hookean

from tlpot.dynamics import MDRunner, MDSettings, draw_velocities
from tlpot.errors import SimulationError
from tlpot.numbers import Floats, Ints
from tlpot.sampling.candidate import SampledGeometry, cell_of, check_of_geometry, labels_of
from tlpot.topology import MolecularGraph

_STEP = 0.005
_SOFTEST = 50.0
"""Wavenumber in cm⁻¹ that stiffness is taken from where a mode is softer: along a straight line
a soft torsion would be driven far from where a harmonic potential holds."""
_QUANTUM = units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm
"""Wavenumber in cm⁻¹ of ω = 1 sqrt(eV/Å²/amu)."""
_NULL = 1e-8

TIMESTEP = 1.0
"""fs."""
INTERVAL = 20
"""Steps between two geometries."""
EQUILIBRATION = 100
"""Steps before the first."""

_LEAST_NOISE = 0.25
"""Of the largest."""
_LEAST_STEPS = 4
_FAR_DOWN = 0.15
"""Share of the geometries that go nearly to the minimum, in `_FAR_STEPS` times as many steps."""
_FAR_STEPS = 2.5


def hessian_of(atoms: Atoms, calculator: Calculator) -> Floats:
    """The second derivatives: the calculator's own, else central differences of its forces.

    Args:
        atoms: the structure.
        calculator: any; one with ``get_hessian`` gives its own.

    Returns:
        [3 n_atoms, 3 n_atoms], eV/Å², symmetric.
    """
    own = getattr(calculator, "get_hessian", None)
    if own is not None:
        matrix: Floats = np.asarray(own(atoms), dtype=np.float64)
        return matrix
    moved = atoms.copy()
    moved.calc = calculator
    start, size = atoms.positions, 3 * len(atoms)
    rows = np.empty((size, size))
    for k in range(size):
        shift = np.zeros(size)
        shift[k] = _STEP
        sides = []
        for sign in (1.0, -1.0):
            moved.set_positions(start + sign * shift.reshape(-1, 3))
            sides.append(moved.get_forces().reshape(-1))
        rows[k] = (sides[1] - sides[0]) / (2.0 * _STEP)
    return 0.5 * (rows + rows.T)


class NormalModes:
    """The vibrations of a minimum.

    Args:
        atoms: the minimum.
        hessian: [3 n_atoms, 3 n_atoms], eV/Å².

    Attributes:
        omega_squared: of each vibration, eV/(Å² amu), ascending; translations and rotations
            are projected out.
        vectors: mass-weighted, orthonormal, [n_modes, 3 n_atoms].
    """

    def __init__(self, atoms: Atoms, hessian: Floats) -> None:
        self._atoms = atoms
        roots = np.repeat(np.sqrt(atoms.get_masses()), 3)
        weighted = hessian / roots[:, None] / roots
        rigid = _rigid(atoms, roots)
        inner = np.eye(len(roots)) - rigid @ rigid.T
        basis, singular, _ = np.linalg.svd(inner)
        basis = basis[:, singular > 0.5]
        values, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
        self.omega_squared: Floats = values
        self.vectors: Floats = (basis @ vectors).T
        self._roots = roots

    @property
    def wavenumbers(self) -> Floats:
        """In cm⁻¹, negative for imaginary ones, [n_modes]."""
        return np.sign(self.omega_squared) * np.sqrt(np.abs(self.omega_squared)) * _QUANTUM

    @property
    def imaginary(self) -> int:
        """Number of modes along which the energy falls by more than noise."""
        return int((self.wavenumbers < -_SOFTEST).sum())

    def sample(self, temperature: float, count: int, seed: int) -> list[SampledGeometry]:
        """Draws geometries.

        A mode i is displaced by R_i = ± sqrt(3 c_i N kT / K_i), where c are random numbers in
        [0, 1] whose sum is at most 1: J. S. Smith, O. Isayev, A. E. Roitberg,
        doi:10.1039/C6SC05720A, equation 7, here in mass-weighted coordinates. Modes softer than
        50 cm⁻¹, imaginary ones included, are given the stiffness of 50 cm⁻¹.

        Args:
            temperature: K.
            count: how many.
            seed: of the numbers.
        """
        rng = np.random.default_rng(seed)
        n_modes = len(self.omega_squared)
        if n_modes == 0:
            return []
        stiffness = np.maximum(self.omega_squared, (_SOFTEST / _QUANTUM) ** 2)
        kept = []
        for draw in range(count):
            weights = rng.uniform(size=n_modes)
            weights *= rng.uniform() / weights.sum()
            energy = 3.0 * weights * len(self._atoms) * units.kB * temperature
            shift = rng.choice([-1.0, 1.0], size=n_modes) * np.sqrt(energy / stiffness)
            moved = (shift @ self.vectors / self._roots).reshape(-1, 3)
            kept.append(
                SampledGeometry(
                    positions=self._atoms.positions + moved,
                    method="modes",
                    temperature=temperature,
                    seed=seed,
                    step=draw,
                )
            )
        return kept


def _rigid(atoms: Atoms, roots: Floats) -> Floats:
    """Orthonormal translations and rotations, mass-weighted, [3 n_atoms, 5 or 6]."""
    arms = atoms.positions - atoms.get_center_of_mass()
    columns = []
    for axis in np.eye(3):
        columns.append((np.tile(axis, (len(atoms), 1))).reshape(-1) * roots)
        columns.append(np.cross(axis, arms).reshape(-1) * roots)
    left, singular, _ = np.linalg.svd(np.stack(columns, axis=1), full_matrices=False)
    kept: Floats = left[:, singular > _NULL * singular.max()]
    return kept


class Lasting(Protocol):
    """What has to last while the atoms of a structure move, such as its bonds."""

    def intact(self, atoms: Atoms) -> bool:
        """Whether it is there."""
        ...

    def overlaps(self, atoms: Atoms) -> bool:
        """Whether two atoms are in one place."""
        ...


def dynamics(
    starts: Sequence[Atoms],
    molecule: Lasting,
    calculator: Calculator,
    *,
    temperature: float,
    count: int,
    seed: int,
    interval: int = INTERVAL,
) -> tuple[list[SampledGeometry], int]:
    """Runs one trajectory from each start and takes every so many steps a geometry.

    A trajectory that breaks or makes a bond, or whose energy is no number, ends there.

    Args:
        starts: geometries of one fragment, in turn.
        molecule: what has to last.
        calculator: any.
        temperature: K.
        count: geometries wanted, over all starts.
        seed: of velocities and noise.
        interval: steps between two geometries.

    Returns:
        The geometries with energies and forces, and how many were lost to trajectories that
        ended early.
    """
    kept: list[SampledGeometry] = []
    shares = [len(part) for part in np.array_split(np.arange(count), len(starts))]
    for number, (start, share) in enumerate(zip(starts, shares, strict=True)):
        if share == 0:
            continue
        kept += _trajectory(
            start, molecule, calculator, temperature, share, seed + number, interval
        )
    return kept, count - len(kept)


def _trajectory(
    start: Atoms,
    molecule: Lasting,
    calculator: Calculator,
    temperature: float,
    count: int,
    seed: int,
    interval: int,
) -> list[SampledGeometry]:
    atoms = start.copy()
    atoms.calc = calculator
    settings = MDSettings(
        temperature=temperature,
        timestep=TIMESTEP,
        steps=EQUILIBRATION + count * interval,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    draw_velocities(atoms, settings, (0, 0), rng)
    found: list[SampledGeometry] = []
    atoms.get_potential_energy()  # what the calculator refuses is no explosion
    run = MDRunner(atoms, settings, rng)
    for step in range(interval, settings.steps + 1, interval):
        try:
            run.advance(interval)
            energy = float(atoms.get_potential_energy())
        except Exception:  # programs have their own errors for what has flown apart
            break
        fast = float(np.abs(atoms.get_velocities()).max(initial=0.0)) * TIMESTEP * units.fs > 0.5
        if fast or not np.isfinite(energy) or not molecule.intact(atoms):
            break
        if step > EQUILIBRATION:
            found.append(
                SampledGeometry(
                    positions=atoms.positions.copy(),
                    method="md",
                    temperature=temperature,
                    seed=seed,
                    step=step,
                    cell=cell_of(atoms),
                    **labels_of(atoms),
                )
            )
    return found


def displaced(
    starts: Sequence[Atoms], count: int, largest: float, seed: int
) -> list[SampledGeometry]:
    """Adds Gaussian noise to all coordinates, for each geometry of a width of its own.

    Args:
        starts: geometries of one fragment, in turn.
        count: geometries wanted.
        largest: standard deviation, Å; the least is a quarter of it.
        seed: of widths and noise.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        start = starts[k % len(starts)]
        width = rng.uniform(_LEAST_NOISE * largest, largest)
        moved = start.positions + width * rng.standard_normal(start.positions.shape)
        found.append(
            SampledGeometry(positions=moved, cell=cell_of(start), method="noise", seed=seed, step=k)
        )
    return found


def downhill(
    rough: Sequence[SampledGeometry], atoms: Atoms, calculator: Calculator, steps: int, seed: int
) -> list[SampledGeometry]:
    """Relaxes geometries a little: from four steps to as many as asked for, one in seven further.

    Args:
        rough: where they begin.
        atoms: the fragment.
        calculator: whose minimum they go to; not what gives them their energies.
        steps: of L-BFGS, at most 0.1 Å for an atom.
        seed: of the numbers of steps.

    Returns:
        Those that the calculator does not fail on.

    Raises:
        TLPotError: see `check_of_geometry`.
    """
    from ase.optimize import LBFGS

    rng = np.random.default_rng(seed)
    found = []
    for k, start in enumerate(rough):
        moved = start.placed(atoms)
        moved.calc = calculator
        n_steps = int(rng.integers(min(_LEAST_STEPS, steps), steps + 1))
        if rng.random() < _FAR_DOWN:
            n_steps = round(_FAR_STEPS * steps)
        try:
            LBFGS(moved, logfile=None, maxstep=0.1).run(fmax=0.01, steps=n_steps)  # type: ignore[arg-type]
        except Exception as error:
            check_of_geometry(error)
            continue
        found.append(
            SampledGeometry(
                positions=moved.positions.copy(),
                cell=cell_of(moved),
                method="downhill",
                seed=seed,
                step=k,
            )
        )
    return found


PROTONS_HELD = "held: protons that leave their atom in vacuum"
"""Key of the counts of a fragment."""

_PROTIC = (7, 8, 16)
_SLACK = 0.06
"""Å beyond which a bond that is held is pulled back."""
_PULL = 40.0
"""eV/Å²; that of an N-H bond."""


def downhill_to(atoms: Atoms, calculator: Calculator, fmax: float, steps: int) -> Atoms:
    """Relaxes a structure with its constraints, which it keeps.

    Args:
        atoms: where to start.
        calculator: of energies and forces.
        fmax: largest force to end at, eV/Å.
        steps: of L-BFGS at most.
    """
    from ase.optimize import LBFGS

    relaxed = atoms.copy()
    if len(atoms) > 1:
        relaxed.calc = calculator
        LBFGS(relaxed, logfile=None, maxstep=0.1).run(fmax=fmax, steps=steps)  # type: ignore[arg-type]
        relaxed.calc = None
    return relaxed


def minimum_of(
    atoms: Atoms, molecule: Lasting, calculator: Calculator, name: str, counts: Counter[str]
) -> Atoms:
    """Relaxes a structure that has to stay what it is.

    In vacuum a proton goes from an ammonium or a guanidinium group to a carboxylate beside it,
    which it does not in water. Where relaxation moves protons between N, O and S, it is done
    again with springs on their bonds, which act beyond usual lengths only and are kept as
    constraints for what starts from here; labels are without them.

    Args:
        atoms: where to start.
        molecule: what has to last.
        calculator: of energies and forces.
        name: for messages.
        counts: gets the number of protons under `PROTONS_HELD`, where they are held.

    Raises:
        SimulationError: other bonds change, or even springs do not hold these.
    """
    relaxed = downhill_to(atoms, calculator, 0.02, 500)
    if molecule.intact(relaxed):
        return relaxed
    moved = _protons_moved(molecule, relaxed) if isinstance(molecule, MolecularGraph) else 0
    if moved:
        held = atoms.copy()
        held.set_constraint(_springs(molecule, atoms))  # type: ignore[arg-type]
        held = downhill_to(held, calculator, 0.02, 500)
        if molecule.intact(held):
            counts[PROTONS_HELD] += moved
            return held
    raise SimulationError(
        f"{name}: the bonds change when the structure is relaxed; give another conformation, "
        "protonation state or calculator"
    )


def _protic(molecule: MolecularGraph) -> Ints:
    """Returns the hydrogens on N, O and S with these, [n, 2]."""
    z = molecule.numbers
    found = [
        (a, b) if z[a] == 1 else (b, a)
        for a, b in molecule.bonds.tolist()
        if {int(z[a]), int(z[b])} & set(_PROTIC) and 1 in (z[a], z[b])
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _protons_moved(molecule: MolecularGraph, relaxed: Atoms) -> int:
    """How many protons are nearer to another of these atoms than to their own."""
    protons = _protic(molecule)
    others = np.flatnonzero(np.isin(molecule.numbers, _PROTIC))
    where = relaxed.positions
    distances = np.linalg.norm(where[protons[:, :1]] - where[others][None], axis=2)
    nearest = others[distances.argmin(axis=1)] if len(protons) else protons[:, 1]
    return int((nearest != protons[:, 1]).sum())


def _springs(molecule: MolecularGraph, atoms: Atoms) -> list[Hookean]:
    lengths = {7: 1.02, 8: 0.97, 16: 1.34}
    return [
        Hookean(h, x, _PULL, rt=lengths[int(molecule.numbers[x])] + _SLACK)
        for h, x in _protic(molecule).tolist()
    ]

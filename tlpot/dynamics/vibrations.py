"""Harmonic vibrations: the Hessian, its modes without translations and rotations, their files.

The files are for viewers: extended XYZ with a frame for each mode, and Molden.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from tlpot.dynamics.runner import is_linear
from tlpot.errors import ConfigError, GeometryError
from tlpot.files import PathLike, write_text
from tlpot.numbers import Bools, Floats
from tlpot.structures import extxyz_text

Shape = Literal["atom", "linear", "nonlinear", "periodic", "held"]
"""What decides which motions are no vibrations; ``held`` has fixed atoms, and none are."""

STEP = 0.005
"""Å, of central differences of forces: their error is of second order, 0.1 cm⁻¹ in H2CO."""

_TURNING = 20.0
"""cm⁻¹ below which a rotation of the whole meets no resistance; crystals have their librations
above, and molecules that are relaxed to 0.01 eV/Å stay below."""

PER_CM = units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm
"""Wavenumber in cm⁻¹ of ω = 1 sqrt(eV/Å²/amu)."""

AUTOMATIC = "automatic derivatives"
NUMERICAL = f"central differences of forces, {STEP:g} Å"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HarmonicModes:
    """Vibrations of a stationary point, ascending.

    Attributes:
        shape: ``atom``, ``linear``, ``nonlinear``, ``periodic`` or ``held``.
        wavenumbers: cm⁻¹, negative for imaginary ones, [n_modes].
        reduced_masses: 1 / Σ (normalised Cartesian displacement)² / mass, amu, [n_modes].
        displacements: Cartesian, of length 1, [n_modes, n_atoms, 3].
        rigid_wavenumbers: of the translations and rotations that were projected out, cm⁻¹, zero
            at a stationary point and without rounding, [n_rigid].
    """

    shape: Shape
    wavenumbers: Floats
    reduced_masses: Floats
    displacements: Floats
    rigid_wavenumbers: Floats

    @property
    def force_constants(self) -> Floats:
        """Of each mode, μ ω², eV/Å², [n_modes]; negative for imaginary modes."""
        return np.sign(self.wavenumbers) * self.reduced_masses * (self.wavenumbers / PER_CM) ** 2

    @property
    def n_imaginary(self) -> int:
        """Number of modes along which the energy falls."""
        return int((self.wavenumbers < 0).sum())


def hessian_of(
    atoms: Atoms, calculator: Calculator, *, on_row: Callable[[int, int], object] | None = None
) -> tuple[Floats, str]:
    """Returns the second derivatives of the energy, and how they were found.

    They are the calculator's own, by automatic derivatives, or else central differences of its
    forces; those are only taken for atoms that are free to move.

    Args:
        atoms: the structure.
        calculator: any; one with ``get_hessian`` gives its own.
        on_row: called with the number of rows that are done and the number of all.

    Returns:
        [3 n_atoms, 3 n_atoms], eV/Å², symmetric; rows and columns of fixed atoms are zero in
        central differences. And `AUTOMATIC` or `NUMERICAL`.
    """
    own = getattr(calculator, "get_hessian", None)
    if own is not None:
        told = {"on_row": on_row} if "on_row" in inspect.signature(own).parameters else {}
        size = 3 * len(atoms)
        try:
            found = np.asarray(own(atoms, **told), dtype=np.float64).reshape(size, size)
            return 0.5 * (found + found.T), AUTOMATIC
        except ConfigError:  # a part of it, such as an engine, has no automatic derivatives
            pass
    return _numerical(atoms, calculator, on_row), NUMERICAL


def _numerical(
    atoms: Atoms, calculator: Calculator, on_row: Callable[[int, int], object] | None
) -> Floats:
    moved = atoms.copy()
    moved.set_constraint()
    moved.calc = calculator
    size = 3 * len(atoms)
    rows = np.zeros((size, size))
    free = np.repeat(free_atoms(atoms), 3)
    todo = np.flatnonzero(free).tolist()
    for done, k in enumerate(todo):
        sides = []
        for sign in (1.0, -1.0):
            shift = np.zeros(size)
            shift[k] = sign * STEP
            moved.set_positions(atoms.positions + shift.reshape(-1, 3))
            sides.append(moved.get_forces().reshape(-1))
        rows[k] = (sides[1] - sides[0]) / (2.0 * STEP)
        if on_row is not None:
            on_row(done + 1, len(todo))
    rows[:, ~free] = 0.0
    return 0.5 * (rows + rows.T)


def free_atoms(atoms: Atoms) -> Bools:
    """Tells which atoms can move, [n_atoms].

    Raises:
        ConfigError: constraints that are no fixed atoms; what is left of the modes then depends
            on how they are held.
        GeometryError: none can.
    """
    from ase.constraints import FixAtoms

    free = np.ones(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ConfigError(
                f"vibrations under {type(constraint).__name__} are not defined here: only fixed "
                "atoms (FixAtoms) are; remove the constraint with atoms.set_constraint()"
            )
        free[constraint.index] = False
    if not free.any():
        raise GeometryError(f"all {len(atoms)} atoms are fixed, so nothing vibrates; free some")
    return free


def shape_of(atoms: Atoms) -> Shape:
    """Tells what decides which motions are no vibrations; linear by the moments of inertia."""
    if atoms.constraints and not free_atoms(atoms).all():
        return "held"
    if atoms.pbc.any():
        return "periodic"
    if len(atoms) == 1:
        return "atom"
    return "linear" if is_linear(atoms) else "nonlinear"


def harmonic_modes(atoms: Atoms, hessian: Floats) -> HarmonicModes:
    """Diagonalises the mass-weighted Hessian.

    Translations and rotations are projected out (6 motions of a molecule, 5 of a linear one, the
    3 translations of a periodic structure, whose modes are those of the Γ point); with fixed
    atoms nothing is.

    `hessian` is [3 n_atoms, 3 n_atoms], eV/Å².

    Raises:
        ConfigError, GeometryError: see `free_atoms`.
    """
    shape, free = shape_of(atoms), np.repeat(free_atoms(atoms), 3)
    roots = np.repeat(np.sqrt(atoms.get_masses()), 3)[free]
    weighted = hessian[np.ix_(free, free)] / roots[:, None] / roots
    rigid = _rigid(atoms, roots, shape)
    # the complement of the rigid motions, orthonormal, by a complete QR decomposition
    complete = np.linalg.qr(rigid, mode="complete")[0] if rigid.size else np.eye(len(roots))
    inner = complete[:, rigid.shape[1] :]
    values, vectors = np.linalg.eigh(inner.T @ weighted @ inner)
    moved = (inner @ vectors).T / roots
    squares = (moved**2).sum(axis=1)
    displacements = np.zeros((len(values), len(free)))
    displacements[:, free] = _signed(moved / np.sqrt(squares)[:, None])
    rigid_values = np.linalg.eigvalsh(rigid.T @ weighted @ rigid) if rigid.size else np.zeros(0)
    return HarmonicModes(
        shape=shape,
        wavenumbers=_wavenumbers(values),
        reduced_masses=1.0 / squares,
        displacements=displacements.reshape(len(values), len(atoms), 3),
        rigid_wavenumbers=_wavenumbers(rigid_values),
    )


def turns_freely(atoms: Atoms, hessian: Floats) -> bool:
    """Tells whether a periodic structure can turn as a whole, as a molecule in a large box does.

    `hessian` is [3 n_atoms, 3 n_atoms], eV/Å². A molecule across the boundary is put
    together if it is smaller than half the cell.
    """
    if len(atoms) == 1 or not atoms.pbc.any() or atoms.constraints:
        return False
    roots = np.repeat(np.sqrt(atoms.get_masses()), 3)
    weighted = hessian / roots[:, None] / roots
    nearest = atoms.get_distances(0, range(len(atoms)), mic=True, vector=True)
    for positions in (atoms.positions, nearest):
        alone = atoms.copy()
        alone.pbc = False
        alone.positions = positions
        turns = _rigid(alone, roots, shape_of(alone))[:, 3:]
        values = np.linalg.eigvalsh(turns.T @ weighted @ turns)
        if (np.abs(_wavenumbers(values)) < _TURNING).all():
            return True
    return False


def _wavenumbers(values: Floats) -> Floats:
    return np.sign(values) * np.sqrt(np.abs(values)) * PER_CM


def _signed(vectors: Floats) -> Floats:
    """Gives each mode the sign that makes its largest component positive."""
    if not vectors.size:
        return vectors
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    return vectors * signs[:, None]


def _rigid(atoms: Atoms, roots: Floats, shape: Shape) -> Floats:
    """Orthonormal translations and rotations, mass-weighted, [3 n_atoms, 0, 3, 5 or 6]."""
    if shape == "held":
        return np.zeros((len(roots), 0))
    columns = [np.tile(axis, len(atoms)) * roots for axis in np.eye(3)]
    if shape in ("linear", "nonlinear"):
        _, axes = atoms.get_moments_of_inertia(vectors=True)  # ascending; rows are the axes
        arms = atoms.positions - atoms.get_center_of_mass()
        for axis in axes[1:] if shape == "linear" else axes:
            columns.append(np.cross(axis, arms).reshape(-1) * roots)
    return np.linalg.qr(np.stack(columns, axis=1))[0]


def check_stationary(max_force: float, limit: float, remedy: str) -> None:
    """Refuses a structure whose forces are too large for harmonic vibrations.

    Raises:
        GeometryError: a force is larger than the limit; both in eV/Å.
    """
    if max_force > limit:
        raise GeometryError(
            f"the largest force is {max_force:.4f} eV/Å, above {limit:g}: the structure is no "
            f"stationary point, and its harmonic frequencies mean little; {remedy}"
        )


def plain_modes(modes: HarmonicModes) -> list[dict[str, Any]]:
    """Returns the modes as plain JSON."""
    return [
        {
            "wavenumber_per_cm": float(modes.wavenumbers[k]),
            "reduced_mass_amu": float(modes.reduced_masses[k]),
            "force_constant_eV_per_A2": float(modes.force_constants[k]),
            "displacement": modes.displacements[k].tolist(),
        }
        for k in range(len(modes.wavenumbers))
    ]


def write_modes(atoms: Atoms, modes: HarmonicModes, path: PathLike) -> None:
    """Writes extended XYZ: a frame for each mode, whose column ``mode`` is its displacement.

    The displacement of all atoms together has length 1 Å. ``wavenumber`` (cm⁻¹, negative for an
    imaginary mode), ``reduced_mass`` (amu) and ``mode_number`` are in the comment line.

    Raises:
        OutputError: the file could not be written.
    """
    frames = []
    for k, wavenumber in enumerate(modes.wavenumbers):
        frame = atoms.copy()
        frame.set_constraint()
        frame.arrays.pop("momenta", None)
        frame.arrays["mode"] = modes.displacements[k].copy()
        frame.info |= {
            "mode_number": k + 1,
            "wavenumber": float(wavenumber),
            "reduced_mass": float(modes.reduced_masses[k]),
        }
        frames.append(frame)
    write_text(path, extxyz_text(frames))


def write_molden(atoms: Atoms, modes: HarmonicModes, path: PathLike) -> None:
    """Writes the format of Molden (Schaftenaar and Noordik, doi:10.1023/A:1008193805436).

    Raises:
        OutputError: the file could not be written.
    """
    symbols, bohr = list(atoms.symbols), atoms.positions / units.Bohr
    lines = ["[Molden Format]", "[Atoms] AU"]
    lines += [
        f"{symbol} {k + 1} {number} " + _row(place)
        for k, (symbol, number, place) in enumerate(zip(symbols, atoms.numbers, bohr, strict=True))
    ]
    lines += ["[FREQ]", *(f"{wavenumber:.4f}" for wavenumber in modes.wavenumbers)]
    lines += ["[FR-COORD]", *(f"{s} {_row(p)}" for s, p in zip(symbols, bohr, strict=True))]
    lines.append("[FR-NORM-COORD]")
    for k, displacement in enumerate(modes.displacements):
        lines += [f"vibration {k + 1}", *map(_row, displacement)]
    write_text(path, "\n".join(lines) + "\n")


def _row(vector: np.ndarray) -> str:
    return " ".join(f"{value:.8f}" for value in vector.tolist())

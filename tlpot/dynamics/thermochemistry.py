"""Thermochemistry of harmonic vibrations by ASE: ideal gas, or a harmonic solid."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms, units

from tlpot.dynamics.runner import is_linear
from tlpot.dynamics.structure_change import superposition
from tlpot.dynamics.vibrations import Shape
from tlpot.errors import ConfigError
from tlpot.numbers import Floats, Ints

TOLERANCE = 0.05
"""Å that atoms may be off a symmetric place."""
_LARGEST = 200
SOFT = 50.0
"""Wavenumber in cm⁻¹ below which a mode is no harmonic vibration, and its entropy an artefact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thermochemistry:
    """Energies and entropies at a temperature, eV and eV/K, the electronic energy included.

    Attributes:
        kind: ``ideal gas`` (molecules) or ``harmonic`` (periodic structures and fixed atoms,
            which neither move nor turn).
        temperature: K.
        pressure: bar; NaN in the second case.
        symmetry: rotational symmetry number.
        multiplicity: 2S + 1, of the electronic entropy.
        internal_energy: U.
        enthalpy: H; of a harmonic solid U.
        entropy: S, eV/K.
        free_energy: G = H − T S; of a harmonic solid F = U − T S.
        soft_modes: number of real modes below 50 cm⁻¹, whose harmonic entropy is too large.
    """

    kind: str
    temperature: float
    pressure: float
    symmetry: int
    multiplicity: int
    internal_energy: float
    enthalpy: float
    entropy: float
    free_energy: float
    soft_modes: int

    def as_json(self) -> dict[str, Any]:
        """Returns plain numbers; what is not defined is left out."""
        return {
            key: value
            for key, value in asdict(self).items()
            if not (isinstance(value, float) and math.isnan(value))
        }


def check_conditions(temperature: float, pressure: float, symmetry: int | None) -> None:
    """Checks what the user asks for.

    Raises:
        ConfigError: one of them is not above zero, or no number.
    """
    for name, value, unit in (("temperature", temperature, "K"), ("pressure", pressure, "bar")):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} is {value}, expected a number in {unit} above 0")
    if symmetry is not None and symmetry < 1:
        raise ConfigError(f"symmetry is {symmetry}, expected a symmetry number of 1 or more")


def thermochemistry(
    atoms: Atoms,
    energy: float,
    wavenumbers: Floats,
    shape: Shape,
    *,
    temperature: float = 298.15,
    pressure: float = 1.01325,
    symmetry: int | None = None,
    multiplicity: int = 1,
) -> Thermochemistry:
    """Returns energies and entropies of a minimum, or of a transition state without its mode.

    Args:
        atoms: the stationary point.
        energy: of it, eV.
        wavenumbers: of all vibrations, cm⁻¹; imaginary ones are negative and left out.
        shape: see `tlpot.dynamics.vibrations.shape_of`.
        temperature: K.
        pressure: bar.
        symmetry: rotational symmetry number; None finds it, see `symmetry_number`.
        multiplicity: 2S + 1.

    Raises:
        ConfigError: see `check_conditions`.
    """
    from ase.thermochemistry import HarmonicThermo, IdealGasThermo

    check_conditions(temperature, pressure, symmetry)
    quanta = wavenumbers * units.invcm
    soft = int(((wavenumbers >= 0) & (wavenumbers < SOFT)).sum())
    real = [float(q) for q in quanta if q > 0]
    # an imaginary mode is handed over as such, so that the number of modes is what ASE expects
    every = [complex(0, -q) if q < 0 else complex(q) for q in quanta]
    if shape in ("periodic", "held"):
        internal, entropy = energy, 0.0
        if real:  # the one atom of a primitive cell has none, and ASE then fails
            solid = HarmonicThermo(real, potentialenergy=energy)
            internal = float(solid.get_internal_energy(temperature, verbose=False))
            entropy = float(solid.get_entropy(temperature, verbose=False))
        return Thermochemistry(
            kind="harmonic", temperature=temperature, pressure=math.nan, symmetry=1,
            multiplicity=multiplicity, internal_energy=internal, enthalpy=internal,
            entropy=entropy, free_energy=internal - temperature * entropy, soft_modes=soft,
        )  # fmt: skip
    geometry: Literal["monatomic", "linear", "nonlinear"] = "nonlinear"
    if shape != "nonlinear":
        geometry = "monatomic" if shape == "atom" else "linear"
    number = symmetry_number(atoms) if symmetry is None else symmetry
    with warnings.catch_warnings():  # ASE warns of the imaginary mode that it leaves out
        warnings.simplefilter("ignore", UserWarning)
        gas = IdealGasThermo(
            vib_energies=every,
            geometry=geometry,
            potentialenergy=energy,
            atoms=atoms,
            symmetrynumber=number,
            spin=0.5 * (multiplicity - 1),
            ignore_imag_modes=True,
        )
    enthalpy = float(gas.get_enthalpy(temperature, verbose=False))
    entropy = float(gas.get_entropy(temperature, pressure=1e5 * pressure, verbose=False))
    return Thermochemistry(
        kind="ideal gas", temperature=temperature, pressure=pressure, symmetry=number,
        multiplicity=multiplicity, internal_energy=enthalpy - units.kB * temperature,
        enthalpy=enthalpy, entropy=entropy, free_energy=enthalpy - temperature * entropy,
        soft_modes=soft,
    )  # fmt: skip


def symmetry_number(atoms: Atoms, tolerance: float = TOLERANCE) -> int:
    """Returns the number of rotations that bring a molecule to itself, the identity included.

    Every rotation takes two atoms to two others of their kind and distance, so those are tried.
    Isotopes are different kinds. Beyond 200 atoms none is sought.

    The molecule is not periodic; each atom may be `tolerance` off, Å.
    """
    if len(atoms) > _LARGEST:
        return 1
    arms = atoms.positions - atoms.get_center_of_mass()
    kinds = np.unique(np.stack([atoms.numbers, atoms.get_masses()], 1), axis=0, return_inverse=True)
    kind = np.asarray(kinds[1]).reshape(-1)
    radius = np.linalg.norm(arms, axis=1)
    if len(atoms) == 1:
        return 1
    if is_linear(atoms):
        return 2 if _permutation(-arms, arms, kind, tolerance) is not None else 1
    first, second = _anchors(arms, kind, radius, tolerance)
    like = [
        np.flatnonzero((kind == kind[k]) & (np.abs(radius - radius[k]) < 2 * tolerance))
        for k in (first, second)
    ]
    apart = np.linalg.norm(arms[first] - arms[second])
    found: set[tuple[int, ...]] = set()
    for a in like[0].tolist():
        for b in like[1].tolist():
            if a == b or abs(np.linalg.norm(arms[a] - arms[b]) - apart) > 4 * tolerance:
                continue
            turn = _frame(arms[first], arms[second]).T @ _frame(arms[a], arms[b])
            order = _permutation(arms @ turn, arms, kind, 4 * tolerance)
            if order is None:
                continue
            turned = arms @ superposition(arms, arms[list(order)])
            if np.linalg.norm(turned - arms[list(order)], axis=1).max() < tolerance:
                found.add(order)
    return len(found)


def _anchors(arms: Floats, kind: Ints, radius: Floats, tolerance: float) -> tuple[int, int]:
    """Two atoms with few like them, not in line with the centre."""
    like = (kind[:, None] == kind) & (np.abs(radius[:, None] - radius) < 2 * tolerance)
    count = like.sum(axis=1)
    far = np.flatnonzero(radius > 0.3)
    first = int(min(far, key=lambda k: (count[k], -radius[k])))
    across = np.linalg.norm(np.cross(arms[first] / radius[first], arms), axis=1)
    aside = np.flatnonzero(across > 0.3 * across.max())
    return first, int(min(aside, key=lambda k: (count[k], -across[k])))


def _frame(one: Floats, two: Floats) -> Floats:
    """Orthonormal rows: along the first vector, in the plane of both, and across it."""
    x = one / np.linalg.norm(one)
    z = np.cross(one, two)
    z = z / max(float(np.linalg.norm(z)), 1e-12)
    return np.stack([x, np.cross(z, x), z])


def _permutation(
    moved: Floats, fixed: Floats, kind: Ints, tolerance: float
) -> tuple[int, ...] | None:
    """Which fixed atom each moved one lies on; None if one lies on none, or two on the same."""
    gaps = np.linalg.norm(moved[:, None] - fixed, axis=2)
    gaps[kind[:, None] != kind] = np.inf
    nearest = gaps.argmin(axis=1)
    if (gaps.min(axis=1) > tolerance).any() or len(set(nearest.tolist())) < len(fixed):
        return None
    return tuple(nearest.tolist())

"""Harmonic frequencies, zero-point energy and thermochemistry, and how they are shown."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms, units

from tlpot.dynamics.bond_monitor import superposition
from tlpot.dynamics.runner import is_linear
from tlpot.dynamics.vibrations import HarmonicModes, Shape, plain_modes
from tlpot.errors import ConfigError
from tlpot.files import PathLike
from tlpot.numbers import Floats, Ints
from tlpot.presentation import COLOURS, Column, Result, Table, drawn, make_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tlpot.dynamics.relaxation import Relaxation


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
            with np.errstate(over="ignore"):  # of quanta far above kT
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
    with np.errstate(over="ignore"):
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


_WORDS = {
    "atom": "an atom",
    "linear": "a linear molecule",
    "nonlinear": "a nonlinear molecule",
    "periodic": "periodic, at the Γ point of this cell",
    "held": "with fixed atoms",
}
_WIDTH = 10.0
"""cm⁻¹, half width of a line in the picture."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Frequencies(Result):
    """Vibrations of a structure.

    Attributes:
        atoms: the structure.
        method: the model and its level, in words.
        derivatives: how the Hessian was found.
        precision: of the model, such as ``float64``; empty where it is the calculator's own.
        energy: of the structure, eV.
        max_force: largest force on an atom, eV/Å.
        stationary: whether that is small enough.
        hessian: [3 n_atoms, 3 n_atoms], eV/Å².
        modes: wavenumbers, reduced masses and displacements.
        thermochemistry: None where there is none, see `no_thermochemistry`.
        no_thermochemistry: why, in words.
        symmetry_found: whether the symmetry number was found and not given.
        domain: 1 where the model was trained, 0 far away; None if it does not know.
        relaxation: that came before, if one was asked for.
        notes: of the reader of the structure.
        files: that were written.
    """

    atoms: Atoms
    method: str
    derivatives: str
    precision: str = ""
    energy: float
    max_force: float
    stationary: bool
    hessian: Floats
    modes: HarmonicModes
    thermochemistry: Thermochemistry | None
    no_thermochemistry: str = ""
    symmetry_found: bool = False
    domain: float | None = None
    relaxation: Relaxation | None = None
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def wavenumbers(self) -> Floats:
        """Of each mode, cm⁻¹, negative for imaginary ones, [n_modes]."""
        return self.modes.wavenumbers

    @property
    def n_imaginary(self) -> int:
        """Number of imaginary modes."""
        return self.modes.n_imaginary

    @property
    def zero_point_energy(self) -> float:
        """Half the quanta of all real modes, eV."""
        return float(0.5 * units.invcm * self.wavenumbers[self.wavenumbers > 0].sum())

    @property
    def kind(self) -> str:
        """What the structure is, by its imaginary modes, in words."""
        if not self.stationary:
            return "NO STATIONARY POINT: harmonic frequencies mean little here"
        if self.n_imaginary == 0:
            return "a minimum: no imaginary mode"
        lowest = f"{-self.wavenumbers[0]:.1f}i cm⁻¹"
        if self.n_imaginary == 1:
            text = f"TRANSITION STATE: one imaginary mode, {lowest}"
            if -self.wavenumbers[0] < SOFT:
                text += "; so soft a one may be a minimum that is not relaxed enough"
            return text
        return f"SADDLE POINT OF ORDER {self.n_imaginary}: as many imaginary modes, from {lowest}"

    def text(self) -> str:
        """Returns a table and what follows from it, for a terminal."""
        lines = [f"{self.atoms.get_chemical_formula()}, {self.method}"]
        before = self.relaxation
        if before is not None:
            lines.append(
                f"relaxed first: {before.n_steps} steps of {before.optimizer}, "
                f"{before.energy_change:+.6f} eV, rmsd {before.rmsd:.4f} Å"
            )
            lines += before.bond_lines
        lines += [f"{name:15}{value}" for name, value in self._facts()]
        columns = [
            Column("mode", width=6),
            Column("cm⁻¹", _wavenumber, width=12),
            Column("amu", ".3f", width=10),
            Column("eV/Å²", ".4f", width=12),
        ]
        values = (self.wavenumbers, self.modes.reduced_masses, self.modes.force_constants)
        rows = [(k, *row) for k, row in enumerate(zip(*values, strict=True), start=1)]
        lines += ["", *Table(columns, rows).lines()]
        lines += ["", *(f"{name:15}{value}" for name, value in self._thermal_rows())]
        if self.files:
            lines.append(f"wrote {', '.join(map(str, self.files))}")
        return "\n".join(lines)

    def _facts(self) -> list[tuple[str, str]]:
        shape = _WORDS[self.modes.shape]
        rows = [
            ("energy", f"{self.energy:.6f} eV"),
            ("largest force", f"{self.max_force:.5f} eV/Å"),
            ("Hessian", "; ".join(filter(None, (self.derivatives, self.precision)))),
            ("vibrations", f"{len(self.wavenumbers)} ({shape})"),
        ]
        rigid = self.modes.rigid_wavenumbers
        if rigid.size:
            rows.append(("projected out", f"{rigid.size}, up to {np.abs(rigid).max():.2f} cm⁻¹"))
        if self.domain is not None:
            rows.append(("domain", f"{self.domain:.3g}"))
        return rows

    def _thermal_rows(self) -> list[tuple[str, str]]:
        per_cm = self.zero_point_energy / units.invcm
        rows = [
            ("stationary", self.kind),
            ("ZPE", f"{self.zero_point_energy:.6f} eV ({per_cm:.1f} cm⁻¹)"),
        ]
        found = self.thermochemistry
        if found is None:
            return [*rows, ("thermochemistry", f" none: {self.no_thermochemistry}")]
        where = f"{found.temperature:g} K"
        gas = found.kind == "ideal gas"
        if gas:
            how = "found; give another if it is" if self.symmetry_found else "given"
            where += f", {found.pressure:g} bar"
            rows.append(("symmetry", f"number {found.symmetry} ({how})"))
            rows.append(("multiplicity", str(found.multiplicity)))
        rows.append(
            (found.kind, where + (", without the imaginary mode" * (self.n_imaginary == 1)))
        )
        values = [("U", found.internal_energy), ("H", found.enthalpy)] if gas else []
        values += [("G", found.free_energy)] if gas else [("F", found.free_energy)]
        if not gas:
            values.insert(0, ("U", found.internal_energy))
        rows += [
            (name, f"{value:.6f} eV ({value - self.energy:+.6f} from the energy)")
            for name, value in values
        ]
        rows.append(("S", f"{1e3 * found.entropy:.5f} meV/K"))
        if found.soft_modes:
            rows.append(
                ("caution", f"{found.soft_modes} modes below {SOFT:g} cm⁻¹ are hardly harmonic; "
                 "their entropy is too large")
            )  # fmt: skip
        return rows

    def as_json(self) -> dict[str, Any]:
        """Returns everything as plain JSON."""
        thermal = self.thermochemistry
        return {
            "formula": self.atoms.get_chemical_formula(),
            "method": self.method,
            "derivatives": self.derivatives,
            "precision": self.precision,
            "symbols": list(self.atoms.symbols),
            "positions_A": self.atoms.positions.tolist(),
            "masses_amu": self.atoms.get_masses().tolist(),
            "energy_eV": self.energy,
            "max_force_eV_per_A": self.max_force,
            "stationary": self.stationary,
            "kind": self.kind,
            "shape": self.modes.shape,
            "wavenumbers_per_cm": self.wavenumbers.tolist(),
            "projected_out_per_cm": self.modes.rigid_wavenumbers.tolist(),
            "modes": plain_modes(self.modes),
            "zero_point_energy_eV": self.zero_point_energy,
            "thermochemistry": None if thermal is None else thermal.as_json(),
            "no_thermochemistry": self.no_thermochemistry,
            "hessian_eV_per_A2": self.hessian.tolist(),
            "domain": self.domain,
            "relaxation": None if self.relaxation is None else self.relaxation.as_json(),
            "notes": list(self.notes),
            "files": [str(path) for path in self.files],
        }

    def plot(self, path: PathLike | None = None) -> Figure:
        """Draws the density of vibrations, each a Lorentzian of 10 cm⁻¹, with a mark for each.

        It is no infrared spectrum: all modes count alike.

        Raises:
            OutputError: the file could not be written.
        """
        figure, ((axes,),) = make_figure(7.0, 3.5)
        found = self.wavenumbers
        first, last = (float(found[0]), float(found[-1])) if found.size else (0.0, 4000.0)
        grid = np.linspace(min(0.0, first) - 100.0, last + 200.0, 2000)
        lines = _WIDTH / np.pi / ((grid[:, None] - found) ** 2 + _WIDTH**2)
        axes.plot(grid, lines.sum(axis=1), color=COLOURS[0], lw=1.2)
        for value in found:
            axes.axvline(value, ymax=0.06, color=COLOURS[1] if value < 0 else "black", lw=1.0)
        axes.set_xlabel("wavenumber (cm⁻¹), imaginary modes below 0")
        axes.set_ylabel("density of modes (cm)")
        axes.set_title(f"{self.atoms.get_chemical_formula()}, {self.method}", fontsize=10)
        return drawn(figure, path)


def _wavenumber(value: float) -> str:
    return f"{-value:.2f}i" if value < 0 else f"{value:.2f}"

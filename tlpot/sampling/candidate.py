"""Geometries on their way into a dataset: what tells two of them apart, and the choice of some."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from ase.neighborlist import neighbor_list

from tlpot.engines import LabelError
from tlpot.errors import ConfigError, TLPotError, UnknownElementError
from tlpot.evaluation import evaluated, system_batches, system_features
from tlpot.fragments import farthest
from tlpot.models import Ensemble, Potential, TrainedModel, load, uncertain
from tlpot.models import check_blocks as known_blocks
from tlpot.numbers import Floats, Ints
from tlpot.system import System

RANGE = 6.0
STEP = 0.25
"""Å, of the radial bins."""
_NEAR = 3.0
"""Å, range of the angles."""
_ANGLES = 12


@dataclass(frozen=True, kw_only=True)
class SampledGeometry:
    """One geometry of a fragment.

    Attributes:
        positions: [n_atoms, 3], Å.
        method: ``relaxed``, ``dimer``, or one of `tlpot.sampling.settings.METHODS`.
        seed: of the random numbers that made it.
        step: of the trajectory, or number of the draw.
        temperature: K; NaN where the method has none.
        energy: of the calculator that sampled, eV; NaN before it was asked.
        forces: [n_atoms, 3], eV/Å; NaN before.
        cell: [3, 3], Å, of a periodic structure; None of a molecule.
        stress: [3, 3], eV/Å³, positive when tensile; None where the calculator gives none.
    """

    positions: Floats
    method: str
    seed: int
    step: int
    temperature: float = float("nan")
    energy: float = float("nan")
    forces: Floats = field(default_factory=lambda: np.full((1, 3), np.nan))
    cell: Floats | None = None
    stress: Floats | None = None

    def placed(self, atoms: Atoms) -> Atoms:
        """The fragment in this geometry, without calculator.

        Args:
            atoms: the fragment.
        """
        moved = atoms.copy()
        moved.calc = None
        if self.cell is not None:
            moved.set_cell(self.cell)
        moved.set_positions(self.positions)
        return moved

    def evaluated(self, atoms: Atoms, calculator: Calculator) -> SampledGeometry:
        """The candidate with energy and forces, unless it has them.

        Args:
            atoms: the fragment.
            calculator: any.

        Raises:
            Exception: whatever the calculator raises.
        """
        if np.isfinite(self.energy):
            return self
        moved = self.placed(atoms)
        moved.calc = calculator
        return replace(self, **labels_of(moved))


def labels_of(atoms: Atoms) -> dict[str, Any]:
    """Returns energy (eV), forces (eV/Å) and, of what has a volume, stress (eV/Å³) of a structure.

    They are the calculator's, whatever constraints the structure has.

    Args:
        atoms: with a calculator.

    Raises:
        Exception: whatever the calculator raises.
    """
    found: dict[str, Any] = {
        "energy": float(atoms.get_potential_energy(apply_constraint=False)),
        "forces": atoms.get_forces(apply_constraint=False).copy(),
    }
    if atoms.pbc.all() and "stress" in getattr(atoms.calc, "implemented_properties", ()):
        found["stress"] = atoms.get_stress(voigt=False)
    return found


def cell_of(atoms: Atoms) -> Floats | None:
    """Returns the cell of a periodic structure, [3, 3], Å; None of a molecule."""
    return atoms.cell.array.copy() if atoms.pbc.any() else None


def check_of_geometry(error: Exception) -> None:
    """Lets pass what a calculator raises about one geometry, such as an SCF without convergence.

    Args:
        error: what it has raised; programs have errors of their own.

    Raises:
        TLPotError: it would raise the same about every other.
    """
    if isinstance(error, TLPotError) and not isinstance(error, LabelError):
        raise error


def stream(seed: int, *names: object) -> int:
    """A seed of its own for every method and fragment, the same in every process and order.

    Args:
        seed: of the whole sampling.
        names: what it is for.
    """
    text = "|".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


def scaled(features: Floats) -> Floats:
    """Features as distances are taken in: each divided by its standard deviation.

    Features that vary by less than 10⁻³ of the most variable one are left out, as they would be
    made of noise.

    Args:
        features: [n, d].

    Returns:
        [n, at most d].
    """
    spread = features.std(axis=0)
    kept = spread > 1e-3 * spread.max(initial=0.0)
    result: Floats = (features[:, kept] - features[:, kept].mean(0)) / spread[kept]
    return result


def farthest_points(rows: Floats, count: int, first: int) -> tuple[Ints, Floats]:
    """Picks the row that is farthest from those picked, again and again, see `farthest`.

    Args:
        rows: [n, d].
        count: how many; all if there are fewer.
        first: the row to begin with.

    Returns:
        Indices in order of picking, and the distance of every row to the nearest one picked, [n].
    """
    count = min(count, len(rows))
    if count == 0:
        return np.zeros(0, dtype=np.int64), np.full(len(rows), np.inf)
    more, away = farthest(lambda k: np.linalg.norm(rows - rows[k], axis=1), [first], count - 1)
    return np.array([first, *more], dtype=np.int64), away


def most_uncertain(uncertainty: Floats, rows: Floats, count: int) -> Ints:
    """Picks unlike geometries among the least certain: farthest points of the top 3 × count.

    Args:
        uncertainty: [n].
        rows: scaled features, [n, d].
        count: how many; all if there are fewer.

    Returns:
        Indices, the least certain first.
    """
    top = np.argsort(-uncertainty, kind="stable")[: 3 * count]
    chosen, _ = farthest_points(rows[top], count, 0)
    return top[chosen].astype(np.int64)


def geometry_features(frames: Sequence[Atoms]) -> Floats:
    """Smeared histograms of distances and angles.

    Distances up to 6 Å by pair of elements, in bins of 0.25 Å; angles at each atom between
    neighbours within 3 Å by element of the corner, in 12 bins of the cosine. All fade to zero
    at their range, and do not change when atoms of one element are exchanged or the molecule
    moves. Each bin holds a sum over atoms divided by the number of atoms. They need no model
    and know every element. Of periodic structures all images count.

    Args:
        frames: geometries.

    Returns:
        [n_frames, n_features].
    """
    elements = sorted({int(z) for frame in frames for z in frame.numbers})
    pairs = {p: k for k, p in enumerate(combinations_with_replacement(elements, 2))}
    centers = np.arange(0.5, RANGE + STEP, STEP)
    cosines = np.linspace(-1.0, 1.0, _ANGLES)
    rows = []
    for frame in frames:
        numbers, n_atoms = frame.numbers, len(frame)
        (i, j, near), around = _neighborhoods(frame)
        radial = np.zeros((len(pairs), len(centers)))
        kind = np.array(
            [pairs[min(a, b), max(a, b)] for a, b in zip(numbers[i], numbers[j], strict=True)],
            dtype=np.int64,
        )
        fade = np.cos(0.5 * np.pi * near / RANGE) ** 2
        np.add.at(
            radial, kind, fade[:, None] * np.exp(-0.5 * ((near[:, None] - centers) / STEP) ** 2)
        )
        angular = np.zeros((len(elements), _ANGLES))
        for corner, (vectors, lengths) in enumerate(around):
            units = vectors / lengths[:, None]
            weight = np.cos(0.5 * np.pi * lengths / _NEAR) ** 2
            a, b = np.triu_indices(len(lengths), 1)
            cosine = np.clip((units[a] * units[b]).sum(1), -1.0, 1.0)
            bumps = np.exp(-0.5 * ((cosine[:, None] - cosines) / (2.0 / _ANGLES)) ** 2)
            angular[elements.index(int(numbers[corner]))] += (weight[a] * weight[b]) @ bumps
        rows.append(np.concatenate([radial.ravel(), angular.ravel()]) / n_atoms)
    return np.array(rows)


def _neighborhoods(frame: Atoms) -> tuple[tuple[Any, Any, Any], list[tuple[Any, Any]]]:
    """Returns each pair within `RANGE` once, and what each atom has within `_NEAR`.

    Returns:
        Indices i, j and distances, Å; and vectors and distances by atom.
    """
    if frame.pbc.any():
        i, j, near, vectors, shift = neighbor_list("ijdDS", frame, RANGE)
        first = np.array([1e-9, 1e-4, 1.0]) @ shift.T  # one of an image and its opposite
        once = (i < j) | ((i == j) & (first > 0))
        inner = near < _NEAR
        around = [(vectors[some], near[some]) for some in _by_atom(i, inner, len(frame))]
        return (i[once], j[once], near[once]), around
    vectors = frame.positions[None] - frame.positions[:, None]
    lengths = np.linalg.norm(vectors, axis=2)
    i, j = np.nonzero(np.triu(lengths < RANGE, 1))
    inner = (lengths < _NEAR) & ~np.eye(len(frame), dtype=bool)
    around = [
        (vectors[corner, ends], lengths[corner, ends])
        for corner, ends in enumerate(map(np.flatnonzero, inner))
    ]
    return (i, j, lengths[i, j]), around


def _by_atom(i: Any, inner: Any, n_atoms: int) -> list[Any]:
    return [np.flatnonzero(inner & (i == corner)) for corner in range(n_atoms)]


class ModelView:
    """A model as a judge of geometries: its features and, if it has one, its uncertainty.

    Args:
        path: a file or the name of a shipped model.
        level: of theory; needed only for an uncertainty of a model with several.

    Raises:
        ModelFileError: no such model.
    """

    def __init__(self, path: str, level: str | None = None) -> None:
        self.name = path
        self._model: TrainedModel = load(path, device="cpu")
        self._level = level

    def check(self, numbers: Ints, name: str) -> None:
        """Checks that the model knows the elements of a fragment.

        Args:
            numbers: atomic numbers.
            name: of the fragment.

        Raises:
            UnknownElementError: it does not.
        """
        missing = sorted(set(numbers.tolist()) - set(self._model.elements))
        if missing:
            symbols = ", ".join(chemical_symbols[z] for z in missing)
            raise UnknownElementError(
                f"model {self.name} does not know {symbols} of {name}; use a model that does, or "
                "leave the model out: the selection then goes by distances and angles alone"
            )

    def features(self, frames: Sequence[Atoms]) -> Floats:
        """Scalars of all layers, summed over the atoms of each element.

        Those of the members of an ensemble are put side by side.

        Args:
            frames: geometries.

        Returns:
            [n_frames, n_features].

        Raises:
            ConfigError: a kind of model that has no features, such as a delta pair.
        """
        if isinstance(self._model, Potential):
            members = [self._model]
        elif isinstance(self._model, Ensemble):
            members = self._model.potentials()
        else:
            raise ConfigError(
                f"model {self.name} is a {type(self._model).__name__}, which has no features of "
                "its own; take a potential or an ensemble, or leave the model out"
            )
        return np.concatenate([_features(member, frames) for member in members], axis=1)

    def uncertainty(self, frames: Sequence[Atoms]) -> Floats:
        """Root mean square standard deviation of the force components, eV/Å, [n_frames].

        Args:
            frames: geometries.

        Raises:
            ConfigError: the model cannot tell how sure it is.
            GeometryError: a charge that the model does not read.
        """
        model = uncertain(self._model.at(self._level))
        if model is None:
            raise ConfigError(
                f"model {self.name} cannot tell how sure it is; give it an uncertainty with "
                "'tlpot calibrate', or join several with 'tlpot ensemble'"
            )
        found = []
        batches = system_batches(model, [System.from_atoms(f) for f in frames], at_once=1)
        for _, _, spread in evaluated(model, batches, std="forces"):
            assert spread is not None
            assert spread.forces_std is not None
            found.append(float((spread.forces_std**2).mean() ** 0.5))
        return np.array(found)


def _features(potential: Potential, frames: Sequence[Atoms]) -> Floats:
    level = potential.at(potential.levels[0])  # the scalars are the same at every level
    blocks = known_blocks((), potential.architecture)
    systems = [_system(frame, level.uses_charge) for frame in frames]
    return system_features(level, systems, blocks)


def _system(frame: Atoms, uses_charge: bool) -> System:
    """The geometry as the model takes it: features of a model that reads no charge have none."""
    if uses_charge:
        return System.from_atoms(frame)
    bare = frame.copy()
    bare.info = {}
    return System.from_atoms(bare)

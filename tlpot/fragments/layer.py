"""Terms of the whole structure: a cheap model, and charges of atoms far apart."""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from ase import units
from ase.data import chemical_symbols
from ase.units import _e, _eps0
from numpy.typing import ArrayLike
from torch import Tensor

from tlpot.energy import EVERYTHING, EnergyModel, implemented, implies_charges
from tlpot.errors import ConfigError, MissingExtraError
from tlpot.fragments.fragmented_structure import FragmentBatch, FragmentMap
from tlpot.graph import AtomGraph
from tlpot.models import BlockEnergies, identity
from tlpot.numbers import Floats, Ints
from tlpot.topology import Lattice, Topology, residue_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """One structure and its fragments, as layers see them.

    Attributes:
        graph: the structure.
        batch: its fragments.
        rows: [n_rows, 3], positions of all fragment atoms, Å.
        coefficients: [n_fragments], differentiable in the positions of the structure.
        first_order: one derivative at most will be taken.
    """

    graph: AtomGraph
    batch: FragmentBatch
    rows: Tensor
    coefficients: Tensor
    first_order: bool

    def weigh(self, energies: Tensor) -> Tensor:
        """Returns Σ c E on the atoms of the structure, [n_atoms], from rows, [n_rows]."""
        assembly = self.batch.assembly
        idx = assembly.fragment_idx.to(energies.device)
        return assembly.collect(self.coefficients.index_select(0, idx) * energies)


class Layer(Protocol):
    """E_low(whole) − Σ c E_low(fragment), or E_low(whole) alone."""

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list of the whole structure, Å."""
        ...

    @property
    def elements(self) -> tuple[int, ...] | None:
        """Atomic numbers that it knows, None for all."""
        ...

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        ...

    def energies(self, pieces: Pieces) -> Tensor:
        """Returns what it adds to each atom, [n_atoms], eV, float64."""
        ...


class ModelLayer:
    """An energy model of the whole structure; what fragments have of it already is taken off.

    Two layers as in the molecules-in-molecules method of Mayhall and Raghavachari,
    doi:10.1021/ct200033b: E = E_low(whole) + Σ c (E_high − E_low)(fragment).

    Args:
        model: the low level.
        subtract: whether fragment energies contain it; False for a term that the labels of the
            high level were freed of, such as dispersion.
        charge: tell the model charges, unless it implies them, see `tlpot.models.ModelCard`.
    """

    def __init__(self, model: EnergyModel, *, subtract: bool = True, charge: bool = True) -> None:
        self.model, self.subtract, self.charge = model, subtract, charge

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        return {**identity(self.model), "subtract": self.subtract, "charge": self.charge}

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self.model.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the model knows."""
        return self.model.elements

    @property
    def implements(self) -> frozenset[str]:
        """What it gives, see `tlpot.energy.implemented`."""
        return implemented(self.model)

    def energies(self, pieces: Pieces) -> Tensor:
        """Returns what it adds to each atom, [n_atoms], eV, float64."""
        graph = pieces.graph
        charge = self.charge and not implies_charges(self.model)
        if not charge:
            graph = replace(graph, charge=graph.charge * 0)
        whole = self.model.atomic_energies(graph)
        if not self.subtract:
            return whole
        rows = pieces.batch.energies(
            self.model, pieces.rows, first_order=pieces.first_order, charge=charge
        )
        return whole - pieces.weigh(rows)


FORCE_FIELD = "amber14-all.xml"


@dataclass(frozen=True, kw_only=True, slots=True)
class NonbondedParameters:
    """What Coulomb and Lennard-Jones terms take.

    Attributes:
        charges: [n_atoms], e.
        sigma: [n_atoms], Å.
        epsilon: [n_atoms], eV.
    """

    charges: Floats
    sigma: Floats
    epsilon: Floats


def amber_parameters(topology: Topology) -> NonbondedParameters:
    """Returns the non-bonded parameters of ff14SB for protein, water and common ions, by OpenMM.

    Residues are matched by their bonds, not by names. ff14SB: Maier et al.,
    doi:10.1021/acs.jctc.5b00255.

    Raises:
        MissingExtraError: OpenMM is not installed.
        ConfigError: a residue that the force field does not have.
    """
    if importlib.util.find_spec("openmm") is None:
        raise MissingExtraError("openmm", "prep", "AMBER charges")
    from openmm import NonbondedForce
    from openmm.app import ForceField

    made, order = openmm_topology(topology)
    try:
        system = ForceField(FORCE_FIELD, "amber14/tip3p.xml").createSystem(made)
    except ValueError as error:
        raise ConfigError(
            f"the force field {FORCE_FIELD} has no parameters for this structure: {error} Give "
            "charges as an array instead"
        ) from error
    force = next(f for f in system.getForces() if isinstance(f, NonbondedForce))
    table = np.array(
        [
            [value._value for value in force.getParticleParameters(i)]
            for i in range(force.getNumParticles())
        ]
    )
    table = table[np.argsort(order)]
    kilojoule = units.kJ / units.mol
    return NonbondedParameters(
        charges=table[:, 0], sigma=table[:, 1] * 10.0, epsilon=table[:, 2] * kilojoule
    )


def openmm_topology(topology: Topology) -> tuple[Any, Ints]:
    """Returns residues, atoms and bonds as OpenMM wants them; names are those perceived.

    OpenMM wants the atoms of a residue one after the other.

    Returns:
        An ``openmm.app.Topology``, and for each of its atoms the index in the structure.
    """
    from openmm.app import Element
    from openmm.app import Topology as OpenMMTopology

    made = OpenMMTopology()
    owners = residue_of(topology)
    order: list[int] = []
    atoms: dict[int, Any] = {}
    for chain in topology.chains:
        group = made.addChain()
        for index in chain.residues:
            residue = made.addResidue(topology.residues[index].name, group)
            for atom in np.flatnonzero(owners == index).tolist():
                symbol = chemical_symbols[int(topology.atomic_numbers[atom])]
                element = Element.getBySymbol(symbol)
                atoms[atom] = made.addAtom(f"{symbol}{atom}", element, residue)
                order.append(atom)
    for i, j in topology.bonds.tolist():
        made.addBond(atoms[i], atoms[j])
    return made, np.array(order, dtype=np.int64)


COULOMB = _e / (4.0e-10 * np.pi * _eps0)
"""e² / (4 π ε₀) in eV Å."""

VACUUM_ONLY = (
    "point charges and Lennard-Jones terms (charges, scheme ai2bmd) are plain sums over all pairs, "
    "for structures in vacuum; those of a periodic structure do not converge that way. Leave "
    "charges out (scheme mfcc in place of ai2bmd) and take a low level that has periodic "
    "electrostatics, such as low= an ASE calculator, or set pbc=False"
)

_BLOCK = 2_000_000
"""Pairs of atoms at a time."""


class NonbondedLayer:
    """Σ_{a<b} W_ab [q_a q_b / (4 π ε₀ r) + 4 ε ((σ/r)¹² − (σ/r)⁶)], W = 1 − Σ c [a and b in f].

    Pairs that fragments cover once have W = 0 and are not counted twice whatever the scheme;
    for capped dipeptides W is 1 for atoms in no common dipeptide, the rule of AI2BMD
    (doi:10.1038/s41586-024-08127-z). σ and ε are combined as in AMBER, (σ_a + σ_b) / 2 and
    √(ε_a ε_b). There is no cutoff: the sum over all pairs is exact and takes time ∝ n_atoms²,
    a small part of the whole up to some ten thousand atoms; in vacuum only.

    Args:
        charges: [n_atoms], e.
        sigma: [n_atoms], Å; None for no Lennard-Jones terms.
        epsilon: [n_atoms], eV.

    Raises:
        ConfigError: arrays of different length, NaN, or just one of sigma and epsilon.
    """

    cutoff = 0.0
    elements: tuple[int, ...] | None = None
    implements = EVERYTHING
    subtract = True

    def __init__(
        self, charges: ArrayLike, sigma: ArrayLike | None = None, epsilon: ArrayLike | None = None
    ) -> None:
        if (sigma is None) != (epsilon is None):
            raise ConfigError("sigma and epsilon come together, or not at all")
        self.charges = torch.tensor(np.array(charges, dtype=np.float64))
        given = {"charges": self.charges}
        self.sigma = self.epsilon = None
        if sigma is not None and epsilon is not None:
            self.sigma = given["sigma"] = torch.tensor(np.array(sigma, dtype=np.float64))
            self.epsilon = given["epsilon"] = torch.tensor(np.array(epsilon, dtype=np.float64))
        for name, values in given.items():
            if values.shape != self.charges.shape or values.ndim != 1:
                raise ConfigError(
                    f"{name} has shape {tuple(values.shape)}, expected one value per atom, "
                    f"{tuple(self.charges.shape)} as charges"
                )
            if not bool(torch.isfinite(values).all()):
                raise ConfigError(f"{name} holds NaN or infinity")
        self._covered: weakref.WeakKeyDictionary[FragmentMap, _Covered] = (
            weakref.WeakKeyDictionary()
        )

    def identity(self) -> dict[str, Any]:
        """Returns what decides its energies, see `tlpot.models.identity`."""
        terms = {"charges": self.charges, "sigma": self.sigma, "epsilon": self.epsilon}
        return {"kind": "NonbondedLayer", **terms}

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what was kept of structures."""
        return {k: v for k, v in self.__dict__.items() if k != "_covered"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._covered = weakref.WeakKeyDictionary()

    def energies(self, pieces: Pieces) -> Tensor:
        """Returns half of each pair's energy on either atom, [n_atoms], eV, float64.

        Raises:
            ConfigError: the structure has another number of atoms, or is periodic.
        """
        if Lattice.of_graph(pieces.graph) is not None:
            raise ConfigError(VACUUM_ONLY)
        positions = pieces.graph.positions
        n_atoms = len(positions)
        if n_atoms != len(self.charges):
            raise ConfigError(
                f"{len(self.charges)} charges were given for a structure of {n_atoms} atoms"
            )
        whole = self._whole(positions, pieces.first_order)
        assembly = pieces.batch.assembly
        covered = self._covered.get(assembly)
        if covered is None:
            covered = self._covered[assembly] = _Covered(assembly)
        weights = covered.weights(pieces.coefficients)
        first, second = covered.first.to(positions.device), covered.second.to(positions.device)
        half = 0.5 * weights * self._pairs(positions, first, second)
        return whole.index_add(0, first, -half).index_add(0, second, -half)

    def _whole(self, positions: Tensor, first_order: bool) -> Tensor:
        n_atoms = len(positions)
        if first_order and positions.requires_grad:
            with torch.enable_grad():
                leaf = positions.detach().requires_grad_(True)
                energies, gradient = torch.zeros_like(leaf[:, 0]).detach(), torch.zeros_like(leaf)
                for part in self._rows(leaf):
                    (slope,) = torch.autograd.grad(part.sum(), leaf)
                    energies, gradient = energies + part.detach(), gradient + slope
            block = torch.zeros(n_atoms, dtype=torch.int64, device=positions.device)
            return BlockEnergies.apply(positions, energies, gradient.detach(), block, 1)
        return torch.stack(list(self._rows(positions))).sum(0)

    def _rows(self, positions: Tensor) -> Iterator[Tensor]:
        n_atoms = len(positions)
        step = max(1, _BLOCK // n_atoms)
        everyone = torch.arange(n_atoms, device=positions.device)
        for begin in range(0, n_atoms, step):
            rows = everyone[begin : begin + step]
            first = rows.repeat_interleave(n_atoms - 1 - rows)
            counts = n_atoms - 1 - rows
            starts = counts.cumsum(0) - counts
            inner = torch.arange(len(first), device=positions.device)
            second = first + 1 + inner - starts.repeat_interleave(counts)
            half = 0.5 * self._pairs(positions, first, second)
            zero = positions.new_zeros(n_atoms) + 0.0 * positions.sum()
            yield zero.index_add(0, first, half).index_add(0, second, half)

    def _pairs(self, positions: Tensor, first: Tensor, second: Tensor) -> Tensor:
        device = positions.device
        charges = self.charges.to(device)
        apart = positions.index_select(0, second) - positions.index_select(0, first)
        distance = torch.linalg.vector_norm(apart, dim=1)
        energy = COULOMB * charges[first] * charges[second] / distance
        if self.sigma is not None and self.epsilon is not None:
            sigma, epsilon = self.sigma.to(device), self.epsilon.to(device)
            sixth = (0.5 * (sigma[first] + sigma[second]) / distance) ** 6
            energy = energy + 4.0 * (epsilon[first] * epsilon[second]).sqrt() * (sixth**2 - sixth)
        return energy


class _Covered:
    """Pairs of atoms that fragments have together, and which fragments.

    Attributes:
        first: [n_pairs].
        second: [n_pairs], larger than `first`.
    """

    def __init__(self, assembly: FragmentMap) -> None:
        n_atoms = assembly.n_atoms
        codes: list[Ints] = []
        owners: list[Ints] = []
        for k, fragment in enumerate(assembly.fragments):
            i, j = np.triu_indices(len(fragment.real), 1)
            codes.append(fragment.real[i] * n_atoms + fragment.real[j])
            owners.append(np.full(len(i), k, dtype=np.int64))
        code, where = np.unique(np.concatenate(codes), return_inverse=True)
        self.first = torch.from_numpy(code // n_atoms)
        self.second = torch.from_numpy(code % n_atoms)
        self._pair = torch.from_numpy(where)
        self._owner = torch.from_numpy(np.concatenate(owners))

    def weights(self, coefficients: Tensor) -> Tensor:
        """Returns Σ c [a and b in f] of each pair, [n_pairs]."""
        device = coefficients.device
        found = coefficients.new_zeros(len(self.first))
        return found.index_add(
            0, self._pair.to(device), coefficients.index_select(0, self._owner.to(device))
        )

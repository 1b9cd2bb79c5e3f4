"""The error budget of a fragment method: three differences that are never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.units import kcal, mol
from torch import Tensor

from tlpot.calculators import FragmentCalculator
from tlpot.errors import ConfigError
from tlpot.fragments import Partition, TypedBatch, TypedModel, close_atoms, fragment_name
from tlpot.jobs import Cut, used_coefficients
from tlpot.numbers import Bools, Floats, Ints, mae, rmse
from tlpot.topology import Topology, residue_of

KCAL = 1e3 * kcal / mol
"""1 kcal/mol in meV."""
_ACCEPTORS = {7: 2, 8: 2, 16: 2, 9: 1, 17: 1}
"""Most bonds that an atom with a free lone pair has."""
_REACH = 2.5
_STRAIGHT = -0.5
"""Cosine of 120 degrees."""
_BACKBONE = ("amino", "alpha", "carbonyl")


def atom_classes(cut: Cut) -> dict[str, Bools]:
    """Returns which atoms are in each class, [n_atoms]; an atom may be in several, or in none.

    - ``backbone``, ``side chain`` and ``molecule`` (ligands, water, ions) by the kind of unit;
    - ``cap-adjacent``: at an end of a bond that a fragment cuts;
    - ``hydrogen-bonded``: donor, hydrogen and acceptor of `hydrogen_bonds`;
    - ``charged``: in a unit with a formal charge.
    """
    topology, n_atoms = cut.topology, len(cut.positions)
    kinds = np.array([unit.kind for unit in topology.units])[topology.unit_of]
    charges = np.array([unit.charge for unit in topology.units])[topology.unit_of]
    capped = np.zeros(n_atoms, dtype=bool)
    for fragment in cut.fragments:
        capped[fragment.host] = True
        capped[fragment.replaced] = True
    bonded = np.zeros(n_atoms, dtype=bool)
    bonded[hydrogen_bonds(topology, cut.positions)] = True
    found = {
        "backbone": np.isin(kinds, _BACKBONE),
        "side chain": kinds == "side",
        "molecule": kinds == "molecule",
        "cap-adjacent": capped,
        "hydrogen-bonded": bonded,
        "charged": charges != 0,
    }
    return {name: mask for name, mask in found.items() if mask.any()}


def hydrogen_bonds(topology: Topology, positions: Floats) -> Ints:
    """Returns donor, hydrogen and acceptor of each hydrogen bond, [n_bonds, 3].

    H···A below 2.5 Å and D-H···A above 120°, for D of N, O or S and A with a lone pair, as of
    Baker and Hubbard, doi:10.1016/0079-6107(84)90007-5.
    """
    numbers = topology.atomic_numbers
    n_bonds = np.bincount(topology.bonds.ravel(), minlength=len(numbers))
    donor = np.full(len(numbers), -1, dtype=np.int64)
    for i, j in topology.bonds.tolist():
        for hydrogen, heavy in ((i, j), (j, i)):
            if numbers[hydrogen] == 1 and numbers[heavy] in (7, 8, 16):
                donor[hydrogen] = heavy
    accepts = np.array(
        [n <= _ACCEPTORS.get(int(z), -1) for z, n in zip(numbers, n_bonds, strict=True)]
    )
    pairs = close_atoms(positions, _REACH)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    hydrogen, acceptor = pairs[(donor[pairs[:, 0]] >= 0) & accepts[pairs[:, 1]]].T
    heavy = donor[hydrogen]
    back = positions[heavy] - positions[hydrogen]
    on = positions[acceptor] - positions[hydrogen]
    lengths = np.linalg.norm(back, axis=1) * np.linalg.norm(on, axis=1)
    straight = np.einsum("ij,ij->i", back, on) < _STRAIGHT * lengths
    chosen = straight & (acceptor != heavy)
    return np.stack([heavy, hydrogen, acceptor], axis=1)[chosen]


MODEL, SCHEME, TOTAL = "model − fragment QM", "fragment QM − whole QM", "model − whole QM"
"""What is wrong with the model, with the scheme, and with the sum of both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Energy and forces of one assembly minus those of another.

    Attributes:
        energy: [n_frames], eV.
        forces: [n_frames, n_atoms, 3], eV/Å.
    """

    energy: Floats
    forces: Floats

    @property
    def relative(self) -> Floats:
        """Energy differences without their mean over the frames, [n_frames], eV."""
        return self.energy - self.energy.mean()


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentErrors:
    """Model minus reference for each fragment with a coefficient other than 0.

    Attributes:
        names: [n_fragments].
        sizes: [n_fragments], atoms with caps.
        energy: [n_fragments], eV.
        forces: [n_fragments] arrays of [n, 3], eV/Å.
    """

    names: tuple[str, ...]
    sizes: Ints
    energy: Floats
    forces: tuple[Floats, ...]

    @classmethod
    def joined(cls, several: Sequence[FragmentErrors]) -> FragmentErrors:
        """Joins those of several frames."""
        return cls(
            names=tuple(name for one in several for name in one.names),
            sizes=np.concatenate([one.sizes for one in several]),
            energy=np.concatenate([one.energy for one in several]),
            forces=tuple(f for one in several for f in one.forces),
        )

    def by_kind(self) -> dict[str, dict[str, Any]]:
        """Returns statistics by name, meV and meV/Å, the largest force error first."""
        members: dict[str, list[int]] = {}
        for k, name in enumerate(self.names):
            members.setdefault(name, []).append(k)
        rows = {}
        for name, inside in members.items():
            force = 1e3 * np.concatenate([self.forces[k].reshape(-1) for k in inside])
            energy = 1e3 * self.energy[inside]
            rows[name] = {
                "n": len(inside),
                "atoms": int(self.sizes[inside[0]]),
                "energy_mean": float(energy.mean()),
                "energy_std": float(energy.std()),
                "force_mae": mae(force),
                "force_rmse": rmse(force),
                "force_max": float(np.abs(force).max()),
            }
        return dict(sorted(rows.items(), key=lambda row: -row[1]["force_mae"]))

    def components(self) -> Floats:
        """Returns the components of all force errors, eV/Å."""
        return np.concatenate([f.reshape(-1) for f in self.forces])


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The three parts, frame by frame.

    `MODEL` and `SCHEME` add up to `TOTAL`, signs and all; their mean absolute values do not.

    Attributes:
        topology: of all frames.
        parts: by name; without a model only `SCHEME`.
        classes: [n_frames, n_atoms] by name, see `atom_classes`.
        fragments: errors of the model on single fragments, None without a model.
        cost: mean number of atoms evaluated per atom.
    """

    topology: Topology
    parts: dict[str, Difference]
    classes: dict[str, Bools]
    fragments: FragmentErrors | None
    cost: float

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.parts[SCHEME].energy)

    @property
    def n_atoms(self) -> int:
        """Number of atoms of a frame."""
        return len(self.topology.atomic_numbers)

    @property
    def n_residues(self) -> int:
        """Number of amino acids, or of molecules if there are none."""
        amino = sum(residue.kind == "amino" for residue in self.topology.residues)
        return amino or len(self.topology.residues)

    def residue_masks(self) -> list[Bools]:
        """Returns which atoms each residue has, [n_atoms] each."""
        owner = residue_of(self.topology)
        return [owner == index for index in range(len(self.topology.residues))]


def measure_budget(
    frames: Sequence[Atoms],
    *,
    whole: FragmentCalculator,
    fragments: FragmentCalculator,
    model: FragmentCalculator | None = None,
) -> Budget:
    """Measures the errors of all frames.

    Args:
        frames: one structure in one or more conformations.
        whole: the reference for the whole structure, scheme ``direct``.
        fragments: the reference in place of the model, otherwise as `model`.
        model: the assembly in question; None leaves the error of the scheme alone.

    Raises:
        ConfigError: no frames, or calculators that do not belong together.
        TLPotError: see `FragmentCalculator.calculate`.
    """
    if not len(frames):
        raise ConfigError("an error budget needs at least one structure")
    if not whole.force_field.is_direct:
        raise ConfigError("the reference of the whole structure must have scheme='direct'")
    if model is not None and model.force_field.scheme != fragments.force_field.scheme:
        raise ConfigError("the model and the reference must have the same scheme")
    if any(frame.pbc.any() for frame in frames):
        raise ConfigError(
            "an error budget is for molecules in vacuum, and a frame is periodic; set pbc=False, "
            "or compare energies and forces of FragmentCalculator yourself"
        )
    topology, scheme = whole.topology, fragments.force_field.scheme
    sides = {"whole": whole, "fragments": fragments} | ({} if model is None else {"model": model})
    found: list[dict[str, tuple[float, Floats]]] = []
    classes: list[dict[str, Bools]] = []
    errors, cost = [], []
    for frame in frames:
        cut = Cut.make(topology, scheme, frame.positions)
        classes.append(atom_classes(cut))
        cost.append(cut.cost)
        found.append({name: _evaluate(calculator, frame) for name, calculator in sides.items()})
        if model is not None:
            errors.append(fragment_errors(model, fragments, frame.positions))
    compared = {
        MODEL: ("model", "fragments"),
        SCHEME: ("fragments", "whole"),
        TOTAL: ("model", "whole"),
    }
    parts = {
        name: Difference(
            energy=np.array([each[one][0] - each[other][0] for each in found]),
            forces=np.array([each[one][1] - each[other][1] for each in found]),
        )
        for name, (one, other) in compared.items()
        if one in sides
    }
    nowhere = np.zeros(len(frames[0]), dtype=bool)
    names = list(dict.fromkeys(name for one in classes for name in one))
    return Budget(
        topology=topology,
        parts=parts,
        classes={n: np.array([one.get(n, nowhere) for one in classes]) for n in names},
        fragments=FragmentErrors.joined(errors) if errors else None,
        cost=float(np.mean(cost)),
    )


def _evaluate(calculator: FragmentCalculator, frame: Atoms) -> tuple[float, Floats]:
    calculator.calculate(frame, ("energy", "forces"))
    return float(calculator.results["energy"]), calculator.results["forces"]


def fragment_errors(
    model: FragmentCalculator, reference: FragmentCalculator, where: Floats
) -> FragmentErrors:
    """Evaluates both on the fragments of one structure, [n_atoms, 3], Å."""
    topology = model.topology
    partition = model.force_field.partition(topology.atomic_numbers, where)
    assembly = partition.batch.assembly
    names = [fragment_name(topology, f.units) for f in assembly.fragments]
    rows = assembly.positions(torch.from_numpy(where.copy()))
    own_energy, own_forces = _pieces(model, partition, names, rows)
    energy, forces = _pieces(reference, partition, names, rows)
    used = np.flatnonzero(used_coefficients(partition, where))
    ends = np.cumsum(assembly.sizes)
    split = np.split(own_forces - forces, ends[:-1])
    totals = [part.sum() for part in np.split(own_energy - energy, ends[:-1])]
    return FragmentErrors(
        names=tuple(names[k] for k in used),
        sizes=assembly.sizes[used],
        energy=np.array([totals[k] for k in used]),
        forces=tuple(split[k] for k in used),
    )


def _pieces(
    calculator: FragmentCalculator, partition: Partition, names: list[str], rows: Tensor
) -> tuple[Floats, Floats]:
    high = calculator.force_field.high
    leaf = rows.detach().to(calculator.device).clone().requires_grad_(True)
    if isinstance(high, TypedModel):
        typed = TypedBatch(partition.batch, names, high)
        energies = typed.energies(leaf, first_order=True)
    else:
        energies = partition.batch.energies(
            high, leaf, first_order=True, charge=bool(high.uses_charge)
        )
    (gradient,) = torch.autograd.grad(energies.sum(), leaf)
    return energies.detach().cpu().numpy(), -gradient.cpu().numpy()

"""Charges and Lennard-Jones parameters of a protein from an AMBER force field."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units
from ase.data import chemical_symbols
from numpy.typing import NDArray

from tlpot.errors import ConfigError, MissingExtraError
from tlpot.fragments.ownership import residue_of
from tlpot.fragments.topology import Topology

FORCE_FIELD = "amber14-all.xml"


@dataclass(frozen=True, kw_only=True, slots=True)
class NonbondedParameters:
    """What Coulomb and Lennard-Jones terms take.

    Attributes:
        charges: [n_atoms], e.
        sigma: [n_atoms], Å.
        epsilon: [n_atoms], eV.
    """

    charges: NDArray[np.float64]
    sigma: NDArray[np.float64]
    epsilon: NDArray[np.float64]


def amber_parameters(topology: Topology) -> NonbondedParameters:
    """Returns the non-bonded parameters of ff14SB, assigned by OpenMM.

    Residues are matched by their bonds, not by names. ff14SB: Maier et al.,
    doi:10.1021/acs.jctc.5b00255.

    Args:
        topology: a protein, water and common ions.

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
        [[value._value for value in force.getParticleParameters(i)]
         for i in range(force.getNumParticles())]
    )  # fmt: skip
    table = table[np.argsort(order)]
    kilojoule = units.kJ / units.mol
    return NonbondedParameters(
        charges=table[:, 0], sigma=table[:, 1] * 10.0, epsilon=table[:, 2] * kilojoule
    )


def openmm_topology(topology: Topology) -> tuple[Any, NDArray[np.int64]]:
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

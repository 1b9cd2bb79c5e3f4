"""A region of OpenMM without an exception for each of its pairs.

openmmml takes the force field's pairs off a region by exceptions, N²/2 of them, and a step of 900
atoms takes fourteen times as long with them. Here only atoms up to three bonds apart keep theirs;
the force field then counts all other pairs of the region, and what it counts is computed once
more for the region alone, to be taken off the potential.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import openmm
from scipy import sparse

from tlpot.numbers import Floats

THINNED = (
    openmm.NonbondedForce.NoCutoff,
    openmm.NonbondedForce.CutoffNonPeriodic,
    openmm.NonbondedForce.CutoffPeriodic,
    openmm.NonbondedForce.Ewald,
    openmm.NonbondedForce.PME,
)
"""Methods whose pairs of a molecule in one piece can be computed for it alone."""


def thin_exceptions(
    system: Any, atoms: Sequence[int], bonds: Sequence[tuple[int, int]]
) -> tuple[str, ...]:
    """Takes the exceptions of distant pairs off a mixed system.

    Args:
        system: of openmmml; its NonbondedForce is replaced.
        atoms: of the region, one molecule, which stays further than the cutoff from its images.
        bonds: pairs of positions in `atoms`.

    Returns:
        Systems of the region alone, as XML, whose energies the force field now holds in
        addition; none where nothing was changed, because the force field has other pair terms.
    """
    forces = system.getForces()
    found = [k for k, force in enumerate(forces) if isinstance(force, openmm.NonbondedForce)]
    other = any(isinstance(force, openmm.CustomNonbondedForce) for force in forces)
    if len(found) != 1 or other:
        return ()
    force = forces[found[0]]
    offsets = force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets()
    if offsets or force.getNonbondedMethod() not in THINNED:
        return ()
    near = _near(len(atoms), bonds)
    place = {atom: k for k, atom in enumerate(atoms)}
    root = ElementTree.fromstring(openmm.XmlSerializer.serialize(force))
    exceptions = root.find("Exceptions")
    assert exceptions is not None
    for exception in list(exceptions):
        i, j = (place.get(int(exception.attrib[end])) for end in ("p1", "p2"))
        if i is not None and j is not None and (min(i, j), max(i, j)) not in near:
            exceptions.remove(exception)
    thinned = openmm.XmlSerializer.deserialize(ElementTree.tostring(root, encoding="unicode"))
    alone = _alone(force, atoms, near)
    system.removeForce(found[0])
    system.addForce(thinned)
    return tuple(openmm.XmlSerializer.serialize(part) for part in alone)


def _near(n_atoms: int, bonds: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Pairs up to three bonds apart, whose Lennard-Jones terms would be too large to cancel."""
    i, j = np.array(bonds, dtype=np.int64).reshape(-1, 2).T
    ones = np.ones(len(i), dtype=np.int64)
    bound = sparse.coo_array((ones, (i, j)), shape=(n_atoms, n_atoms)).tocsr()
    bound = bound + bound.T
    walks = (bound + bound @ bound + bound @ bound @ bound).tocoo()
    return {(int(a), int(b)) for a, b in zip(walks.row, walks.col, strict=True) if a < b}


def _alone(force: Any, atoms: Sequence[int], near: set[tuple[int, int]]) -> list[Any]:
    """What the force field computes between the atoms of the region, without images."""
    method = force.getNonbondedMethod()
    long_ranged = method in (openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME)
    # with lattice sums charges interact at any distance and the rest up to the cutoff, which
    # no System of the CPU platform has both
    parts = [(True, True)] if not long_ranged else [(True, False), (False, True)]
    systems = []
    for charged, attracted in parts:
        part, system = openmm.NonbondedForce(), openmm.System()
        cut = method != openmm.NonbondedForce.NoCutoff and attracted
        part.setNonbondedMethod(part.CutoffNonPeriodic if cut else part.NoCutoff)
        part.setCutoffDistance(force.getCutoffDistance())
        part.setReactionFieldDielectric(force.getReactionFieldDielectric())
        part.setUseSwitchingFunction(cut and force.getUseSwitchingFunction())
        part.setSwitchingDistance(force.getSwitchingDistance())
        for atom in atoms:
            system.addParticle(1.0)
            charge, sigma, epsilon = force.getParticleParameters(atom)
            part.addParticle(charge if charged else 0.0, sigma, epsilon if attracted else 0.0)
        for i, j in sorted(near):
            part.addException(i, j, 0.0, 1.0, 0.0)
        system.addForce(part)
        systems.append(system)
    return systems


class RegionAlone:
    """Energy and forces of the region by the force field.

    Args:
        texts: what `thin_exceptions` returns.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        platform = openmm.Platform.getPlatformByName("CPU")
        systems = [openmm.XmlSerializer.deserialize(text) for text in texts]
        self._contexts = [
            openmm.Context(system, openmm.VerletIntegrator(0.001), platform) for system in systems
        ]

    def __call__(self, positions: Floats) -> tuple[float, Floats]:
        """Returns the energy, kJ/mol, and the forces, [n_atoms, 3], kJ/mol/nm, at places in nm."""
        energy, forces = 0.0, np.zeros_like(positions)
        for context in self._contexts:
            context.setPositions(positions)
            state = context.getState(energy=True, forces=True)
            energy += state.getPotentialEnergy()._value
            forces += state.getForces(asNumpy=True)._value
        return energy, forces

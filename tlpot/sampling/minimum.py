"""The way down to a minimum, and what to do where a proton would leave its atom on the way."""

from __future__ import annotations

from collections import Counter

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import Hookean

from tlpot.errors import SimulationError
from tlpot.numbers import Ints
from tlpot.sampling.thermal_motion import Lasting
from tlpot.topology import MolecularGraph

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

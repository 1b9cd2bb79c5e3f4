"""The kinds of parents that everything has to work on."""

from pathlib import Path

import pytest
import torch
from ase import Atoms

from tlpot.energy import evaluate
from tlpot.graph import build_graph
from tlpot.models import Potential, import_mace
from tlpot.system import System

MACE = Path(__file__).parent / "models" / "mace"
IMPORTED = {"mace": "off-0.3.16", "mace-omol": "omol-0.3.16"}

ALL_PARENTS = ["tlpot", *(pytest.param(name, marks=pytest.mark.train) for name in IMPORTED)]
"""Parameters of a fixture: imported parents belong to the suite of trainings."""

every_parent = pytest.mark.parametrize("parent", ALL_PARENTS, indirect=True)
"""For tests that use the fixture `parent`, itself or through another."""


def imported_parent(
    kind: str, level: str, references: dict[int, float], kernels: str = "auto"
) -> Potential:
    """A small random network of mace-torch in float32, with reference energies at a level."""
    path = MACE / f"{IMPORTED[kind]}.model"
    found = import_mace(
        path, levels=level, elements=sorted(references), dtype=torch.float32, kernels=kernels
    ).potential
    return found.with_level(level, references).requires_grad_(False)


def lone_energies(potential: Potential, level: str, spins: dict[int, int] | None = None):
    """What an atom by itself has beyond its E0, eV: nothing but in a residual first block."""
    found = {}
    for z, e0 in potential.references(level).items():
        atom = Atoms([z], info={"spin": (spins or {}).get(z, 1)})
        graph = build_graph([System.from_atoms(atom)], potential.cutoff)
        found[z] = float(evaluate(potential.at(level), graph, forces=False).energy[0]) - e0
    return found

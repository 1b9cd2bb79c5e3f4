"""What the battery runs over. A new kind of energy model joins by one line in `MODELS`."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from toys import E0, ToyModel

from tlpot.energy import EnergyModel, Properties, evaluate
from tlpot.graph import Layout, build_graph
from tlpot.models import (
    CorrectionInfo,
    DeltaPotential,
    Ensemble,
    LinearCorrection,
    Potential,
    feature_blocks,
    import_mace,
    preset,
)
from tlpot.models.mace import MaceRepulsion
from tlpot.system import System

ELEMENTS = (1, 6, 7, 8)


def network(
    name: str, dtype: torch.dtype, kernels: str = "auto", trained: bool = True, **changes
) -> EnergyModel:
    """A network with random weights; those of charge and spin, where there are any, not zero.

    The fused call serves those that are not `trained`.
    """
    potential = Potential.create(
        preset(name, ELEMENTS, **changes),
        {"toy": E0},
        dtype=torch.float64,
        kernels=kernels,
    )
    if potential.backbone.charge_spin is not None:
        with torch.no_grad():
            potential.backbone.charge_spin.normal_(generator=torch.Generator().manual_seed(0))
    return potential.to(dtype).requires_grad_(trained).at()


def delta(dtype: torch.dtype) -> EnergyModel:
    """The sum of two networks of different range; the difference has no E0 of its own."""
    low = network("tiny", torch.float64, cutoff=4.5, hidden_irreps="4x0e+4x1o", zbl=True)
    sizes = preset("tiny", ELEMENTS, cutoff=3.5, hidden_irreps="4x0e+4x1o")
    none = {"high - toy": dict.fromkeys(ELEMENTS, 0.0)}
    difference = Potential.create(sizes, none, seed=1, dtype=torch.float64, scale=0.3)
    return DeltaPotential(low.potential, difference).to(dtype).at()


def corrected(dtype: torch.dtype) -> EnergyModel:
    """A network with a random linear map on the features of all its blocks."""
    potential = Potential.create(preset("tiny", ELEMENTS), {"toy": E0}, dtype=torch.float64)
    sizes = feature_blocks(potential.architecture)
    weights = np.random.default_rng(0).normal(size=(len(ELEMENTS), sum(sizes.values())))
    info = CorrectionInfo(kind="linear", blocks=tuple(sizes))
    potential.head("toy").corrections.append(LinearCorrection.fitted(info, 0.2 * weights))
    return potential.to(dtype).at()


def ensemble(dtype: torch.dtype) -> EnergyModel:
    """Members that differ in weights, size and range, on one graph."""
    changes = {"hidden_irreps": "6x0e+6x1o", "radial_hidden": ()}
    members = [
        Potential.create(
            preset("tiny", ELEMENTS, cutoff=cutoff, **changes),
            {"toy": E0},
            seed=seed,
            dtype=torch.float64,
        )
        for seed, cutoff in enumerate((3.6, 4.5))
    ]
    return Ensemble([member.to(dtype) for member in members]).at()


def imported(name: str, dtype: torch.dtype, kernels: str = "auto") -> EnergyModel:
    """A small random network of mace-torch."""
    path = Path(__file__).parents[1] / "models" / "mace" / f"{name}.model"
    potential = import_mace(path, levels="toy", dtype=torch.float64, kernels=kernels).potential
    references = torch.tensor([E0[z] for z in potential.elements], dtype=torch.float64)
    potential.head("toy").references.value = references
    return potential.to(dtype).at()


MODELS: dict[str, Callable[[torch.dtype], EnergyModel]] = {
    "toy": lambda dtype: ToyModel(dtype=dtype),
    "toy-charged": lambda dtype: ToyModel(dtype=dtype, uses_charge=True),
    "tiny": partial(network, "tiny"),
    "tiny-zbl-charged": partial(network, "tiny", zbl=True, charge_spin=True),
    "small": partial(network, "small"),
    "medium": partial(network, "medium"),
    "delta": delta,
    "tiny-corrected": corrected,
    "tiny-torch": partial(network, "tiny", kernels="torch", zbl=True),
    "medium-torch": partial(network, "medium", kernels="torch"),
    "ensemble": ensemble,
    "mace": partial(imported, "off-0.3.16"),
    "mace-mpa-torch": partial(imported, "mpa-0.3.10", kernels="torch"),
    "mace-omol": partial(imported, "omol-0.3.16"),
    "tiny-fused": partial(network, "tiny", kernels="fused", trained=False, zbl=True),
    "medium-fused": partial(network, "medium", kernels="fused", trained=False),
    # no whole block of channels, hence the kernels that take one at a time
    "odd": partial(network, "tiny", hidden_irreps="5x0e+5x1o"),
    # beyond the degrees that the compiled kernels know
    "quartic": partial(network, "tiny", l_max=4, hidden_irreps="4x0e+4x1o"),
}

if importlib.util.find_spec("torch_scatter") is not None:
    MODELS["tiny-scatter"] = partial(network, "tiny", kernels="torch_scatter", zbl=True)


@cache
def make_model(name: str, dtype: torch.dtype = torch.float64) -> EnergyModel:
    """Builds a model once."""
    return MODELS[name](dtype)


def _rattled(atoms: Atoms) -> Atoms:
    atoms.rattle(0.05, seed=1)
    return atoms


def acetamide() -> Atoms:
    atoms = _rattled(molecule("CH3CONH2"))
    atoms.info.update(charge=1, spin=2)
    return atoms


def water() -> Atoms:
    return _rattled(molecule("H2O"))


def crystal() -> Atoms:
    """Triclinic, with a cell shorter than the cutoff."""
    cell = [[3.3, 0, 0], [0.8, 3.5, 0], [0.5, -0.7, 4.2]]
    places = [[0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.3, 0.8, 0.9]]
    return Atoms("CON", scaled_positions=places, cell=cell, pbc=True)


def slab() -> Atoms:
    """Periodic in two directions, with a third lattice vector across the vacuum."""
    cell = [[2.9, 0, 0], [0.9, 3.1, 0], [0, 0, 14.0]]
    positions = [[0, 0, 5.0], [1.4, 1.2, 5.6], [0.2, 0.1, 6.1]]
    return Atoms("CNH", positions=positions, cell=cell, pbc=(True, True, False))


def chain() -> Atoms:
    """Periodic in one direction, without other lattice vectors."""
    cell = np.diag([2.6, 0.0, 0.0])
    return Atoms("CO", positions=[[0, 0, 0], [1.2, 0.4, 0.3]], cell=cell, pbc=(True, False, False))


def lone_atom() -> Atoms:
    return Atoms("O", positions=[[0.3, 0.2, 0.1]])


def strangers() -> Atoms:
    """Two atoms without neighbours."""
    return Atoms("CH", positions=[[0, 0, 0], [0, 0, 20.0]])


def lone_atom_in_a_box() -> Atoms:
    return Atoms("N", positions=[[1.0, 2.0, 3.0]], cell=[21.0, 22.0, 23.0], pbc=True)


SYSTEMS = {
    f.__name__: f
    for f in (acetamide, water, crystal, slab, chain, lone_atom, strangers, lone_atom_in_a_box)
}
INTERACTING = ("acetamide", "water", "crystal", "slab", "chain")
PERIODIC = ("crystal", "slab", "chain")


def compute(
    model: EnergyModel,
    atoms: Atoms | list[Atoms],
    *,
    stress: bool = False,
    layout: Layout = "auto",
    create_graph: bool = False,
) -> Properties:
    """Evaluates one structure or a batch, as neutral singlets if the model knows no others."""
    batch = [System.from_atoms(a) for a in ([atoms] if isinstance(atoms, Atoms) else atoms)]
    if not model.uses_charge:
        batch = [replace(system, charge=0, spin=1) for system in batch]
    graph = build_graph(batch, model.cutoff, layout=layout)
    return evaluate(model, graph, stress=stress, create_graph=create_graph)


def assert_close(a: Properties, b: Properties, atol: float = 1e-9) -> None:
    """Compares everything that both have."""
    for name in ("energy", "energies", "forces", "stress"):
        x, y = getattr(a, name), getattr(b, name)
        if x is not None and y is not None:
            torch.testing.assert_close(
                x, y, rtol=1e-9, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
            )


def reference_energy(atoms: Atoms) -> float:
    return sum(E0[int(z)] for z in atoms.numbers)


def at_reference(model: EnergyModel) -> bool:
    """Whether the model gives an atom by itself its E0: not where MACE adds element constants."""
    architecture = getattr(getattr(model, "potential", None), "architecture", None)
    return getattr(architecture, "isolated_at_reference", True)


def skip_jump(model: EnergyModel, name: str) -> None:
    """Skips what a jump of the third derivative spoils: MACE's repulsion ends at the bond length.

    That of water, rattled, is the sum of the covalent radii to 0.01 Å.
    """
    potential = getattr(model, "potential", None)
    if name == "water" and isinstance(getattr(potential, "repulsion", None), MaceRepulsion):
        pytest.skip("the third derivative of MACE's repulsion jumps at this bond length")


def slope(values: torch.Tensor, step: float) -> torch.Tensor:
    """Derivative at 0 from values at −2h, −h, h, 2h along the first axis; error O(h⁴)."""
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)

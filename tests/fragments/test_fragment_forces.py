"""Forces, stress and Hessian of fragment force fields are derivatives of the energy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from local_toy import LocalToy
from structures import bridged, peptide
from toys import ToyModel

from tlpot.energy import evaluate, hessian
from tlpot.errors import ConfigError
from tlpot.fragments import (
    GMFCC,
    MFCC,
    Dimers,
    FragmentForceField,
    ModelLayer,
    NonbondedLayer,
    Sphere,
)
from tlpot.fragments.fragmented_structure import FragmentBatch
from tlpot.graph import build_graph
from tlpot.models import CalculatorModel
from tlpot.system import System
from tlpot.topology import perceive_topology

SCHEMES = {
    "direct": "direct",
    "mfcc": MFCC(),
    "mfcc2": MFCC(size=2),
    "mfcc_mbe2": Dimers(inner=2.0, outer=4.5),
    "gmfcc": GMFCC(inner=2.0, outer=5.0),
    "sphere": Sphere(),
}


class ToyCalculator(Calculator):
    """The local toy as an ASE calculator, in the place of a QM program."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        system = replace(System.from_atoms(atoms), charge=0)
        found = evaluate(LocalToy(cutoff=4.0), build_graph([system], 4.0))
        self.results = {"energy": float(found.energy), "forces": found.forces.numpy()}


def field_of(atoms: Atoms, scheme, **settings) -> tuple[FragmentForceField, System]:
    topology = perceive_topology(atoms)
    settings.setdefault("high", LocalToy(cutoff=4.0))
    high = settings.pop("high")
    field = FragmentForceField(high, scheme, topology=topology, trained_charges=True, **settings)
    return field, replace(System.from_atoms(atoms), charge=topology.charge)


def energy_at(field: FragmentForceField, system: System, positions: np.ndarray) -> float:
    graph = build_graph([replace(system, positions=positions)], field.cutoff)
    return float(evaluate(field, graph, forces=False).energy)


def check_forces(field: FragmentForceField, system: System, n_directions: int = 4) -> None:
    """Along random directions in the space of all atoms, by a four-point formula."""
    found = evaluate(field, build_graph([system], field.cutoff))
    rng, h = np.random.default_rng(0), 1e-3
    for _ in range(n_directions):
        direction = rng.normal(size=system.positions.shape)
        direction /= np.linalg.norm(direction)
        e = [energy_at(field, system, system.positions + k * h * direction) for k in (-2, -1, 1, 2)]
        numeric = -(e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h)
        exact = float((found.forces.numpy() * direction).sum())
        assert exact == pytest.approx(numeric, rel=1e-6, abs=1e-6)
    net = found.forces.sum(0).numpy()
    torque = np.cross(system.positions, found.forces.numpy()).sum(0)
    np.testing.assert_allclose(net, 0.0, atol=1e-10)
    np.testing.assert_allclose(torque, 0.0, atol=1e-9)


@pytest.mark.parametrize("layout", ["padded", "sorted"])
def test_structures_of_a_batch_are_taken_apart(layout):
    """In a batch large enough for several blocks of pairs."""
    field = FragmentForceField(LocalToy(cutoff=4.0), "direct", trained_charges=True)
    systems = []
    for name in ("C6H6", "H2O", "trans-butane", "CH3CONH2", "C5H5N", "CH4") * 2:
        atoms = molecule(name)
        atoms.rattle(0.02, seed=len(systems))
        if len(systems) % 2:
            atoms.set_cell([5.0, 6.0, 7.0])
            atoms.pbc = True
        systems.append(System.from_atoms(atoms))
    graph = build_graph(systems, field.cutoff, layout=layout)
    assert graph.blocks is None or len(graph.blocks.sizes) > 1
    found = evaluate(field, graph)
    alone = [evaluate(field, build_graph([s], field.cutoff)) for s in systems]
    torch.testing.assert_close(found.energy, torch.cat([a.energy for a in alone]))
    torch.testing.assert_close(found.forces, torch.cat([a.forces for a in alone]))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("structure", ["bridged", "proline"])
def test_forces_are_the_derivative_of_the_energy(scheme, structure):
    """Gly, Pro, cystine, charged ends, two chains, a ligand and a water are in the set."""
    atoms = bridged() if structure == "bridged" else peptide("GPAG", conformation="helix")
    check_forces(*field_of(atoms, SCHEMES[scheme]))


LAYERS = {
    "low model": lambda n: [ModelLayer(ToyModel(elements=(1, 6, 7, 8)))],
    "low calculator": lambda n: [ModelLayer(CalculatorModel(ToyCalculator()))],
    "charges": lambda n: [NonbondedLayer(np.random.default_rng(0).normal(size=n))],
    "charges and Lennard-Jones": lambda n: [
        NonbondedLayer(np.zeros(n), sigma=np.full(n, 1.5), epsilon=np.full(n, 0.01))
    ],
    "added dispersion": lambda n: [ModelLayer(ToyModel(elements=(1, 6, 7, 8)), subtract=False)],
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("scheme", ["mfcc", "mfcc_mbe2", "gmfcc"])
def test_forces_with_layers(layer, scheme):
    atoms = peptide("AGPAA", conformation="helix")
    check_forces(*field_of(atoms, SCHEMES[scheme], layers=LAYERS[layer](len(atoms))))


def test_forces_with_an_ase_calculator_as_the_engine_of_fragments():
    atoms = peptide("AGPA", conformation="helix")
    by_model, system = field_of(atoms, SCHEMES["mfcc_mbe2"])
    by_calculator, _ = field_of(atoms, SCHEMES["mfcc_mbe2"], high=CalculatorModel(ToyCalculator()))
    check_forces(by_calculator, system)
    graph = build_graph([system], by_model.cutoff)
    a, b = evaluate(by_model, graph), evaluate(by_calculator, graph)
    torch.testing.assert_close(a.energy, b.energy, rtol=0, atol=1e-9)
    torch.testing.assert_close(a.forces, b.forces, rtol=0, atol=1e-9)


def test_parts_of_bounded_size_give_the_same_forces(monkeypatch):
    atoms = peptide("AGPAA", conformation="helix")
    field, system = field_of(atoms, SCHEMES["mfcc_mbe2"])
    whole = evaluate(field, build_graph([system], field.cutoff))
    small = {"skin": 0.5, "chunk": 60}
    monkeypatch.setattr(FragmentBatch.__init__, "__kwdefaults__", small)
    bounded, _ = field_of(atoms, SCHEMES["mfcc_mbe2"])
    parts = evaluate(bounded, build_graph([system], field.cutoff))
    batch = bounded.partition(system.atomic_numbers, system.positions).batch
    assert len(batch._parts) > 3
    torch.testing.assert_close(parts.energy, whole.energy, rtol=0, atol=1e-10)
    torch.testing.assert_close(parts.forces, whole.forces, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scheme", ["mfcc", "mfcc_mbe2"])
def test_the_hessian_is_the_derivative_of_the_forces(scheme):
    field, system = field_of(peptide("AG", conformation="helix"), SCHEMES[scheme])
    matrix = hessian(field, build_graph([system], field.cutoff))
    rng, h = np.random.default_rng(1), 1e-4
    direction = rng.normal(size=system.positions.shape)
    up, down = (
        evaluate(
            field,
            build_graph(
                [replace(system, positions=system.positions + s * direction)], field.cutoff
            ),
        ).forces
        for s in (h, -h)
    )
    numeric = -(up - down) / (2 * h)
    exact = torch.einsum("iajb,jb->ia", matrix, torch.from_numpy(direction))
    torch.testing.assert_close(exact, numeric, rtol=1e-5, atol=1e-5)


def test_the_hessian_of_an_ase_calculator_is_refused():
    field, system = field_of(peptide("A"), "mfcc", high=CalculatorModel(ToyCalculator()))
    with pytest.raises(ConfigError, match="differentiated once"):
        hessian(field, build_graph([system], field.cutoff))


def test_fragment_positions_are_p_times_x_and_the_energy_is_linear_in_strain():
    atoms = peptide("AGP", conformation="helix")
    field, system = field_of(atoms, SCHEMES["mfcc_mbe2"])
    partition = field.partition(system.atomic_numbers, system.positions)
    assembly = partition.batch.assembly
    matrix = assembly.matrix()
    rows = assembly.positions(torch.from_numpy(system.positions))
    np.testing.assert_allclose(matrix @ system.positions, rows, atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)
    # the virial of the whole is the signed sum of the virials of the fragments
    forces = evaluate(field, build_graph([system], field.cutoff)).forces.numpy()
    virial = -system.positions.T @ forces
    h = 1e-5
    strain = np.array([[0.3, 0.1, 0.0], [0.1, -0.2, 0.4], [0.0, 0.4, 0.1]])
    up, down = (
        energy_at(field, system, system.positions @ (np.eye(3) + s * strain)) for s in (h, -h)
    )
    assert (virial * strain).sum() == pytest.approx((up - down) / (2 * h), rel=1e-6)

"""Non-linear blocks of MACE in the fused call: architectures, charges, derivatives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from test_mace_fused import BOUNDS, CHARGES, expect_the_same, imported, made, results, structures

from tlpot.energy import evaluate
from tlpot.errors import GeometryError, UnknownElementError
from tlpot.graph import build_graph
from tlpot.models import fused as fused_models
from tlpot.models.mace.architecture import DistanceTransform
from tlpot.system import System

AGNESI = DistanceTransform(kind="agnesi", constants={"a": 1.08, "q": 0.92, "p": 4.58})
SOFT = DistanceTransform(kind="soft", constants={"alpha": 4.0})
FREE = torch.zeros(1, dtype=torch.float64)
VARIANTS = {
    "sends less": {"edge_channels": (6, 3), "edge_degrees": (0, 0), "l_hidden": 1},
    "sends more": {"edge_channels": (11, 20), "edge_degrees": (0, 1), "l_hidden": 2, "l_max": 3},
    "scalars": {"l_hidden": 0, "edge_degrees": (0, 0), "l_max": 1, "radial_hidden": (5,)},
    "wide": {
        "n_channels": 33, "edge_channels": (33, 17), "radial_hidden": (17, 9, 21), "n_basis": 9,
        "correlation": (3, 1), "readout_hidden": 19,
    },
    "agnesi": {"transform": AGNESI, "agnostic_product": True, "correlation": (3, 3)},
    "soft": {"transform": SOFT, "last_readout_only": True},
    "plain readout": {"readout_biased": False, "correlation": (1, 2)},
    "charges": {"embeddings": CHARGES, "embedding_readout": True},
    "embedding readout": {"embedding_readout": True},
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("compiled_kernels", "one_thread")


def variant(changes, kernels, dtype=torch.float64):
    """A network of two layers after that of MACE-MH."""
    two = {
        "blocks": ("nonlinear",) * 2, "edge_channels": (6, 4), "edge_degrees": (0, 1),
        "correlation": (2, 2), "avg_neighbors": (5.0, 8.0),
    }  # fmt: skip
    return made({**two, **changes}, kernels, dtype, base="mh-0.3.16")


def crystal():
    """Triclinic, with a cell shorter than the cutoff: atoms that are neighbours of themselves."""
    cell = [[3.3, 0, 0], [0.8, 3.5, 0], [0.5, -0.7, 4.2]]
    places = [[0.1, 0.2, 0.3], [0.6, 0.5, 0.4], [0.3, 0.8, 0.9]]
    return Atoms("CON", scaled_positions=places, cell=cell, pbc=True)


@pytest.mark.parametrize("name", VARIANTS)
def test_architectures_agree_with_torch(name):
    ours, theirs = (variant(VARIANTS[name], kernels) for kernels in ("fused", "torch"))
    for atoms in ([*structures("mh-0.3.16")[:4]], [crystal()]):
        found, expected = results(ours, atoms), results(theirs, atoms)
        expect_the_same(found, expected, FREE, BOUNDS[torch.float64])


@pytest.mark.parametrize("name", ["mh-0.3.16", "omol-0.3.16"])
def test_rounding_in_single_precision_is_that_of_torch(name):
    """It depends on the last digits of the positions, so many structures tell."""
    ours, single = imported(name, "fused", torch.float32), imported(name, "torch", torch.float32)
    double, rng = imported(name, "torch"), np.random.default_rng(0)
    errors = []
    for atoms in structures(name)[:2] * 12:
        atoms.positions += rng.normal(0, 2e-3, atoms.positions.shape)
        found, rounded, exact = (
            results(p, [atoms], p.levels[0]).forces for p in (ours, single, double)
        )
        errors.append([float((f - exact).norm() / exact.norm()) for f in (found, rounded)])
    mine, theirs = np.sqrt(np.square(errors).mean(axis=0))
    assert mine < 2.0 * theirs


@pytest.mark.parametrize("name", ["mh-0.3.16", "omol-0.3.16"])
def test_forces_and_stress_are_derivatives_of_the_energy(name):
    potential, step = imported(name, "fused"), 1e-4

    def energy(atoms):
        return float(results(potential, [atoms], potential.levels[0]).energy)

    for atoms in (structures(name)[0], crystal()):
        found = results(potential, [atoms], potential.levels[0])
        size = float(found.forces.abs().max())
        for i, axis in ((0, 0), (1, 2), (len(atoms) - 1, 1)):
            moved = [atoms.copy(), atoms.copy()]
            moved[0].positions[i, axis] += step
            moved[1].positions[i, axis] -= step
            slope = (energy(moved[0]) - energy(moved[1])) / (2 * step)
            assert abs(slope + float(found.forces[i, axis])) < 1e-6 * max(size, 1.0)
        for a, b in ((0, 0), (1, 2)) if atoms.pbc.all() else ():
            strain, ends = np.zeros((3, 3)), []
            strain[a, b] += 0.5 * step
            strain[b, a] += 0.5 * step
            for sign in (1, -1):
                strained = atoms.copy()
                strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
                ends.append(energy(strained))
            slope = (ends[0] - ends[1]) / (2 * step) / atoms.get_volume()
            assert abs(slope - float(found.stress[0, a, b])) < 1e-6


def test_charges_count_and_those_outside_of_the_tables_are_refused_as_by_torch():
    ours, theirs = imported("omol-0.3.16", "fused"), imported("omol-0.3.16", "torch")
    atoms = structures("omol-0.3.16")[0]
    ion = atoms.copy()
    ion.info = {"charge": 1, "spin": 2}
    together = results(ours, [atoms, ion], "omol-0.3.16")
    assert abs(float(together.energy[0] - together.energy[1])) > 1e-3
    expected = results(theirs, [ion], "omol-0.3.16")
    torch.testing.assert_close(together.forces[len(atoms) :], expected.forces, rtol=0, atol=1e-10)
    messages = []
    for state in ({"charge": 5, "spin": 2}, {"charge": 0, "spin": 7}):
        ion.info = state
        for potential in (ours, theirs):
            with pytest.raises(GeometryError, match="structure 1 has total") as raised:
                results(potential, [atoms, ion], "omol-0.3.16")
            messages.append(str(raised.value))
    assert messages[0] == messages[1]
    assert messages[2] == messages[3]
    with pytest.raises(UnknownElementError):
        results(ours, [Atoms("Ar")], "omol-0.3.16")


def test_structures_without_pairs_and_in_a_batch_are_evaluated_as_if_alone():
    potential = imported("omol-0.3.16", "fused")
    level = potential.levels[0]
    far = Atoms("CH", positions=[[0, 0, 0], [0, 0, 20.0]], info={"spin": 2})
    structures_ = [Atoms("O", info={"spin": 3}), far, structures("omol-0.3.16")[1]]
    systems = [System.from_atoms(a) for a in structures_]
    graph = build_graph(systems, potential.cutoff, layout=potential.layout)
    together = evaluate(potential.at(level), graph)
    alone = [results(potential, [a], level) for a in structures_]
    torch.testing.assert_close(together.energy, torch.cat([a.energy for a in alone]))
    torch.testing.assert_close(together.forces, torch.cat([a.forces for a in alone]))
    assert together.forces[:3].abs().max() == 0.0


@pytest.mark.parametrize("change", ["beta", "norm", "bias", "state", "embedding readout", "gates"])
def test_any_change_of_weights_is_seen(change):
    potential, atoms = imported("omol-0.3.16", "fused"), structures("omol-0.3.16")[:1]
    before, layer = results(potential, atoms), potential.backbone.interactions[1]
    weight = {
        "beta": layer.beta,
        "norm": layer.convolution.radial.norms[0].weight,
        "bias": layer.convolution.radial.biases[-1],
        "state": potential.backbone.state.tables[1],
        "embedding readout": potential.heads[0].embedding.weight,
        "gates": layer.gated[1].weight,
    }[change]
    weight.mul_(1.5)
    expected = imported("omol-0.3.16", "torch")
    expected.load_state_dict(potential.state_dict())
    found = results(potential, atoms)
    assert (found.energy - before.energy).abs().max() > 1e-9
    torch.testing.assert_close(found.energy, results(expected, atoms).energy, rtol=0, atol=1e-9)


def test_a_part_of_the_elements_gives_the_same_numbers():
    atoms = [a for a in structures("mh-0.3.16") if 7 not in a.numbers and not a.pbc.any()]
    found, expected = (
        results(potential, atoms, potential.levels[1])
        for potential in (
            imported("mh-0.3.16", "fused", elements=[1, 6, 8]), imported("mh-0.3.16", "fused"),
        )
    )  # fmt: skip
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-10)


def test_other_cutoffs_are_refused():
    a = imported("mh-0.3.16", "fused").architecture
    assert fused_models._mace_obstacle(a) is None
    assert "cutoff" in fused_models._mace_obstacle(replace(a, cutoff_in_basis=True))


@pytest.mark.parametrize("name", ["mh-0.3.16", "omol-0.3.16"])
def test_threads_give_the_same_bits_again_and_again(name):
    """None of them writes where another reads: 30 calls of 1,000 atoms, three threads."""
    potential = imported(name, "fused")
    atoms = [a for a in structures(name) if not a.pbc.any()] * (1000 // 40)
    systems = [System.from_atoms(a) for a in atoms]
    graph = build_graph(systems, potential.cutoff, layout=potential.layout)
    alone = evaluate(potential.at(potential.levels[0]), graph).forces
    torch.set_num_threads(3)
    first = evaluate(potential.at(potential.levels[0]), graph).forces
    assert float((first - alone).norm()) <= 1e-12 * float(alone.norm())
    for _ in range(30):
        assert torch.equal(evaluate(potential.at(potential.levels[0]), graph).forces, first)

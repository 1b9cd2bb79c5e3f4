"""The fused call gives what torch gives for imported models, and refuses the others by name."""

import logging
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from tlpot.energy import evaluate
from tlpot.errors import KernelError
from tlpot.graph import build_graph
from tlpot.kernels import fused as fused_kernels
from tlpot.models import Potential, import_mace
from tlpot.models import fused as fused_models
from tlpot.models.mace.architecture import StateEmbedding
from tlpot.system import System
from tlpot.transfer.adapters import Gains, attach

HERE = Path(__file__).parent
SERVED = sorted(path.stem for path in HERE.glob("*.model"))
BOUNDS = {torch.float64: 1e-12, torch.float32: 1e-6}
CANCELS = {"omol-0.3.16": 10.0}
"""Random networks whose terms cancel: torch, too, is that much further off in single precision."""

CHARGES = (StateEmbedding(quantity="total_charge", classes=5, width=3, offset=2),)

pytestmark = pytest.mark.usefixtures("compiled_kernels", "one_thread")


def imported(name, kernels, dtype=torch.float64, **options):
    found = import_mace(HERE / f"{name}.model", kernels=kernels, dtype=dtype, **options)
    return found.potential.requires_grad_(False)


def _state(data, k):
    return {key: int(data[f"{key}_{k}"]) for key in ("charge", "spin") if f"{key}_{k}" in data}


def structures(name):
    """Molecules, pairs at the cutoff, atoms without neighbours, a cell smaller than the cutoff."""
    with np.load(HERE / f"{name}.npz") as data:
        return [
            Atoms(
                data[f"numbers_{k}"], data[f"positions_{k}"], cell=data[f"cell_{k}"],
                pbc=data[f"pbc_{k}"], info=_state(data, k),
            )
            for k in range(int(data["n"]))
        ]  # fmt: skip


def results(potential, atoms, level=None):
    systems = [System.from_atoms(a) for a in atoms]
    graph = build_graph(systems, potential.cutoff, layout=potential.layout)
    return evaluate(potential.at(level), graph, stress=bool(systems[0].pbc.all()))


def expect_the_same(found, expected, e0, bound):
    """Energies are compared without reference energies, which hide what is wrong.

    Forces at the cutoff are below what is left of the envelope's digits, in torch.
    """
    largest = float(max(e0.abs().max(), expected.energies.abs().max()))
    for name in ("energies", "forces", "stress"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            assert ours.dtype is theirs.dtype
            size = float((theirs - e0 if name == "energies" else theirs).norm())
            floor = 8.0 * torch.finfo(torch.float64).eps * largest
            assert float((ours - theirs).norm()) <= bound * size + floor, name


@pytest.mark.parametrize("name", SERVED)
def test_every_family_agrees_with_torch_in_double_precision(name):
    ours, theirs = imported(name, "fused"), imported(name, "torch")
    for level in ours.levels:
        references = ours.references(level)
        for atoms in structures(name):
            found, expected = results(ours, [atoms], level), results(theirs, [atoms], level)
            e0 = torch.tensor([references[z] for z in atoms.numbers], dtype=torch.float64)
            expect_the_same(found, expected, e0, BOUNDS[torch.float64])


@pytest.mark.parametrize("name", sorted(set(SERVED) - CANCELS.keys()))
def test_every_family_agrees_with_torch_in_single_precision(name):
    """Where torch itself loses digits, because large terms cancel, so may the fused call.

    Energies of these random networks reach hundreds of eV an atom, as differences of larger ones.
    """
    ours, single = imported(name, "fused", torch.float32), imported(name, "torch", torch.float32)
    double = imported(name, "torch")
    references = ours.references(ours.levels[0])
    for atoms in structures(name):
        found, rounded, expected = (
            results(potential, [atoms], potential.levels[0]) for potential in (ours, single, double)
        )
        e0 = torch.tensor([references[z] for z in atoms.numbers], dtype=torch.float64)
        for key, origin in (("energies", e0), ("forces", 0.0)):
            ours_, own, exact = (getattr(r, key) for r in (found, rounded, expected))
            size = max(float((exact - origin).norm()), 1e-6)
            error, usual = float((ours_ - exact).norm()), float((own - exact).norm())
            assert error <= max(2.0 * BOUNDS[torch.float32] * size, 3.0 * usual), key


BATCHED = ["mpa-0.3.10", "deep-0.3.13", "plain-0.3.13", "mh-0.3.16", "omol-0.3.16"]


@pytest.mark.parametrize("name", BATCHED)
def test_batches_threads_and_weights_that_are_not_held(name, monkeypatch):
    """More atoms of an element than are gathered at once, and pieces that several threads share."""
    atoms = [a for a in structures(name) if not a.pbc.any()] * 4
    theirs = imported(name, "torch")
    level = theirs.levels[0]
    expected = results(theirs, atoms, level)
    torch.set_num_threads(3)
    for kept in (1 << 21, 0):
        monkeypatch.setattr(fused_kernels, "MOST_KEPT", kept)
        found = results(imported(name, "fused"), atoms, level)
        for ours, theirs in ((found.energies, expected.energies), (found.forces, expected.forces)):
            assert float((ours - theirs).norm()) <= 1e-12 * float(theirs.norm())


def test_a_part_of_the_elements_gives_the_same_numbers():
    atoms = [a for a in structures("mpa-0.3.10") if 7 not in a.numbers and not a.pbc.any()]
    found = results(imported("mpa-0.3.10", "fused", elements=[1, 6, 8]), atoms)
    expected = results(imported("mpa-0.3.10", "fused"), atoms)
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-11)


@pytest.mark.parametrize("change", ["element map", "density", "repulsion"])
def test_any_change_of_weights_is_seen(change):
    potential, atoms = imported("mpa-0.3.10", "fused"), structures("mpa-0.3.10")[:1]
    before = results(potential, atoms)
    layer, head = potential.backbone.interactions[0], potential.heads[0]
    if change == "element map":
        layer.element_mix.maps[1].weight.mul_(1.5)
    elif change == "density":
        layer.density.mul_(1.5)
    else:
        head.repulsion_scale.value = head.repulsion_scale.value * 1.5
    expected = imported("mpa-0.3.10", "torch")
    expected.load_state_dict(potential.state_dict())
    found = results(potential, atoms)
    assert (found.energy - before.energy).abs().max() > 1e-6
    torch.testing.assert_close(found.forces, results(expected, atoms).forces, rtol=0, atol=1e-10)


def made(changes, kernels, dtype=torch.float64, base="off-0.3.16"):
    """A network with random weights, also where there are zeros and ones at first."""
    architecture = replace(imported(base, "torch").architecture, **changes)
    references = dict.fromkeys(architecture.elements, 0.0)
    found = Potential.create(architecture, {"a": references}, seed=3, dtype=dtype, kernels=kernels)
    generator = torch.Generator().manual_seed(5)
    for parameter in found.requires_grad_(False).parameters():
        shift = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.add_(0.1 * shift.to(dtype))
    return found


def test_others_are_refused_by_name(caplog):
    atoms, changes = structures("off-0.3.16")[:1], {"edge_channels": (8, 4)}
    with pytest.raises(KernelError, match="irreps"):
        results(made(changes, "fused"), atoms)
    fused_models._log.cache_clear()
    with caplog.at_level(logging.INFO, logger="tlpot"):
        assert results(made(changes, "auto"), atoms).forces is not None
    assert ["irreps" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("term", "changes"),
    [
        ("charge", {"embeddings": CHARGES}),
        ("embedding", {"embedding_readout": True}),
        ("cutoff", {"cutoff_in_basis": False}),
        ("irreps", {"edge_channels": (8, 4)}),
        ("irreps", {"edge_degrees": (0, 0)}),
    ],
)
def test_architectures_that_it_does_not_know_are_refused(term, changes):
    a = imported("off-0.3.16", "fused").architecture
    assert fused_models._mace_obstacle(a) is None
    assert term in fused_models._mace_obstacle(replace(a, **changes))


@pytest.mark.parametrize("last_only", [False, True])
def test_readouts_with_biases_agree_with_torch(last_only):
    changes = {"readout_biased": True, "last_readout_only": last_only}
    atoms = structures("off-0.3.16")[:2]
    found, expected = (results(made(changes, kernels), atoms) for kernels in ("fused", "torch"))
    e0 = torch.zeros(1, dtype=torch.float64)
    expect_the_same(found, expected, e0, BOUNDS[torch.float64])


def test_adapters_on_the_matrices_of_elements_are_refused():
    potential = imported("mpa-0.3.10", "fused")
    attach(potential, potential.levels[0], Gains)
    with pytest.raises(KernelError, match="adapters"):
        results(potential.requires_grad_(False), structures("mpa-0.3.10")[:1])


SCRIPT = """
import sys, numpy as np, torch
sys.path[:0] = sys.argv[1:]
from test_mace_fused import BOUNDS, CANCELS, SERVED, imported, results, structures
torch.set_num_threads(1)
for dtype, name in ((d, n) for d in BOUNDS for n in SERVED):
    atoms = [a for a in structures(name) if not a.pbc.any()][:2]
    level = imported(name, "torch").levels[0]
    found, expected = (
        results(imported(name, *how), atoms, level) for how in (("fused", dtype), ("torch",))
    )
    error = float((found.forces - expected.forces).norm() / expected.forces.norm())
    factor = 2.0 * (CANCELS.get(name, 1.0) if dtype is torch.float32 else 1.0)
    assert error < factor * BOUNDS[dtype], (name, dtype, error)
"""


@pytest.mark.external
@pytest.mark.parametrize("flag", ["-mno-avx512f", "-mno-avx"])
def test_smaller_instruction_sets_give_the_same(flag):
    """The libraries stay in the cache, under names of their own."""
    if platform.machine() != "x86_64":
        pytest.skip("the flags are those of x86 processors")
    environment = {**os.environ, "CXX": f"{os.environ.get('CXX', 'c++')} {flag}"}
    command = [sys.executable, "-c", SCRIPT, str(HERE), str(HERE.parents[1])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr

"""Delta learning: what is learned, from where it starts, and what is saved."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import voigt_6_to_full_3x3_stress
from transfer_levels import LEVEL, LOW

from tlpot.data import average_neighbors, open_dataset
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.graph import build_graph
from tlpot.models import LIBRARY, DeltaPotential, Potential, from_bytes, to_bytes
from tlpot.transfer import strategy
from tlpot.transfer.pseudo_labels import low_values

SHIFT = {1: 0.1, 6: 1.0, 7: 1.25, 8: -1.6}
XTB, DFT = "gfn2-xtb", "wb97x/6-31g*"


@pytest.fixture(scope="module")
def every_level(context):
    """The same frames, with the labels of the other levels."""
    return replace(context, dataset=open_dataset([LIBRARY / "tlpot-qm.h5"]))


def begin(context, references=SHIFT, **settings):
    """The network at step 0 and what it is to learn."""
    chosen = strategy("delta", **settings)
    training_data = chosen.training_data(context)
    taught = replace(context, dataset=training_data.dataset, split=training_data.split)
    return chosen, training_data, chosen.start(taught, references)


def test_the_sum_starts_exactly_at_the_parent_plus_the_shift(context, graph):
    chosen, training_data, network = begin(context)
    assert training_data.levels == network.levels == (f"{LEVEL} - low",)
    total = chosen.finish(network, context)
    assert total.levels == (LEVEL,)
    before, after = (evaluate(m, graph) for m in (context.parent.at("low"), total.at(LEVEL)))
    shift = sum(SHIFT[z] for z in graph.atomic_numbers.tolist())
    assert torch.equal(after.forces, before.forces)
    assert after.energy.item() == pytest.approx(before.energy.item() + shift, abs=1e-9)
    none = chosen.finish(begin(context, dict.fromkeys(SHIFT, 0.0))[2], context)
    assert torch.equal(evaluate(none.at(), graph).energy, before.energy)


def test_a_silent_network_still_learns(context, graph):
    """Only the last linear maps are zero: one step along the gradient wakes everything else."""
    chosen, _, network = begin(context)
    network.requires_grad_(True)
    rates = chosen.rates(network, network.levels[0])
    assert set(rates) == {name for name, _ in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    moved = []
    for _ in range(2):
        optimizer.zero_grad()
        energy = evaluate(network.at(), graph, forces=False, create_graph=True).energy.sum()
        (energy - 1.0).square().backward()
        moved.append({n for n, p in network.named_parameters() if p.grad.abs().max() > 0})
        optimizer.step()
    assert moved[0] == {n for n in rates if "readout.linears" in n or "mlp.layers.1" in n}
    unread = {"backbone.charge_spin"}  # of a neutral singlet
    assert moved[1] == set(rates) - unread


def test_labels_are_the_dataset_minus_the_parent(context):
    _, training_data, _ = begin(context)
    index = training_data.split.train[3]
    (frame,) = training_data.dataset.read([index])
    graph = build_graph([frame.system], context.parent.cutoff, layout=context.parent.layout)
    low = evaluate(context.parent.at("low"), graph).energy.item()
    difference = frame.labels[training_data.levels[0]].energy
    assert difference == pytest.approx(frame.labels[LEVEL].energy - low, abs=1e-6)
    unused = np.setdiff1d(np.arange(len(training_data.dataset)), np.concatenate(
        [training_data.split.train, training_data.split.validation]))  # fmt: skip
    assert not training_data.dataset.labelled(training_data.levels[0])[unused].any()


def test_low_forces_come_where_the_high_level_has_forces(every_level):
    parent, frames = every_level.parent, np.array([3, 700, 5])
    low = low_values(parent, "low", every_level.dataset, frames, DFT)
    for k in frames:
        (frame,) = every_level.dataset.read([k])
        graph = build_graph([frame.system], parent.cutoff, layout=parent.layout)
        found = evaluate(parent.at("low"), graph)
        assert low.energies[k] == pytest.approx(found.energy.item(), abs=1e-5)
        np.testing.assert_allclose(low.forces[k], found.forces.numpy(), rtol=0, atol=1e-4)
    assert np.isfinite(low.energies).sum() == 3
    without = low_values(parent, "low", every_level.dataset, frames, LEVEL)
    np.testing.assert_array_equal(without.energies, low.energies)
    assert not any(x is not None for x in without.forces)


def test_stress_of_crystals_takes_part(context, tmp_path):
    """Extended XYZ, whose labels are numbers and no QM, beside a frame without a cell."""
    crystal = Atoms("CO", positions=[[0, 0, 0], [1.9, 1.7, 1.6]], cell=[3.8, 3.4, 3.2], pbc=True)
    label = np.array([0.1, 0.2, 0.3, 0.01, 0.02, 0.03])
    crystal.calc = SinglePointCalculator(
        crystal, energy=-3070.0, forces=np.full((2, 3), 0.5), stress=label
    )
    free = molecule("CO")
    free.calc = SinglePointCalculator(free, energy=-3071.0, forces=np.zeros((2, 3)))
    write(tmp_path / "x.xyz", [crystal, free], format="extxyz")
    dataset = open_dataset(tmp_path / "x.xyz", level=LEVEL)
    split = replace(context.split, train=np.array([0]), validation=np.array([1]))
    other = replace(context, dataset=dataset, split=split)
    view = strategy("delta").training_data(other).dataset
    assert view.levels[view.level].kinds == {"energy", "forces", "stress"}
    one, two = view.read([0, 1], [view.level])
    graph = build_graph([one.system], context.parent.cutoff, layout=context.parent.layout)
    low = evaluate(context.parent.at("low"), graph, stress=True)
    expected = voigt_6_to_full_3x3_stress(label) - low.stress[0].numpy()
    np.testing.assert_allclose(one.labels[view.level].stress, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        one.labels[view.level].forces, 0.5 - low.forces.numpy(), rtol=0, atol=1e-4
    )
    assert two.labels[view.level].stress is None
    assert np.isfinite(two.labels[view.level].energy)


def test_a_parent_that_gives_nan_is_named_with_the_frame(context):
    broken = context.parent.only("low")
    with torch.no_grad():
        broken.backbone.species.fill_(float("nan"))
    with pytest.raises(DataError, match=r"tlpot-qm\.h5.*gives NaN or infinity .* at low"):
        strategy("delta").training_data(replace(context, parent=broken))


def test_a_level_of_the_dataset_as_low_level(every_level, graph):
    chosen, training_data, network = begin(every_level, low="GFN2-xTB")
    assert training_data.levels == (f"{LEVEL} - {XTB}",)
    assert training_data.dataset.levels[training_data.levels[0]].isolated_atoms[8] != 0.0
    finished = chosen.finish(network, every_level)
    assert isinstance(finished, Potential)
    assert finished.levels == (f"{LEVEL} - {XTB}",) == (chosen.saved_level(every_level),)
    energy = evaluate(finished.at(), graph).energy.item()
    assert energy == pytest.approx(sum(SHIFT[z] for z in graph.atomic_numbers.tolist()))
    found = from_bytes(to_bytes(finished))
    assert found.levels == finished.levels


def test_frames_without_a_low_label_are_left_out(every_level):
    """From many labels to few: not every ωB97X frame has a coupled-cluster one."""
    frames = np.arange(len(every_level.dataset))
    many = replace(every_level.split, train=frames[:-40], validation=frames[-40:])
    there = every_level.dataset.labelled(LEVEL)
    turned = replace(every_level, level=DFT, split=many)
    training_data = strategy("delta", low=LEVEL).training_data(turned)
    np.testing.assert_array_equal(training_data.split.train, many.train[there[many.train]])
    n_lost = int((~there).sum())
    assert f"{n_lost} frames without {LEVEL} left out" in training_data.split.by
    bare = replace(many, validation=frames[~there][:3])
    with pytest.raises(DataError, match="none of the 3 validation frames"):
        strategy("delta", low=LEVEL).training_data(replace(turned, split=bare))


def test_the_parent_and_its_card_go_into_the_saved_sum(context, graph, nudge):
    before = to_bytes(context.parent)
    chosen, training_data, network = begin(context)
    nudge(network, chosen.rates(network, training_data.levels[0]))
    total = chosen.finish(network, context)
    assert to_bytes(context.parent) == before
    trained = evaluate(total.at(LEVEL), graph)
    loaded = from_bytes(to_bytes(total))
    assert isinstance(loaded, DeltaPotential)
    assert torch.equal(evaluate(loaded.at(LEVEL), graph).energy, trained.energy)
    assert not torch.equal(trained.forces, evaluate(context.parent.at("low"), graph).forces)


def test_the_network_takes_its_sizes_from_preset_and_data(context):
    parent, train = context.parent, context.split.train
    plain = begin(context)[2]
    assert plain.elements == parent.elements == tuple(LOW)
    assert plain.repulsion is None
    assert plain.dtype == parent.dtype
    count = average_neighbors(context.dataset, train, plain.cutoff)
    assert plain.architecture.avg_neighbors == pytest.approx(count)
    model = {"hidden_irreps": "4x0e", "cutoff": 3.5, "avg_neighbors": 7.0, "n_layers": 1}
    small = begin(context, model=model)[2]
    assert (small.cutoff, small.architecture.n_layers) == (3.5, 1)
    assert small.architecture.avg_neighbors == 7.0
    n_small, n_plain = (sum(p.numel() for p in n.parameters()) for n in (small, plain))
    assert n_small < 0.1 * n_plain


def test_elements_may_be_those_of_the_frames_alone(every_level):
    """What the network was not trained on is then refused, and not guessed."""
    dataset, split = every_level.dataset, every_level.split
    groups = [dataset.group_names.index(name) for name in ("methanol", "ethanol")]
    ours = np.flatnonzero(dataset.labelled(LEVEL) & np.isin(dataset.group_idx, groups))
    other = replace(every_level, split=replace(split, train=ours[:-5], validation=ours[-5:]))
    chosen, _, network = begin(other, model={"elements": ["O", "C", "H"]})
    assert network.elements == (1, 6, 8)
    total = chosen.finish(network, other)
    assert total.elements == (1, 6, 8)


def test_the_seed_decides_the_weights(context):
    first, again, other = (
        begin(replace(context, seed=seed))[2].backbone.species for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_scale_follows_what_is_labelled(every_level):
    energies_only = begin(every_level)[2]
    references = dict.fromkeys(SHIFT, 0.0)
    split = replace(every_level.split, train=np.arange(24), validation=np.arange(30, 38))
    with_forces = begin(replace(every_level, level=DFT, split=split), references, low=XTB)[2]
    scales = [float(p.heads[0].readout.scale) for p in (energies_only, with_forces)]
    assert scales[0] > 1e-3
    assert 0.05 < scales[1] < 1.5  # eV/Å; forces of GFN2-xTB and ωB97X differ by less than they are


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"low": "gfn1-xtb"}, UnknownLevelError, r"no level 'gfn1-xtb'; did you mean 'gfn2-xtb'"),
        ({"low": LEVEL}, DataError, "the same as the high one"),
        ({"model": {"preset": "tinny"}}, ConfigError, "did you mean 'tiny'"),
        ({"model": {"cutof": 4.0}}, ConfigError, r"strategy\.model: .*did you mean 'cutoff'"),
        ({"model": {"zbl": True}}, ConfigError, "repulsion is in the low level"),
        ({"model": {"elements": ["H", "C"]}}, ConfigError, "leaves out N, O"),
        ({"model": {"elements": ["H", "C", "N", "O", "S"]}}, ConfigError, "has S, which the par"),
        ({"model": {"elements": "HCNO"}}, ConfigError, r"must be a list such as"),
        ({"modle": {}}, ConfigError, "did you mean 'model'"),
    ],
)
def test_mistakes(every_level, settings, error, message):
    with pytest.raises(error, match=message):
        begin(every_level, **settings)

"""Ridge on frozen features: it fits what it should, from features that are kept on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from parents import lone_energies
from transfer_levels import HIGH, LEVEL, LOW

from tlpot.data import Batch, Labels, collate, open_dataset
from tlpot.energy import evaluate
from tlpot.errors import ConfigError, DataError
from tlpot.graph import build_graph
from tlpot.jobs import SplitSettings
from tlpot.models import (
    LIBRARY,
    CorrectionInfo,
    LinearCorrection,
    atomic_features,
    check_blocks,
    feature_blocks,
    from_bytes,
    pool_features,
    to_bytes,
)
from tlpot.transfer import TransferContext, pooled_features, strategy
from tlpot.transfer import summed_features as pooled
from tlpot.transfer.ridge import fit_ridge, force_rows, normal_equations

BLOCKS = ("layer 1", "layer 2", "readout")
XTB = "gfn2-xtb"


@pytest.fixture(scope="module")
def model(parent):
    return from_bytes(to_bytes(parent)).double().requires_grad_(False).at("low")


@pytest.fixture(scope="module")
def forces(parent):
    """A situation with force labels."""
    dataset = open_dataset([LIBRARY / "tlpot-qm.h5"], level=XTB)
    split = SplitSettings(by="random", validation=8, test=0.0, train=16).divide(dataset, XTB)
    return TransferContext(parent=parent, source="low", level=XTB, dataset=dataset, split=split)


def test_pooled_features_are_sums_over_the_atoms_of_each_element(model, context):
    indices = context.split.train[:5]
    found = pooled_features(model, context.dataset, indices, BLOCKS)
    squares = np.zeros(found.squares.shape)
    for row, count, frame in zip(found.sums, found.counts, context.dataset.read(indices),
                                 strict=True):  # fmt: skip
        graph = build_graph([frame.system], model.cutoff)
        features = atomic_features(model, graph, BLOCKS).numpy()
        for k, z in enumerate(model.elements):
            mine = features[frame.system.atomic_numbers == z]
            np.testing.assert_allclose(row[k], mine.sum(axis=0), atol=1e-12)
            assert count[k] == len(mine)
            squares[k] += (mine**2).sum(axis=0)
    np.testing.assert_allclose(found.squares, squares, atol=1e-12)


def test_the_scale_is_the_standard_deviation_over_atoms(model, context):
    indices = context.split.train
    found = pooled_features(model, context.dataset, indices, ["layer 1"])
    oxygens = [
        atomic_features(model, build_graph([f.system], model.cutoff), ["layer 1"]).numpy()[
            f.system.atomic_numbers == 8
        ]
        for f in context.dataset.read(indices)
    ]
    np.testing.assert_allclose(found.scale()[3], np.concatenate(oxygens).std(axis=0), rtol=1e-6)


@pytest.fixture
def counted(monkeypatch):
    """Counts evaluations."""
    calls = []
    inner = pooled._evaluate

    def counting(*arguments):
        calls.append(arguments[3])
        return inner(*arguments)

    monkeypatch.setattr(pooled, "_evaluate", counting)
    return calls


def test_features_are_evaluated_once(model, context, tmp_path, counted):
    indices = context.split.train[:6]

    def get(blocks=BLOCKS, indices=indices):
        return pooled_features(model, context.dataset, indices, blocks, cache=tmp_path)

    first, again = get(), get()
    assert counted == [list(BLOCKS)]
    for name in ("sums", "squares", "counts"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    part, n = get(("layer 2",)), model.potential.architecture.n_channels
    assert np.array_equal(part.sums, first.sums[:, :, n : 2 * n])
    assert len(counted) == 1
    get(indices=indices[::-1])
    assert len(counted) == 2


def test_another_model_has_other_features(context, tmp_path, counted, parent):
    indices = context.split.train[:3]
    changed = from_bytes(to_bytes(parent)).requires_grad_(False)
    for k in range(3):
        pooled_features(changed.at("low"), context.dataset, indices, BLOCKS, cache=tmp_path)
        if k == 0:  # only the readout's features depend on the readout
            changed.head("low").readout.mlp.layers[0].weight.mul_(1.5)
        elif k == 1:
            changed.backbone.species.mul_(1.5)
    assert counted == [list(BLOCKS), ["readout"], list(BLOCKS)]


@pytest.mark.parametrize("damage", ["truncate", "flip", "foreign", "swap"])
def test_a_damaged_cache_is_made_anew(model, context, tmp_path, counted, damage):
    indices = context.split.train[:4]

    def get():
        return pooled_features(
            model, context.dataset, indices, ["layer 1", "layer 2"], cache=tmp_path
        )

    good = get()
    a, b = sorted(tmp_path.iterdir())
    content = a.read_bytes()
    if damage == "swap":
        a.write_bytes(b.read_bytes())
    elif damage == "flip":
        a.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    else:
        a.write_bytes(content[:-50] if damage == "truncate" else b"nonsense")
    assert np.array_equal(get().sums, good.sums)
    assert len(counted) == 2
    assert a.read_bytes() == content


def test_force_rows_are_derivatives_of_the_pooled_features(model, context):
    frames = context.dataset.read(context.split.train[:3])
    batch: Batch = collate(frames, model.cutoff, ())
    starts = np.concatenate([[0], np.cumsum(batch.sizes.numpy())[:-1]])
    seen = 0
    for part in force_rows(model, batch, BLOCKS):
        for s, atom in enumerate(part.atoms.tolist()):
            place = atom - starts[s]
            if atom < 0 or place not in (0, 4) or part.axis != 1:
                continue
            values = []
            for step in (-1e-4, 1e-4):
                system = frames[s].system
                positions = system.positions.copy()
                positions[place, 1] += step
                moved = build_graph(
                    [type(system)(atomic_numbers=system.atomic_numbers, positions=positions,
                                  cell=system.cell, pbc=system.pbc)],
                    model.cutoff,
                )  # fmt: skip
                features = atomic_features(model, moved, BLOCKS)
                species = model.potential.species(moved.atomic_numbers)
                values.append(pool_features(features, species, moved.system_idx, 1, 4).flatten())
            slope = (values[1] - values[0]) / 2e-4
            torch.testing.assert_close(-part.rows[s], slope, rtol=1e-5, atol=1e-6)
            seen += 1
    assert seen >= 4


def test_the_normal_equations_are_the_loss_of_the_corrected_model(model, forces):
    """Σ ΔE²/n + w ΣΔF² from the sums equals that of a model with the correction in it."""
    indices = forces.split.train[:6]
    folds = np.arange(6) % 2
    n = sum(feature_blocks(model.potential.architecture).values())
    total = normal_equations(
        model,
        forces.dataset,
        indices,
        XTB,
        BLOCKS,
        folds,
        columns=np.arange(4 * n),
        force_weight=0.3,
    )
    weights = 0.01 * np.random.default_rng(0).normal(size=(4, n))
    corrected = from_bytes(to_bytes(model.potential))
    info = CorrectionInfo(kind="linear", blocks=BLOCKS)
    corrected.head("low").corrections.append(LinearCorrection.fitted(info, weights))
    expected = np.zeros(2)
    for k, frame in enumerate(forces.dataset.read(indices)):
        found = evaluate(corrected.at("low"), build_graph([frame.system], model.cutoff))
        label = frame.labels[XTB]
        expected[folds[k]] += (label.energy - found.energy.item()) ** 2 / len(frame.system)
        expected[folds[k]] += 0.3 * ((label.forces - found.forces.numpy()) ** 2).sum()
    for moments, value in zip(total, expected, strict=True):
        loss = moments.loss(weights.reshape(-1, 1))[0]
        assert loss == pytest.approx(value, rel=1e-8)


@pytest.mark.fault
def test_elements_that_no_frame_has_take_no_columns(model, forces):
    """With a parent of 96 elements three dozen molecules took nine minutes and gigabytes."""
    indices = forces.split.train[:6]
    folds = np.arange(6) % 2
    n = sum(feature_blocks(model.potential.architecture).values())
    used = np.arange(n, 3 * n)
    whole, some = (
        normal_equations(
            model, forces.dataset, indices, XTB, BLOCKS, folds, columns=columns, force_weight=0.3
        )
        for columns in (np.arange(4 * n), used)
    )
    assert some[0].gram.shape == (2 * n, 2 * n)
    kept = [replace(m, gram=m.gram[used][:, used], cross=m.cross[used]) for m in whole]
    for mine, theirs in zip(some, kept, strict=True):
        np.testing.assert_allclose(mine.gram, theirs.gram, rtol=1e-12, atol=1e-12)
    # the strength means what it meant with the columns of zeros
    zeros = [replace(m, gram=np.zeros_like(m.gram), cross=np.zeros_like(m.cross)) for m in whole]
    for padded, m in zip(zeros, some, strict=True):
        padded.gram[np.ix_(used, used)], padded.cross[used] = m.gram, m.cross
    wanted = fit_ridge(zeros, 1e-2).weights[used]
    np.testing.assert_allclose(
        fit_ridge(some, 1e-2, n_columns=4 * n).weights, wanted, rtol=1e-6, atol=1e-9
    )


def rms(potential, context, level):
    errors = []
    for frame in context.dataset.read(context.split.train):
        graph = build_graph([frame.system], potential.cutoff)
        found = evaluate(potential.at(level), graph)
        label = frame.labels[level]
        errors.append((found.energy.item() - label.energy) / len(frame.system) ** 0.5)
        if label.forces is not None:
            errors += (0.05**0.5 * (found.forces.numpy() - label.forces)).ravel().tolist()
    return float(np.square(errors).mean() ** 0.5)


@pytest.mark.parametrize("settings", [{}, {"on": "total"}, {"blocks": ("readout",)}])
def test_it_lowers_the_loss_and_keeps_the_parent(forces, graph, settings):
    chosen = strategy("frozen-ridge", strength=1e-6, **settings)
    references = {1: -13.0, 6: -50.0, 7: -70.0, 8: -103.0}
    start = chosen.start(forces, references)
    before = rms(start, forces, XTB)
    low = evaluate(forces.parent.at("low"), graph)
    made = from_bytes(to_bytes(chosen.finish(start, forces)))
    assert made.dtype == forces.parent.dtype
    assert rms(made, forces, XTB) < 0.5 * before
    assert torch.equal(evaluate(made.at("low"), graph).forces, low.forces)
    free = build_graph([f.system for f in forces.dataset.read([0])], 0.5)
    exact = from_bytes(to_bytes(made), dtype=torch.float64)
    alone = lone_energies(exact, XTB)
    assert made.architecture.isolated_at_reference == (not any(alone.values()))
    expected = sum(references[z] + alone[z] for z in free.atomic_numbers.tolist())
    assert evaluate(exact.at(XTB), free).energy.item() == pytest.approx(expected, abs=1e-9)
    (correction,) = made.corrections(XTB)
    assert correction.info.blocks == check_blocks(chosen.blocks, made.architecture)
    assert correction.info.fit["forces"] is True


def test_a_linear_law_of_the_features_is_found(parent, context):
    """Labels made from the features themselves, a toy, are recovered to rounding."""
    model = from_bytes(to_bytes(parent)).double().requires_grad_(False).at("low")
    n = model.potential.architecture.readout_hidden
    weights = np.random.default_rng(1).normal(size=(4, n))
    info = CorrectionInfo(kind="linear", blocks=("readout",))
    truth = from_bytes(to_bytes(model.potential))
    truth.head("low").corrections.append(LinearCorrection.fitted(info, weights))

    class Labelled:
        """The dataset, with the labels of the toy law."""

        def __getattr__(self, name):
            return getattr(context.dataset, name)

        def read(self, indices, levels=None):
            frames = context.dataset.read(indices, levels)
            for frame in frames if levels is None or LEVEL in levels else []:
                graph = build_graph([frame.system], model.cutoff)
                found = evaluate(truth.at("low"), graph)
                frame.labels[LEVEL] = Labels(
                    energy=found.energy.item(), forces=found.forces.numpy()
                )
            return frames

        def labelled(self, level, kind="energy"):
            return context.dataset.labelled(level)

    toy = TransferContext(parent=model.potential, source="low", level=LEVEL, dataset=Labelled(),
                    split=context.split)  # fmt: skip
    chosen = strategy("frozen-ridge", blocks=("readout",))
    made = chosen.finish(chosen.start(toy, LOW), toy)
    assert made.corrections(LEVEL)[0].info.fit["loss_left_out_over_before"] < 1e-6
    frame = toy.dataset.read(toy.split.validation[:1])[0]
    graph = build_graph([frame.system], model.cutoff)
    found = evaluate(made.at(LEVEL), graph)
    assert found.energy.item() == pytest.approx(frame.labels[LEVEL].energy, abs=1e-3)


def test_a_second_fit_adds_to_the_first_and_a_fresh_readout_removes_it(context, graph):
    chosen = strategy("frozen-ridge")
    once = chosen.finish(chosen.start(context, HIGH), context)
    again = TransferContext(parent=once, source=LEVEL, level=LEVEL, dataset=context.dataset,
                      split=context.split)  # fmt: skip
    before = evaluate(once.at(LEVEL), graph).energy
    start = chosen.start(again, HIGH)
    assert torch.equal(evaluate(start.at(LEVEL), graph).energy, before)
    assert len(chosen.finish(start, again).corrections(LEVEL)) == 2
    fresh = strategy("head", readout="fresh").start(again, HIGH)
    assert not fresh.corrections(LEVEL)


def test_features_are_kept_where_the_situation_says(context, tmp_path):
    kept = TransferContext(parent=context.parent, source="low", level=LEVEL, cache=tmp_path / "f",
                     dataset=context.dataset, split=context.split)  # fmt: skip
    chosen = strategy("frozen-ridge")
    chosen.finish(chosen.start(kept, HIGH), kept)
    assert len(list((tmp_path / "f").iterdir())) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"force_weight": 0}, "forces=false leaves"),
        ({"force_weight": 1.0, "forces": False}, "does not apply"),
        ({"strength": -1}, "positive"),
        ({"folds": 1}, "2 or more"),
        ({"on": "totl"}, "did you mean 'total'"),
        ({"block": "layer 1"}, "did you mean 'blocks'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ConfigError, match=message):
        strategy("frozen-ridge", **settings)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"forces": True}, DataError, "none of the training frames"),
        ({"force_weight": 1.0}, ConfigError, "does not apply: no training frame"),
        ({"blocks": ["layer 3"]}, ConfigError, "no features 'layer 3'"),
    ],
)
def test_settings_that_do_not_suit_the_data(context, settings, error, message):
    with pytest.raises(error, match=message):
        strategy("frozen-ridge", **settings).start(context, HIGH)

"""Weights and alignment where labelled structures are not like those that a model is for."""

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

import tlpot
from tlpot.errors import ConfigError, DataError, TLPotWarning
from tlpot.transfer import Moments, aligned, density_ratio
from tlpot.transfer.adaptation import discrepancy, matched

pytest.importorskip("sklearn")
pytestmark = pytest.mark.train


def ridge(rows, values, weights=1.0):
    x = np.column_stack([rows, np.ones(len(rows))])
    solution = Moments.of(x, values, weights).solve(np.array([1e-6]))[:, 0]
    return lambda rows: np.column_stack([rows, np.ones(len(rows))]) @ solution


def error(model, rows, values):
    return float(np.abs(model(rows) - values).mean())


def test_weights_help_a_model_that_cannot_be_right_everywhere():
    rng = np.random.default_rng(0)
    source, target = rng.normal(0.0, 1.0, (600, 2)), rng.normal(0.9, 0.6, (300, 2))
    values = np.square(source[:, 0]) + 0.1 * rng.normal(size=600)
    wanted = np.square(target[:, 0])
    found = density_ratio(source, target)
    assert 60 < found.effective < 400
    assert found.told_apart > 0.75
    plain = error(ridge(source, values), target, wanted)
    assert error(ridge(source, values, found.weights), target, wanted) < 0.6 * plain
    # the mean of the weighted structures is that of the others
    mean = found.weights @ source / len(source)
    assert np.linalg.norm(mean - 0.9) < 0.4 * np.linalg.norm(source.mean(axis=0) - 0.9)


def test_of_one_domain_weights_are_alike():
    rows = np.random.default_rng(1).normal(size=(400, 4))
    found = density_ratio(rows[:200], rows[200:])
    assert found.effective > 150
    assert found.told_apart < 0.65


def test_alignment_helps_where_features_are_stretched_and_moved():
    rng = np.random.default_rng(0)
    source, inside = rng.normal(size=(400, 3)), rng.normal(size=(300, 3))
    slopes = np.array([1.0, -2.0, 0.5])
    target = inside * [3.0, 1.0, 1.5] + [2.0, 0.0, -1.0]
    plain = error(ridge(source, source @ slopes), target, inside @ slopes)
    moved = aligned(source, target)
    assert error(ridge(moved, source @ slopes), target, inside @ slopes) < 0.5 * plain
    assert density_ratio(moved, target).told_apart < density_ratio(source, target).told_apart - 0.1


def test_structures_far_away_do_not_decide_by_kernels():
    """A twentieth of the target far out spoils its covariance, but hardly its distribution."""
    rng = np.random.default_rng(0)
    source, inside = rng.normal(size=(400, 3)), rng.normal(size=(300, 3))
    slopes = np.array([1.0, -2.0, 0.5])
    target = inside * [3.0, 1.0, 1.5] + [2.0, 0.0, -1.0]
    seen = target.copy()
    seen[:15] += rng.normal(0, 40, (15, 3))
    plain = error(ridge(source, source @ slopes), target, inside @ slopes)
    errors = {}
    for name, moved in (("coral", aligned(source, seen)), ("mmd", matched(source, seen))):
        errors[name] = error(ridge(moved, source @ slopes), target, inside @ slopes)
        assert discrepancy(moved, seen) < discrepancy(source, seen)
    assert errors["mmd"] < 0.25 * plain
    assert errors["mmd"] < 0.5 * errors["coral"]


def test_a_discrepancy_is_zero_of_one_distribution():
    rows = np.random.default_rng(1).normal(size=(600, 3))
    assert discrepancy(rows, rows) == pytest.approx(0.0, abs=1e-12)
    assert discrepancy(rows[:300], rows[300:]) < 0.02
    assert discrepancy(rows[:300], rows[300:] + 2.0) > 0.2


@pytest.mark.parametrize("align", [aligned, matched])
def test_features_that_do_not_vary_are_left_alone(align):
    rng = np.random.default_rng(0)
    source = np.column_stack([rng.normal(size=50), np.full(50, 3.0)])
    target = np.column_stack([rng.normal(size=50) + 1.0, np.full(50, 3.0)])
    moved = align(source, target)
    assert np.isfinite(moved).all()
    np.testing.assert_array_equal(moved[:, 1], 3.0)
    assert np.isfinite(density_ratio(source, target).weights).all()


def test_domains_with_nothing_in_common_are_told():
    rng = np.random.default_rng(0)
    source = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(6, 0.3, (3, 2))])
    with pytest.warns(TLPotWarning, match="effective"):
        density_ratio(source, rng.normal(6, 0.3, (100, 2)))


SPEC = {
    "container": "extxyz",
    "units": {"coordinates": "angstrom"},
    "levels": {
        "gap@cheap": {"value": "cheap", "unit": "eV", "extensive": False},
        "gap@dear": {"value": "dear", "unit": "eV", "extensive": False},
    },
}


def crystals(stretches, rng) -> list[Atoms]:
    """A property that bends: no line on features of the stretch is right everywhere."""
    frames = []
    for stretch in stretches:
        atoms = bulk("NaCl" if rng.uniform() < 0.5 else "NaF", "rocksalt", a=5.2 + stretch)
        atoms.info |= {"cheap": 2.0 + stretch, "dear": 8.0 * (stretch + 0.3) ** 2}
        frames.append(atoms)
    return frames


def write_data(folder, name, frames):
    write(folder / f"{name}.xyz", frames, format="extxyz")
    (folder / "toy.yaml").write_text(yaml.safe_dump(SPEC))
    return str(folder / f"{name}.xyz"), str(folder / "toy.yaml")


def test_a_sampling_bias_made_by_hand_is_mended(tmp_path):
    """Labels of many short and few long crystals, for a use on long ones."""
    rng = np.random.default_rng(0)
    biased = np.concatenate([rng.uniform(-0.4, 0.1, 100), rng.uniform(0.1, 0.5, 40)])
    file, spec = write_data(tmp_path, "source", crystals(biased, rng))
    there = crystals(rng.uniform(0.1, 0.5, 60), rng)
    target, _ = write_data(tmp_path, "target", there)
    bare = [Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc) for a in there]
    unlabelled = str(tmp_path / "bare.xyz")
    write(unlabelled, bare, format="extxyz")
    split = {"by": "random", "validation": 10, "test": 10}
    parent = tlpot.train(
        config={
            "data": {"files": [file], "spec": spec}, "split": split,
            "model": {"cutoff": 4.0, "hidden_irreps": "8x0e", "l_max": 1, "correlation": 1,
                      "n_species": 2, "readout_hidden": 2},
        },
        level="gap@cheap", epochs=3, output=tmp_path / "parent.safetensors", progress=False,
    )  # fmt: skip
    errors, fits = {}, {}
    for name, adapt in (
        ("plain", None),
        ("weights", {"files": [target], "spec": spec}),
        ("without labels", {"files": [unlabelled]}),
        ("aligned", {"files": [unlabelled], "weights": False, "align": True}),
        ("coral", {"files": [unlabelled], "weights": False, "align": "coral"}),
        ("matched", {"files": [unlabelled], "weights": False, "align": "mmd"}),
    ):
        found = tlpot.finetune(
            parent.output, config={"data": {"files": [file], "spec": spec}, "split": split},
            level="gap@dear", output=tmp_path / "m.safetensors", overwrite=True, progress=False,
            strategy={"name": "frozen-ridge", "strength": 1e-4, "blocks": ["layer 2"],
                      "on": "total", **({} if adapt is None else {"adapt": adapt})},
        )  # fmt: skip
        there = tlpot.evaluate(
            tmp_path / "m.safetensors", tlpot.open_dataset(target, spec), level="gap@dear"
        )
        errors[name] = there.errors.overall["property_mae"]
        fits[name] = found.potential.corrections("gap@dear")[-1].info.fit
    assert errors["weights"] < 0.9 * errors["plain"], errors
    assert errors["without labels"] == pytest.approx(errors["weights"], rel=1e-6)
    assert "effective_frames" not in fits["plain"]
    assert fits["weights"]["effective_frames"] < fits["weights"]["frames"]
    assert fits["aligned"]["domains_told_apart_when_aligned"] < 0.9
    assert errors["coral"] == errors["aligned"]
    assert np.isfinite([errors["aligned"], errors["matched"]]).all()
    fit = fits["matched"]
    assert fit["discrepancy_when_aligned"] < fit["discrepancy"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"name": "frozen-gp", "adapt": {"files": ["x.xyz"]}}, "weights"),
        ({"name": "frozen-ridge", "adapt": {"files": []}}, "files"),
        ({"name": "frozen-ridge", "adapt": {"files": ["x"], "weights": False}}, "align"),
        ({"name": "frozen-ridge", "adapt": {"files": ["x"], "align": "mnd"}}, "mmd"),
        ({"name": "full", "adapt": {"files": ["x"], "strength": 0}}, "strength"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, key):
    from tlpot.transfer import strategy

    with pytest.raises(ConfigError, match=key):
        strategy(settings)


def test_a_file_that_is_not_there_is_named(tmp_path):
    rng = np.random.default_rng(0)
    file, spec = write_data(tmp_path, "source", crystals(rng.uniform(-0.4, 0.5, 40), rng))
    data = {"data": {"files": [file], "spec": spec}, "split": {"by": "random", "validation": 10}}
    model = {"cutoff": 4.0, "hidden_irreps": "8x0e", "l_max": 1, "correlation": 1}
    parent = tlpot.train(
        config={**data, "model": {**model, "n_species": 2, "readout_hidden": 2}},
        level="gap@cheap", epochs=1, output=tmp_path / "parent.safetensors", progress=False,
    )  # fmt: skip
    with pytest.raises(DataError, match="nowhere"):
        tlpot.finetune(
            parent.output, config=data, level="gap@dear", output=tmp_path / "m.safetensors",
            progress=False, strategy={"name": "frozen-ridge", "adapt": {"files": ["nowhere.xyz"]}},
        )  # fmt: skip

"""Ranking of source models on real labels."""

import numpy as np
import pytest
from parents import IMPORTED, imported_parent
from shipped_levels import CC, DFT

from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.jobs import finetune, finetune_config
from tlpot.models import Potential, catalogue, load, preset, save
from tlpot.ranking import rank, rank_models
from tlpot.ranking.ranking import BASELINE
from tlpot.training import fit_references


@pytest.fixture(scope="module")
def dataset(data_file, tmp_path_factory):
    """A part of the shipped data: five molecules."""
    import h5py

    path = tmp_path_factory.mktemp("data") / "five.h5"
    with h5py.File(data_file) as source, h5py.File(path, "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        full = open_dataset(data_file)
        labelled = set(full.group_idx[full.labelled(CC)].tolist())
        for k in sorted(labelled)[:5]:
            source.copy(full.group_names[k], target)
    return open_dataset(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shipped model, a smaller one that was never trained, and one of other elements."""
    path = tmp_path_factory.mktemp("zoo")
    trained = load("tlpot-tiny", device="cpu")
    save(trained, path / "trained.safetensors")
    random = Potential.create(
        preset("tiny", trained.elements, hidden_irreps="8x0e+8x1o"),
        {DFT: trained.references(DFT)}, scale=1.0,
    )  # fmt: skip
    save(random, path / "random.safetensors")
    zeros = {1: 0.0, 14: 0.0}
    save(Potential.create(preset("tiny", (1, 14)), {"a": zeros}), path / "silane.safetensors")
    (path / "broken.safetensors").write_bytes(b"x")
    return path


@pytest.fixture(scope="module")
def ranking(dataset, folder):
    return rank_models(dataset, CC, catalogue([folder], []))


def test_every_block_of_every_model_is_scored_and_sorted(ranking):
    assert ranking.by == "molecule"
    assert ranking.folds == {"random": 5, "molecule": 5, "cluster": 5}
    maes = [score.errors[ranking.by].mae for score in ranking.scores]
    assert maes == sorted(maes)
    models = [score.model.rpartition("/")[2] for score in ranking.scores]
    # four sets of features, with and without the model's energy, and the shift alone
    assert [models.count(m) for m in ("trained.safetensors", "random.safetensors", "")] == [9, 9, 1]


def test_a_trained_model_with_its_energy_beats_a_random_one(ranking):
    def best(name, **wanted):
        return min(
            score.errors["random"].mae for score in ranking.scores
            if name in score.model and all(getattr(score, k) == v for k, v in wanted.items())
        )  # fmt: skip

    assert best("trained", features=()) < best("random", features=())
    assert best("trained", on="residual") < best("random", on="residual")


@pytest.mark.train
@pytest.mark.parametrize("kind", IMPORTED)
def test_imported_models_are_ranked(dataset, kind, tmp_path):
    known = load("tlpot-tiny", device="cpu").references(DFT)
    save(imported_parent(kind, DFT, known), tmp_path / "imported.safetensors")
    found = rank_models(dataset, CC, catalogue([tmp_path], []))
    assert not found.refused
    assert len(found.scores) == 9 + 1
    for score in found.scores:
        assert all(np.isfinite(errors.mae) for errors in score.errors.values())


def test_models_that_do_not_apply_are_named_with_the_reason(ranking):
    reasons = {name.rpartition("/")[2]: why for name, why in ranking.refused.items()}
    assert "does not know C" in reasons["silane.safetensors"]
    assert "not a safetensors file" in reasons["broken.safetensors"]


def test_composition_only_is_plain_least_squares_on_the_other_folds(ranking, dataset):
    (score,) = [s for s in ranking.scores if not s.model]
    assert score.what == BASELINE
    indices = np.flatnonzero(dataset.labelled(CC))
    frames = dataset.read(indices)
    counts = np.array([[(f.system.atomic_numbers == z).sum() for z in dataset.elements]
                       for f in frames], dtype=float)  # fmt: skip
    given = dataset.levels[CC].isolated_atoms
    prior = np.array([given[z] for z in dataset.elements])
    y = np.array([f.labels[CC].energy for f in frames]) - counts @ prior
    errors = []
    for group in np.unique(dataset.group_idx[indices]):  # five molecules, five folds
        out = dataset.group_idx[indices] == group
        shifts = fit_references(dataset.elements, counts[~out], y[~out]).shifts
        errors += np.abs(y[out] - counts[out] @ shifts).tolist()
    assert score.errors["molecule"].mae == pytest.approx(1e3 * np.mean(errors), rel=1e-6)
    assert score.errors["molecule"].r2 == 0.0


def test_labels_that_are_left_out_decide_on_nothing(dataset):
    """Whatever the labels of a fold are, their prediction is the same."""
    target = rank._target(dataset, CC, 5, 0)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(len(target.indices), 6))
    left = target.counts[:, 0] + rows[:, 0] + 0.1 * rng.normal(size=len(rows))
    folds = target.folds["molecule"]
    first = left - rank._left_out(target, left, rows, folds)
    changed = left + 100.0 * rng.normal(size=len(rows)) * (folds == 2)
    second = changed - rank._left_out(target, changed, rows, folds)
    np.testing.assert_allclose(first[folds == 2], second[folds == 2], atol=1e-9)
    assert np.abs(first - second)[folds != 2].max() > 1.0


def test_the_commands_it_prints_can_be_run(ranking, dataset, tmp_path, monkeypatch):
    import shlex

    from tlpot.cli import main

    monkeypatch.chdir(tmp_path)
    assert "5 molecules" in ranking.undecided()
    assert ranking.winner is None
    assert ranking.best is ranking.scores[0]
    # as if there were more like these, and they agreed
    monkeypatch.setattr(type(ranking), "undecided", lambda ranking: "")
    command = shlex.split(ranking.commands()[0])
    assert command[:2] == ["tlpot", "finetune"]
    assert main([*command[1:], "split.by=random", "--dry-run"]) == 0
    assert ranking.winner is ranking.scores[0]


def test_features_are_kept_and_another_run_gives_the_same(dataset, folder, ranking, tmp_path):
    entries = catalogue([], [str(folder / "random.safetensors")])
    first = rank_models(dataset, CC, entries, by="cluster", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    again = rank_models(dataset, CC, entries, by="cluster", cache=tmp_path)
    assert first == again
    assert all(score in ranking.scores for score in first.scores)


def test_it_predicts_which_of_two_parents_is_better(dataset, folder, tmp_path, ranking):
    """The winner's closed form, on a molecule that is left out, against the loser's."""
    ends = {}
    for name in ("trained", "random"):
        config = finetune_config(
            {
                "parent": str(folder / f"{name}.safetensors"),
                "data": {"files": [str(dataset.path)]},
                "level": CC,
                "strategy": "frozen-ridge",
                "output": str(tmp_path / f"{name}.safetensors"),
                "split": {"by": "random", "validation": 0.2, "test": 0.3},
            }
        )
        ends[name] = finetune(config, show=False).end.overall["energy_mae"]
    assert ends["trained"] < ends["random"]
    assert "trained" in ranking.scores[0].model


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n_folds": 2}, ConfigError, "3 or more"),
        ({"n_folds": 10**5}, DataError, "too few"),
        ({"level": "ccsd(t)/cbs"}, UnknownLevelError, "did you mean"),
    ],
)
def test_mistakes(dataset, changes, error, message):
    with pytest.raises(error, match=message):
        rank_models(dataset, **{"level": CC, "entries": [], **changes})


def test_one_molecule_has_no_folds_by_molecule(data_file, tmp_path):
    import h5py

    path = tmp_path / "methanol.h5"
    with h5py.File(data_file) as source, h5py.File(path, "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        source.copy("methanol", target)
    one = open_dataset(path)
    made = rank_models(one, CC, [])
    assert made.by == "random"
    assert "molecule" not in made.folds
    assert made.winner is None
    assert made.commands() == []
    with pytest.raises(ConfigError, match="folds by molecule need"):
        rank_models(one, CC, [], by="molecule")

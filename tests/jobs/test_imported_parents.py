"""What only imported parents have: structures that they label themselves, a licence, no domain."""

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from parents import every_parent, imported_parent
from shipped_levels import CC, DFT

import tlpot
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, TLPotError
from tlpot.jobs import finetune, finetune_config, make_ensemble, prepare_finetune
from tlpot.models import Potential, load, parameter_blocks, save

pytestmark = pytest.mark.train

WATCHED = {"by": "random", "test": ["methanol"], "validation": 12, "train": 24}
"""With as many validation frames as a calibration needs."""
ASL = "ASL: NOT FOR COMMERCIAL USE"
IMPORTED_ONLY = pytest.mark.parametrize("parent", ["mace", "mace-omol"], indirect=True)


def prepare(settings, **changes):
    return prepare_finetune(finetune_config({**settings, **changes}), device="cpu")


def run(settings, **changes):
    return finetune(finetune_config({**settings, **changes}), show=False)


@pytest.fixture
def unlabelled(tmp_path):
    """Structures without any label."""
    structures = []
    for k in range(6):
        atoms = molecule("CH3OH")
        atoms.rattle(0.05, seed=k)
        structures.append(atoms)
    write(tmp_path / "many.xyz", structures, format="extxyz")
    return tmp_path / "many.xyz"


@every_parent
def test_a_parent_labels_the_structures_that_replay_rehearses(settings, parent, unlabelled):
    strategy = {"name": "replay", "files": [str(unlabelled)], "labels": "parent", "frames": 4}
    job = prepare(settings, strategy=strategy).job
    assert len(job.others) == 4
    frames = job.dataset.read(job.others, [DFT])
    calculator = tlpot.TLPotCalculator(str(parent), level=DFT, device="cpu")
    for frame in frames:
        atoms = frame.system.to_atoms()
        atoms.calc = calculator
        assert frame.labels[DFT].energy == pytest.approx(atoms.get_potential_energy(), abs=1e-3)
        np.testing.assert_allclose(frame.labels[DFT].forces, atoms.get_forces(), atol=1e-3)
    report = prepare(settings, strategy=strategy).report
    assert "how far the model has moved away from the parent" in report
    outcome = run(settings, strategy=strategy, training={**settings["training"], "epochs": 1})
    assert outcome.potential.levels == (DFT, CC)
    assert outcome.training.history[0][DFT]["forces_mae"] < 1e-3  # not against labels of the data
    assert "its own predictions for many.xyz" in load(settings["output"]).card.description


def test_labels_of_a_file_do_not_count_where_the_parent_labels(settings, data_file):
    strategy = {"name": "replay", "files": [str(data_file)], "frames": 3}
    own, theirs = (
        prepare(settings, strategy={**strategy, "labels": labels}).job
        for labels in ("parent", "file")
    )
    a, b = (job.dataset.read(job.others, [DFT])[0] for job in (own, theirs))
    np.testing.assert_array_equal(a.system.positions, b.system.positions)
    assert a.labels[DFT].energy != b.labels[DFT].energy


@every_parent
def test_ewc_looks_at_structures_without_labels(settings, unlabelled):
    strategy = {"name": "ewc", "files": [str(unlabelled)], "labels": "parent", "samples": 1}
    job = prepare(settings, strategy=strategy).job
    assert job.plan.penalty(job.potential).item() == 0.0
    run(settings, strategy=strategy, training={**settings["training"], "epochs": 1})


@pytest.mark.parametrize(
    ("strategy", "error", "message"),
    [
        ({"labels": "parent"}, ConfigError, "does not apply without files"),
        ({"files": ["{many}"]}, TLPotError, "strategy.labels=parent takes the structures alone"),
        ({"files": ["{many}"], "labels": "parent", "frames": 7}, DataError, "6 structures"),
        ({"files": ["no.xyz"], "labels": "parent"}, DataError, "no.xyz"),
    ],
)
def test_mistakes_with_structures_to_label(settings, unlabelled, strategy, error, message):
    files = [name.format(many=unlabelled) for name in strategy.get("files", [])]
    with pytest.raises(error, match=message):
        prepare(settings, strategy={"name": "replay", **strategy, "files": files})


@pytest.fixture
def licensed(tmp_path, data_file):
    """An imported model under a licence that binds all that is made from it."""
    free = open_dataset([data_file], level=DFT).levels[DFT].isolated_atoms
    model = imported_parent("mace", DFT, dict(free))
    model.card = tlpot.models.ModelCard(
        name="off", licence=ASL, origin={"file": "off.model", "sha256": "0", "licence": ASL}
    )
    save(model, tmp_path / "licensed.safetensors")
    return tmp_path / "licensed.safetensors"


def test_every_descendant_has_the_licence_of_the_imported_model(settings, licensed, tmp_path):
    first, second = (str(tmp_path / f"{name}.safetensors") for name in ("child", "grandchild"))
    settings = {**settings, "parent": str(licensed), "licence": "MIT"}
    run(settings, output=first)
    again = {**settings, "parent": first, "licence": "CC0", "split": WATCHED}
    run(again, output=second)
    for name in (first, second):
        card = load(name, device="cpu").card
        assert ASL in card.lineage_licence
        assert card.lineage_licence.count(ASL) == 1
        assert card.origin["file"] == "off.model"
    third = str(tmp_path / "third.safetensors")
    run(again, training={**settings["training"], "seed": 4}, output=third)
    joined = make_ensemble([second, third])
    assert ASL in joined.card.lineage_licence
    split = tmp_path / "grandchild.run" / "split.json"
    found = tlpot.calibrate(second, settings["data"]["files"][0], level=CC, split=split)
    assert ASL in found.model.card.lineage_licence
    sum_of = str(tmp_path / "sum.safetensors")
    run(settings, strategy="delta", output=sum_of)
    assert ASL in load(sum_of, device="cpu").card.lineage_licence


@IMPORTED_ONLY
def test_a_child_of_a_parent_without_a_domain_has_one(settings, parent):
    assert not load(parent, device="cpu").at().has_domain
    run(settings)
    child = load(settings["output"], device="cpu")
    assert child.head(CC).domain.n_frames == 24
    run(settings, strategy="head", output=settings["output"].replace("model", "headed"))
    other = load(settings["output"].replace("model", "headed"), device="cpu")
    assert other.head(CC).domain.n_frames == 24
    assert not other.at(DFT).has_domain
    assert "does not say what it was trained on" in other.card.metrics["domain"]


@every_parent
def test_every_weight_belongs_to_a_block(parent):
    model = load(parent, device="cpu")
    blocks = parameter_blocks(model, DFT)
    named = [name for names in blocks.values() for name in names]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    assert all(blocks.values())


@IMPORTED_ONLY
def test_an_imported_architecture_learns_from_scratch(settings):
    split = {"by": "random", "test": ["methanol"], "validation": 20, "train": 80}
    training = {"epochs": 5, "batch_size": 8, "ema": 0.9}
    outcome = run(settings, strategy="scratch", level=DFT, split=split, training=training)
    assert isinstance(outcome.potential, Potential)
    losses = [entry["loss"] for entry in outcome.training.history]
    assert losses[0] < 100.0  # energies are E0 and small random numbers at first
    assert min(losses[1:]) < losses[0]
    forces = [entry[DFT]["forces_mae"] for entry in outcome.training.history]
    assert forces[-1] < forces[0]


@IMPORTED_ONLY
def test_uncertainty_of_the_last_layer_of_a_child(settings, tmp_path):
    run(settings, split=WATCHED)
    found = tlpot.calibrate(
        settings["output"], settings["data"]["files"][0], level=CC,
        split=tmp_path / "model.run" / "split.json",
    )  # fmt: skip
    atoms = molecule("CH3OH")
    atoms.calc = tlpot.TLPotCalculator(found.model, level=CC)
    atoms.get_potential_energy()
    assert atoms.calc.results["energy_std"] > 0


@IMPORTED_ONLY
@pytest.mark.filterwarnings("ignore::tlpot.errors.TLPotWarning")  # a random network has no minimum
def test_dynamics_relaxations_and_vibrations(parent, tmp_path):
    atoms = molecule("CH3OH")
    relaxed = tlpot.relax(atoms, str(parent), steps=4)
    assert min(relaxed.energies[1:]) < relaxed.energies[0]
    found = tlpot.frequencies(atoms, str(parent), allow_forces=True)
    assert np.isfinite(found.modes.wavenumbers).all()
    done = tlpot.md(
        atoms, str(parent), output=tmp_path / "md", ensemble="nve", steps=20, timestep=0.1,
        log_every=1, dtype="float64", progress=False,
    )  # fmt: skip
    total, potential = np.array([(s.total, s.potential) for s in done.run.samples]).T
    assert len(total) == 21
    assert np.ptp(total) < 0.05 * np.ptp(potential)

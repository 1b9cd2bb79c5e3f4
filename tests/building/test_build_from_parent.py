"""A build that starts from a model, and holds its dynamics against those of a level of theory."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.lj import LennardJones
from build_settings import build, counts, settings, watch
from needs import needs
from parents import IMPORTED, imported_parent

from tlpot.building import build_config, make_build_plan, run_stages, stage_statuses
from tlpot.building.dynamics import run_dynamics
from tlpot.building.exploration import spread_per_atom
from tlpot.dynamics import MDSettings
from tlpot.engines import LabelError
from tlpot.errors import ConfigError
from tlpot.models import LIBRARY, content_hash, load, save
from tlpot.structures import build_peptide

pytestmark = pytest.mark.train

needs("tblite")

PARENT = "tlpot-fragments"
LOW = {"engine": "gfn2-xtb", "budget": 8}
HIGH = {"engine": "gfn1-xtb", "budget": 8}
TUNING = {
    "strategy": "full",
    "split": {"validation": 2, "test": 2},
    "training": {"epochs": 1, "batch_size": 8},
}
RUN = {"steps": 2, "interval": 1, "timestep": 0.2, "two_layer": True}
REST = {"uncertainty": {"method": "none"}, "active": {"rounds": 0}}


def asp(folder, **changes):
    """Aspartate, whose charge the parent does not read."""
    given = {
        "sequence": "D", "low": LOW, "high": HIGH, "finetune": TUNING, **REST,
        "pretrain": {"parent": PARENT},
        "assemble": {**RUN, "reference_steps": 4}, **changes,
    }  # fmt: skip
    return settings(folder, **given)


def gly(folder, pretrain, **changes):
    return settings(folder, low=LOW, high=HIGH, finetune=TUNING, pretrain=pretrain, **REST,
                    **changes)  # fmt: skip


@pytest.fixture(scope="module")
def adopted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adopted")
    log = folder / "log"
    undo = watch(log)
    try:
        _, records = build(asp(folder / "out"))
    finally:
        undo()
    report = json.loads((folder / "out" / "report" / "force_field.json").read_text())
    return folder / "out", records, report, counts(log)


def test_an_adopted_parent_is_copied_bit_for_bit(adopted):
    own = adopted[0] / "pretrain" / "model.safetensors"
    assert own.read_bytes() == (LIBRARY / f"{PARENT}.safetensors").read_bytes()
    made = load(adopted[0] / "assemble" / "model.safetensors", device="cpu")
    assert made.card.parent == content_hash(PARENT)
    chain = [(m["role"], m["source"]) for m in adopted[2]["provenance"]["models"]]
    assert chain[:2] == [("model", "model.safetensors"), ("parent", PARENT)]


def test_all_low_labels_test_an_adopted_parent(adopted):
    first = adopted[2]["errors"][0]
    part = "all labels of this build, of which the parent may know some"
    assert (first["title"], first["part"]) == ("adopted parent", part)
    assert {e["part"] for e in adopted[2]["errors"][1:]} == {
        "test frames, of which the parent may know some"
    }
    assert first["holistic"]["n_frames"] == adopted[1]["low"].facts["gfn2-xtb"]["labels"]
    assert first["holistic"]["n_train"] is None
    assert first["holistic"]["force_rmse"] < 200.0


def test_the_parent_before_the_transfer_is_shifted_to_the_high_level(adopted):
    _, before, after = adopted[2]["errors"]
    assert (before["title"], after["title"]) == ("before transfer", "after transfer")
    assert before["total_energies_comparable"]
    assert before["e0_shift"]["frames"] == after["holistic"]["n_train"] == 8 - 2 - 2
    assert before["holistic"]["n_frames"] == after["holistic"]["n_frames"] == 2
    assert before["holistic"]["energy_rmse"] < 100.0  # the levels are electronvolts apart
    assert before["holistic"]["force_rmse"] > 0.0


def test_charges_are_said_once_and_the_snippet_says_them_too(adopted):
    text = adopted[1]["assemble"].facts["snippet"]
    assert ", trained_charges=True)" in text
    assert text.count("trained_charges") == 1
    scope = {"atoms": build_peptide("D")}
    exec(text, scope)
    assert scope["atoms"].calc.topology.charge == -1
    assert np.isfinite(scope["atoms"].get_forces()).all()


def test_the_reference_run_is_beside_that_of_the_force_field(adopted):
    (found,) = adopted[2]["ramachandran"]
    assert found["residues"] == ["ASP 1"]
    assert found["force_field"]["picoseconds"] == pytest.approx(2 * 0.2e-3)
    assert found["reference"]["calculator"] == "gfn2-xtb"
    assert found["reference"]["picoseconds"] == pytest.approx(4 * 0.2e-3)
    assert 0.0 <= found["overlap"] <= 1.0
    runs = [(m["calculator"], m["ensemble"]) for m in adopted[2]["dynamics"]]
    assert runs == [("out", "langevin"), ("out", "nve"), ("gfn2-xtb", "langevin")]
    assert "reference" in {row["what"] for row in adopted[2]["cost"]}
    page = (adopted[0] / "report" / "force_field.html").read_text(encoding="utf-8")
    assert "no reference run was asked for" not in page


def test_the_reference_run_obeys_the_level_of_theory(adopted):
    """Its frames have the energy of the engine, and not that of the model."""
    from tblite.ase import TBLite

    with np.load(adopted[0] / "reference" / "ACE-D-NME" / "000004.npz") as stored:
        positions, energy = stored["positions"], stored["energies"][0]
    with np.load(adopted[0] / "reference" / "ACE-D-NME" / "relaxed.npz") as stored:
        assert energy > stored["energies"][0]
    numbers = make_build_plan(build_config(asp(adopted[0]))).targets[0].frames[0].numbers
    calculator = TBLite(method="GFN2-xTB", charge=-1, verbosity=0)
    assert Atoms(numbers, positions, calculator=calculator).get_potential_energy() == (
        pytest.approx(energy, abs=1e-4)
    )


def test_a_longer_reference_run_goes_on_for_nobody_else(adopted, tmp_path):
    """No stage that has a model in it is done again for it."""
    given = asp(adopted[0], assemble={**RUN, "reference_steps": 5})
    statuses = {s.stage.name: s.state for s in
                 stage_statuses(make_build_plan(build_config(given)).stages,
                                adopted[0])}  # fmt: skip
    assert [name for name, state in statuses.items() if state != "done"] == ["reference", "report"]


def test_an_interrupted_reference_run_repeats_no_step(tmp_path, adopted):
    log, given = tmp_path / "log", asp(tmp_path / "out")
    stages = make_build_plan(build_config(given)).stages
    only = [stage for stage in stages if stage.name == "reference"]
    undo = watch(log)
    torch.set_num_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_stages(only, tmp_path / "out",
                       stop=lambda: counts(log)["moment"] >= 3)  # fmt: skip
        assert stage_statuses(only, tmp_path / "out")[0].state == "begun"
        run_stages(only, tmp_path / "out")
    finally:
        undo()
    assert counts(log)["moment"] == 1 + 1 + 4  # relaxed, start, and four steps
    one, other = (
        np.load(folder / "reference" / "ACE-D-NME" / "000004.npz")["positions"]
        for folder in (adopted[0], tmp_path / "out")
    )
    assert np.array_equal(one, other)


class _FailingEngine(LennardJones):
    """A toy engine that does not converge after a while."""

    calls = 0

    def calculate(self, *args, **kwargs):
        self.calls += 1
        if self.calls > 3:
            raise LabelError("no convergence")
        super().calculate(*args, **kwargs)


def test_a_run_ends_where_the_engine_fails_and_says_so(tmp_path):
    dimer, engine = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.2]]), _FailingEngine()
    md = MDSettings(temperature=10.0, steps=9, log_every=1)
    for _ in range(2):  # what is on disk says the same
        found = run_dynamics(tmp_path, dimer, lambda: engine, md, show=False)
        assert found.ended == "no convergence"
        assert 0 < len(found.moments) < 10


def test_another_content_of_the_parent_makes_the_stage_to_do(tmp_path):
    path = tmp_path / "mine.safetensors"
    model = load(PARENT, device="cpu")
    save(model, path)
    given = gly(tmp_path / "out", {"parent": str(path)})
    build(given, until="pretrain")
    assert (tmp_path / "out" / "pretrain" / "model.safetensors").read_bytes() == path.read_bytes()
    assert build(given, until="pretrain")[0] == []
    stale = make_build_plan(build_config(given)).stages[:4]
    model.card = replace(model.card, description="changed")
    save(model, path)
    now = stage_statuses(make_build_plan(build_config(given)).stages, tmp_path / "out")[3]
    assert (now.stage.name, now.state) == ("pretrain", "to do")
    assert "parent_sha256" in now.why
    (tmp_path / "out" / "pretrain" / "stage.json").unlink()
    with pytest.raises(ConfigError, match="has changed"):
        run_stages(stale, tmp_path / "out")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "out"
    plan = {
        "parent": PARENT,
        "split": {"validation": 2, "test": 2},
        "training": {"epochs": 1, "batch_size": 8},
    }
    build(gly(folder, plan), until="pretrain")
    return folder


def test_epochs_fine_tune_the_parent_on_the_low_labels(tuned):
    model = load(tuned / "pretrain" / "model.safetensors", device="cpu")
    assert model.levels == ("gfn2-xtb",)
    assert model.card.parent == content_hash(PARENT)
    assert model.card.dataset["split"]["train"] == 8 + 2 - 2 - 2  # with the two cut geometries
    assert model.card.recipe["source"] == "gfn2-xtb"


def test_no_epochs_adopt_it(tmp_path, tuned):
    given = gly(tuned, {"parent": PARENT, "training": {"epochs": 0}})
    now = make_build_plan(build_config(given)).stages[3]
    assert now.summary == f"{PARENT} as it is, at gfn2-xtb"
    assert now.settings == make_build_plan(
        build_config(gly(tuned, {"parent": PARENT}))
    ).stages[3].settings  # fmt: skip


def test_what_iterates_nothing_needs_no_epochs(tuned):
    plan = {"parent": PARENT, "strategy": "shift", "split": {"validation": 2, "test": 2}}
    worked, _ = build(gly(tuned, plan), until="pretrain")
    assert worked == ["pretrain"]
    parent, model = load(PARENT), load(tuned / "pretrain" / "model.safetensors")
    assert set(model.levels) == set(parent.levels)
    other = next(name for name in parent.levels if name != "gfn2-xtb")
    assert model.references("gfn2-xtb") != parent.references("gfn2-xtb")
    assert model.references(other) == parent.references(other)


def test_an_adopted_parent_can_be_told_how_sure_it_is(tuned):
    """The low labels are then divided: a part calibrates, and another one tests."""
    given = gly(tuned, {"parent": PARENT, "split": {"validation": 10, "test": 2}},
                select={"how": "uncertainty"})  # fmt: skip
    given["low"] = {**LOW, "budget": 16}
    _, records = build(given, until="select")
    assert "uncertain.safetensors" in records["pretrain"].outputs
    split = json.loads((tuned / "pretrain" / "model.run" / "split.json").read_text())
    assert (len(split["validation"]), len(split["test"])) == (10, 2)
    assert sum(records["select"].facts["geometries"].values()) == 8
    model = tuned / "pretrain" / "uncertain.safetensors"
    charged = [build_peptide("D")]
    assert charged[0].info["charge"] == -1
    spread = spread_per_atom(model, "gfn2-xtb", charged)  # the charge follows from the atoms
    assert 0 < spread == spread_per_atom(model, "gfn2-xtb", charged, charges=False)


@pytest.mark.parametrize("kind", IMPORTED)
def test_a_build_goes_on_from_an_imported_parent(kind, tmp_path):
    """From the adopted model through the transfer to a force field, its dynamics and report."""
    known = load(PARENT, device="cpu").references("gfn2-xtb")
    parent = imported_parent(kind, "gfn2-xtb", {z: known[z] for z in (1, 6, 7, 8)})
    save(parent, tmp_path / "parent.safetensors")
    folder = tmp_path / "out"
    build(gly(folder, {"parent": str(tmp_path / "parent.safetensors")}, assemble=RUN))
    made = load(folder / "assemble" / "model.safetensors", device="cpu")
    assert made.architecture == parent.architecture
    assert made.levels == ("gfn1-xtb",)
    report = json.loads((folder / "report" / "force_field.json").read_text())
    assert report["errors"][0]["title"] == "adopted parent"
    page = (folder / "report" / "force_field.html").read_text(encoding="utf-8")
    assert "of mace-torch" in page

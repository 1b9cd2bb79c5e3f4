"""What a newcomer's crystals would have got wrong in silence, or without a remedy that works."""

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write
from toy_crystals import MODEL, SPEC, SPLIT, crystals, write_toy

import tlpot
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError, UnknownElementError
from tlpot.uncertainty import DomainWarning

pytestmark = [pytest.mark.fault, pytest.mark.train]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def parent(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("parent") / "pbe.safetensors"
    tlpot.train(
        config={"data": data, "model": MODEL, "split": SPLIT}, level="gap@cheap", epochs=2,
        output=output, progress=False,
    )  # fmt: skip
    return output


def test_a_property_labels_no_structures(parent, data, tmp_path, capsys):
    labels = tmp_path / "labels.h5"
    command = ["label", data["files"][0], "--engine", f"model:{parent}", "-o", str(labels)]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "property" in said
    assert "tlpot predict" in said
    assert not labels.exists()


@pytest.mark.parametrize("strategy", ["full", "frozen-ridge", "scratch"])
def test_the_line_on_the_cheap_value_is_beside_every_fine_tuning(parent, data, tmp_path, strategy):
    output = tmp_path / "m.safetensors"
    found = tlpot.finetune(
        parent, config={"data": data, "split": SPLIT}, level="gap@dear", strategy=strategy,
        training=None if strategy == "frozen-ridge" else {"epochs": 1}, output=output,
        progress=False,
    )  # fmt: skip
    assert "line on gap@cheap" in {each.name for each in found.baselines}
    if strategy != "full":
        return
    split = output.with_suffix(".run") / "split.json"
    report = tlpot.report(
        output, data["files"], spec=data["spec"], level="gap@dear", split=split, progress=False
    )
    assert "line on gap@cheap" in {each.name for each in report.baselines}


def test_every_property_of_a_training_has_its_baselines(data, tmp_path):
    found = tlpot.train(
        config={"data": data, "model": MODEL, "split": SPLIT},
        level=["gap@cheap", "volume@cheap", "metal@cheap"], epochs=1,
        output=tmp_path / "m.safetensors", progress=False,
    )  # fmt: skip
    for level, key in (("volume@cheap", "property_mae"), ("metal@cheap", "cross_entropy")):
        names = {each.name: each.errors[key] for each in found.further_baselines[level]}
        end = found.others[level][1].overall[key]
        assert (end >= names["composition only"]) == any(
            warning.startswith(f"{level}: NO BETTER THAN COMPOSITION") for warning in found.warnings
        )
        assert level in found.as_json()["further_baselines"]
    assert str(found).count("composition only") >= 3
    kept = tlpot.load(tmp_path / "m.safetensors").card.metrics
    assert "composition only" in kept["without a network, other levels"]["volume@cheap"]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"unit": "meV"}, DataError, "in meV, and the parent's gap@cheap in eV"),
        ({"extensive": True}, ConfigError, "eV, extensive"),
        ({"kind": "positive"}, ConfigError, "positive"),
    ],
)
@pytest.mark.parametrize("level", ["gap@cheap", "gap@dear"])
def test_a_quantity_that_is_another_than_the_parents_is_refused(
    parent, data, tmp_path, changes, error, words, level
):
    spec = {**SPEC, "levels": {**SPEC["levels"], level: {**SPEC["levels"][level], **changes}}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(spec))
    frames = crystals(60)
    for atoms in frames:
        for key in ("cheap", "dear"):
            if key in atoms.info:
                atoms.info[key] = abs(atoms.info[key]) + 0.1
    write(tmp_path / "toy.xyz", frames, format="extxyz")
    with pytest.raises(error, match=words):
        tlpot.finetune(
            parent, tmp_path / "toy.xyz", spec=str(tmp_path / "other.yaml"), level=level,
            split=SPLIT, output=tmp_path / "m.safetensors", progress=False,
        )  # fmt: skip
    assert not (tmp_path / "m.safetensors").exists()


def test_names_of_labels_are_given_on_the_command_line_of_a_fine_tuning(
    parent, data, tmp_path, capsys
):
    column = SPEC["levels"]["gap@dear"]["value"]
    bare = tmp_path / "bare.xyz"
    frames = crystals(60)
    for atoms in frames:
        atoms.info = {column: atoms.info[column]}
    write(bare, frames, format="extxyz")
    command = ["finetune", str(parent), str(bare), "--level", "gap@dear", "-o",
               str(tmp_path / "m.safetensors"), "--device", "cpu"]  # fmt: skip
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "--keys 'gap@dear=COLUMN, UNIT, intensive'" in said
    keys = ["--keys", f"gap@dear={column}, eV, intensive", "training.epochs=1", "split.by=random"]
    assert main([*command, *keys]) == 0
    curve = ["curve", str(parent), str(bare), "--level", "gap@dear", "--sizes", "10"]
    curve += ["--seeds", "1", "--strategies", "shift", "-o", str(tmp_path / "curve")]
    assert main([*curve, *keys[:2], *keys[3:], "split.validation=10", "split.test=10"]) == 0


def test_a_training_is_told_the_names_as_its_file_would_have_them(data, tmp_path, capsys):
    (tmp_path / "train.yaml").write_text(
        yaml.safe_dump(
            {"data": {"files": data["files"]}, "level": "gap@dear", "model": MODEL,
             "output": str(tmp_path / "m.safetensors")}
        )
    )  # fmt: skip
    assert main(["train", str(tmp_path / "train.yaml")]) == 2
    said = capsys.readouterr().err
    assert """'data.keys={gap@dear: "COLUMN, UNIT, intensive"}'""" in said


def test_a_campaign_asks_for_no_labels_that_its_parent_cannot_read(data, tmp_path):
    with pytest.raises(UnknownElementError, match="does not know"):
        tlpot.active_learning(
            "tlpot-tiny", data["files"], level="gap@dear", output=tmp_path / "campaign",
            config={"data": {"spec": data["spec"]}}, progress=False,
        )  # fmt: skip
    assert not list((tmp_path / "campaign").glob("*.csv"))


def test_the_size_of_a_network_stands_in_a_file_as_among_the_arguments(data, tmp_path):
    found = tlpot.train(
        config={"data": data, "preset": "tiny", "split": SPLIT}, level="gap@cheap", epochs=1,
        output=tmp_path / "m.safetensors", progress=False,
    )  # fmt: skip
    wanted = tlpot.train(
        config={"data": data, "split": SPLIT}, preset="tiny", level="gap@cheap", epochs=1,
        output=tmp_path / "n.safetensors", progress=False,
    )  # fmt: skip
    assert found.potential.architecture == wanted.potential.architecture


def test_contradicting_labels_of_one_structure_are_told(data, tmp_path, capsys):
    column = SPEC["levels"]["gap@cheap"]["value"]
    frames = crystals(20)
    again, same = frames[0].copy(), frames[1].copy()
    again.info[column] = frames[0].info[column] + 5.0
    write(tmp_path / "twice.xyz", [*frames, again, same], format="extxyz")
    found = tlpot.validate_dataset(tmp_path / "twice.xyz", spec=data["spec"], progress=False)
    said = [p for p in found.problems if "another label" in p.what]
    assert [(p.severity, p.frames) for p in said] == [("warning", ("twice.xyz[20]",))]
    assert "gap@cheap" in said[0].what


def test_all_levels_of_a_prediction_are_in_its_heading(parent, data, tmp_path):
    tlpot.train(
        config={"data": data, "model": MODEL, "split": SPLIT}, level=["gap@cheap", "gap@dear"],
        epochs=1, output=tmp_path / "two.safetensors", progress=False,
    )  # fmt: skip
    found = tlpot.predict(
        tmp_path / "two.safetensors", crystals(2), level="all", progress=False, device="cpu"
    )
    assert str(found).splitlines()[0] == "two at gap@cheap, gap@dear"


def test_a_broken_first_line_of_values_is_no_header(tmp_path):
    folder = tmp_path / "cifs"
    folder.mkdir()
    for k, atoms in enumerate(crystals(4)):
        atoms.info = {}
        write(folder / f"m{k}.cif", atoms)
    (folder / "id_prop.csv").write_text("m0,1.74 # x\nm1,1.0\nm2,2.0\nm3,3.0\n")
    with pytest.raises(DataError, match=r"line 1 is that of m0, and '1.74 # x' is no number"):
        tlpot.open_dataset(folder, keys={"gap@pbe": "value, eV, intensive"})


def test_predictions_of_a_training_are_finite(parent):
    found = tlpot.predict(parent, crystals(2), level="gap@cheap", progress=False, device="cpu")
    assert np.isfinite(found.energy).all()


def test_calculators_of_properties_warn_of_what_they_do_not_know():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    found = tlpot.predict("tlpot-adsorption-energy", [atoms], device="cpu", progress=False)
    atoms.calc = tlpot.TLPotCalculator("tlpot-adsorption-energy", device="cpu")
    with pytest.warns(DomainWarning, match="outside of what"):
        value = atoms.calc.get_property("adsorption_energy@dft", atoms)
    assert value == pytest.approx(found.energy[0], abs=1e-6)
    assert atoms.calc.results["domain"] == pytest.approx(found.domain[0], abs=1e-6)
    assert atoms.calc.get_property("domain", atoms) == atoms.calc.results["domain"]


def test_r2_of_a_ranking_is_that_of_the_errors(data):
    found = tlpot.rank(data["files"], "tlpot-gap-pbe", level="gap@dear", spec=data["spec"])
    base = next(score for score in found.scores if not score.model).errors["random"]
    for score in found.scores:
        error = score.errors["random"]
        assert error.r2 == pytest.approx(1.0 - (error.rmse / base.rmse) ** 2, abs=1e-9)
    assert any(abs(score.errors["random"].r2) > 1e-3 for score in found.scores)


def test_a_parent_of_the_same_positive_property_is_ranked_as_it_is(tmp_path):
    frames = []
    for k, atoms in enumerate(crystals(30)):
        found = tlpot.predict("tlpot-bulk-modulus", [atoms], device="cpu", progress=False)
        atoms.info = {"b": float(found.energy[0]) * (1.0 + 0.02 * (-1) ** k)}
        frames.append(atoms)
    write(tmp_path / "b.xyz", frames, format="extxyz")
    keys = {"bulk_modulus@mine": "b, GPa, intensive, positive"}
    models = ["tlpot-bulk-modulus", "tlpot-heat-capacity"]
    found = tlpot.rank(
        tmp_path / "b.xyz", models, level="bulk_modulus@mine", keys=keys, progress=False
    )
    best = found.scores[0]
    assert (best.model, best.on) == ("tlpot-bulk-modulus", "residual")
    assert best.errors[found.by].mae < 0.1
    assert "ln(GPa)" in str(found)
    assert found.winner is not None
    other = tlpot.rank(
        tmp_path / "b.xyz", models, level="bulk_modulus@mine", progress=False,
        keys={"bulk_modulus@mine": "b, GPa, intensive"},
    )  # fmt: skip
    assert "GPa, intensive, positive" in other.refused["tlpot-bulk-modulus"]


def test_an_atom_that_sees_nothing_is_unlike_any_crystal():
    lone = [Atoms("H"), Atoms("U"), bulk("Cu") + Atoms("H", [[0.0, 0.0, 40.0]])]
    lone[2].pbc = False
    found = tlpot.predict("tlpot-bulk-modulus", [*lone, bulk("Cu")], device="cpu", progress=False)
    assert list(found.domain[:3]) == [0.0, 0.0, 0.0]
    assert found.domain[3] > 0.05


def _transferred(parent, data, tmp_path, strategy):
    settings = {"data": data, "split": SPLIT, "report": {"enabled": False}}
    return tlpot.finetune(
        parent, config=settings, level="gap@dear", source="gap@cheap", strategy=strategy,
        output=tmp_path / "m.safetensors", overwrite=True, progress=False,
        **({} if strategy == "shift" else {"epochs": 1}),
    )  # fmt: skip


def test_rehearsal_leaves_the_line_on_the_cheap_value_alone(parent, data, tmp_path):
    """The line beside the result of replay was fitted to what the parent said, not to labels."""
    shown = [
        {each.name: dict(each.errors) for each in
         _transferred(parent, data, tmp_path, strategy).baselines}
        for strategy in ("shift", "replay")
    ]  # fmt: skip
    assert any(name.startswith("line on") for name in shown[0])
    assert shown[0] == shown[1]


def test_r2_of_a_sum_and_of_a_difference_is_of_one_kind_of_label(parent, data, tmp_path):
    """R² before a delta learning was of the difference, after it of the whole; so was the table."""
    start = _transferred(parent, data, tmp_path, "shift").start.overall
    found = _transferred(parent, data, tmp_path, "delta").start.overall
    assert found["property_r2"] == pytest.approx(start["property_r2"], abs=1e-3)
    low = {"name": "delta", "low": "gap@cheap"}
    outcome = _transferred(parent, data, tmp_path, low)
    baselines = outcome.baselines
    assert [each.name for each in baselines if "property_r2" in each.errors] == [
        "gap@cheap + composition"
    ]
    with pytest.raises(ConfigError, match="difference of a property"):
        tlpot.predict(outcome.output, crystals(1), progress=False)

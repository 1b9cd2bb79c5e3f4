"""A model that was trained without charges is evaluated on its own data."""

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

import tlpot
from tlpot.cli import main
from tlpot.errors import GeometryError

TOY = {"hidden_irreps": "8x0e+8x1o", "radial_hidden": [], "n_species": 2, "readout_hidden": 4}


@pytest.fixture
def trained(tmp_path):
    """Ammonium and water with the energies of springs, and a model of them."""
    frames = []
    for k in range(40):
        atoms = molecule(("H2O", "CH4")[k % 2])
        if k % 2:
            atoms.numbers[0] = 7
            atoms.info["charge"] = 1
        start = atoms.positions.copy()
        atoms.rattle(0.05, seed=k)
        moved = atoms.positions - start
        atoms.info["energy"] = 10.0 * float((moved**2).sum()) - 500.0
        atoms.arrays["forces"] = -20.0 * moved
        frames.append(atoms)
    path, model = tmp_path / "a.xyz", tmp_path / "m.safetensors"
    write(path, frames, format="extxyz")
    (tmp_path / "train.yaml").write_text(
        json.dumps(
            {
                "data": {"files": [str(path)], "level": "toy", "charges": "ignore"},
                "output": str(model),
                "model": TOY,
                "split": {"by": "random", "validation": 12, "test": 12},
                "training": {"epochs": 1, "batch_size": 8},
            }
        )
    )
    assert main(["train", str(tmp_path / "train.yaml")]) == 0
    return path, model


@pytest.mark.fault
def test_charged_data_of_the_training_can_be_evaluated(trained, capsys):
    path, model = trained
    capsys.readouterr()
    out = path.with_suffix(".json")
    command = ["evaluate", str(model), str(path), "--level", "toy", "--json", str(out)]
    assert main(command) == 0
    assert "charges are not read" in capsys.readouterr().out
    assert json.loads(out.read_text())["by_molecule"].keys() == {"H2O", "H4N"}


@pytest.mark.fault
def test_charged_data_of_the_training_can_be_reported_on(trained):
    path, model = trained
    out = path.with_suffix(".report")
    command = ["report", str(model), str(path), "report.parts=[]", "--level", "toy"]
    assert main([*command, "-o", str(out)]) == 0
    assert (out / "report.json").exists()


@pytest.mark.fault
def test_charged_data_of_the_training_calibrate(trained):
    path, model = trained
    split = model.with_suffix(".run") / "split.json"
    out = path.with_suffix(".calibrated.safetensors")
    command = ["calibrate", str(model), str(path), "--level", "toy", "--split", str(split)]
    assert main([*command, "-o", str(out)]) == 0
    assert out.exists()


@pytest.mark.fault
def test_more_labels_of_the_training_data_do_not_undo_its_split(trained, tmp_path, capsys):
    """Frames that were trained on are known by their structures, whatever else is in the file."""
    path, model = trained
    more = tmp_path / "more.xyz"
    more.write_text(path.read_text().replace(" energy=", " cost=1.0 energy="))
    command = ["calibrate", str(model), str(more), "--level", "toy"]
    out = ["-o", str(tmp_path / "c.safetensors")]
    assert main([*command, *out]) == 2
    assert "was trained on" in capsys.readouterr().err
    own = str(model.with_suffix(".run") / "split.json")
    assert main([*command, "--split", own, *out]) == 0
    foreign = str(tmp_path / "new.json")
    split = ["data", "split", str(more), "--level", "toy", "--by", "random", "--seed", "7"]
    assert main([*split, "--validation", "4", "--test", "4", "-o", foreign]) == 0
    assert main([*command, "--split", foreign, "-o", str(tmp_path / "d.safetensors")]) == 2
    assert "is not the one" in capsys.readouterr().err


@pytest.mark.fault
@pytest.mark.parametrize("strategy", ["head", "full"])
def test_a_child_knows_the_charges_that_its_parent_knows(trained, tmp_path, strategy):
    """Fine-tuned on ions, or on neutral molecules only, a model refused the parent's ions."""
    path, model = trained
    child = tmp_path / "child.safetensors"
    found = tlpot.finetune(
        model, path, level="other", strategy=strategy, output=child, epochs=1,
        split={"by": "random", "validation": 12, "test": 12}, progress=False,
        report={"enabled": False},
    )  # fmt: skip
    assert found.potential.card.charges == "ignored"
    assert tlpot.evaluate(child, path, level="other", progress=False).errors.overall
    ion = molecule("CH4")
    ion.numbers[0] = 7
    ion.info["charge"] = 1
    ion.calc = tlpot.TLPotCalculator(child, level="other")
    assert np.isfinite(ion.get_potential_energy())


@pytest.mark.fault
def test_a_new_network_of_the_parents_shape_knows_no_charges(trained, tmp_path):
    """Only what starts from the weights of a model knows what that was trained on."""
    path, model = trained
    with pytest.raises(GeometryError, match="charges=ignore"):
        tlpot.finetune(
            model, path, level="other", strategy="scratch", epochs=1, progress=False,
            output=tmp_path / "child.safetensors",
            split={"by": "random", "validation": 12, "test": 12},
        )  # fmt: skip

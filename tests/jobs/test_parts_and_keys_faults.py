"""Which part of a stored split is looked at, and labels under names of the file's own."""

import json

import pytest
from ase.io import write

import tlpot
from tlpot.cli import main
from tlpot.errors import DataError, UnknownLevelError

pytestmark = pytest.mark.fault
LEVEL = "wb97x/6-31g*"


@pytest.fixture(scope="module")
def named(atoms, tmp_path_factory):
    """Structures whose energies have a name of their own, and a split without test frames."""
    folder = tmp_path_factory.mktemp("named")
    frames = []
    for one in atoms:
        copy = one.copy()
        copy.info["my_energy"] = one.get_potential_energy()
        frames.append(copy)
    write(folder / "own.xyz", frames, format="extxyz")
    keys = {"energy": "my_energy"}
    tlpot.split_dataset(
        folder / "own.xyz", folder / "split.json", level=LEVEL, keys=keys, by="random", test=0,
        validation=10, progress=False,
    )  # fmt: skip
    return folder / "own.xyz", keys, folder / "split.json"


def test_validation_frames_stand_in_for_test_frames(named):
    file, keys, split = named
    n = len(json.loads(split.read_text())["validation"])
    given = {"level": LEVEL, "device": "cpu", "keys": keys, "split": split, "progress": False}
    found = tlpot.evaluate("tlpot-tiny", file, **given)
    assert (found.part, len(found.predictions.indices)) == ("validation", n)
    assert "validation frames" in str(found)
    report = {"parts": ["calibration"]}
    assert tlpot.report("tlpot-tiny", file, report=report, **given).part == "validation"
    given["split"] = _without(split, "validation")
    with pytest.raises(DataError, match="test"):
        tlpot.evaluate("tlpot-tiny", file, **given)


def _without(split, part):
    """Writes a split whose frames of a part are training frames."""
    content = json.loads(split.read_text())
    content["train"] = sorted([*content["train"], *content[part]])
    content[part] = []
    other = split.with_name("other.json")
    other.write_text(json.dumps(content))
    return other


@pytest.mark.parametrize("command", ["evaluate", "report", "calibrate"])
def test_commands_read_labels_under_names_of_the_file(named, tmp_path, command):
    file, keys, _ = named
    words = [command, "tlpot-tiny", str(file), "--level", LEVEL]
    words += {"report": ["report.parts=[calibration]"], "evaluate": []}.get(
        command, ["-o", str(tmp_path / "c.safetensors"), "--split", str(named[2])]
    )
    assert main([*words, "--keys", *(f"{name}={key}" for name, key in keys.items())]) == 0
    assert main([*words, "--keys", "energy=nowhere"]) == 2


def test_a_difference_is_told_to_be_labelled_first(named):
    file, keys, _ = named
    low = tlpot.open_dataset(file, level=LEVEL, keys=keys)
    kept = file.with_name("kept.h5")
    tlpot.convert_dataset(low, kept)
    with pytest.raises(UnknownLevelError, match=r"tlpot label FILE --engine gfn2-xtb"):
        tlpot.evaluate("tlpot-tiny", kept, level=f"{LEVEL} - gfn2-xtb", progress=False)

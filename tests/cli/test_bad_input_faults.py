"""A bad input of any command: exit status 2, one line on the standard error, nothing written."""

import itertools
from pathlib import Path

import pytest

from tlpot.cli import main
from tlpot.models import LIBRARY

DFT = "wb97x/6-31g*"

DATA = str(LIBRARY / "tlpot-qm.h5")
XYZ = """2
Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 energy=-1.0
H 0 0 0
H 0 0 0.74
"""
COMMANDS = {
    "train": ["train", "<in>.yaml"],
    "finetune": ["finetune", "tlpot-tiny", "<in>.h5", "--level", "pbe", "-o", "new.safetensors"],
    "finetune parent": ["finetune", "<in>", "good.xyz", "--level", "pbe", "-o", "n.safetensors"],
    "label": ["label", "<in>.xyz", "--engine", "gfn2-xtb", "-o", "new.h5"],
    "curve": ["curve", "<in>.yaml"],
    "plan": ["plan", "<in>"],
    "evaluate": ["evaluate", "<in>", "good.xyz", "--level", "pbe"],
    "evaluate data": ["evaluate", "tlpot-tiny", "<in>.h5", "--json", "new.json"],
    "ensemble": ["ensemble", "<in>", "tlpot-tiny", "-o", "new.safetensors"],
    "calibrate": ["calibrate", "tlpot-tiny", "<in>.h5", "-o", "new.safetensors"],
    "report": ["report", "tlpot-tiny", "<in>.h5", "-o", "new"],
    "data info": ["data", "info", "<in>.h5"],
    "data validate": ["data", "validate", "<in>.xyz"],
    "data convert": ["data", "convert", "<in>.xyz", "-o", "new.h5"],
    "data split": ["data", "split", "<in>.npz", "-o", "new.json"],
    "build": ["build", "<in>.yaml"],
    "sample": ["sample", "<in>.xyz", "-o", "new.h5"],
    "fragment": ["fragment", "<in>.pdb", "--json", "new.json"],
    "md": ["md", "<in>.xyz", "tlpot-tiny", "--out", "new"],
    "md model": ["md", "H2O", "<in>", "--out", "new"],
    "models rank": ["models", "rank", "<in>.h5", "--level", "pbe", "--json", "new.json"],
    "models info": ["models", "info", "<in>"],
    "models install": ["models", "install", "<in>.safetensors"],
    "models index": ["models", "index", "<in>"],
    "info": ["info", "<in>"],
}
LEVELS = {
    "finetune": ["finetune", "tlpot-tiny", DATA, "-o", "new.safetensors"],
    "evaluate": ["evaluate", "tlpot-tiny", DATA, "--json", "new.json"],
    "calibrate": ["calibrate", "tlpot-tiny", DATA, "-o", "new.safetensors"],
    "report": ["report", "tlpot-tiny", DATA, "-o", "new"],
    "md": ["md", "H2O", "tlpot-tiny", "--out", "new"],
    "models rank": ["models", "rank", DATA, "--json", "new.json"],
    "data info": ["data", "info", DATA],
    "label": ["label", "good.xyz", "--engine", "model:tlpot-tiny@{}", "-o", "new.h5"],
}
"""Commands for which a level can be unknown."""
SEEDS = ("-1", str(2**63), "99999999999999999999999")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLPOT_MODELS", str(tmp_path / "models"))
    Path("good.xyz").write_text(XYZ)
    return tmp_path


def refused(arguments, capsys):
    """Runs a command that must be refused, and returns what it said."""
    before = sorted(Path().rglob("*"))
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse
        status = stop.code
    shown = capsys.readouterr()
    assert status == 2, shown
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1, shown.err
    assert lines[0].startswith(f"tlpot {arguments[0]}"), shown.err
    assert sorted(Path().rglob("*")) == before
    return lines[0]


def given(command, text):
    """Puts an input into the place of a command that is for it."""
    return [text if "<in>" in word else word for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_file(command, capsys):
    arguments = [word.replace("<in>", "missing") for word in COMMANDS[command]]
    assert "missing" in refused(arguments, capsys)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "models index"])
def test_a_folder_for_a_file(command, capsys):
    arguments = [word.replace("<in>", "folder") for word in COMMANDS[command]]
    name = next(word for word in arguments if word.startswith("folder"))
    Path(name).mkdir()
    assert "folder" in refused(arguments, capsys)


@pytest.mark.fault
@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_text(command, capsys):
    assert "empty" in refused(given(command, ""), capsys)


@pytest.mark.fault
@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option(command, capsys):
    arguments = [word.replace("<in>", "good") for word in COMMANDS[command]]
    assert "--frobnicate" in refused([*arguments, "--frobnicate"], capsys)


@pytest.mark.parametrize("level", ["no/such", "a - b - c", " ", "- b"])
@pytest.mark.parametrize("command", LEVELS)
def test_a_level_that_is_none(command, level, capsys):
    arguments = [word.format(level) for word in LEVELS[command]]
    if arguments == LEVELS[command]:
        arguments.append(f"--level={level}")
    assert "level" in refused(arguments, capsys)


def right_before(rows, *right):
    """Parameters of a test; those that were refused before are marked as controls."""
    marked = [pytest.param(*row, marks=pytest.mark.control) for row in right]
    return [row for row in rows if row not in right] + marked


@pytest.mark.fault
@pytest.mark.parametrize(
    ("option", "value"),
    right_before(
        itertools.product(
            ("--time", "--timestep", "--temperature", "--friction"),
            ("inf", "nan", "-inf", "1e999"),
        ),
        ("--timestep", "-inf"),
    ),
)
def test_no_number_is_infinite(option, value, capsys):
    arguments = ["md", "H2O", "tlpot-tiny", "--out", "new", f"{option}={value}"]
    assert option in refused(arguments, capsys)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("command", "seed"),
    right_before(
        itertools.product(("data split", "md", "sample", "models rank"), SEEDS),
        *(("md", seed) for seed in SEEDS),
        ("sample", "-1"),
    ),
)
def test_seeds_that_no_generator_takes(command, seed, capsys):
    arguments = given(command, "H2O" if command in ("md", "sample") else "good.xyz")
    assert "seed" in refused([*arguments, "--seed", seed], capsys)


@pytest.mark.fault
def test_a_misspelt_option_has_a_hint(capsys):
    assert "--temperature" in refused(["md", "H2O", "tlpot-tiny", "--temprature", "300"], capsys)


@pytest.mark.fault
def test_an_element_that_the_parent_lacks_names_the_file_of_several(capsys):
    Path("sulfur.xyz").write_text(XYZ.replace("\nH 0 0 0\n", "\nS 0 0 0\n"))
    arguments = [word.replace("<in>.h5", "good.xyz") for word in COMMANDS["finetune"]]
    arguments.insert(3, "sulfur.xyz")
    assert "sulfur.xyz[0]" in refused(arguments, capsys)


@pytest.mark.fault
def test_options_given_twice_add_up(tmp_path, capsys):
    """Of ``--keys energy=E --keys forces=F`` the first was dropped, and forces alone were read."""
    structure = (
        "2\nProperties=species:S:1:pos:R:3:my_forces:R:3 my_energy=-31.0 other=-30.0\n"
        "H 0 0 0 0 0 1\nH 0 0 0.74 0 0 -1\n"
    )
    path = tmp_path / "mine.xyz"
    path.write_text(structure)
    command = ["evaluate", "tlpot-tiny", str(path), "--level", DFT]
    keys = ["--keys", "energy=my_energy", "--keys", "forces=my_forces"]
    assert main([*command, *keys]) == 0
    out = capsys.readouterr().out
    assert "\n  energy " in out
    assert "\n  forces " in out
    assert main([*command, *keys, "--keys", "energy=other"]) == 2
    assert "energy is 'my_energy' and 'other'" in capsys.readouterr().err

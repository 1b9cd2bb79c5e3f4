"""`tlpot md` from the command line."""

import pytest
from ase.build import molecule
from toys import E0

from tlpot.calculators import TLPotCalculator
from tlpot.cli import main
from tlpot.models import Potential, preset, save


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    sizes = preset("tiny", (1, 6, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    save(Potential.create(sizes, {"low": E0}, scale=0.01), path)
    return str(path)


def test_runs_and_resumes(model, tmp_path, capsys):
    out = str(tmp_path / "x")
    common = ["md", "H2O", model, "--ensemble", "nve", "--out", out, "--temperature", "100"]
    assert main([*common, "--time", "0.01", "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "20 steps of 0.5 fs" in shown.out
    assert "meV/atom/ps" in shown.out
    assert "K," in shown.err
    assert main([*common, "--steps", "30"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*common, "--steps", "30", "--resume", "--friction", "1"]) == 2
    assert "settings.friction was 10.0, is 1.0" in capsys.readouterr().err
    assert main([*common, "--steps", "30", "--resume"]) == 0
    assert (tmp_path / "x.csv").read_text().count("\n") == 5
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["H2OO"], "no ASE molecule"),
        (["H2O", "--ensemble", "nph"], "unknown ensemble 'nph'"),
        (["H2O", "--timestep", "0"], "timestep is 0"),
        (["H2O", "--threads", "0"], "--threads is 0"),
        (["H2O", "--level", "high"], "no level 'high'"),
        (["NH3"], "does not know N"),
    ],
)
def test_mistakes_end_in_one_line(model, tmp_path, capsys, arguments, message):
    structure, *options = arguments
    assert main(["md", structure, model, "--out", str(tmp_path / "x"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_says_what_was_kept(model, tmp_path, capsys, monkeypatch):
    calls = []
    calculate = TLPotCalculator.calculate

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) > 15:
            raise KeyboardInterrupt
        calculate(self, *args, **options)

    monkeypatch.setattr(TLPotCalculator, "calculate", interrupted)
    out = str(tmp_path / "x")
    assert main(["md", "H2O", model, "--out", out, "--steps", "30"]) == 130
    shown = capsys.readouterr().err
    assert "up to step 10" in shown
    assert "--resume" in shown


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_the_structure_itself_is_never_replaced(model, tmp_path, capsys, more):
    water = tmp_path / "water.xyz"
    molecule("H2O").write(water)
    before = water.read_bytes()
    command = ["md", str(water), model, "--out", str(tmp_path / "water"), "--steps", "2", *more]
    assert main(command) == 2
    assert "structure to start from" in capsys.readouterr().err
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_structure_is_not_taken_for_a_run_to_resume(model, tmp_path, capsys):
    water = tmp_path / "water.xyz"
    molecule("H2O").write(water)
    command = ["md", str(water), model, "--out", str(tmp_path / "water"), "--resume"]
    assert main(command) == 2
    assert "water.setup.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [water]


@pytest.mark.parametrize("ending", ["png", "setup.json"])
def test_no_file_is_replaced_unasked(model, tmp_path, capsys, ending):
    other = tmp_path / f"x.{ending}"
    other.write_text("mine")
    command = ["md", "H2O", model, "--out", str(tmp_path / "x"), "--steps", "2"]
    assert main(command) == 2
    assert f"x.{ending} exists" in capsys.readouterr().err
    assert other.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [other]
    assert main([*command, "--overwrite"]) == 0
    assert other.read_bytes() != b"mine"


@pytest.mark.parametrize("command", [["md", "H2O", "m"], ["train", "a.yaml"]])
def test_resume_and_overwrite_exclude_each_other(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--resume", "--overwrite"])
    assert stopped.value.code == 2
    assert "not allowed with" in capsys.readouterr().err

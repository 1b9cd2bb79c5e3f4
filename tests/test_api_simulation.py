"""Each job of `tlpot.api` that makes or moves structures: one line, and nothing else is changed."""

import json
import os
import random
import signal
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from toys import E0

from tlpot import api
from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, OutputError
from tlpot.models import Potential, load, preset, save
from tlpot.structures import build_peptide

EMT = "ase:ase.calculators.emt:EMT"
LENNARD_JONES = "ase:ase.calculators.lj:LennardJones"
LOW = "wb97x/6-31g*"
QUICK = {"nve_steps": 2, "langevin_steps": 4, "reference_steps": 0, "log_every": 1}


class CancelledError(Exception):
    """What a caller's progress function may raise."""


def state():
    return {
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "environment": {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"},
        "filters": list(warnings.filters),
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "folder": Path.cwd(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
    }


@pytest.fixture(autouse=True)
def _nothing_is_left_changed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    before = state()
    yield
    after = state()
    torch.set_num_threads(threads)
    for name, value in before.items():
        assert after[name] == value, name


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    save(Potential.create(sizes, {"low": E0}, scale=0.01), path)
    return path


@pytest.fixture
def waters():
    frames = [molecule("H2O") for _ in range(5)]
    for k, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=k)
    return frames


def cancel_at(n):
    """A progress function that raises at its n-th call, and the calls."""
    calls = []

    def progress(done, total, text):
        calls.append((done, total, text))
        if len(calls) == n:
            raise CancelledError

    return progress, calls


def printed(capsys, *arguments):
    threads = torch.get_num_threads()
    assert main([str(argument) for argument in arguments]) == 0
    torch.set_num_threads(threads)  # a command has the process for itself
    return capsys.readouterr().out


class TestSample:
    OPTIONS: ClassVar = {"methods": ["modes"], "temperatures": [200.0], "budget": 3, "pool": 1.0,
               "window": 9.0}  # fmt: skip

    def test_a_line_gives_what_the_command_prints(self, tmp_path, capsys):
        found = api.sample(["H2O"], "a.h5", engine="tlpot-tiny", progress=False, **self.OPTIONS)
        shown = printed(capsys, "sample", "H2O", "-o", "b.h5", "--calculator", "tlpot-tiny",
                        "--method", "modes", "--temperatures", "200", "--budget", 3, "--pool", 1,
                        "--window", 9)  # fmt: skip
        assert shown.startswith(f"{found}\nwrote b.h5 (3 geometries, tlpot-tiny), b.json")
        assert found.n_frames == len(open_dataset("a.h5")) == 3
        found.save("a.json")
        assert json.loads((tmp_path / "a.json").read_text()) == found.as_json()
        assert json.loads((tmp_path / "b.json").read_text()) == found.as_json()
        assert found.plot("a.png") is None  # water has neither φ nor ψ

    def test_atoms_are_named_and_a_cancelled_call_goes_on(self, tmp_path):
        given = {"one": molecule("H2O"), "two": molecule("CH4")}
        progress, calls = cancel_at(1)
        options = {"engine": "tlpot-tiny", "level": LOW, **self.OPTIONS}
        with pytest.raises(CancelledError):
            api.sample(given, "a.h5", progress=progress, **options)
        assert list((tmp_path / "a.h5.parts").iterdir())
        assert "1/2 fragments" in calls[0][2]
        assert not (tmp_path / "a.h5").exists()
        api.sample(given, "a.h5", progress=False, **options)
        api.sample(given, "b.h5", progress=False, **options)
        one, other = (open_dataset(path) for path in ("a.h5", "b.h5"))
        assert one.group_names == other.group_names == ("one", "two")
        frames = [d.read(np.arange(len(d))) for d in (one, other)]
        for first, second in zip(*frames, strict=True):
            np.testing.assert_array_equal(first.system.positions, second.system.positions)
        assert api.sample(molecule("H2O"), "c.h5", progress=False, **options).rows[0].name == "H2O"

    def test_mistakes_are_named(self):
        with pytest.raises(ConfigError, match="'H2OO'"):
            api.sample("H2OO", "a.h5")
        with pytest.raises(ConfigError, match="unknown method"):
            api.sample("H2O", "a.h5", methods=["mdd"])


class TestLabel:
    def test_a_line_gives_what_the_command_prints(self, waters, tmp_path, capsys):
        write("w.xyz", waters)
        found = api.label(waters, EMT, "a.h5", level="emt", progress=False)
        shown = printed(capsys, "label", "w.xyz", "--engine", EMT, "--level", "emt", "-o",
                        "b.h5")  # fmt: skip
        assert shown.splitlines()[0] == str(found).splitlines()[0]
        assert "5 labelled now" in shown
        one, other = (open_dataset(path).read(np.arange(5)) for path in ("a.h5", "b.h5"))
        for first, second in zip(one, other, strict=True):
            assert first.labels["emt"].energy == pytest.approx(second.labels["emt"].energy)
        found.save("a.json")
        assert json.loads((tmp_path / "a.json").read_text())["n_labelled"] == 5
        assert "5 labelled" in found._repr_html_()

    def test_what_is_labelled_when_it_is_cancelled_is_kept(self, waters):
        progress, calls = cancel_at(2)
        with pytest.raises(CancelledError):
            api.label(waters, EMT, "a.h5", level="emt", progress=progress)
        assert [call[:2] for call in calls] == [(1, 5), (2, 5)]
        assert open_dataset("a.h5").labelled("emt").sum() == 2
        found = api.label(waters, EMT, "a.h5", level="emt", progress=False)
        assert (found.n_known, found.n_labelled) == (2, 3)

    def test_ctrl_c_lets_finish_what_runs(self, waters):
        def interrupt(done, total, text):
            if done == 3:
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt, match=r"3 labelled now.*continues"):
            api.label(waters, EMT, "a.h5", level="emt", progress=interrupt)
        assert open_dataset("a.h5").labelled("emt").sum() == 3

    def test_an_engine_and_its_settings_are_given_once(self, waters):
        from tlpot.engines import EngineSpec

        spec = EngineSpec(name=EMT, level="emt")
        assert api.label(waters[0], spec, "a.h5", progress=False).n_labelled == 1
        with pytest.raises(ConfigError, match="EngineSpec has"):
            api.label(waters[0], spec, "b.h5", level="other")
        with pytest.raises(ConfigError, match="limit is 0"):
            api.label(waters[0], spec, "b.h5", limit=0)


class TestFragment:
    def test_a_line_gives_what_the_command_prints(self, model, tmp_path, capsys):
        helix = build_peptide("AGA", conformation="helix")
        write("aga.xyz", helix)
        found = api.fragment("aga.xyz", model, device="cpu")
        assert found.listing.name == "mfcc_mbe2"  # the one default, as of the calculator
        shown = printed(capsys, "fragment", "aga.xyz", "--model", model, "--device", "cpu",
                        "--json", "b.json")  # fmt: skip
        assert shown == f"{found}\n"
        found.save("a.json")
        assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
        found.plot("p.png")
        found.write_forces("f.xyz")
        assert read("f.xyz").get_potential_energy() == pytest.approx(found.points.energies[0])
        assert "fragments to f.h5" not in found.export("f2.xyz")
        in_memory = api.fragment(helix, load(model), device="cpu")
        np.testing.assert_allclose(in_memory.points.forces, found.points.forces, atol=1e-6)
        assert in_memory.as_json()["scheme"] == "mfcc_mbe2"

    def test_a_reference_gives_an_error_budget(self, model, tmp_path, capsys):
        frames = [build_peptide("AG"), build_peptide("AG")]
        frames[1].rattle(0.02, seed=1)
        write("ag.xyz", frames)
        options = {"scheme": {"name": "mfcc", "size": 2}, "reference": model, "device": "cpu"}
        found = api.fragment("ag.xyz", "tlpot-tiny", **options)
        shown = printed(capsys, "fragment", "ag.xyz", "--model", "tlpot-tiny", "--scheme", "mfcc",
                        "--set", "size=2", "--budget", "--reference", model, "--device",
                        "cpu")  # fmt: skip
        assert shown == f"{found}\n"
        assert "scheme mfcc size=2" in shown
        assert found.plot("b.png") is not None
        in_memory = api.fragment(frames, "tlpot-tiny", **options)
        mine, other = (x.as_json()["parts"] for x in (in_memory, found))
        for name, part in mine.items():
            assert part["forces"]["mae"] == pytest.approx(other[name]["forces"]["mae"], abs=0.1)
        with pytest.raises(ConfigError, match="there is no error"):
            api.fragment("ag.xyz", scheme="direct", reference=model)

    def test_calculations_of_an_engine_are_told_and_can_be_cancelled(self):
        progress, calls = cancel_at(3)
        with pytest.raises(CancelledError):
            api.fragment(build_peptide("AG"), EMT, scheme="mfcc", progress=progress)
        assert [call[0] for call in calls] == [1, 2, 3]

    def test_frames_of_two_molecules_are_refused(self):
        with pytest.raises(ConfigError, match="neither a file nor"):
            api.fragment([build_peptide("A"), "x"])


class TestMD:
    OPTIONS: ClassVar = {"ensemble": "nve", "steps": 20, "temperature": 100.0, "log_every": 5,
               "device": "cpu"}  # fmt: skip

    def test_a_line_gives_what_the_command_prints(self, model, tmp_path, capsys):
        found = api.md("H2O", model, output="a", progress=False, **self.OPTIONS)
        shown = printed(capsys, "md", "H2O", model, "--out", "b", "--ensemble", "nve", "--steps",
                        20, "--temperature", 100, "--log-every", 5, "--device", "cpu")  # fmt: skip
        ours = str(found).splitlines()
        theirs = shown.splitlines()
        assert ours[0] == theirs[0]
        assert ours[2:4] == theirs[2:4]
        logs = [(tmp_path / name).read_text() for name in ("a.csv", "b.csv")]
        assert logs[0] == logs[1]
        found.save("a.json")
        numbers = json.loads((tmp_path / "a.json").read_text())
        assert [row["step"] for row in numbers["samples"]] == [0, 5, 10, 15, 20]
        assert found.plot("p.png").axes
        assert found._repr_html_().count("<img") == 1

    def test_atoms_keep_their_velocities_and_are_not_touched(self, model):
        water = molecule("H2O")
        water.set_momenta(np.full((3, 3), 0.01))
        before = water.copy()
        found = api.md(water, load(model), output="a", progress=False, **self.OPTIONS)
        assert found.velocities == "of the structure"
        assert water == before
        assert water.calc is None

    def test_a_cancelled_run_is_resumed(self, model, tmp_path):
        progress, calls = cancel_at(12)
        with pytest.raises(CancelledError):
            api.md("H2O", model, output="a", progress=progress, **self.OPTIONS)
        assert calls[-1][:2] == (12, 20)
        assert (tmp_path / "a.csv").read_text().count("\n") == 4  # header, 0, 5, 10
        resumed = api.md("H2O", model, output="a", resume=True, progress=False, **self.OPTIONS)
        assert resumed.run.samples[-1].step == 20

    def test_a_scheme_is_asked_for_by_name(self, model):
        scheme = {"name": "mfcc", "size": 2}
        found = api.md(build_peptide("A"), model, scheme=scheme, output="a", progress=False,
                       **{**self.OPTIONS, "steps": 2, "temperature": 10.0})  # fmt: skip
        assert "by mfcc" in found.method
        with pytest.raises(ConfigError, match="single points only"):
            api.md(build_peptide("A"), model, scheme="sphere", output="b", **self.OPTIONS)

    def test_mistakes_are_named(self, model):
        water = molecule("H2O")
        write("w.xyz", water)
        with pytest.raises(OutputError, match="structure to start from"):
            api.md("w.xyz", model, output="w", overwrite=True)
        with pytest.raises(ConfigError, match="time is -1"):
            api.md(water, model, time=-1)
        with pytest.raises(ConfigError, match="threads"):
            api.md(water, model, steps=1, threads=0)
        with pytest.raises(ConfigError, match="structure is a list"):
            api.md([water], model, steps=1)


class TestReport:
    def test_a_line_gives_what_the_command_writes(self, tmp_path, capsys):
        atoms = build_peptide("A")
        write("ala.xyz", atoms)
        found = api.force_field_report(
            "tlpot-tiny", structure="ala.xyz", scheme="mfcc", reference="tlpot-tiny",
            settings=QUICK, output="a", device="cpu", progress=False,
        )  # fmt: skip
        printed(capsys, "report", "tlpot-tiny", "--structure", "ala.xyz", "--scheme", "mfcc",
                "--reference", "tlpot-tiny", "-o", "b", "--device", "cpu",
                *(f"report.{key}={value}" for key, value in QUICK.items()))  # fmt: skip
        one, other = (
            json.loads((tmp_path / name / "force_field.json").read_text()) for name in "ab"
        )
        for each in (one, other):
            for motion in each["dynamics"]:
                motion.pop("seconds_per_step")
        assert one == other
        found.save("c.json")
        assert json.loads((tmp_path / "c.json").read_text())["assembly"] == one["assembly"]
        in_memory = api.force_field_report("tlpot-tiny", structure={"ala": [atoms]}, scheme="mfcc",
                               settings={**QUICK, "langevin_steps": 0}, device="cpu",
                               progress=False)  # fmt: skip
        assert [motion.structure for motion in in_memory.motions] == ["ala"]

    def test_parts_are_told_and_can_be_cancelled(self, tmp_path):
        progress, calls = cancel_at(1)
        with pytest.raises(CancelledError):
            api.force_field_report("tlpot-tiny", structure={"ala": build_peptide("A")},
                       scheme="mfcc", settings=QUICK, output="a", device="cpu",
                       progress=progress)  # fmt: skip
        assert calls == [(1, 2, "report, nve of ala with tlpot-tiny, 2 steps")]
        assert not (tmp_path / "a" / "force_field.html").exists()

    def test_mistakes_are_named(self):
        with pytest.raises(ConfigError, match="nve_steps"):
            api.force_field_report("tlpot-tiny", settings={"nve_step": 3}, device="cpu")
        with pytest.raises(DataError, match="none"):
            api.force_field_report("tlpot-tiny", "none.h5", device="cpu")


class TestBuild:
    LEVELS: ClassVar = {
        "low": {"engine": EMT, "budget": 6, "level": "soft"},
        "high": {"engine": LENNARD_JONES, "budget": 4, "level": "stiff"},
        "scheme": "mfcc",
        "sample": {"methods": ["scan"], "pool": 1.5, "window": 9.0},
    }

    def test_a_line_gives_what_the_command_prints(self, tmp_path, capsys):
        import yaml

        (tmp_path / "b.yaml").write_text(
            yaml.safe_dump({"sequence": "G", "output": "x", **self.LEVELS})
        )
        found = api.build("b.yaml", dry_run=True)
        assert printed(capsys, "build", "b.yaml", "--dry-run") == f"{found}\n"
        assert str(api.build(output="x", sequence="G", dry_run=True, **self.LEVELS)) == str(found)
        assert "fragments" in str(found)
        assert not (tmp_path / "x").exists()
        wider = api.build("b.yaml", dry_run=True, sequence="AG")
        assert wider.plan.n_kinds > found.plan.n_kinds  # what is given wins
        found.save("f.json")
        assert json.loads((tmp_path / "f.json").read_text())["config"]["output"] == "x"

    def test_structures_in_memory_are_built_up_to_a_stage_and_found_again(self, tmp_path):
        atoms = build_peptide("G")
        options = {"structures": {"gly": atoms}, "output": "x", "progress": False, **self.LEVELS}
        found = api.build(until="fragments", **options)
        assert [one.state for one in found.statuses] == ["done"]
        assert set(found.records) == {"fragments"}
        again = api.build(until="fragments", dry_run=True, **options)
        assert "nothing to do" in str(again)
        moved = atoms.copy()
        moved.positions[0] += 0.01
        changed = api.build(until="fragments", dry_run=True,
                            **{**options, "structures": {"gly": moved}})  # fmt: skip
        assert changed.statuses[0].state == "to do"

    def test_mistakes_are_named(self):
        with pytest.raises(ConfigError, match="neither is given"):
            api.build(output="x", **self.LEVELS)
        with pytest.raises(ConfigError, match="both are given"):
            api.build(output="x", sequence="G", structures={"a": Atoms("H")}, **self.LEVELS)

"""`tlpot report` on a force field, called as a user would."""

import json

import h5py
import pytest
from ase.io import write

from tlpot.cli import main
from tlpot.config import parse, with_overrides
from tlpot.evaluation import ReportSettings
from tlpot.models import LIBRARY
from tlpot.reports import ExaminationSettings
from tlpot.structures import build_peptide

QUICK = ["report.nve_steps=4", "report.langevin_steps=4", "report.reference_steps=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dipeptide and labels of one molecule."""
    path = tmp_path_factory.mktemp("inputs")
    write(path / "ala.xyz", build_peptide("A"), format="extxyz")
    with h5py.File(LIBRARY / "tlpot-qm.h5") as source, h5py.File(path / "w.h5", "w") as target:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        source.copy("water", target)
    return path


def test_a_page_from_a_model_a_structure_a_reference_and_data(folder, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["report", "tlpot-tiny", "--structure", str(folder / "ala.xyz"), "--scheme",
                 "mfcc", "--reference", "tlpot-tiny", "--data", str(folder / "w.h5"), "-o",
                 str(out), "--device", "cpu", *QUICK]  # fmt: skip
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith(f"\nwrote {out}/force_field.html and {out}/force_field.json\n")
    assert "holistic" in captured.out
    assert "report: 100% 4/4" in captured.err
    numbers = json.loads((out / "force_field.json").read_text())
    parts = numbers["assembly"][0]["parts"]
    assert parts["model − fragment QM"]["forces"]["max"] == 0.0  # it is its own reference here
    assert parts["model − whole QM"]["forces"] == parts["fragment QM − whole QM"]["forces"]
    assert parts["model − whole QM"]["forces"]["mae"] < 1e-2  # mfcc has one fragment: itself
    assert numbers["errors"][0]["by_kind"][0]["kind"] == "water"
    assert numbers["provenance"]["settings"]["scheme"] == "mfcc"
    assert "<h2>8. Provenance</h2>" in (out / "force_field.html").read_text(encoding="utf-8")


def test_a_model_of_several_levels_moves_a_structure_at_the_level_named(folder, tmp_path):
    energies = {}
    for level in ("gfn2-xtb", "pbe-d3bj/def2-svp"):
        out = tmp_path / level[:4]
        arguments = ["report", "tlpot-fragments", "--level", level, "--structure",
                     str(folder / "ala.xyz"), "--scheme", "mfcc", "-o", str(out), "--device",
                     "cpu", *QUICK, "report.nve_steps=0"]  # fmt: skip
        assert main(arguments) == 0
        (motion,) = json.loads((out / "force_field.json").read_text())["dynamics"]
        energies[level] = motion["total_energy_eV"][0]
    # xtb counts valence electrons only
    assert energies["gfn2-xtb"] > 0.5 * energies["pbe-d3bj/def2-svp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--structure", "ala.xyz"], "say where with -o DIR"),
        (["--structure", "ala.xyz", "w.h5", "-o", "out"], "given as --data w.h5"),
        (["--data", "w.h5", "--reference", "gfn2-xtb", "-o", "out"], "goes with --structure"),
        (["--structure", "ala.xyz", "--split", "s.json", "-o", "out"], "goes with --data"),
        (["--data", "w.h5", "--model-level", "x", "-o", "out"], "does not apply"),
        (["--data", "w.h5", "-o", "out", "report.nve_step=3"], "did you mean 'nve_steps'"),
        (["--data", "w.h5", "-o", "out", "md.steps=3"], "called report.md"),
        (["--structure", "ala.xyz", "--scheme", "mfc", "-o", "out"], "did you mean 'mfcc"),
        ([], "give DATA"),
        (["report.md_steps=3"], "give DATA"),
    ],
)
def test_mistakes_are_said_before_anything_is_computed(
    arguments, message, folder, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    assert main(["report", "tlpot-tiny", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out" / "force_field.html").exists()


@pytest.mark.fault
def test_the_help_offers_each_report_its_own_settings(capsys):
    """Those of the report on a transfer were offered for all, and refused with --structure."""
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    of_transfer, _, rest = text.partition("of the report on a transfer, such as ")[2].partition(";")
    of_force_field = rest.partition("of that on a force field, such as ")[2].partition(";")[0]
    for words, settings in ((of_transfer, ReportSettings), (of_force_field, ExaminationSettings)):
        examples = words.split(" or ")
        assert len(examples) == 2
        for example in examples:
            parse(settings, with_overrides({}, [example])["report"], "the help")

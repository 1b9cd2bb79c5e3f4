"""`tlpot fragment` from the command line, and --scheme of `md` and `evaluate`."""

import json

import numpy as np
import pytest
from ase.io import read, write
from needs import needs
from toys import E0

from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.models import Potential, preset, save
from tlpot.structures import build_peptide


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("peptides")
    helix = build_peptide("AGA", conformation="helix")
    write(path / "aga.xyz", helix)
    bent = helix.copy()
    bent.rattle(0.03, seed=1)
    write(path / "two.xyz", [helix, bent])
    write(path / "charged.xyz", build_peptide("ADA"))
    naked = helix[[atom.index for atom in helix if atom.symbol != "H"]]
    write(path / "naked.xyz", naked)
    sizes = preset("tiny", (1, 6, 7, 8), hidden_irreps="4x0e+4x1o", cutoff=3.0)
    save(Potential.create(sizes, {"low": E0}, scale=0.01), path / "m.safetensors")
    return path


def run(folder, structure, *options):
    return main(["fragment", str(folder / structure), *options])


def test_lists_residues_fragments_cost_and_other_schemes(folder, tmp_path, capsys):
    out = tmp_path / "list.json"
    assert run(folder, "aga.xyz", "--scheme", "mfcc", "--json", str(out)) == 0
    shown = capsys.readouterr().out
    assert "5 fragments of 3 kinds" in shown
    assert "ACE-ALA-NME  +1" in shown
    assert "ACE-NME  −1" in shown
    assert "39 atoms, 38 bonds and charge 0 count once each" in shown
    found = json.loads(out.read_text())
    assert [r["name"] for r in found["residues"]] == ["ACE", "ALA", "GLY", "ALA", "NME"]
    assert set(found["cost"]) == {"direct", "mfcc", "mfcc2", "mfcc_mbe2", "gmfcc", "sphere"}
    assert found["cost"]["direct"]["atoms_per_atom"] == 1.0
    counted = sum(sum(k["coefficients"]) * (k["n_atoms"] - k["n_caps"]) for k in found["fragments"])
    assert counted == 39


@pytest.mark.fault
def test_one_is_no_plural(folder, tmp_path, capsys):
    """A whole structure was "1 fragments of 1 kinds", and written as "1 new geometries"."""
    out = tmp_path / "f.h5"
    assert run(folder, "aga.xyz", "--scheme", "direct", "--export", str(out)) == 0
    shown = capsys.readouterr().out
    assert "1 fragment of 1 kind," in shown
    assert "1 new geometry of 1 distinct one of 1 kind" in shown


def test_settings_change_the_scheme(folder, capsys):
    assert run(folder, "aga.xyz", "--set", "inner=2.5", "outer=2.5", "size=2") == 0
    assert "mfcc_mbe2 (inner=2.5, outer=2.5, size=2, fill=True)" in capsys.readouterr().out


def test_exported_fragments_add_up_to_the_structure(folder, tmp_path):
    out = tmp_path / "fragments.xyz"
    assert run(folder, "charged.xyz", "--scheme", "mfcc", "--export", str(out)) == 0
    fragments = read(out, index=":")
    assert sum(f.info["coefficient"] * f.info["charge"] for f in fragments) == -1
    assert {f.info["fragment"] for f in fragments} == {"ACE-ALA-NME", "ACE-ASP-NME", "ACE-NME"}
    atoms = np.zeros(len(read(folder / "charged.xyz")))
    for f in fragments:
        source = f.arrays["source"]
        np.add.at(atoms, source[source >= 0], f.info["coefficient"])
    assert (atoms == 1).all()


def test_fragment_files_hold_the_distinct_fragments(folder, tmp_path, capsys):
    out = tmp_path / "fragments.h5"
    assert run(folder, "two.xyz", "--scheme", "mfcc", "--export", str(out)) == 0
    assert "10 new geometries" in capsys.readouterr().out
    assert len(open_dataset(out).sizes) == 10


def test_energies_by_residue_add_up_and_forces_are_written(folder, tmp_path, capsys):
    out, forces = tmp_path / "e.json", tmp_path / "f.xyz"
    options = ["--scheme", "mfcc", "--model", str(folder / "m.safetensors"), "--device", "cpu"]
    assert run(folder, "two.xyz", *options, "--json", str(out), "--forces", str(forces)) == 0
    found = json.loads(out.read_text())
    assert np.allclose(np.sum(found["energy_by_residue"], axis=1), found["energy"])
    frames = read(forces, index=":")
    assert np.allclose([f.get_potential_energy() for f in frames], found["energy"])
    assert np.abs(frames[1].get_forces().sum(0)).max() < 1e-5
    assert "max force" in capsys.readouterr().out


def test_models_by_fragment_come_from_a_yaml_file(folder, tmp_path):
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    model = str(folder / "m.safetensors")
    (tmp_path / "models.yaml").write_text(f'ACE-NME: {model}\n"*": {model}\n')
    options = ["--scheme", "mfcc", "--device", "cpu", "--json"]
    assert run(folder, "aga.xyz", "--model", model, *options, str(one)) == 0
    typed = str(tmp_path / "models.yaml")
    assert run(folder, "aga.xyz", "--model", typed, *options, str(many)) == 0
    energies = [json.loads(p.read_text())["energy"][0] for p in (one, many)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-4)


@pytest.mark.fault
@pytest.mark.parametrize("command", ["fragment", "md"])
def test_a_level_holds_for_a_map_of_files_and_engines(folder, tmp_path, capsys, command):
    needs("tblite")
    typed, out = tmp_path / "models.yaml", tmp_path / "out"
    typed.write_text('ACE-GLY-NME: tlpot-fragments\n"*": gfn2-xtb\n')
    structure = str(folder / "aga.xyz")
    arguments = ["fragment", structure, "--model", str(typed), "--json", str(out)]
    if command == "md":
        arguments = ["md", structure, str(typed), "--steps", "1", "--low", "gfn1-xtb"]
        arguments += ["-o", str(out)]
    arguments += ["--scheme", "mfcc", "--device", "cpu"]
    assert main([*arguments, "--level", "pbe-d3bj/def2-svp"]) == 2
    assert "the model for * is of the level 'gfn2-xtb'" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
    assert main([*arguments, "--level", "gfn2-xtb"]) == 0
    assert "CalculatorModel" not in capsys.readouterr().out


def test_draws_the_partition(folder, tmp_path):
    out = tmp_path / "p.png"
    options = ["--scheme", "mfcc2", "--picture", str(out), "--show", "ACE-GLY-NME"]
    assert run(folder, "aga.xyz", *options) == 0
    assert out.stat().st_size > 20_000


def test_budget_with_a_program_as_reference(folder, tmp_path, capsys):
    needs("tblite")
    out, plot = tmp_path / "b.json", tmp_path / "b.png"
    options = ["--scheme", "mfcc", "--budget", "--reference", "gfn2-xtb", "--low", "gfn1-xtb"]
    assert run(folder, "aga.xyz", *options, "--json", str(out), "--plot", str(plot)) == 0
    assert "fragment QM − whole QM" in capsys.readouterr().out
    found = json.loads(out.read_text())
    assert list(found["parts"]) == ["fragment QM − whole QM"]
    two_layer = found["parts"]["fragment QM − whole QM"]["forces"]["mae"]
    assert run(folder, "aga.xyz", *options[:-2], "--json", str(out)) == 0
    alone = json.loads(out.read_text())["parts"]["fragment QM − whole QM"]["forces"]["mae"]
    assert 0 < two_layer < 0.6 * alone
    assert plot.stat().st_size > 20_000


@pytest.mark.parametrize(
    ("structure", "options", "message"),
    [
        ("none.xyz", [], "there is no file"),
        ("naked.xyz", [], "three neighbours only"),
        ("aga.xyz", ["--scheme", "mfc"], "did you mean 'mfcc'?"),
        ("aga.xyz", ["--scheme", "ai2bmdd"], "did you mean 'ai2bmd'?"),
        ("aga.xyz", ["--set", "iner=3"], "did you mean 'inner'?"),
        ("aga.xyz", ["--set", "inner=wide"], "inner must be float"),
        ("aga.xyz", ["--set", "inner=6"], "expected 0 < inner <= outer"),
        ("aga.xyz", ["--scheme", "ai2bmd", "--set", "size=2"], "ai2bmd has no settings"),
        ("aga.xyz", ["--budget"], "--budget needs --reference"),
        ("aga.xyz", ["--low", "gfn2-xtb"], "--low goes with --model"),
        ("aga.xyz", ["--reference", "gfn2-xtb"], "--reference goes with --budget"),
        ("aga.xyz", ["--ph", "7"], "--ph goes with --prepare"),
        ("aga.xyz", ["--model", "gfn3-xtb"], "gfn3-xtb"),
        ("aga.xyz", ["--model", "ase:ase.calculators.emt:EM"], "has no class 'EM'"),
        ("aga.xyz", ["--model", "none.yaml"], "cannot read the configuration none.yaml"),
        ("charged.xyz", ["--model", "tlpot-tiny"], "fragments have charges [-1]"),
        ("aga.xyz", ["--scheme", "direct", "--model", "tlpot-tiny", "--low", "tlpot-tiny"],
         "leave low and charges out"),
        ("aga.xyz", ["--picture", "p.foo"], "must end in"),
        ("aga.xyz", ["--picture", "p.png", "--show", "ACE-ALN-NME"], "no fragment 'ACE-ALN-NME'"),
        ("aga.xyz", ["--picture", "p.png", "--show", "999"], "there is no fragment 999"),
        ("aga.xyz", ["--export", "x.pdb"], "must end in .h5 or .xyz"),
        ("aga.xyz", ["--scheme", "direct", "--budget", "--reference", "tlpot-tiny"],
         "there is no error"),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_remedy(
    folder, tmp_path, monkeypatch, capsys, structure, options, message
):
    monkeypatch.chdir(tmp_path)
    assert run(folder, structure, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_md_runs_with_fragments(folder, tmp_path, capsys):
    common = ["md", str(folder / "aga.xyz"), str(folder / "m.safetensors"), "--device", "cpu"]
    common += ["--steps", "4", "--timestep", "0.1", "--temperature", "10"]
    scheme = ["--scheme", "mfcc", "--set", "size=2"]
    assert main([*common, *scheme, "--out", str(tmp_path / "x")]) == 0
    assert "m.safetensors by mfcc" in capsys.readouterr().out
    for options, message in (
        (["--scheme", "sphere"], "for single points only"),
        (["--set", "inner=3"], "--set without --scheme"),
    ):
        assert main([*common, *options, "--out", str(tmp_path / "y")]) == 2
        assert message in capsys.readouterr().err


def test_evaluate_takes_a_fragment_force_field(folder, tmp_path, capsys):
    model = str(folder / "m.safetensors")
    labels = tmp_path / "f.xyz"
    options = ["--scheme", "mfcc", "--model", model, "--device", "cpu", "--forces", str(labels)]
    assert run(folder, "two.xyz", *options) == 0
    maes = {}
    for name, extra in (("same", ["--scheme", "mfcc"]), ("whole", [])):
        out = tmp_path / f"{name}.json"
        arguments = [model, str(labels), "--level", "low", "--json", str(out), "--device", "cpu"]
        assert main(["evaluate", *arguments, *extra]) == 0
        maes[name] = json.loads(out.read_text())["overall"]["forces_mae"]
    assert maes["same"] < 1e-3 < 0.1 * maes["whole"]
    arguments = ["evaluate", model, str(labels), "--level", "low", "--scheme", "ai2bmd"]
    assert main(arguments) == 2
    assert "AMBER charges belong to one structure" in capsys.readouterr().err


def test_prepares_a_protein_without_hydrogens(data_dir, tmp_path, capsys):
    needs("pdbfixer")
    lines = (data_dir / "proteins" / "chig.pdb").read_text().splitlines()
    naked = tmp_path / "naked.pdb"
    naked.write_text("\n".join(line for line in lines if line[76:78].strip() != "H"))
    assert main(["fragment", str(naked)]) == 2
    assert "--prepare" in capsys.readouterr().err
    ready = tmp_path / "ready.pdb"
    assert main(["fragment", str(naked), "--prepare", str(ready)]) == 0
    assert "78 hydrogens added" in capsys.readouterr().out
    assert main(["fragment", str(ready), "--scheme", "mfcc"]) == 0
    assert "175 atoms, 180 bonds and charge −2 count once each" in capsys.readouterr().out


def test_a_frame_with_a_broken_bond_is_named_with_its_file(folder, tmp_path, capsys):
    frames = read(folder / "two.xyz", index=":")
    torn = frames[0].copy()
    torn.positions[-1] += [9.0, 0.0, 0.0]
    path = tmp_path / "three.xyz"
    write(path, [*frames, torn])
    model = ["--model", str(folder / "m.safetensors")]
    for options in ([], model, ["--budget", "--reference", "tlpot-tiny", *model]):
        assert run(tmp_path, "three.xyz", *options) == 2
        shown = capsys.readouterr().err
        assert f"{path}, frame 2: bonds" in shown
        assert "leave it out" in shown


def test_a_structure_that_has_no_bonds_to_speak_of_is_named(folder, capsys):
    assert run(folder, "naked.xyz") == 2
    assert f"{folder / 'naked.xyz'}: " in capsys.readouterr().err

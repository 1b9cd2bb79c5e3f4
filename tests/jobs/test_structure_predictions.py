"""Predictions for structures without labels, and datasets of structures."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory, read, write
from needs import needs

import tlpot
from tlpot.calculators import named_calculator
from tlpot.cli import main
from tlpot.data import open_dataset
from tlpot.errors import ConfigError, DataError, GeometryError, OutputError, TLPotError
from tlpot.system import System
from tlpot.uncertainty import DomainWarning

DFT = "wb97x/6-31g*"
QUIET = {"progress": False, "device": "cpu"}


@pytest.fixture
def structures():
    box = molecule("CH3OH")
    box.set_cell([8.0, 9.0, 10.0])
    box.pbc = True
    return [molecule("H2O"), box, molecule("CH4")]


def test_they_are_those_of_the_calculator(structures):
    found = tlpot.predict("tlpot-tiny", structures, level=DFT, **QUIET)
    calculator = tlpot.TLPotCalculator("tlpot-tiny", device="cpu")
    assert len(found) == 3
    for k, atoms in enumerate(structures):
        atoms.calc = calculator
        assert found.energy[k] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        np.testing.assert_allclose(found.forces[k], atoms.get_forces(), atol=1e-4)
        assert found.domain[k] == pytest.approx(calculator.results["domain"], abs=1e-4)
        assert np.isfinite(found.stress[k]).all() == atoms.pbc.all()
    made = found.to_atoms()[1]
    np.testing.assert_allclose(made.get_stress(), structures[1].get_stress(), atol=1e-6)
    assert found.energy_std is None


@pytest.mark.fault
def test_an_engine_predicts_as_a_model_does(tmp_path, capsys):
    """There was "no file 'gfn2-xtb'", although every other job takes engines."""
    structures = [molecule("H2O"), molecule("CH4")]
    structures[0].set_cell([8.0, 9.0, 10.0])
    structures[0].pbc = True
    name, springs = "ase:label_toys:Spring(k=2.0)", named_calculator("ase:label_toys:Spring(k=2.0)")
    found = tlpot.predict(name, structures, output=tmp_path / "p.h5", progress=False)
    for k, atoms in enumerate(structures):
        atoms.calc = springs
        assert found.energy[k] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(found.forces[k], atoms.get_forces(), atol=1e-12)
        atoms.calc = None
    assert np.isnan(found.stress).all()  # which springs have not
    assert found.model == found.level == "spring"
    assert open_dataset(tmp_path / "p.h5").levels.keys() == {"spring"}
    write(tmp_path / "in.xyz", structures)
    assert main(["predict", name, str(tmp_path / "in.xyz"), "--level", "spring"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "spring"
    for options, word in (({"level": "pbe"}, "no level 'pbe'"), ({"device": "cpu"}, "device")):
        with pytest.raises(TLPotError, match=word):
            tlpot.predict(name, structures, progress=False, **options)
    with pytest.raises(ConfigError, match="did you mean 'gfn2-xtb'"):
        tlpot.predict("gfn2-xbt", structures, progress=False)


def test_an_engine_is_told_charges():
    needs("tblite")
    ion = molecule("OH")
    ion.set_initial_magnetic_moments(None)
    ion.info["charge"] = -1
    found = tlpot.predict("gfn2-xtb", ion, progress=False)
    ion.calc = named_calculator("gfn2-xtb")
    assert found.energy[0] == pytest.approx(ion.get_potential_energy(), abs=1e-9)
    del ion.info["charge"]
    with pytest.raises(GeometryError, match=r"^structure 0: .*9 electrons"):
        tlpot.predict("gfn2-xtb", ion, progress=False)


def test_an_ensemble_says_how_sure_it_is(tuned, structures):
    joined = tlpot.ensemble(tuned, level="ccsd(t)/cbs(dt)", **QUIET).model
    found = tlpot.predict(joined, structures[0], **QUIET)
    assert found.energy_std.shape == (1,)
    assert found.energy_std[0] > 0
    assert "± (eV)" in str(found)


def test_the_command_writes_what_python_returns(structures, tmp_path, capsys):
    write(tmp_path / "in.xyz", structures)
    found = tlpot.predict("tlpot-tiny", tmp_path / "in.xyz", **QUIET)
    command = ["predict", "tlpot-tiny", str(tmp_path / "in.xyz"), "--device", "cpu"]
    out, numbers = str(tmp_path / "out.xyz"), tmp_path / "n.json"
    assert main([*command, "-o", out, "--json", str(numbers)]) == 0
    assert capsys.readouterr().out == f"{found}\nwrote {out}\n"
    assert json.loads(numbers.read_text()) == found.as_json()
    back = read(out, index=":")
    assert [atoms.get_potential_energy() for atoms in back] == pytest.approx(found.energy)
    np.testing.assert_allclose(back[2].get_forces(), found.forces[2], atol=1e-7)
    assert back[0].info["domain"] == pytest.approx(found.domain[0])


def test_in_hdf5_they_are_labels_by_the_name_of_the_model(structures, tmp_path):
    found = tlpot.predict("tlpot-tiny", structures, output=tmp_path / "p.h5", **QUIET)
    dataset = open_dataset(tmp_path / "p.h5")
    assert list(dataset.levels) == ["tlpot-tiny"]
    labels = {len(f.system): f.labels["tlpot-tiny"] for f in dataset.read(range(3))}
    assert labels[3].energy == pytest.approx(found.energy[0])
    again = tlpot.predict("tlpot-tiny", dataset, **QUIET)
    assert sorted(again.energy) == pytest.approx(sorted(found.energy))


@pytest.mark.fault
@pytest.mark.parametrize("name", ["p.xyz", "p.h5", "p.csv"])
def test_a_file_of_predictions_that_is_there_stays(structures, tmp_path, name, capsys):
    output, source = tmp_path / name, str(tmp_path / "in.xyz")
    write(source, structures)
    output.write_text("mine")
    command = ["predict", "tlpot-tiny", source, "-o", str(output), "--device", "cpu"]
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert main([*command, "--overwrite"]) == 0
    assert output.read_bytes() != b"mine"


def test_mistakes(structures, tmp_path):
    with pytest.raises(OutputError, match=r"\.xyz"):
        tlpot.predict("tlpot-tiny", structures, output=tmp_path / "p.pdb", **QUIET)
    with pytest.raises(DataError, match="no such file"):
        tlpot.predict("tlpot-tiny", tmp_path / "none.xyz", **QUIET)


def test_a_dataset_of_atoms_with_labels():
    results = {"energy": -3.0, "forces": np.ones((3, 3)), "stress": np.arange(6.0)}
    first, second, third = molecule("H2O"), molecule("H2O"), molecule("CH4")
    first.set_cell([9.0] * 3)
    first.pbc = True
    first.calc = SinglePointCalculator(first, **results)
    second.info |= {"REF_energy": -2.0, "charge": 1, "spin": 2}
    third.info["energy"] = -1.0
    third.arrays["forces"] = np.zeros((5, 3))
    dataset = tlpot.open_dataset([first, second, third], level="PBE/def2-SVP")
    assert list(dataset.levels) == ["pbe/def2-svp"]
    frames = dataset.read(range(3))
    labels = [frame.labels["pbe/def2-svp"] for frame in frames]
    assert [label.energy for label in labels] == [-3.0, -2.0, -1.0]
    np.testing.assert_allclose(labels[0].forces, 1.0)
    assert labels[0].stress[0, 0] == 0.0
    assert labels[0].stress[1, 2] == 3.0
    assert labels[1].forces is None
    assert (frames[1].system.charge, frames[1].system.spin) == (1, 2)
    assert frames[2].name == "atoms[2]"
    assert tlpot.open_dataset(dataset) is dataset
    same = tlpot.open_dataset([first, second, third], level="PBE/def2-SVP")
    assert same.content_hash == dataset.content_hash
    third.info["energy"] = -1.5
    other = tlpot.open_dataset([first, second, third], level="PBE/def2-SVP")
    assert other.content_hash != dataset.content_hash


def test_atoms_whose_labels_are_doubtful():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    with pytest.raises(DataError, match="without results"):
        tlpot.open_dataset(atoms, level="emt")
    atoms.get_potential_energy()
    assert len(tlpot.open_dataset(atoms, level="emt")) == 1
    moved = atoms.copy()
    moved.calc = atoms.calc
    moved.rattle(0.1)
    with pytest.raises(DataError, match="present positions"):
        tlpot.open_dataset(moved, level="emt")
    atoms.info["energy"] = 1.0
    with pytest.raises(DataError, match="another energy"):
        tlpot.open_dataset(atoms, level="emt")
    with pytest.raises(DataError):
        tlpot.open_dataset(molecule("H2"), level="emt")
    with pytest.raises(ConfigError, match="extended XYZ"):
        tlpot.open_dataset(molecule("H2"), "ani1x", level="emt")


def test_a_system_is_given_back_as_atoms():
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]], cell=[5, 6, 7], pbc=[True, True, False])
    atoms.info |= {"charge": -1, "spin": 1}
    back = System.from_atoms(atoms).to_atoms()
    assert back == atoms
    assert back.info == atoms.info
    assert System.from_atoms(molecule("H2O")).to_atoms().info == {}


def test_the_structures_themselves_are_never_replaced(structures, tmp_path):
    path = tmp_path / "in.xyz"
    tlpot.predict("tlpot-tiny", structures, output=path, device="cpu")
    before = path.read_bytes()
    with pytest.raises(OutputError, match="output"):
        tlpot.predict("tlpot-tiny", path, output=path, device="cpu")
    assert path.read_bytes() == before


def test_structures_outside_of_the_training_are_warned_of():
    with pytest.warns(DomainWarning, match="outside"):
        tlpot.predict("tlpot-fragments", molecule("HCN"), level="gfn2-xtb", device="cpu")


@pytest.mark.fault
def test_every_level_has_a_column_of_its_own_numbers(structures):
    atoms = [structures[0], structures[2]]
    every = tlpot.predict("tlpot-peptides-tiny", atoms, level="all", **QUIET)
    alone = {
        level: tlpot.predict("tlpot-peptides-tiny", atoms, level=level, **QUIET).energy
        for level in ("aimnet2", "gfn2-xtb", "ani-1ccx")
    }
    head, titles, *rows = str(every).splitlines()
    assert head.endswith("at aimnet2, gfn2-xtb, ani-1ccx")
    for row, k in zip(rows, range(2), strict=True):
        shown = [float(word) for word in row.split()[-5:-2]]
        assert shown == pytest.approx([alone[level][k] for level in alone], abs=1e-5)
    assert [titles.index(f"{level} energy") for level in alone] == sorted(
        titles.index(f"{level} energy") for level in alone
    )
    made = every.to_atoms()[0]
    assert made.get_potential_energy() == pytest.approx(alone["aimnet2"][0], abs=1e-6)
    assert made.info["ani-1ccx_energy"] == pytest.approx(alone["ani-1ccx"][0], abs=1e-6)


@pytest.mark.fault
def test_structures_may_come_from_whatever_gives_them_one_by_one(structures, tmp_path):
    with Trajectory(str(tmp_path / "a.traj"), "w") as trajectory:
        for atoms in structures:
            trajectory.write(atoms)
    known = tlpot.predict("tlpot-tiny", structures, **QUIET).energy
    with Trajectory(str(tmp_path / "a.traj")) as trajectory:
        for given in (trajectory, (atoms for atoms in structures)):
            found = tlpot.predict("tlpot-tiny", given, **QUIET)
            np.testing.assert_allclose(found.energy, known, atol=1e-6)
    labelled = []
    for atoms in structures:
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0)
        labelled.append(atoms)
    assert len(open_dataset(iter(labelled), level="a/b")) == 3
    with pytest.raises(ConfigError, match=r"expected files, ase\.Atoms or a dataset, not int"):
        tlpot.predict("tlpot-tiny", 3, **QUIET)
    with pytest.raises(ConfigError, match="not set of int"):
        open_dataset({1, 2}, level="a/b")


@pytest.mark.fault
def test_notes_follow_the_rule_of_the_domain_check(tuned):
    """Sixteen training frames do not tell how far frames like themselves may be."""
    far = molecule("CH4")
    far.positions *= 1.5
    found = tlpot.predict(tuned[0], far, **QUIET)
    assert found.domain[0] < 0.05
    assert found.notes == ("",)
    with pytest.warns(DomainWarning):
        known = tlpot.predict("tlpot-tiny", far, **QUIET)
    assert "outside of what" in known.notes[0]

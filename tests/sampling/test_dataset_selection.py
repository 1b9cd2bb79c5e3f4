"""Frames chosen from a file: unlike ones, uncertain ones, and those that are left out."""

import json

import h5py
import numpy as np
import pytest
from ase.build import molecule as g2
from ase.io import write
from toys import E0

import tlpot
from tlpot.cli import main
from tlpot.data import open_dataset, write_structures
from tlpot.data.native_edits import add_level
from tlpot.errors import ConfigError, OutputError, UnknownElementError, UnknownLevelError
from tlpot.labelling import read_structures
from tlpot.models import Ensemble, Potential, preset, save
from tlpot.sampling import ModelView


@pytest.fixture
def data(tmp_path):
    """Water and methanol, twenty frames of each; the first ten of each are nearly the same."""
    path, frames = tmp_path / "d.h5", []
    for name in ("H2O", "CH3OH"):
        for k in range(20):
            atoms = g2(name)
            atoms.info.update(molecule=name, charge=0)
            atoms.rattle(0.001 if k < 10 else 0.02 * (k - 8), seed=k)
            frames.append(atoms)
    write_structures(read_structures(frames).frames, path)
    labels = {}
    for name in ("H2O", "CH3OH"):
        n = len(g2(name))
        forces = np.zeros((20, n, 3))
        forces[:, 0, 2] = np.arange(20.0)
        labels[name] = (np.arange(20), np.arange(20) * 0.1 * n, forces)
    add_level(path, "toy", labels)
    with h5py.File(path, "r+") as file:
        file["H2O"].attrs["smiles"] = "O"
        file["H2O"]["sample_step"] = np.arange(20)
    return path


def kept(path, name):
    dataset = open_dataset(path)
    return [round(10 * f.labels["toy"].energy / len(f.system))
            for f in dataset.read(range(len(dataset))) if f.group == name]  # fmt: skip


def test_unlike_frames_of_each_molecule_with_all_that_the_file_says(data, tmp_path):
    found = tlpot.select_dataset(data, tmp_path / "s.h5", each=6)
    assert (found.n_frames, found.n_given, found.n_molecules) == (12, 40, 2)
    for name in ("H2O", "CH3OH"):
        rows = kept(tmp_path / "s.h5", name)
        assert rows[0] == 0  # the lowest energy
        assert sum(row >= 10 for row in rows) >= 4
    whole, part = (
        {f.system.positions.tobytes(): f for f in open_dataset(p).read(range(n))}
        for p, n in ((data, 40), (tmp_path / "s.h5", 12))
    )
    for key, frame in part.items():
        assert frame.labels["toy"].energy == whole[key].labels["toy"].energy
        assert np.array_equal(frame.labels["toy"].forces, whole[key].labels["toy"].forces)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["H2O"].attrs["smiles"] == "O"
        assert file["H2O"]["sample_step"][:].tolist() == kept(tmp_path / "s.h5", "H2O")
    assert json.loads(json.dumps(found.as_json()))["n_frames"] == 12


def test_converting_keeps_what_is_said_of_a_molecule(data, tmp_path):
    tlpot.convert_dataset(data, tmp_path / "c.h5", progress=False)
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["H2O"].attrs["smiles"] == "O"
        assert "smiles" not in file["CH3OH"].attrs


def test_a_number_in_all_takes_of_every_molecule(data, tmp_path):
    found = tlpot.select_dataset(data, tmp_path / "s.h5", count=8, model="tlpot-tiny")
    assert (found.n_frames, found.n_molecules) == (8, 2)
    again = tlpot.select_dataset(data, tmp_path / "t.h5", count=8, model="tlpot-tiny")
    assert again.n_frames == 8
    assert kept(tmp_path / "s.h5", "H2O") == kept(tmp_path / "t.h5", "H2O")


def test_the_least_certain_of_an_ensemble_are_taken(data, tmp_path):
    sizes = preset("tiny", (1, 6, 8), hidden_irreps="4x0e", cutoff=3.0)
    members = [Potential.create(sizes, {"low": E0}, seed=k) for k in range(2)]
    path = tmp_path / "e.safetensors"
    save(Ensemble(members), path)
    tlpot.select_dataset(data, tmp_path / "s.h5", count=5, select="uncertainty", model=str(path))
    dataset = open_dataset(data)
    atoms = [frame.system.to_atoms() for frame in dataset.read(range(40))]
    doubt = ModelView(str(path)).uncertainty(atoms)
    places = {
        frame.system.positions.tobytes(): k for k, frame in enumerate(dataset.read(range(40)))
    }
    chosen = [places[f.system.positions.tobytes()]
              for f in open_dataset(tmp_path / "s.h5").read(range(5))]  # fmt: skip
    assert int(doubt.argmax()) in chosen
    assert set(chosen) <= set(np.argsort(-doubt)[:15].tolist())


def test_large_forces_and_high_energies_are_left_out(data, tmp_path):
    found = tlpot.select_dataset(data, tmp_path / "s.h5", max_force=14.5, window=1.25)
    assert found.lost == {"large forces": 10, "energy": 4}
    assert kept(tmp_path / "s.h5", "H2O") == list(range(13))
    with pytest.raises(OutputError, match="exists"):
        tlpot.select_dataset(data, tmp_path / "s.h5", max_force=14.5)
    tlpot.select_dataset(data, tmp_path / "s.h5", max_force=14.5, overwrite=True)


def test_the_command_does_the_same(data, tmp_path, capsys):
    out = tmp_path / "s.h5"
    assert main(["data", "select", str(data), "-o", str(out), "--each", "3"]) == 0
    assert "6 of 40 frames, 2 molecules" in capsys.readouterr().out
    assert main(["data", "select", str(data), "-o", str(out), "--each", "3"]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.fault
def test_other_files_are_converted_on_the_way(data, tmp_path, capsys):
    """Only tlpot's own layout was taken, which docs/data.md did not say."""
    frames = [frame.to_atoms("toy") for frame in open_dataset(data)]
    write(tmp_path / "a.xyz", frames, format="extxyz")
    write(tmp_path / "a.traj", frames)
    tlpot.select_dataset(data, tmp_path / "own.h5", max_force=10.5)
    expected = sorted(f.labels["toy"].energy for f in open_dataset(tmp_path / "own.h5"))
    for k, given in enumerate((tmp_path / "a.xyz", tmp_path / "a.traj", frames, [data])):
        level = None if given == [data] else "toy"
        out = tmp_path / f"{k}.h5"
        found = tlpot.select_dataset(given, out, max_force=10.5, level=level)
        assert (found.n_frames, found.n_given) == (22, 40)
        energies = sorted(f.labels["toy"].energy for f in open_dataset(out))
        assert energies == pytest.approx(expected)
    command = ["data", "select", str(tmp_path / "a.xyz"), "--level", "toy", "--max-force", "10.5"]
    assert main([*command, "-o", str(tmp_path / "cli.h5")]) == 0
    assert "22 of 40 frames" in capsys.readouterr().out
    with pytest.raises(OutputError, match="one of the files that are read"):
        tlpot.select_dataset([data, data], data, each=1, overwrite=True)


def test_what_cannot_be_chosen(data, tmp_path):
    out = tmp_path / "s.h5"
    for error, why, options in (
        (ConfigError, "say what to choose", {}),
        (ConfigError, "needs a model", {"each": 2, "select": "uncertainty"}),
        (ConfigError, "did you mean 'farthest'", {"each": 2, "select": "fartest"}),
        (ConfigError, "each is 0", {"each": 0}),
        (ConfigError, "cannot tell how sure", {
            "each": 2, "select": "uncertainty", "model": "tlpot-tiny",
            "model_level": "wb97x/6-31g*"}),
        (ConfigError, "unknown key 'eech'", {"config": {"eech": 3}}),
    ):  # fmt: skip
        with pytest.raises(error, match=why):
            tlpot.select_dataset(data, out, **options)
    (tmp_path / "x.xyz").write_text("1\n\nH 0 0 0\n")
    with pytest.raises(UnknownLevelError, match="name it with level="):
        tlpot.select_dataset(tmp_path / "x.xyz", out, each=2)
    sulfur = [g2("SH2"), g2("SH2")]
    sulfur[1].rattle(0.1)
    write_structures(read_structures(sulfur).frames, tmp_path / "h2s.h5")
    with pytest.raises(UnknownElementError, match="does not know S"):
        tlpot.select_dataset(tmp_path / "h2s.h5", out, each=1, model="tlpot-tiny")
    assert not out.exists()

"""What is read is never written over, and other data only where the user says so."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import tlpot
from tlpot.cli import main
from tlpot.errors import OutputError

pytestmark = pytest.mark.fault


@pytest.fixture
def labelled(tmp_path):
    """An extended XYZ file of hydrogen molecules."""
    frames = []
    for k in range(20):
        atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7 + 0.01 * k]])
        atoms.calc = SinglePointCalculator(atoms, energy=-31.0 + k, forces=np.zeros((2, 3)))
        frames.append(atoms)
    write(tmp_path / "g.xyz", frames)
    return tmp_path / "g.xyz"


def refused(path, *words):
    """Whether a command leaves a file as it is, and fails."""
    before = path.read_bytes()
    status = main([str(word) for word in words])
    return status == 2 and path.read_bytes() == before


@pytest.mark.parametrize("action", ["convert", "split"])
def test_the_data_themselves_are_never_replaced(labelled, action, capsys):
    words = ["data", action, labelled, "--level", "x", "-o", labelled, "--overwrite"]
    assert refused(labelled, *words)
    assert "g.xyz" in capsys.readouterr().err


def test_another_dataset_is_replaced_only_where_told(labelled):
    kept = labelled.with_name("keep.h5")
    words = ["data", "convert", labelled, "--level", "x", "-o", kept]
    assert main([str(word) for word in words]) == 0
    assert refused(kept, *words)
    assert main([str(word) for word in (*words, "--overwrite")]) == 0


def test_a_split_is_replaced_only_where_told(labelled):
    kept = labelled.with_name("split.json")
    words = ["data", "split", labelled, "--by", "random", "-o", kept]
    assert main([str(word) for word in words]) == 0
    assert refused(kept, *words)
    assert main([str(word) for word in (*words, "--overwrite")]) == 0


@pytest.mark.parametrize("command", ["convert", "label", "sample", "select"])
def test_hdf5_is_not_written_under_another_ending(labelled, command, capsys):
    output = labelled.with_name("c.xyz")
    words = {
        "convert": ["data", "convert", labelled, "--level", "x"],
        "label": ["label", labelled, "--engine", "ase:ase.calculators.emt:EMT"],
        "sample": ["sample", "CO", "--engine", "mmff94"],
        "select": ["data", "select", labelled, "--count", "2"],
    }[command]
    assert main([str(word) for word in (*words, "-o", output)]) == 2
    assert ".h5" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["fragment", "FILE", "--export", "FILE"],
        ["fragment", "FILE", "--json", "FILE"],
        ["fragment", "FILE", "--model", "gfn2-xtb", "--forces", "FILE"],
        ["fragment", "FILE", "--prepare", "FILE"],
        ["evaluate", "FILE", "data.h5", "--json", "FILE"],
        ["evaluate", "m.safetensors", "data.h5", "--split", "FILE", "--plot", "FILE"],
        ["predict", "m.safetensors", "a.xyz", "FILE", "--json", "FILE"],
        ["calibrate", "m.safetensors", "FILE", "-o", "b.safetensors", "--json", "FILE"],
        ["relax", "FILE", "gfn2-xtb", "-o", "FILE", "--overwrite"],
        ["data", "select", "FILE", "-o", "FILE", "--overwrite"],
    ],
)
def test_no_output_is_what_another_argument_names(labelled, words, capsys):
    assert refused(labelled, *[labelled if word == "FILE" else word for word in words])
    assert "only copy" in capsys.readouterr().err


def test_numbers_do_not_replace_a_file_of_another_kind(labelled, capsys):
    assert refused(labelled, "evaluate", "m.safetensors", "data.h5", "--json", labelled)
    assert ".json" in capsys.readouterr().err


def test_two_outputs_are_two_files(labelled, capsys):
    words = ["fragment", labelled, "--model", "gfn2-xtb", "--forces", "a.xyz", "--export", "a.xyz"]
    assert refused(labelled, *words)
    assert "two names" in capsys.readouterr().err


def test_python_spares_its_inputs_too(labelled):
    kept = labelled.with_name("keep.h5")
    tlpot.convert_dataset([labelled], kept, level="x")
    dataset = tlpot.open_dataset(kept)
    with pytest.raises(OutputError, match="only copy"):
        tlpot.convert_dataset(dataset, kept, overwrite=True)
    with pytest.raises(OutputError, match="exists"):
        tlpot.convert_dataset(labelled, kept, level="x")
    with pytest.raises(OutputError, match="only copy"):
        tlpot.split_dataset(dataset, kept, overwrite=True)
    with pytest.raises(OutputError, match="only copy"):
        tlpot.select_dataset(kept, kept, count=2, overwrite=True)


def test_what_a_sampling_writes_beside_its_output_replaces_nothing(labelled):
    kept = labelled.with_name("x.json")
    kept.write_text("{}")
    assert refused(kept, "sample", "CCO", "--engine", "mmff94", "-o", kept.with_suffix(".h5"))


@pytest.mark.parametrize("option", ["--export", "--forces", "--prepare"])
def test_what_a_fragmentation_writes_replaces_nothing(labelled, option, capsys):
    kept = labelled.with_name("kept.pdb" if option == "--prepare" else "kept.xyz")
    kept.write_text("mine")
    model = ["--model", "gfn2-xtb"] if option == "--forces" else []
    assert refused(kept, "fragment", labelled, *model, option, kept)
    message = capsys.readouterr().err
    assert f"with {option}" in message  # which is the option that this command has
    assert "-o" not in message.split("another name")[1]

"""Text in other encodings than UTF-8."""

import json

import pytest
from ase.build import bulk, molecule
from ase.io import write

import tlpot
from tlpot.errors import DataError, TLPotError
from tlpot.sampling import named_fragments
from tlpot.structures import read_frames

pytestmark = pytest.mark.fault


def recoded(path, encoding):
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    return path


def labelled(path, comment=""):
    atoms = molecule("H2O")
    atoms.info |= {"energy": -10.0, "title": comment}
    write(path, atoms, format="extxyz")
    return path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.xyz", "a.pdb", "a.cif", "a.vasp", "a.json", "a.sdf"])
def test_a_file_in_utf_16_is_told_so(tmp_path, name, encoding):
    """It was a bare "'utf-8' codec can't decode byte 0xff", or no atoms, or no data block."""
    path = tmp_path / name
    if name == "a.sdf":
        path.write_text("title\n  program\n\n  0  0  0     0  0            999 V2000\nM  END\n")
    elif name == "a.json":
        path.write_text(json.dumps({"a": [{"x": 1}]}))
    elif name == "a.xyz":
        labelled(path)
    else:
        write(path, molecule("H2O") if name == "a.pdb" else bulk("Cu"))
    recoded(path, encoding)
    with pytest.raises(DataError, match=r"a\..*UTF-16.*iconv"):
        read_frames(str(path))
    if name in ("a.xyz", "a.json"):
        with pytest.raises(DataError, match=r"a\..*UTF-16"):
            tlpot.open_dataset(path, level="x")


def test_a_byte_of_another_encoding_is_named(tmp_path):
    """The message did not say what to do."""
    path = recoded(labelled(tmp_path / "a.xyz", "Müller"), "latin1")
    with pytest.raises(DataError, match=r"a\.xyz.*0xfc.*UTF-8"):
        tlpot.open_dataset(path, level="x")


def test_tables_and_lists_are_told_so(tmp_path):
    """The same of a table beside structures and of a list of SMILES."""
    write(tmp_path / "1.cif", bulk("Cu"))
    (tmp_path / "id_prop.csv").write_text("id,gap\n1,0.3\n")
    recoded(tmp_path / "id_prop.csv", "utf-16")
    with pytest.raises(TLPotError, match=r"id_prop\.csv.*UTF-16"):
        tlpot.open_dataset(tmp_path, keys={"gap@pbe": "gap, eV, intensive"})
    smiles = tmp_path / "a.smi"
    smiles.write_text("CO\n")
    with pytest.raises(DataError, match=r"a\.smi.*UTF-16"):
        named_fragments([str(recoded(smiles, "utf-16"))])


def test_text_in_utf_8_is_read_as_before(tmp_path):
    """Short files, empty ones and those of a byte-order mark are no UTF-16."""
    path = recoded(labelled(tmp_path / "a.xyz", "Müller"), "utf-8-sig")
    assert len(tlpot.open_dataset(path, level="x")) == 1
    for content in ("", "1\n\nH 0 0 0\n"):
        path.write_text(content)
        with pytest.raises(TLPotError) as caught:
            tlpot.open_dataset(path, level="x")
        assert "UTF-16" not in str(caught.value)

"""Files of mace-torch are read without running anything of them, damaged and hostile ones too."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tlpot.cli.main import main
from tlpot.errors import ModelFileError
from tlpot.models import LIBRARY
from tlpot.models.mace.archive import Module, read_module
from tlpot.models.mace.importing import import_mace

HERE = Path(__file__).parent
WHOLE = HERE / "mp-0.3.6.model"


def rewritten(path, target, change):
    """Copies an archive with its pickle changed."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as made:
        for entry in source.infolist():
            content = source.read(entry)
            made.writestr(entry, change(entry.filename, content))
    return target


def edited(target, old, new):
    """Copies the whole model with bytes of its pickle replaced by as many others."""
    assert len(old) == len(new)

    def change(name, content):
        return content.replace(old, new) if name.endswith("/data.pkl") else content

    return rewritten(WHOLE, target, change)


def weights_replaced(target, wanted, values):
    """Copies the whole model with one tensor's numbers replaced."""
    tensors = read_module(WHOLE).state()
    raw = tensors[wanted].tobytes()

    def change(name, content):
        return values(tensors[wanted]).tobytes() if content == raw else content

    return rewritten(WHOLE, target, change)


class Runs:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


def test_the_tensors_are_those_of_torch(tmp_path):
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.Embedding(5, 2))
    ).double()
    model[0].weight.data = model[0].weight.data.t().contiguous().t()  # strides
    path = tmp_path / "model.pt"
    torch.save(model, path)
    found = read_module(path)
    assert isinstance(found, Module)
    expected = {key: value.numpy() for key, value in model.state_dict().items()}
    assert found.state().keys() == expected.keys()
    for key, value in found.state().items():
        assert value.dtype == expected[key].dtype
        np.testing.assert_array_equal(value, expected[key])


@pytest.mark.fault
@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_of_a_file_is_run(tmp_path, monkeypatch, wrapped):
    monkeypatch.chdir(tmp_path)
    hostile = Runs("touch HERE")
    model = torch.nn.Linear(1, 1)
    model.note = hostile
    torch.save(model if wrapped else hostile, tmp_path / "evil.model")
    if wrapped:
        assert read_module(tmp_path / "evil.model").name == "Linear"
    with pytest.raises(ModelFileError):
        import_mace(tmp_path / "evil.model")
    assert not (tmp_path / "HERE").exists()


@pytest.mark.fault
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    model = torch.nn.Linear(2, 2)
    model.weight = torch.nn.Parameter(torch.zeros(1).expand(10**9))
    torch.save(model, tmp_path / "large.model")
    with pytest.raises(ModelFileError, match="more numbers than its storage"):
        read_module(tmp_path / "large.model")


@pytest.mark.fault
def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    model = torch.nn.Linear(3, 5)
    torch.save(model, tmp_path / "good.model")

    def change(name, content):
        return content[:-4] if "/data/" in name and len(content) == 60 else content

    path = rewritten(tmp_path / "good.model", tmp_path / "short.model", change)
    with pytest.raises(ModelFileError, match="storage"):
        read_module(path)


@pytest.mark.fault
def test_an_archive_that_would_unpack_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tlpot.models.mace.archive.MOST_BYTES", 1000)
    with pytest.raises(ModelFileError, match="unpack"):
        read_module(WHOLE)


@pytest.mark.fault
def test_endless_nesting_is_refused(tmp_path):
    model = inner = torch.nn.Sequential()
    for _ in range(150):
        inner.add_module("0", torch.nn.Sequential())
        inner = inner[0]
    torch.save(model, tmp_path / "deep.model")
    with pytest.raises(ModelFileError, match="deep"):
        read_module(tmp_path / "deep.model")


@pytest.mark.fault
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path, share):
    content = WHOLE.read_bytes()
    path = tmp_path / "short.model"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match="short"):
        import_mace(path)


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_files_of_other_kinds_are_refused(tmp_path):
    state = tmp_path / "state.model"
    torch.save(torch.nn.Linear(1, 1).state_dict(), state)
    with pytest.raises(ModelFileError, match="weight"):
        import_mace(state)
    other = tmp_path / "other.model"
    torch.save(torch.nn.Linear(1, 1), other)
    with pytest.raises(ModelFileError, match=r"torch\.nn"):
        import_mace(other)
    script = tmp_path / "script.model"
    torch.jit.script(torch.nn.Linear(1, 1)).save(script)
    with pytest.raises(ModelFileError, match="TorchScript"):
        import_mace(script)
    with pytest.raises(ModelFileError, match="safetensors"):
        import_mace(LIBRARY / "tlpot-tiny.safetensors")
    with pytest.raises(ModelFileError, match="no-such"):
        import_mace(tmp_path / "no-such.model")


@pytest.mark.fault
@pytest.mark.parametrize(
    ("old", "new", "term"),
    [
        (b"ScaleShiftMACE", b"ScaleShiftMAXE", "ScaleShiftMAXE"),
        (b"RealAgnosticResidual", b"RealAgnosticResiduax", "RealAgnosticResiduax"),
        (b"BesselBasis", b"GaussiBasis", "GaussiBasis"),
        (b"NonLinearReadoutBlock", b"NonLinearReadoutBlack", "NonLinearReadoutBlack"),
        (b"torch.nn.functional\nsilu", b"torch.nn.functional\nselu", "selu"),
        (b"avg_num_neighbors", b"avg_num_neighborx", "avg_num_neighbors"),
    ],
)
def test_what_the_network_cannot_do_is_refused_by_name(tmp_path, old, new, term):
    with pytest.raises(ModelFileError, match=term):
        import_mace(edited(tmp_path / "changed.model", old, new))


@pytest.mark.fault
def test_nan_weights_and_foreign_couplings_are_refused(tmp_path):
    def with_nan(values):
        changed = values.copy()
        changed.reshape(-1)[0] = np.nan
        return changed

    path = weights_replaced(tmp_path / "nan.model", "interactions.1.linear_up.weight", with_nan)
    with pytest.raises(ModelFileError, match="NaN"):
        import_mace(path)
    name = "products.0.symmetric_contractions.contractions.1.U_matrix_2"
    path = weights_replaced(tmp_path / "other.model", name, lambda u: u + 0.1 * (u == 0))
    with pytest.raises(ModelFileError, match="couplings"):
        import_mace(path)


@pytest.mark.fault
def test_the_command_exits_with_2_and_writes_nothing(tmp_path, capsys):
    bad = tmp_path / "bad.model"
    bad.write_bytes(b"PK\x03\x04" + bytes(100))
    output = tmp_path / "out.safetensors"
    assert main(["models", "import", str(bad), "-o", str(output)]) == 2
    assert "bad.model" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.fault
@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_of_the_pickle_never_raise_anything_else(tmp_path, seed):
    rng = np.random.default_rng(seed)

    def change(name, content):
        if not name.endswith("/data.pkl"):
            return content
        changed = bytearray(content)
        for place in rng.integers(len(changed), size=3):
            changed[place] = rng.integers(256)
        return bytes(changed)

    path = rewritten(WHOLE, tmp_path / "flipped.model", change)
    try:
        module = read_module(path)
    except ModelFileError:
        return
    assert isinstance(module, Module)


def test_protocols_of_pickle_are_read_alike():
    from tlpot.models.mace import archive

    content = {"a": [1, -2, 3.5, "text", b"raw", None, True, (1, 2, 3, 4)], "b": {"c": 10**20}}
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        stream = io.BytesIO()
        pickle.dump(content, stream, protocol=protocol)
        found = archive._run(stream.getvalue())
        assert found["b"] == content["b"]
        assert found["a"][:4] == content["a"][:4]

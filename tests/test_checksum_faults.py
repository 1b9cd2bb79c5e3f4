"""Model files never load to other numbers than they were saved with."""

import functools
import json
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlpot.errors import ModelFileError, TLPotError
from tlpot.models import (
    LIBRARY,
    DeltaPotential,
    Ensemble,
    ModelCard,
    Potential,
    from_bytes,
    load,
    preset,
    save,
    to_bytes,
)

pytestmark = pytest.mark.fault

ZERO = {1: 0.0, 8: 0.0}


def potential(*levels, seed=0):
    # the numbers of the file, and not its size, are what matters
    sizes = preset("tiny", (1, 8), n_layers=1, l_max=1, hidden_irreps="4x0e+4x1o", correlation=1)
    made = Potential.create(sizes, dict.fromkeys(levels, ZERO), seed=seed)
    made.card = ModelCard(name="toy")
    return made


MODELS = {
    "potential": lambda: potential("low", "high"),
    "delta": lambda: DeltaPotential(potential("low"), potential("high - low", seed=1)),
    "ensemble": lambda: Ensemble([potential("low"), potential("low", seed=1)]),
}


@functools.cache
def content(kind):
    return to_bytes(MODELS[kind]())


def numbers(model):
    state = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    return state, model.levels, model.elements, model.cutoff, str(model.dtype)


@pytest.mark.parametrize("kind", MODELS)
def test_a_flipped_bit_of_a_weight_is_an_error(kind, tmp_path):
    path = tmp_path / "model.safetensors"
    save(MODELS[kind](), path)
    damaged = bytearray(path.read_bytes())
    damaged[-4] ^= 1  # the last digits of a number: nothing but a checksum can see it
    path.write_bytes(damaged)
    with pytest.raises(ModelFileError, match="checksum"):
        load(path, device="cpu")


def test_a_changed_digit_of_the_description_is_an_error(tmp_path):
    path = tmp_path / "model.safetensors"
    save(MODELS["potential"](), path)
    before = path.read_bytes()
    damaged = before.replace(b'\\"cutoff\\": 4.5', b'\\"cutoff\\": 4.4')
    assert damaged != before
    path.write_bytes(damaged)
    with pytest.raises(ModelFileError, match="checksum"):
        load(path, device="cpu")


def test_a_file_without_checksum_loads_with_a_warning(tmp_path):
    path = tmp_path / "model.safetensors"
    save(MODELS["potential"](), path)
    expected = numbers(load(path, device="cpu"))
    with safetensors.safe_open(path, "pt") as handle:
        old = {"tlpot-potential": handle.metadata()["tlpot-potential"]}
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file(tensors, path, old)
    with pytest.warns(UserWarning, match="checksum"):
        assert numbers(load(path, device="cpu")) == expected


@pytest.mark.parametrize("name", ["tlpot-tiny", "tlpot-fragments"])
def test_the_shipped_models_have_one(name):
    with safetensors.safe_open(LIBRARY / f"{name}.safetensors", "pt") as handle:
        assert "tlpot-checksum" in handle.metadata()


@pytest.mark.parametrize("kind", MODELS)
def test_what_was_saved_loads_without_a_warning_and_as_it_was(kind):
    model = MODELS[kind]()
    assert numbers(from_bytes(to_bytes(model))) == numbers(model)
    assert to_bytes(from_bytes(to_bytes(model))) == to_bytes(model)
    header = to_bytes(model)
    length = int.from_bytes(header[:8], "little")
    assert length % 8 == 0
    assert "tlpot-checksum" in json.loads(header[8 : 8 + length])["__metadata__"]


def damage(data, whole):
    """Draws a damaged copy: flipped bits, zeroed or moved blocks, a lost end."""
    changed = bytearray(whole)
    header = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(data.draw(st.integers(1, 4))):
        # half of the damage goes to the header, which is a small part of the file
        end = header if data.draw(st.booleans()) else len(whole)
        where = data.draw(st.integers(0, end - 1))
        how = data.draw(st.sampled_from(["bit", "byte", "zeros", "swap", "end", "more"]))
        if how == "bit":
            changed[where % len(changed)] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "byte":
            changed[where % len(changed)] = data.draw(st.integers(0, 255))
        elif how == "zeros":
            size = len(changed[where : where + 512])
            changed[where : where + size] = bytes(size)
        elif how == "swap":
            other = data.draw(st.integers(0, end - 1))
            one, two = bytes(changed[where : where + 16]), bytes(changed[other : other + 16])
            changed[where : where + len(two)] = two
            changed[other : other + len(one)] = one
        elif how == "end":
            del changed[max(where, 1) :]
        else:
            changed += data.draw(st.binary(min_size=1, max_size=9))
    return bytes(changed)


@pytest.mark.control
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
@pytest.mark.parametrize("kind", MODELS)
def test_a_damaged_file_is_an_error_or_the_same_numbers(kind, data):
    whole = content(kind)
    changed = damage(data, whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning does not excuse other numbers
        try:
            found = from_bytes(changed)
        except TLPotError:
            return
    assert numbers(found) == numbers(from_bytes(whole))


def test_every_byte_of_the_header_counts():
    whole = content("potential")
    for where in range(8 + int.from_bytes(whole[:8], "little")):
        changed = bytearray(whole)
        changed[where] ^= 4
        with pytest.raises(ModelFileError):
            from_bytes(bytes(changed))
    assert np.isfinite(torch.cat([t.flatten() for t in from_bytes(whole).parameters()]).numpy(
        force=True)).all()  # fmt: skip

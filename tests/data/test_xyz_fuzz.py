"""Extended XYZ at random: what a file holds comes back exactly, or it is refused."""

import math
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlpot.cli import main
from tlpot.data import open_dataset

LEVEL = "pbe"
ENERGY, FORCES = ("energy", "REF_energy"), ("forces", "REF_forces")
CHARGE = ("charge", "total_charge", "net_charge", "q")

number = st.floats(allow_infinity=False)
finite = st.floats(-1e6, 1e6)
name = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
words = st.text("abcxyz =,:'[]{}-0123456789.", max_size=12)
broken = st.sampled_from(['"n/a"', '"1.0 eV"', "None", "1_0", '"1 2"', "T", '""', "--1", "1,5"])
odd_charge = st.sampled_from(["0.5", "nan", "T", '"one"', '"1 0"'])


def quoted(text):
    return '"' + text.replace('"', '\\"') + '"'


@st.composite
def frames(draw):
    """One frame: its lines, what must be read from it, and whether it may be refused."""
    symbols = draw(st.lists(st.sampled_from(["H", "O", "Cl"]), min_size=1, max_size=3))
    n = len(symbols)
    values, keys, may_fail = {}, [], False
    positions = [[draw(finite) for _ in range(3)] for _ in range(n)]
    columns, tables = ["species:S:1", "pos:R:3"], [positions]
    for key in draw(st.lists(st.sampled_from(ENERGY), unique=True)):
        text, bad = draw(
            st.one_of(number.map(lambda x: (repr(x), False)), broken.map(lambda text: (text, True)))
        )
        keys.append((key, text))
        may_fail = may_fail or bad or "energy" in values
        if not may_fail and not math.isnan(float(text)):
            values["energy"] = float(text)
    for key in draw(st.lists(st.sampled_from(FORCES), unique=True)):
        with_labels = [[draw(finite)] * 3 for _ in range(n)]
        may_fail = may_fail or "forces" in values
        columns.append(f"{key}:R:3")
        tables.append(with_labels)
        values.setdefault("forces", with_labels)
    for key in draw(st.lists(st.sampled_from(CHARGE), max_size=1)):
        text, bad = draw(
            st.one_of(
                st.integers(-3, 3).map(
                    lambda q: (draw(st.sampled_from([f"{q}", f"{q}.0"])), False)
                ),
                odd_charge.map(lambda text: (text, True)),
            )
        )
        keys.append((key, text))
        may_fail = may_fail or bad
        if not bad:
            values["charge"] = int(float(text))
    taken = {key.lower() for key, _ in keys} | {"properties", "lattice", "pbc", "config_type"}
    others = draw(st.dictionaries(name, st.one_of(finite.map(repr), words.map(quoted)), max_size=3))
    for key, text in others.items():
        if key.lower() not in taken:
            keys.append((key, text))
    known = (*ENERGY, *FORCES, "stress", "virial", "virials")
    suspect = [key for key in others if key in known or len(key) < 3]
    may_fail = may_fail or bool(suspect)
    comment = [f"Properties={':'.join(columns)}", *(f"{key}={text}" for key, text in keys)]
    gap = draw(st.sampled_from([" ", "  ", "\t"]))
    rows = [
        " ".join([symbol, *(repr(x) for table in tables for x in table[k])])
        for k, symbol in enumerate(symbols)
    ]
    if draw(st.integers(0, 15)) == 0:
        rows[-1], may_fail = (
            draw(st.sampled_from([rows[-1] + " 1.0", rows[-1][:-1] + "x", ""])),
            True,
        )
    blank = "\n" * draw(st.integers(0, 2))
    text = blank + "\n".join([str(n), gap.join(comment), *rows]) + "\n"
    held = {key for key, _ in keys} - {*ENERGY, *CHARGE}
    return text, symbols, positions, values, held, may_fail


@pytest.mark.fault
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(st.lists(frames(), min_size=1, max_size=3))
def test_values_come_back_exactly_or_the_file_is_refused(found):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "a.xyz")
        path.write_text("".join(text for text, *_ in found), encoding="utf-8")
        status = main(["data", "info", str(path), "--level", LEVEL])
        assert status in (0, 2)
        labelled = any({"energy", "forces"} & values.keys() for *_, values, _, _ in found)
        if status == 2:
            assert not labelled or any(may_fail for *_, may_fail in found), path.read_text()
            return
        dataset = open_dataset(path, level=LEVEL)
        read = dataset.read(range(len(dataset)))
    assert len(read) == len(found)
    for frame, (_, symbols, positions, values, held, _) in zip(read, found, strict=True):
        assert len(frame.system) == len(symbols)
        assert frame.system.positions.tolist() == positions
        assert frame.system.charge == values.get("charge", 0)
        labels = frame.labels.get(LEVEL)
        energy = math.nan if labels is None else labels.energy
        np.testing.assert_equal(energy, values.get("energy", math.nan))
        forces = None if labels is None or labels.forces is None else labels.forces.tolist()
        assert forces == values.get("forces")
        assert held <= set(dataset.unused_keys)

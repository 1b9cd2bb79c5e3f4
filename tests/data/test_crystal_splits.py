"""Splits of crystals: by formula, prototype, composition, element, and together with other data."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

import tlpot
from tlpot.data import FrameOrder, default_by, kept_kinds, make_split, open_dataset, write_dataset
from tlpot.data.split_groups import reduced_formula
from tlpot.errors import ConfigError, DataError
from tlpot.jobs.data_sources import SplitSettings

METALS, ANIONS = ("Li", "Na", "K", "Rb", "Cs", "Ag"), ("F", "Cl", "Br", "I")
METALS_IN_ORDER = sorted(METALS)
ALL_BY = ["formula", "prototype", "composition"]


def crystals():
    """Every salt in three structures and in two cells: 24 formulas, 96 frames, 3 prototypes."""
    found = []
    for metal in METALS:
        for anion in ANIONS:
            for name in ("rocksalt", "cesiumchloride", "zincblende"):
                found.append(bulk(metal + anion, name, a=4.0 + 0.1 * len(found) ** 0.5))
            found.append(found[-3] * (1, 1, 2))
            for atoms in found[-4:]:
                atoms.info.update(energy=float(len(found)), metal=metal)
    return found


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(crystals(), level="pbe")


def formulas(dataset, frames):
    return {reduced_formula(f.system.atomic_numbers) for f in dataset.read(frames)}


def elements(dataset, frames):
    return {int(z) for f in dataset.read(frames) for z in f.system.atomic_numbers}


def check_whole(split, n):
    every = np.concatenate([split.train, split.validation, split.test])
    assert sorted(every.tolist()) == list(range(n))


@settings(max_examples=15, deadline=None)
@given(by=st.sampled_from(ALL_BY), seed=st.integers(0, 99), share=st.sampled_from([0.1, 0.3]))
def test_no_kind_is_in_two_parts(dataset, by, seed, share):
    if by == "prototype":  # of which there are three
        share = 0.3
    split = make_split(dataset, by=by, validation=share, test=share, seed=seed)
    check_whole(split, len(dataset))
    parts = [split.train, split.validation, split.test]
    if by != "prototype":
        sets = [formulas(dataset, part) for part in parts]
        assert not sets[0] & sets[1]
        assert not sets[0] & sets[2]
        assert not sets[1] & sets[2]
    else:
        # the three structures of each formula, the first of which is there twice
        kinds = [set((part % 4 % 3).tolist()) for part in parts]
        assert sorted(len(kind) for kind in kinds) == [1, 1, 1]
    assert split.by == by
    again = make_split(dataset, by=by, validation=share, test=share, seed=seed)
    np.testing.assert_array_equal(split.test, again.test)


def test_named_formulas_and_prototypes(dataset):
    split = make_split(dataset, by="formula", validation=0, test=["FLi", "AgI"])
    assert formulas(dataset, split.test) == {"FLi", "AgI"}
    assert len(split.test) == 8
    split = make_split(dataset, by="prototype", validation=0, test=["FLi.2"])
    assert set((split.test % 4).tolist()) == {1}
    with pytest.raises(DataError, match="AgI"):
        make_split(dataset, by="formula", test=["IAg"])


def test_clusters_of_compositions_are_named_by_their_elements(dataset):
    split = make_split(dataset, by="composition", validation=0, test=0.2)
    assert 0.1 < len(split.test) / len(dataset) < 0.3
    with pytest.raises(DataError, match="valid") as caught:
        make_split(dataset, by="composition", validation=0, test=["zzz"])
    name = str(caught.value).split("valid: ")[1].split(",")[0]
    named = make_split(dataset, by="composition", validation=0, test=[name])
    assert len(named.test)


@pytest.mark.parametrize("test", [["Cs"], ["Cs", "I"], 0.2])
def test_elements_left_out_are_in_no_other_part(dataset, test):
    split = make_split(dataset, by="element", validation=0.1, test=test)
    check_whole(split, len(dataset))
    left_out = elements(dataset, range(len(dataset))) - elements(dataset, split.train)
    symbols = {atomic_numbers[word] for word in split.by.split(",")[0].split()[1:]}
    assert left_out == symbols
    assert not symbols & elements(dataset, split.validation)
    assert all(set(f.system.atomic_numbers) & symbols for f in dataset.read(split.test))
    assert not formulas(dataset, split.train) & formulas(dataset, split.validation)
    assert "validation by formula" in split.by
    if isinstance(test, list):
        assert symbols == {atomic_numbers[symbol] for symbol in test}


def test_elements_named_for_validation(dataset):
    split = make_split(dataset, by="element", validation=["I"], test=["Cs"])
    iodine, caesium = atomic_numbers["I"], atomic_numbers["Cs"]
    assert {iodine, caesium}.isdisjoint(elements(dataset, split.train))
    assert caesium not in elements(dataset, split.validation)
    check_whole(split, len(dataset))
    with pytest.raises(DataError, match="'Te'"):
        make_split(dataset, by="element", test=["Te"])
    with pytest.raises(DataError, match="nothing is left"):
        make_split(dataset, by="element", validation=0, test=list(METALS))


def test_a_key_with_named_values(dataset):
    split = SplitSettings(by="key", key="metal", test=("Cs",), validation=0.1)
    found = split.divide(dataset, "pbe")
    assert elements(dataset, found.test) >= {atomic_numbers["Cs"]}
    assert len(found.test) == 16
    assert found.by == "key metal"
    for wrong in ({"by": "key"}, {"key": "metal"}):
        with pytest.raises(ConfigError, match="key"):
            SplitSettings(**wrong)


def test_what_other_data_has_stays_in_training(dataset, tmp_path):
    others = [bulk("NaCl", "rocksalt", a=9.0) * (2, 1, 1), bulk("AgF", "zincblende", a=5.0)]
    write_dataset(open_dataset([_with_energy(a) for a in others], level="x"), tmp_path / "s.h5")
    for by in ("formula", "random", "key"):
        key = "metal" if by == "key" else None
        split = SplitSettings(
            by=by, key=key, together_with=tmp_path / "s.h5", test=0.3, validation=0.2
        ).divide(dataset, "pbe")
        held = formulas(dataset, np.concatenate([split.validation, split.test]))
        assert not {"ClNa", "AgF"} & held
        assert {"ClNa", "AgF"} <= formulas(dataset, split.train)
    settings = SplitSettings(by="formula", together_with=tmp_path / "s.h5", test=("AgF",))
    with pytest.raises(DataError, match="AgF"):
        settings.divide(dataset, "pbe")


def test_too_little_is_left_to_hold_out(dataset):
    kept = np.ones(len(dataset), dtype=bool)
    kept[:4] = False
    split = make_split(dataset, by="formula", validation=0, test=4, order=FrameOrder(kept=kept))
    assert split.test.tolist() == [0, 1, 2, 3]
    with pytest.raises(DataError, match="only 4"):
        make_split(dataset, by="formula", validation=0, test=0.1, order=FrameOrder(kept=kept))
    with pytest.raises(DataError, match="element"):
        make_split(dataset, by="element", test=["Cs"], order=FrameOrder(kept=kept))


def test_what_belongs_together_is_known_for_frames_without_labels(dataset):
    kinds = kept_kinds(dataset, "formula")
    assert len(set(kinds.tolist())) == 24
    assert len(set(kept_kinds(dataset, "prototype").tolist())) == 3
    np.testing.assert_array_equal(kinds, kept_kinds(dataset, "element Cs, validation by formula"))
    np.testing.assert_array_equal(kept_kinds(dataset, "molecule"), dataset.group_idx)
    assert kept_kinds(dataset, "random") is None


@pytest.mark.fault
def test_what_belongs_together_by_an_array_is_known_for_frames_without_labels(dataset):
    """Folds of `auto`, and the other levels of `multihead`, had held-out sources in training."""
    metals = dataset.column("metal")
    kinds = kept_kinds(dataset, "key metal")
    assert {(kind, metal) for kind, metal in zip(kinds.tolist(), metals, strict=True)} == {
        (METALS_IN_ORDER.index(metal), metal) for metal in METALS
    }
    assert kept_kinds(dataset, "source") is None  # which the file does not have


def _with_energy(atoms, **info):
    atoms.info.update(energy=0.0, **info)
    return atoms


def test_formula_is_the_default_for_crystals(tmp_path):
    description = tmp_path / "gap.yaml"
    description.write_text(
        "container: extxyz\nunits: {coordinates: angstrom}\n"
        "levels: {gap@pbe: {value: energy, unit: eV, extensive: false}}\n"
    )
    assert default_by(open_dataset(crystals(), description)) == "formula"
    one_cell_each = [atoms for atoms in crystals() if len(atoms) == 2]
    assert default_by(open_dataset(one_cell_each, level="pbe")) == "molecule"
    one = [bulk("NaCl", "rocksalt", a=a) * (1, 1, k) for k, a in ((1, 5.5), (2, 5.6))]
    one = open_dataset([_with_energy(atoms) for atoms in one], description)
    assert default_by(one, "gap@pbe") == "random"
    molecules = [_with_energy(Atoms(s, [[0, 0, 0], [0, 0, 1.2]])) for s in ("CO", "N2")]
    assert default_by(open_dataset(molecules, description)) == "molecule"


def gap_file(path, structures):
    """A file of gaps, in the native layout."""
    for k, atoms in enumerate(structures):
        atoms.info["gap"] = float(k)
    write_dataset(open_dataset(structures, keys={"gap@pbe": "gap, eV, intensive"}), path)
    return path


def test_what_two_files_share_is_counted(tmp_path):
    salt = bulk("NaCl", "rocksalt", a=5.6)
    target = gap_file(
        tmp_path / "target.h5",
        [
            salt * (1, 2, 1),  # the same in another cell
            bulk("NaCl", "cesiumchloride", a=3.5),
            bulk("MgO", "rocksalt", a=4.2),
        ],
    )
    source = gap_file(tmp_path / "source.h5", [salt, bulk("CaO", "rocksalt", a=4.8)])
    found = tlpot.validate_dataset(target, against=source)
    (same,) = [p for p in found.problems if "the same structure, in" in p.what]
    (alike,) = [p for p in found.problems if "another structure of a formula" in p.what]
    assert (same.severity, len(same.frames)) == ("warning", 1)
    assert (alike.severity, len(alike.frames)) == ("note", 1)
    assert str(source) in same.what
    (none,) = tlpot.validate_dataset(
        source, against=gap_file(tmp_path / "other.h5", [bulk("MgO", "rocksalt", a=4.2)])
    ).of("note")
    assert "no formula" in none.what


def test_polymorphs_and_other_cells_in_one_file_of_properties(tmp_path):
    salt = bulk("NaCl", "rocksalt", a=5.6)
    path = gap_file(
        tmp_path / "a.h5",
        [
            salt,
            salt * (1, 1, 2),
            bulk("NaCl", "cesiumchloride", a=3.5),
            bulk("MgO", "rocksalt", a=4.2),
        ],
    )
    notes = tlpot.validate_dataset(path).of("note")
    counts = {p.what.split(":")[0].split(",")[0]: len(p.frames) for p in notes}
    assert counts["the same structure as an earlier frame"] == 1
    assert counts["polymorphs"] == 3


@pytest.mark.fault
def test_energies_of_a_cell_and_its_supercell_stay_together():
    """NaCl and Na2Cl2 were two molecules, so that a test held the supercell of a training cell."""
    dataset = open_dataset(crystals(), level="pbe")
    assert default_by(dataset) == "formula"
    split = SplitSettings(test=0.2).divide(dataset, "pbe")
    assert split.by == "formula"
    assert not formulas(dataset, split.train) & formulas(dataset, [*split.validation, *split.test])
    name = dataset.group_names[dataset.group_idx[3]]
    split = SplitSettings(test=(name,)).divide(dataset, "pbe")
    assert (split.by, set(dataset.group_idx[split.test])) == ("molecule", {dataset.group_idx[3]})

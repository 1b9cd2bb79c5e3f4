"""Descriptions of layouts."""

from pathlib import Path

import pytest

from tlpot.data import DataSpec, LevelSpec, UnitSpec
from tlpot.data.spec import load_spec, specs_folder
from tlpot.data.spec_choice import select_level, with_keys
from tlpot.errors import ConfigError, UnknownLevelError

SHIPPED = [
    "aimnet2",
    "ani1",
    "ani1x",
    "ani2x",
    "comp6",
    "extxyz",
    "md17",
    "physnet",
    "rmd17",
    "spice",
    "transition1x",
]

MINE = """
container: hdf5
numbers: Z
coordinates: R
sign: gradient
units: {coordinates: bohr, energy: hartree, forces: hartree/bohr}
levels:
  pbe/def2-svp: {energy: [E_scf, E_disp], forces: G}
"""


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_descriptions_are_valid_and_cited(name):
    spec = load_spec(name)
    assert spec.levels or spec.other_levels
    assert "doi:" in spec.description or name == "extxyz"


def test_every_shipped_description_is_listed_here_and_in_the_readme():
    folder = Path(__file__).parents[2] / "data_specs"
    assert sorted(path.stem for path in folder.glob("*.yaml")) == SHIPPED
    readme = (folder / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in SHIPPED)


def test_a_description_of_ones_own(tmp_path):
    (tmp_path / "mine.yaml").write_text(MINE)
    spec = load_spec(tmp_path / "mine.yaml")
    assert spec.levels["pbe/def2-svp"].energy_keys == ("E_scf", "E_disp")
    assert spec.levels["pbe/def2-svp"].keys == ("E_scf", "E_disp", "G")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("numbers: Z", "nmbers: Z", "unknown key 'nmbers'; did you mean 'numbers'"),
        ("sign: gradient", "", "'sign' .* required"),
        ("sign: gradient", "sign: minus", "sign is 'minus'"),
        ("energy: hartree", "energy: hatree", "unknown energy unit 'hatree'; did you mean 'hartr"),
        (", forces: hartree/bohr", "", "'units.forces' are required"),
        ("forces: hartree/bohr", "forces: hartree/foot", "unknown force unit 'foot'"),
        ("pbe/def2-svp", "PBE/def2-SVP", "should be written 'pbe/def2-svp'"),
        ("forces: G}", "stress: S}", "'units.stress' is required"),
        ("forces: G}", "energy_zero: isolated_atoms}", "isolated_atoms is empty"),
        ("forces: G}", "isolated_atoms: {Hh: 1}}", "'Hh' is not an element"),
        ("pbe/def2-svp: {energy: [E_scf, E_disp], forces: G}", "{}", "no level of theory"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, message):
    assert old in MINE
    (tmp_path / "mine.yaml").write_text(MINE.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_spec(tmp_path / "mine.yaml")


def test_no_such_description():
    with pytest.raises(ConfigError, match="did you mean 'ani1x'"):
        load_spec("ani1xx")


def spec_with(*levels, **settings):
    return DataSpec(
        container="hdf5",
        units=UnitSpec(coordinates="angstrom", energy="ev"),
        levels={level: LevelSpec(energy="E") for level in levels},
        **settings,
    )


def test_selecting_a_level():
    spec = spec_with("mp2", "hf")
    assert select_level(spec, None, "f.h5") is spec
    assert list(select_level(spec, "MP2", "f.h5").levels) == ["mp2"]
    with pytest.raises(UnknownLevelError, match=r"did you mean 'mp2'"):
        select_level(spec, "mp3", "f.h5")
    one = spec_with("mp2", one_level=True)
    with pytest.raises(UnknownLevelError, match="does not say which level"):
        select_level(one, None, "f.h5")
    free = spec_with("mp2", one_level=True, other_levels=LevelSpec(energy="X"))
    assert select_level(free, "PBE0", "f.h5").levels["pbe0"].energy == "X"


def test_renaming_arrays():
    renamed = with_keys(spec_with("mp2"), {"energy": "E2", "coordinates": "R"})
    assert renamed.levels["mp2"].energy == "E2"
    assert renamed.coordinates == "R"
    with pytest.raises(ConfigError, match="ambiguous with 2 levels"):
        with_keys(spec_with("mp2", "hf"), {"energy": "E2"})
    with pytest.raises(ConfigError, match="did you mean 'forces'"):
        with_keys(spec_with("mp2"), {"force": "F"})


def test_a_key_that_is_nowhere_in_the_file(tmp_path):
    from layouts import native_file

    from tlpot.data import open_dataset
    from tlpot.errors import DataError

    text = MINE.replace("Z", "atomic_numbers").replace("R\n", "coordinates\n")
    (tmp_path / "mine.yaml").write_text(text + "charge: chrage\n")
    path = native_file(tmp_path / "a.h5")
    with pytest.raises(DataError, match="names 'chrage', which is nowhere"):
        open_dataset(path, tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(DataError, match=r"labels described \(E_disp, E_scf, G\).*low\.energy"):
        open_dataset(path, tmp_path / "mine.yaml")


def test_descriptions_are_found_in_a_wheel_and_in_a_source_tree(tmp_path, monkeypatch):
    monkeypatch.setattr("tlpot.data.spec.__file__", str(tmp_path / "tlpot" / "data" / "spec.py"))
    (tmp_path / "data_specs").mkdir()
    assert specs_folder() == tmp_path / "data_specs"
    (tmp_path / "tlpot" / "data_specs").mkdir(parents=True)
    assert specs_folder() == tmp_path / "tlpot" / "data_specs"

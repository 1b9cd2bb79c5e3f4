"""The strict configuration reader."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from tlpot.config import check_least, check_positive, parse, read_yaml, to_mapping, with_overrides
from tlpot.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Names:
    names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    share: float | tuple[str, ...] = 0.0
    either: tuple[str, ...] | str = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["huber", "mse"] = "huber"
    inner: Inner = field(default_factory=Inner)
    limit: int | None = None
    energies: dict[str, float] = field(default_factory=dict)


def test_reads_nested_sections_and_yaml_floats_without_a_dot():
    config = parse(Outer, {"name": "x", "inner": {"rate": "1e-3", "sizes": [1, 2]}, "limit": 4})
    assert config == Outer(name="x", inner=Inner(rate=1e-3, sizes=(1, 2)), limit=4)
    assert parse(Outer, to_mapping(config)) == config


def test_one_name_is_a_list_of_one():
    one = {"names": "ethanol", "files": "a.h5", "share": "ethanol", "either": "ethanol"}
    expected = Names(
        names=("ethanol",), files=(Path("a.h5"),), share=("ethanol",), either="ethanol"
    )
    assert parse(Names, one) == expected
    assert parse(Names, {"share": 0.1}) == Names(share=0.1)
    assert parse(Names, {"share": ["a", "b"]}) == Names(share=("a", "b"))
    with pytest.raises(ConfigError, match=r"share must be float or a list"):
        parse(Names, {"share": True})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nme": "x"}, "unknown key 'nme'; did you mean 'name'"),
        ({}, "'name' is required"),
        ({"name": "x", "inner": {"rte": 1}}, "inner: unknown key 'rte'; did you mean 'rate'"),
        ({"name": "x", "kind": "hubert"}, "kind is 'hubert'; did you mean 'huber'"),
        ({"name": "x", "limit": "many"}, "limit must be int"),
        ({"name": "x", "limit": True}, "limit must be int"),
        ({"name": "x", "inner": 3}, "inner must be a section"),
        ({"name": "x", "inner": {"sizes": 3}}, "sizes must be a list"),
        ({"name": 3}, "name must be str"),
        ({"name": "x", "energies": {"H": "low"}}, "energies.H must be float"),
    ],
)
def test_mistakes_are_named_with_their_path(settings, message):
    with pytest.raises(ConfigError, match=message):
        parse(Outer, settings)


def test_overrides_from_the_command_line():
    settings = {"name": "x", "inner": {"rate": 1.0}}
    changed = with_overrides(settings, ["inner.rate=2", "inner.sizes=[3]", "limit=null"])
    assert changed == {"name": "x", "inner": {"rate": 2, "sizes": [3]}, "limit": None}
    assert settings["inner"] == {"rate": 1.0}
    with pytest.raises(ConfigError, match=r"key\.path=value"):
        with_overrides({}, ["nonsense"])
    with pytest.raises(ConfigError, match="not a section"):
        with_overrides(settings, ["name.first=1"])


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path / "absent.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("a: [1")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(path)
    path.write_text("- 1")
    with pytest.raises(ConfigError, match="key: value"):
        read_yaml(path)


@dataclass(frozen=True, kw_only=True)
class Numbers:
    steps: int = 10
    timestep: float | None = 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0, expected 1 or more"),
        ({"timestep": math.inf}, "timestep is inf, expected 0.1 or more"),
        ({"timestep": math.nan}, "timestep is nan, expected 0.1 or more"),
    ],
)
def test_a_number_below_its_least_is_named(settings, message):
    check_least(Numbers(timestep=None), steps=10, timestep=0.1)
    with pytest.raises(ConfigError, match=message):
        check_least(Numbers(**settings), steps=1, timestep=0.1)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_number_that_is_not_positive_is_named(value):
    check_positive(Numbers(timestep=None), "steps", "timestep")
    with pytest.raises(ConfigError, match=f"timestep is {value}, expected a positive number"):
        check_positive(Numbers(timestep=value), "steps", "timestep")

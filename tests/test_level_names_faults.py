"""Names that are no levels of theory, and the reserved form of differences."""

import pytest

from tlpot.engines import EngineSpec, make_engine
from tlpot.errors import ConfigError
from tlpot.levels import canonical_level, choose_level, difference_level, difference_parts


@pytest.mark.fault
@pytest.mark.parametrize("name", ["", "  ", "a - b - c", "- b", "a -", " - ", "-"])
def test_no_names(name):
    with pytest.raises(ConfigError, match="level of theory"):
        canonical_level(name)
    with pytest.raises(ConfigError, match="level of theory"):
        choose_level(name, ["pbe"], "file")


def test_names_with_a_minus_of_their_own():
    assert canonical_level("DLPNO-CCSD(T)/def2-TZVP") == "dlpno-ccsd(t)/def2-tzvp"
    assert difference_parts("dlpno-ccsd(t)/cbs") is None
    assert difference_parts(" A  -  b/c ") == ("a", "b/c")


@pytest.mark.fault
def test_a_difference_of_differences():
    with pytest.raises(ConfigError, match="difference"):
        difference_level("a", "b - c")


@pytest.mark.fault
def test_labels_are_totals():
    spec = EngineSpec(name="model:tlpot-tiny", level="ccsd(t)/cbs - wb97x/6-31g*")
    with pytest.raises(ConfigError, match="difference"):
        make_engine(spec)

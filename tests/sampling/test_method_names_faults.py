"""Methods of a sampling as a list or as one text, and one text where several may stand."""

import pytest

import tlpot
import tlpot.models
from tlpot.cli import main
from tlpot.config import listed
from tlpot.errors import ConfigError, DataError, ModelFileError
from tlpot.sampling import SamplingSettings

pytestmark = pytest.mark.fault


def test_methods_may_be_one_text(tmp_path):
    given = {"engine": "mmff94", "budget": 3, "pool": 1.0, "seed": 1, "progress": False}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    text = tlpot.sample("CCO", tmp_path / "a" / "x.h5", methods="etkdg, noise=2", **given)
    names = tlpot.sample("CCO", tmp_path / "b" / "x.h5", methods=["etkdg", "noise=2"], **given)
    assert text.rows == names.rows
    with pytest.raises(ConfigError, match="md"):
        tlpot.sample("CCO", tmp_path / "y.h5", methods="etkdg,mds", **given)
    assert SamplingSettings(methods=("etkdg,noise",)).methods == ("etkdg", "noise")


@pytest.mark.parametrize("option", ["--methods", "--method"])
def test_the_option_has_both_names(tmp_path, option, capsys):
    words = ["sample", "CCO", "--engine", "mmff94", option, "etkdg,mds", "-o", tmp_path / "x.h5"]
    assert main([str(word) for word in words]) == 2
    assert "did you mean 'md'" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::tlpot.errors.TLPotWarning")
def test_one_text_is_not_read_letter_by_letter(tmp_path):
    assert listed("a.h5") == ("a.h5",)
    assert listed(tmp_path) == (tmp_path,)
    shipped = tlpot.models.LIBRARY / "tlpot-qm.h5"
    with pytest.raises(ModelFileError, match="no-such"):
        tlpot.rank(shipped, "no-such", level="ccsd(t)/cbs(dt)")
    with pytest.raises(ModelFileError, match="no-such"):
        tlpot.ensemble("no-such")
    with pytest.raises(ConfigError, match="domaine"):
        tlpot.md("H2O", "tlpot-tiny", output=tmp_path / "md", stop_when="domaine<0.1")
    with pytest.raises(DataError, match="wather"):
        tlpot.split_dataset(shipped, test="wather,methanol")
    test = tlpot.split_dataset(shipped, test="water,methanol").n_molecules["test"]
    assert test == 2

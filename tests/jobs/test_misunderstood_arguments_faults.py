"""Arguments that were passed over, or answered as if something else had been asked for."""

import pytest

import tlpot
from tlpot.cli import main
from tlpot.errors import ConfigError, DataError, OutputError
from tlpot.files import check_replaced
from tlpot.models import LIBRARY

# the shipped file has arrays that no level reads
pytestmark = pytest.mark.filterwarnings("ignore::tlpot.errors.TLPotWarning")

DATA, CC, DFT = LIBRARY / "tlpot-qm.h5", "ccsd(t)/cbs(dt)", "wb97x/6-31g*"


@pytest.mark.fault
def test_a_part_of_no_split_is_refused(capsys):
    """``--part test`` without ``--split`` gave the errors of all frames, training ones included."""
    for job in (tlpot.evaluate, tlpot.report, tlpot.force_field_report):
        with pytest.raises(ConfigError, match="split"):
            job("tlpot-tiny", DATA, level=DFT, part="test")
    assert main(["evaluate", "tlpot-tiny", str(DATA), "--level", DFT, "--part", "test"]) == 2
    assert "--split" in capsys.readouterr().err


@pytest.mark.fault
def test_an_unknown_way_of_dividing_is_named():
    """``by="cluster"`` of a split asked for an array; ``by="x"`` of a ranking for more data."""
    with pytest.raises(DataError, match="valid: composition"):
        tlpot.split_dataset(DATA, by="x")
    with pytest.raises(ConfigError, match="valid: cluster"):
        tlpot.rank(DATA, ["tlpot-tiny"], level=CC, by="x")


@pytest.mark.fault
def test_values_of_a_key_are_counted_in_words():
    """It said "3 value of the keys"."""
    with pytest.raises(DataError, match="3 values of the key"):
        tlpot.split_dataset(DATA, by="key", key="temperature")


@pytest.mark.fault
def test_each_note_is_a_line():
    """What was to be said of a strategy and of its labels ran together as one sentence."""
    made = tlpot.finetune(
        "tlpot-tiny", DATA, level=CC, strategy="head", output="cc.safetensors", dry_run=True,
        split={"by": "random", "train": 10, "validation": 5},
    )  # fmt: skip
    notes = [line for line in made.preflight.splitlines() if line.startswith("note:")]
    assert len(notes) == 2
    assert "energies only" in notes[1]


@pytest.mark.fault
def test_another_name_can_be_given_in_every_command(tmp_path):
    """``tlpot train`` was told to choose a name with ``-o``, which it does not have."""
    (tmp_path / "a.safetensors").touch()
    with pytest.raises(OutputError, match="output="):
        check_replaced(tmp_path / "a.safetensors", what="model file", overwrite=False)


@pytest.mark.fault
def test_what_is_no_model_and_no_number_of_threads_is_said():
    """A calculator in place of its model was an AttributeError, ``threads="2"`` a TypeError."""
    calculator = tlpot.TLPotCalculator("tlpot-tiny")
    for job in (tlpot.predict, tlpot.evaluate):
        with pytest.raises(ConfigError, match="not TLPotCalculator"):
            job(calculator, DATA, level=DFT)
    with pytest.raises(ConfigError, match="threads"):
        tlpot.evaluate("tlpot-tiny", DATA, level=DFT, threads="2")


@pytest.mark.fault
def test_what_is_no_structure_and_no_model_is_named(tmp_path):
    """``None``, as a function that returns nothing gives, was a bare TypeError of Python."""
    new = tmp_path / "x.h5"
    for job in (
        lambda given: tlpot.label(given, "gfn2-xtb", new),
        lambda given: tlpot.sample(given, new),
        tlpot.fragment,
    ):
        for given in (None, 5):
            with pytest.raises(ConfigError, match=f"{type(given).__name__}; expected files"):
                job(given)
        with pytest.raises(ConfigError, match="NoneType in it; expected files"):
            job([None])
    with pytest.raises(ConfigError, match="NoneType; expected a file or the name"):
        tlpot.load(None)
    assert not list(tmp_path.iterdir())


def test_frames_of_a_dataset_are_labelled(tmp_path):
    frames = tlpot.open_dataset(DATA)[:3]
    report = tlpot.label(frames, "model:tlpot-tiny", tmp_path / "x.h5", progress=False)
    assert (report.n_frames, report.n_labelled) == (3, 3)

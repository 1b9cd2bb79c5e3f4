"""What a build says of a stage whose settings changed."""

from dataclasses import replace

import pytest

from tlpot.building import Record
from tlpot.building.runner import status
from tlpot.building.stage import Origin, Stage, write_record

SETTINGS = {"anchor": None, "training": {"epochs": 10, "ema": None}, "frames": 5}
STAGE = Stage(name="pretrain", summary="", settings=SETTINGS, needs=(), run=lambda work: None)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (SETTINGS, ""),
        ({**SETTINGS, "anchor": 0.1}, "anchor: not set -> 0.1"),
        ({**SETTINGS, "training": None}, "training: epochs 10 -> not set"),
        ({**SETTINGS, "training": {"epochs": 20, "ema": None}}, "training.epochs: 10 -> 20"),
        ({**SETTINGS, "new": None}, "another version of tlpot made it"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(tmp_path, changed, why):
    origin = Origin(settings=SETTINGS, inputs={})
    folder = tmp_path / STAGE.name
    folder.mkdir()
    write_record(folder, Record(origin=origin, outputs={}, facts={}, seconds=1.0))
    found = status(replace(STAGE, settings=changed), tmp_path, {})
    assert (found.state, found.why) == ("to do" if why else "done", why)

"""Settings that are wrong or do not apply are errors that name the key."""

import pytest

from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError
from tlpot.training import LossSettings, TrainingSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": -1.0}, r"learning_rate is -1\.0"),
        ({"ema": 1.0}, r"ema is 1\.0"),
        ({"weight_decay": -1e-6}, r"weight_decay is -1e-06"),
        ({"plateau_factor": 0.5}, "plateau_factor does not apply to schedule='cosine'"),
        ({"schedule": "constant", "plateau_patience": 3}, "plateau_patience does not apply"),
        ({"schedule": "plateau", "plateau_factor": 1.5}, r"plateau_factor is 1\.5"),
        ({"schedule": "plateau", "plateau_patience": 0}, "plateau_patience is 0"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"loss": {"kind": "mse", "force_delta": 0.1}}, "force_delta does not apply"),
        ({"loss": {"force_delta": 0.0}}, r"force_delta is 0\.0"),
        ({"loss": {"energy": -1}}, "must not be negative"),
        ({"loss": {"energy_end": 0.0}}, r"energy_end is 0\.0"),
        ({"loss": {"energy": 0, "energy_end": 1.0}}, "energy_end rises from energy"),
        ({"loss": {"energy": 0, "forces": 0, "stress": 0}}, "nothing would be learned"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        parse(TrainingSettings, settings, "training")


def test_settings_survive_the_way_through_a_file():
    settings = TrainingSettings(epochs=3, schedule="plateau", loss=LossSettings(kind="mse"))
    assert parse(TrainingSettings, to_mapping(settings)) == settings


def test_energies_gain_weight_in_the_second_half():
    loss = LossSettings(energy=2.0, energy_end=200.0)
    found = [loss.at(progress).energy for progress in (0.0, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([2.0, 2.0, 20.0, 200.0])
    assert loss.at(1.0).forces == loss.forces
    assert LossSettings().at(1.0).energy == pytest.approx(100.0)
    for kinds in ({"energy"}, {"forces"}):
        assert LossSettings().for_labels(kinds).at(1.0).energy == 1.0
    assert LossSettings(energy=0.0).at(1.0).energy == 0.0

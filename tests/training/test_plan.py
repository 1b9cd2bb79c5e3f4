"""From a plan to an optimizer."""

import pytest
from training_toys import ToyPotential

from tlpot.training import TrainingPlan, TrainingSettings
from tlpot.training.optimizer import make_optimizer


def test_weights_are_grouped_by_rate_and_all_others_are_fixed():
    model = ToyPotential(("low", "high"))
    plan = TrainingPlan(rates={"backbone": 0.1, "heads.1": 1.0})
    settings = TrainingSettings(learning_rate=3e-3, weight_decay=1e-4)
    optimizer = make_optimizer(model, plan, settings)
    groups = {group["factor"]: group for group in optimizer.param_groups}
    assert groups.keys() == {0.1, 1.0}
    assert groups[0.1]["params"][0] is model.backbone
    assert groups[1.0]["params"][0] is model.heads[1]
    assert all(group["amsgrad"] for group in groups.values())
    assert groups[1.0]["weight_decay"] == pytest.approx(1e-4)
    assert [p.requires_grad for p in (model.backbone, *model.heads)] == [True, False, True]

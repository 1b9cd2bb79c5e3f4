"""A picture of many strategies has room for their names."""

import pytest
from synthetic_curves import full, synthetic_curve, synthetic_series

from tlpot.learning_curves import analyse, curve_figure


@pytest.mark.fault
def test_many_names_leave_room_for_the_panel():
    names = [f"head strategy.weight={k} training.learning_rate=1e-{k}" for k in range(90)]
    series = [synthetic_series("full", full, sizes=(10, 20), seeds=1, label=name) for name in names]
    curve = synthetic_curve(*series)
    figure = curve_figure({"energy_mae": analyse(curve, "energy_mae")})
    figure.canvas.draw()  # which warns if there is no room
    panel = figure.axes[0].get_window_extent()
    assert panel.height > 200
    (legend,) = figure.legends
    assert legend.get_window_extent().width <= figure.bbox.width

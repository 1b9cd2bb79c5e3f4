"""Columns of error tables stay apart whatever the size of the errors."""

import pytest

from tlpot.evaluation import ErrorReport

SIZES = [
    *(pytest.param(x, marks=pytest.mark.control) for x in (0.0, 1.5, 3.25e9, 2.5e120)),
    *(pytest.param(x, marks=pytest.mark.fault) for x in (-1234567.8, -7.77e-120)),
]


@pytest.mark.parametrize("value", SIZES)
@pytest.mark.parametrize("n_frames", [1, 123456789012])
def test_columns_never_touch(value, n_frames):
    kinds = ("energy", "energy_per_atom", "forces", "stress")
    overall = {f"{kind}_{which}": value for kind in kinds for which in ("mae", "rmse")}
    row = {"energy_mean": value, "energy_mae": value, "forces_mae": value}
    report = ErrorReport(
        overall={"n_frames": n_frames, **overall},
        by_molecule={"a": {"n_frames": n_frames, **row}, "long name": {"n_frames": 1.0, **row}},
        by_element={"H": {"forces_mae": value, "forces_rmse": value}, "Cl": {}},
    )
    lines = report.text().splitlines()
    found = [float(word) for line in lines for word in line.split() if _is_number(word)]
    expected = float(f"{value:.4g}")
    assert found.count(expected) >= 8 + 6 + 2
    (molecule,) = [line.split() for line in lines if line.split()[:1] == ["a"]]
    assert [float(word) for word in molecule[1:]] == [n_frames, expected, expected, expected]


@pytest.mark.fault
def test_one_frame_is_one_frame():
    assert ErrorReport(overall={"n_frames": 1.0}).text().startswith("1 frame ")


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True

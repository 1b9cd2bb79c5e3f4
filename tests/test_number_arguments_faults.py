"""Arguments of jobs that should be numbers and are not."""

import numpy as np
import pytest

import tlpot
from tlpot.config import numbers_checked
from tlpot.errors import ConfigError

pytestmark = pytest.mark.fault


@pytest.mark.parametrize(
    ("job", "given"),
    [
        ("md", {"temperature": "300K"}),
        ("md", {"time": "1ps"}),
        ("md", {"steps": 2.5}),
        ("relax", {"fmax": "0.01eV"}),
        ("frequencies", {"temperature": "300K"}),
        ("frequencies", {"steps": float("nan")}),
    ],
)
def test_jobs_on_structures_refuse_what_is_no_number(job, given, tmp_path):
    output = {"output": tmp_path / "md"} if job == "md" else {}
    with pytest.raises(ConfigError, match=next(iter(given))):
        getattr(tlpot, job)("H2O", "tlpot-tiny", progress=False, **output, **given)


@pytest.mark.parametrize(
    "given", [{"budget": "5"}, {"temperatures": ["300K"]}, {"separations": ("a", "b")}]
)
def test_samplings_refuse_what_is_no_number(given, tmp_path):
    with pytest.raises(ConfigError, match=next(iter(given))):
        tlpot.sample("CCO", tmp_path / "x.h5", engine="mmff94", **given)


def test_other_numbers_are_taken():
    @numbers_checked
    def job(size: "float | None" = None, *, count: "int" = 1, name: "int | str" = 1) -> object:
        return size, count, name

    assert job(np.float64(0.5), count=np.int64(3), name="x") == (0.5, 3, "x")
    assert job(2, count=3.0) == (2, 3.0, 1)
    assert job() == (None, 1, 1)
    for wrong in ({"count": True}, {"count": 0.5}, {"size": "a"}):
        with pytest.raises(ConfigError):
            job(**wrong)

"""Numbers of workers that are none."""

import pytest
from ase.build import bulk

import tlpot
from tlpot.errors import ConfigError


@pytest.mark.fault
@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers, tmp_path):
    """0 was taken for one process, where the command line refused it."""
    with pytest.raises(ConfigError, match=f"workers is {workers}"):
        tlpot.label(
            [bulk("Cu")], "ase:ase.calculators.emt:EMT", tmp_path / "x.h5", level="emt",
            workers=workers,
        )  # fmt: skip
    assert not list(tmp_path.iterdir())

"""HDF5 files on a disk that is full, in processes of their own: what is tested for is a crash."""

import subprocess
import sys

import pytest
from layouts import native_file

WRITE = """
import resource, sys
from pathlib import Path
from tlpot.data import open_dataset, write_dataset, written_hdf5
from tlpot.errors import OutputError

source, target, room, what = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
dataset = open_dataset(source)
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    if what == "new":
        write_dataset(dataset, target)
    else:
        first = source if what == "copy" else lambda p: write_dataset(dataset, p)
        with written_hdf5(target, first) as handle:
            handle["more"] = [1.0] * 20_000
except OutputError as error:
    assert str(target) in str(error), error
    sys.exit(7)
"""


@pytest.mark.fault
@pytest.mark.parametrize("what", ["new", "copy", "call"])
@pytest.mark.parametrize("room", [100, 50_000])
def test_a_dataset_that_does_not_fit_is_an_error_and_leaves_nothing(tmp_path, what, room):
    """HDF5 crashed when the process ended, and temporary file and locks stayed."""
    source = native_file(tmp_path / "a.h5")
    if what == "new":
        room = min(room, source.stat().st_size // 2)
    target = tmp_path / "b.h5"
    target.write_text("old")
    run = subprocess.run(
        [sys.executable, "-c", WRITE, str(source), str(target), str(room), what],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 7, run.stderr
    assert not run.stderr
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5"]

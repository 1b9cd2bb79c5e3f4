"""What the README says of installing against what is pinned."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.fault
def test_the_line_for_the_cpu_build_installs_the_pinned_torch():
    """With another version, pip would replace it by PyPI's, with all of CUDA."""
    line = re.search(
        r"^pip install torch==(\S+) --index-url https://download\.pytorch\.org/whl/cpu$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert line
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"torch=={line[1]}" in pins

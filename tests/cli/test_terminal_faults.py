"""Terminals and locales that cannot show all characters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fault

XYZ = """2
Properties=species:S:1:pos:R:3:forces:R:3 energy=-31.0
H 0 0 0 0 0 0.1
H 0 0 0.74 0 0 -0.1
"""
POOR = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


def tlpot(where: Path, terminal: str, *arguments: str) -> subprocess.CompletedProcess:
    dropped = ("PYTHONIOENCODING", "LC_ALL", "LANG", "PYTHONUTF8")
    plain = {key: value for key, value in os.environ.items() if key not in dropped}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c",
         "import sys; from tlpot.cli import main; sys.exit(main(sys.argv[1:]))", *arguments],
        cwd=where, env={**plain, **POOR[terminal]}, capture_output=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "terminal", ["ascii", pytest.param("cp1252", marks=pytest.mark.control), "C"]
)
def test_what_is_shown_is_replaced(tmp_path, terminal):
    path = tmp_path / "moleküle.xyz"
    path.write_text(XYZ, encoding="utf-8")
    done = tlpot(tmp_path, terminal, "data", "info", "moleküle.xyz", "--level", "pbe")
    assert done.returncode == 0, done.stderr
    assert b"forces in eV/" in done.stdout
    done = tlpot(tmp_path, terminal, "info", "tlpot-tiny")
    assert done.returncode == 0, done.stderr
    done = tlpot(tmp_path, terminal, "info", "κ.safetensors")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.control
def test_json_loses_no_character(tmp_path):
    found = json.loads(tlpot(tmp_path, "ascii", "info", "tlpot-fragments", "--json").stdout)
    rich = json.loads(tlpot(tmp_path, "cp1252", "info", "tlpot-fragments", "--json").stdout)
    assert found == rich
    assert "?" not in found["card"]["description"]


def test_files_are_utf8_in_any_locale(tmp_path):
    (tmp_path / "h.xyz").write_text(XYZ, encoding="utf-8")
    done = tlpot(
        tmp_path, "C", "md", "h.xyz", "tlpot-tiny", "--steps", "2", "--log-every", "1",
        "--out", "wäg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [path for path in tmp_path.iterdir() if path.suffix in (".csv", ".json", ".xyz")]
    assert len(written) >= 2
    for path in written:
        path.read_text(encoding="utf-8")

"""What a terminal cannot show is replaced; a program must not die of an Å."""

from __future__ import annotations

import json
import sys
from typing import Any


def never_fail() -> None:
    """Lets standard output and error replace what their encoding lacks.

    That is so for ``LANG=C``, ``PYTHONIOENCODING=ascii``, the code pages of Windows, and file
    names that are no UTF-8.
    """
    for stream in (sys.stdout, sys.stderr):
        change = getattr(stream, "reconfigure", None)  # a replaced stream need not have it
        if change is not None:
            change(errors="replace")


def print_json(content: Any) -> None:
    """Prints JSON in whose texts no character is lost, whatever the terminal can show."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "ascii")
    print(json.dumps(content, indent=2, ensure_ascii=not encoding.lower().startswith("utf")))

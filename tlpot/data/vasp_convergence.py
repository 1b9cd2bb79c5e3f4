"""Which ionic steps of a VASP calculation ended at NELM before their electrons had converged.

ASE's readers return their energies and forces like any others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import IO
from xml.etree import ElementTree

_STEP = "FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
_ITERATION = re.compile(r"Iteration\s+\d+\(\s*(\d+)\)")
_LIMIT = re.compile(r"NELM\s*=\s*(\d+)")


def outcar_unconverged(lines: Iterable[str]) -> list[bool]:
    """Returns whether each ionic step of an OUTCAR had not converged."""
    found: list[bool] = []
    limit, n, reached = None, 0, None
    for line in lines:
        if "Iteration" in line and (iteration := _ITERATION.search(line)):
            n = int(iteration.group(1))
            if n == 1:
                reached = None
        elif "EDIFF is reached" in line:
            reached = True
        elif "EDIFF was not reached" in line:  # VASP 6
            reached = False
        elif limit is None and (stated := _LIMIT.search(line)):
            limit = int(stated.group(1))
        elif _STEP in line:
            at_limit = limit is not None and n >= limit
            found.append(at_limit if reached is None else not reached)
            n, reached = 0, None
    return found


def vasprun_unconverged(handle: IO[str]) -> list[bool]:
    """Returns whether each complete ionic step of a vasprun.xml had not converged.

    The file does not say so: it is where the last of NELM electronic steps changed the energy by
    more than EDIFF.
    """
    found: list[bool] = []
    stated: dict[str, float] = {}
    try:
        for _, element in ElementTree.iterparse(handle):
            name = element.get("name")
            if element.tag == "i" and name in ("NELM", "EDIFF"):
                stated[name] = float(element.text or "nan")
            elif element.tag == "calculation":
                energies = [
                    float(each.text or "nan")
                    for each in element.findall("scstep/energy/i[@name='e_fr_energy']")
                ]
                at_limit = len(energies) >= stated.get("NELM", float("inf"))
                change = abs(energies[-1] - energies[-2]) if len(energies) > 1 else float("inf")
                found.append(at_limit and not change <= stated.get("EDIFF", 0.0))
                element.clear()
    except ElementTree.ParseError:  # ends before the calculation does, which the reader tells
        pass
    return found

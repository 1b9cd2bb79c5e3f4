"""Whether a multiplicity is possible with the number of electrons."""

from __future__ import annotations

from collections.abc import Iterator

from tlpot.data.dataset import Severity
from tlpot.system import System


def electron_problems(system: System) -> Iterator[tuple[Severity, str]]:
    """Yields what is wrong with charge and multiplicity, in words that fit many structures.

    Where neither says anything (neutral, multiplicity 1) the file may just not give them, so an
    odd number of electrons is a warning.

    Args:
        system: the structure.
    """
    n_electrons = int(system.atomic_numbers.sum()) - system.charge
    if system.spin < 1:
        yield (
            "error",
            f"multiplicity {system.spin}, expected 2S + 1, which is 1 for a closed shell and at "
            "least 1; convert it if the file holds S or 2S",
        )
        return
    if n_electrons < 0:
        yield "error", f"charge {system.charge:+d} is more than all nuclei have; mend the charge"
        return
    if (n_electrons + system.spin) % 2 == 1 and system.spin - 1 <= n_electrons:
        return
    parity = "odd" if n_electrons % 2 else "even"
    possible = "2, 4, ..." if n_electrons % 2 else "1, 3, ..."
    stated = system.charge != 0 or system.spin != 1
    charge = f"{system.charge:+d}" if system.charge else "0"
    what = (
        f"charge {charge} and multiplicity {system.spin} with an {parity} number of "
        f"electrons, expected multiplicity {possible} up to the number of electrons + 1; give "
        "charge and multiplicity as they were computed (0 and 1 stand for what a file leaves out)"
    )
    yield "error" if stated else "warning", what

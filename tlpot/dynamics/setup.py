"""What a molecular-dynamics run was started with, kept beside its trajectory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from tlpot._version import __version__
from tlpot.config import differences, to_mapping
from tlpot.dynamics.settings import MDSettings
from tlpot.errors import ConfigError, DataError
from tlpot.files import write_text
from tlpot.models import identity, plain
from tlpot.system import System

_FREE = ("steps",)
"""Settings that a resumed run may change."""


def md_setup(settings: MDSettings, calculator: Calculator, atoms: Atoms) -> dict[str, Any]:
    """Returns what must be the same for a resumed run to go on with the same dynamics.

    That is all settings but the number of steps, the calculator, see `identity`, and what of the
    structure no frame holds. Device, threads and kernels may change.

    Args:
        settings: of the run.
        calculator: of the forces.
        atoms: the structure; positions, cell and velocities do not count.
    """
    system = System.from_atoms(atoms)
    kept = {key: value for key, value in to_mapping(settings).items() if key not in _FREE}
    structure = {
        "charge": system.charge,
        "spin": system.spin,
        "pbc": atoms.pbc,
        "masses": atoms.get_masses(),
        "constraints": [constraint.todict() for constraint in atoms.constraints],
    }
    parts = {"settings": kept, "structure": structure}
    setup: dict[str, Any] = json.loads(json.dumps(parts, default=plain))
    return {**setup, "calculator": identity(calculator)}


def _defaults() -> dict[str, Any]:
    return {key: value for key, value in to_mapping(MDSettings()).items() if key not in _FREE}


def write_setup(path: Path, setup: Mapping[str, Any]) -> None:
    """Writes the record of a run, atomically.

    Raises:
        OutputError: the file could not be written.
    """
    write_text(path, json.dumps({"tlpot": __version__, **setup}, indent=1) + "\n")


def check_setup(path: Path, setup: Mapping[str, Any], trajectory: Path) -> None:
    """Checks that a run may be resumed with a setup.

    Args:
        path: the record of the run.
        setup: what it is to be resumed with, see `md_setup`.
        trajectory: of the run, for messages.

    Raises:
        DataError: there is no record, or it is damaged.
        ConfigError: the run was started with something else; each difference is named.
    """
    afresh = (
        f"start a new run from its last frame, whose velocities are kept: give {trajectory} as "
        "the structure and another --out"
    )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        recorded = {key: dict(found[key]) for key in setup}
        # a run of before a setting existed had what is its default now
        recorded["settings"] = {**_defaults(), **recorded["settings"]}
    except FileNotFoundError:
        raise DataError(
            f"{trajectory} cannot be resumed: {path}, which says with what model and settings the "
            f"run was started, is not there (runs from before tlpot kept it have none); {afresh}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{trajectory} cannot be resumed: {path} is damaged ({error!r}); {afresh}"
        ) from error
    differing = differences(recorded, setup)
    if differing:
        raise ConfigError(
            f"{trajectory} was run with something else: {'; '.join(differing)}. Resume with what "
            f"it was started with (only its length, the device and the threads may change), or "
            f"{afresh}"
        )

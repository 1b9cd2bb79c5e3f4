"""The structure and the ASE calculator that a job works with, from whatever the user gave."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator

from tlpot.calculators import (
    DeltaCalculator,
    FragmentCalculator,
    TLPotCalculator,
    energy_model,
    named_source,
)
from tlpot.dynamics import LOST
from tlpot.errors import ConfigError, OutputError, TLPotWarning
from tlpot.fragments import Scheme, is_ai2bmd
from tlpot.models import CalculatorModel, LevelView, TrainedModel
from tlpot.structures import NOTES, read_structure
from tlpot.system import System, check_system

Structure = str | os.PathLike[str] | Atoms
"""A file (its last frame), one of ASE's molecules by name, or atoms, which are copied."""

Progress = Callable[[int, int | None, str], object]
"""Called with what is done, the number of all or None, and a line; it may raise to cancel."""


_OF_FRAMES = ("step", "time_fs", "energy_std", "forces_std", "domain", "mode_number", "wavenumber",
              "reduced_mass")  # fmt: skip
"""What a frame of ours says of itself, and what is no longer true of what becomes of it."""


def open_structure(
    structure: Structure, *, charge: int | None = None, spin: int | None = None
) -> tuple[Atoms, tuple[str, ...]]:
    """Returns atoms of the caller's own, at rest and without calculator, and the reader's notes.

    Args:
        structure: a file, a molecule's name, or atoms.
        charge: total charge in e, in place of what the structure says.
        spin: multiplicity 2S + 1, likewise.

    Raises:
        DataError: neither a file nor a name, or an unreadable file.
        GeometryError: no atoms, NaN, a singular cell, or a charge that cannot be understood.
        ConfigError: something else was given.
    """
    if isinstance(structure, Atoms):
        atoms: Atoms = structure.copy()
    elif not isinstance(structure, str | os.PathLike):
        raise ConfigError(
            f"structure is a {type(structure).__name__}; expected a file, the name of one of "
            "ASE's molecules, or one ase.Atoms"
        )
    else:
        atoms = read_structure(os.fspath(structure))
        atoms.calc = None
    atoms.arrays.pop("momenta", None)
    for key in _OF_FRAMES:
        atoms.info.pop(key, None)
    lost = atoms.info.pop(LOST, None)
    if lost:
        warnings.warn(
            f"the structure is a frame of a run with the constraints {lost}, which its file does "
            "not hold: this goes without them; set them again with atoms.set_constraint",
            TLPotWarning,
            stacklevel=3,
        )
    if charge is not None:
        atoms.info["charge"] = charge
    if spin is not None:
        atoms.info["spin"] = spin
    name = "the structure" if isinstance(structure, Atoms) else str(structure)
    check_system(System.from_atoms(atoms), name)
    notes = str(atoms.info.get(NOTES, "")).splitlines()
    return atoms, tuple(notes)


def open_calculator(
    atoms: Atoms,
    model: Any,
    *,
    level: str | None = None,
    scheme: str | Scheme | None = None,
    low: Any = None,
    low_level: str | None = None,
    charges: str | None = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    device: str | None = None,
    dtype: str | None = None,
) -> tuple[Any, str]:
    """Returns an ASE calculator for a structure, and its method in words.

    Args:
        atoms: the structure.
        model: a model file, the name of a model, a potential or another energy model, an engine
            such as ``gfn2-xtb``, or an ASE calculator.
        level: level of theory, if the model has several.
        scheme: of fragments, by name or as an object; None treats the whole structure.
        low: with a scheme the model of the whole structure that fragments correct; without one
            the low level of a model of differences (see `DeltaCalculator`).
        low_level: level of theory of `low`.
        charges: ``amber``, see `FragmentCalculator`.
        dispersion: such as ``d3bj:b3lyp``, see `FragmentCalculator`.
        trained_charges: see `FragmentCalculator`.
        device: of the models.
        dtype: of the models that have a choice.

    Raises:
        ConfigError: arguments that do not go together, or no model.
        ModelFileError, UnknownLevelError, GeometryError: see `FragmentCalculator`.
    """
    if isinstance(model, TLPotCalculator) and isinstance(model.model, LevelView):
        model = model.model  # so that it is in the precision that is wanted, and stays as it is
    options = {"device": device, "dtype": dtype}
    if scheme is None:
        given = {"charges": charges, "dispersion": dispersion, "trained_charges": trained_charges}
        names = [name for name, value in given.items() if value]
        if names:
            raise ConfigError(
                f"{', '.join(names)} without scheme; name a fragment scheme, or leave out"
            )
        if low is not None:
            return _delta(model, level, low, low_level, options)
        if low_level is not None:
            raise ConfigError("low_level is the level of low, which is not given")
        return _whole(model, level, options)
    high = _opened(model, level, options)
    below = None if low is None else _opened(low, low_level, options)
    calculator = FragmentCalculator(
        atoms,
        high,
        scheme,
        low=below,
        charges=charges,
        dispersion=dispersion,
        trained_charges=trained_charges,
        device=device,
    )
    if not calculator.force_field.scheme.smooth:
        raise ConfigError(
            f"the energy of scheme {_scheme_name(scheme)} jumps where its list of fragments "
            "changes, so it is for single points only; mfcc_mbe2 with inner < outer is smooth"
        )
    words = f"{_named(model, getattr(high, 'level', level))} by {_scheme_name(scheme)}"
    if low is not None:
        words += f" over {_named(low, getattr(below, 'level', low_level))}"
    return calculator, words


def _whole(model: Any, level: str | None, options: Mapping[str, Any]) -> tuple[Any, str]:
    source = _source(model)
    if isinstance(source, CalculatorModel):
        source = source.calculator
    if isinstance(source, BaseCalculator):
        if level is not None and level != getattr(source, "level", None):
            raise ConfigError("the calculator has its level of theory; leave level out")
        if options["device"] is not None:
            raise ConfigError("the calculator has its own device; leave device out")
        return source, _named(model, getattr(source, "level", None))
    if isinstance(source, Mapping):
        raise ConfigError("models by fragment need a scheme of fragments; name one, or one model")
    calculator = TLPotCalculator(source, level=level, **_fitting(source, options))
    return calculator, _named(model, calculator.level)


def _delta(
    model: Any, level: str | None, low: Any, low_level: str | None, options: Mapping[str, Any]
) -> tuple[Any, str]:
    below, words = _whole(low, low_level, options)
    source = _source(model)
    calculator = DeltaCalculator(below, source, level=level, **_fitting(source, options))
    return calculator, f"{_named(model, calculator.level)} over {words}"


def _opened(model: Any, level: str | None, options: Mapping[str, Any]) -> Any:
    """Opens what evaluates fragments, each in the precision that it can have."""
    source = _source(model)
    if isinstance(source, Mapping):
        return {name: _opened(one, level, options) for name, one in source.items()}
    return energy_model(source, level=level, **_fitting(source, options))


def _source(model: Any) -> Any:
    return named_source(os.fspath(model)) if isinstance(model, str | os.PathLike) else model


def _fitting(source: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that apply: only what tlpot opens has a choice of precision."""
    takes = isinstance(source, str | os.PathLike | TrainedModel | LevelView)
    return {"device": options["device"], "dtype": options["dtype"] if takes else None}


def _named(model: Any, level: str | None) -> str:
    name = Path(model).name if isinstance(model, str | os.PathLike) else ""
    potential = getattr(model, "potential", model)
    if not name and isinstance(potential, TrainedModel):
        name = potential.card.name
    name = name or type(model).__name__
    return f"{level} of {name}" if level is not None and level != name else name


def _scheme_name(scheme: str | Scheme) -> str:
    if isinstance(scheme, str):
        return "ai2bmd" if is_ai2bmd(scheme) else scheme
    return scheme.name


def domain_of(calculator: Any) -> float | None:
    """Returns how far the last structure was from the training; None if nobody knows."""
    found = getattr(calculator, "results", {}).get("domain")
    return None if found is None else float(found)


def precision_of(calculator: Any) -> str:
    """Returns the precision of a trained model behind a calculator; empty if it has none."""
    model = getattr(calculator, "model", None)
    model = getattr(model, "high", model)  # of fragments
    return str(model.potential.dtype).removeprefix("torch.") if isinstance(model, LevelView) else ""


def labelled(atoms: Atoms) -> Atoms:
    """Returns a copy that holds energy and forces as results, without the calculator.

    They are the calculator's, without what constraints such as springs add.
    """
    copy: Atoms = atoms.copy()
    copy.calc = SinglePointCalculator(
        copy,
        energy=float(atoms.get_potential_energy(apply_constraint=False)),
        forces=atoms.get_forces(apply_constraint=False),
    )
    return copy


def check_output(
    path: str | os.PathLike[str], structure: Structure, *, overwrite: bool, option: str
) -> None:
    """Refuses to replace a file unless told, and the structure itself ever.

    Raises:
        OutputError: the file exists, or is the structure.
    """
    target = Path(path)
    if isinstance(structure, str | os.PathLike):
        source = Path(structure)
        if source.exists() and target.exists() and source.samefile(target):
            raise OutputError(
                f"{option} {path} is the structure itself, which may be the only copy; choose "
                "another name"
            )
    if target.is_dir():
        raise OutputError(f"{option} {path} is a folder; give the name of a file")
    if target.exists() and not overwrite:
        raise OutputError(
            f"{path} exists; replace it with --overwrite (overwrite=True), or choose another "
            f"{option}"
        )

"""The structure and the calculator that a job on one structure works with, whatever was given."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from tqdm import tqdm

from tlpot.calculators import (
    DeltaCalculator,
    FragmentCalculator,
    FragmentMethod,
    TLPotCalculator,
    energy_model,
    learned_on_model,
    named_source,
)
from tlpot.dynamics import LOST
from tlpot.errors import (
    ChargeWarning,
    ConfigError,
    GeometryError,
    OutputError,
    TLPotError,
    TLPotWarning,
    UnknownLevelError,
)
from tlpot.fragments import MFCC, Scheme, is_ai2bmd
from tlpot.levels import difference_parts
from tlpot.models import CalculatorModel, LevelView, TrainedModel, load
from tlpot.presentation import progress_bar
from tlpot.structures import NOTES, read_structure
from tlpot.system import System, check_system
from tlpot.targets import is_property, of_difference
from tlpot.total_charge import replace_state

Structure = str | os.PathLike[str] | Atoms
"""A file (its last frame), one of ASE's molecules by name, or atoms, which are copied."""

_OF_FRAMES = ("step", "time_fs", "energy_std", "forces_std", "domain")
_OF_MODES = ("mode_number", "wavenumber", "reduced_mass")
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
    atoms, notes = given_atoms(structure, charge=charge, spin=spin)
    atoms.calc = None
    atoms.arrays.pop("momenta", None)
    lost = atoms.info.pop(LOST, None)
    if lost:
        warnings.warn(
            f"the structure is a frame of a run with the constraints {lost}, which its file does "
            "not hold: this goes without them; set them again with atoms.set_constraint",
            TLPotWarning,
            stacklevel=4,
        )
    name = "the structure" if isinstance(structure, Atoms) else str(structure)
    check_system(System.from_atoms(atoms), name)
    return atoms, notes


def given_atoms(
    structure: Structure, *, charge: int | None = None, spin: int | None = None
) -> tuple[Atoms, tuple[str, ...]]:
    """Returns atoms of the caller's own, velocities included, and what their reader had to say.

    What a frame of ours says of itself is dropped. The arguments are those of `open_structure`.

    Raises:
        DataError: neither a file nor the name of a molecule, or an unreadable file.
        ConfigError: something else was given.
    """
    if isinstance(structure, Atoms):
        atoms: Atoms = structure.copy()
    elif isinstance(structure, str | os.PathLike):
        with warnings.catch_warnings():
            if charge is not None:
                warnings.simplefilter("ignore", ChargeWarning)  # of what it stands in the place of
            atoms = read_structure(os.fspath(structure))
    else:
        raise ConfigError(
            f"structure is a {type(structure).__name__}; expected a file, the name of one of "
            "ASE's molecules, or one ase.Atoms"
        )
    for key in (*_OF_FRAMES, *_OF_MODES):
        atoms.info.pop(key, None)
    atoms.arrays.pop("mode", None)
    replace_state(atoms.info, atoms.arrays, charge=charge, spin=spin)
    return atoms, tuple(str(atoms.info.get(NOTES, "")).splitlines())


def check_masses(atoms: Atoms) -> None:
    """Refuses masses that nothing can move with.

    Raises:
        GeometryError: one is zero, negative or no number.
    """
    masses = atoms.get_masses()
    bad = np.flatnonzero(~(np.isfinite(masses) & (masses > 0)))
    if bad.size:
        k = int(bad[0])
        raise GeometryError(
            f"the mass of atom {k} ({atoms.symbols[k]}) is {masses[k]:g} u, expected one above 0 "
            f"(found {bad.size} such); take the masses out of the file, or set them with "
            "atoms.set_masses"
        )


@dataclass(frozen=True, kw_only=True)
class EnergyMethod:
    """What computes energies and forces of one structure: a model, of the whole or of fragments.

    Attributes:
        model: a model file, the name of a model, a potential or another energy model, an engine
            such as ``gfn2-xtb``, or an ASE calculator.
        level: level of theory, if the model has several.
        scheme: of fragments, by name, as an object or a mapping; None treats the whole structure.
        low: with a scheme the model of the whole structure that fragments correct; without one
            the low level of a model of differences (see `DeltaCalculator`).
        low_level: level of theory of `low`; without a scheme also the one that its only level
            stands for, see `DeltaCalculator`.
        charges: ``amber``, see `FragmentCalculator`.
        dispersion: such as ``d3bj:b3lyp``, see `FragmentCalculator`.
        trained_charges: see `FragmentCalculator`.
        device: of the models.
        dtype: of the models that have a choice.
    """

    model: Any
    level: str | None = None
    scheme: str | Scheme | Mapping[str, Any] | None = None
    low: Any = None
    low_level: str | None = None
    charges: Any = None
    dispersion: str | None = None
    trained_charges: bool = False
    device: str | None = None
    dtype: str | None = None

    def absolute(self) -> EnergyMethod:
        """Returns the method with files by their whole paths; names and objects stay."""
        return replace(self, model=_absolute(self.model), low=_absolute(self.low))

    def opened(self) -> EnergyMethod:
        """Returns the method with its models loaded, for several structures or for what they are.

        Raises:
            ConfigError: no model, a level that does not apply, or a model of a difference alone.
            ModelFileError, UnknownLevelError: see `FragmentCalculator`.
        """
        options = {"device": self.device, "dtype": self.dtype}
        model = _opened(self.model, self.level, options)
        if self.low is None:
            if self.scheme is None and _low_of(model, None) is not None:
                raise ConfigError(of_difference(model.level))
            return replace(self, model=model)
        if self.scheme is not None:
            return replace(self, model=model, low=_opened(self.low, self.low_level, options))
        low, level = _opened_low(self.low, self.low_level, model, options)
        return replace(self, model=model, low=low, low_level=level)

    def calculator(self, atoms: Atoms) -> tuple[Any, str]:
        """Returns an ASE calculator for a structure, and the method in words.

        Raises:
            ConfigError: arguments that do not go together, or no model.
            ModelFileError, UnknownLevelError, GeometryError: see `FragmentCalculator`.
        """
        model = self.model
        if isinstance(model, TLPotCalculator) and isinstance(model.model, LevelView):
            model = model.model  # so that its precision is the wanted one, and it stays as it is
        options = {"device": self.device, "dtype": self.dtype}
        if self.scheme is not None:
            return self._of_fragments(
                atoms, model, FragmentMethod(scheme=self.scheme).calculator_scheme(), options
            )
        needing = ("charges", "dispersion", "trained_charges")
        if names := [name for name in needing if getattr(self, name)]:
            raise ConfigError(
                f"{', '.join(names)} without scheme; name a fragment scheme, or leave out"
            )
        if self.low is not None:
            return _delta(model, self.level, self.low, self.low_level, options)
        if self.low_level is not None:
            raise ConfigError("low_level is the level of low, which is not given")
        return _whole(model, self.level, options)

    def _of_fragments(
        self, atoms: Atoms, model: Any, scheme: Scheme | str, options: Mapping[str, Any]
    ) -> tuple[Any, str]:
        high = _opened(model, self.level, options)
        below = None if self.low is None else _opened(self.low, self.low_level, options)
        calculator = FragmentCalculator(
            atoms,
            high,
            scheme,
            low=below,
            charges=self.charges,
            dispersion=self.dispersion,
            trained_charges=self.trained_charges,
            device=self.device,
        )
        name = scheme if isinstance(scheme, str) else scheme.name
        if not calculator.force_field.scheme.smooth:
            raise ConfigError(
                f"the energy of scheme {name} jumps where its list of fragments changes, so it "
                "is for single points only; mfcc_mbe2 with inner < outer is smooth"
            )
        if self.low is None and not is_ai2bmd(name):
            warn_of_contacts(calculator.force_field.scheme, len(calculator.topology.residues))
        words = f"{_named(model, getattr(high, 'level', self.level))} by {name}"
        if self.low is not None:
            words += f" over {_named(self.low, getattr(below, 'level', self.low_level))}"
        return calculator, words


def warn_of_contacts(scheme: Scheme, n_residues: int | None = None) -> None:
    """Warns where nothing keeps atoms apart: Coulomb terms or a dispersion alone do not.

    Args:
        scheme: of fragments, with no low level of the whole.
        n_residues: of the structure; None if it is not known yet.
    """
    if not isinstance(scheme, MFCC) or (n_residues is not None and n_residues <= scheme.size + 2):
        return
    where = f" in structures of more than {scheme.size + 2} residues" if n_residues is None else ""
    warnings.warn(
        f"{scheme.name} leaves out all between residues that are in no fragment together{where}, "
        "so that their atoms can run into each other; take mfcc_mbe2, ai2bmd, or a low level of "
        "the whole (low=) where atoms move",
        TLPotWarning,
        stacklevel=5,
    )


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
    if calculator.level is not None and is_property(calculator.level):
        raise ConfigError(
            f"{calculator.level} is a property without forces; take a level of energies, or "
            "tlpot.predict for its values"
        )
    return calculator, _named(model, calculator.level)


def _delta(
    model: Any, level: str | None, low: Any, low_level: str | None, options: Mapping[str, Any]
) -> tuple[Any, str]:
    source = _source(model)
    if isinstance(source, str | os.PathLike):
        source = load(source, device=options["device"])
    wanted = _low_of(source, level)
    own = learned_on_model(_learned_low(source), os.fspath(low) if _is_path(low) else low)
    if own is not None:
        below, words, stated = *_whole(low, own, options), wanted
    else:
        below, words, stated = _below(low, low_level, options, wanted)
    calculator = DeltaCalculator(
        below, source, level=level, low_level=stated, **_fitting(source, options)
    )
    return calculator, f"{_named(model, calculator.level)} over {words}"


def _is_path(source: Any) -> bool:
    return isinstance(source, str | os.PathLike)


def _learned_low(model: Any) -> Mapping[str, Any]:
    """Returns what the card of a model of differences says of its low level."""
    whole = model.potential if isinstance(model, LevelView) else model
    found = whole.card.dataset.get("low", {}) if isinstance(whole, TrainedModel) else {}
    return cast("Mapping[str, Any]", found)


def _low_of(model: Any, level: str | None) -> str | None:
    """Returns the low level of a model of differences."""
    with suppress(TLPotError):
        chosen = model.at(level) if isinstance(model, TrainedModel) else model
        parts = difference_parts(getattr(chosen, "level", None) or "")
        return None if parts is None else parts[1]
    return None


def _below(
    low: Any, low_level: str | None, options: Mapping[str, Any], wanted: str | None
) -> tuple[Any, str, str | None]:
    """Returns the low calculator in words, and the level that it is said to be at.

    That is where `low` has no choice of levels, and its own name is another. Of several levels
    it takes the `wanted` one unless `low_level` names another.
    """
    try:
        return *_whole(low, low_level, options), None
    except (UnknownLevelError, ConfigError):
        if low_level is None and wanted is not None:
            with suppress(TLPotError):
                return *_whole(low, wanted, options), None
        if low_level is not None:
            with suppress(TLPotError):
                return *_whole(low, None, options), low_level
        raise


def _opened(
    model: Any, level: str | None, options: Mapping[str, Any], kind: str | None = None
) -> Any:
    """Opens what evaluates fragments, each in the precision that it can have."""
    source = _source(model)
    if isinstance(source, Mapping):
        return {name: _opened(one, level, options, name) for name, one in source.items()}
    return energy_model(source, level=level, kind=kind, **_fitting(source, options))


def _opened_low(
    low: Any, level: str | None, model: Any, options: Mapping[str, Any]
) -> tuple[Any, str | None]:
    """Opens the low level of an open model of differences, see `_delta`; and the level it is at."""
    wanted = _low_of(model, None)
    own = learned_on_model(_learned_low(model), os.fspath(low) if _is_path(low) else low)
    if own is not None:
        return _opened(low, own, options), wanted
    try:
        return _opened(low, level, options), level
    except (UnknownLevelError, ConfigError):
        if level is None and wanted is None:
            raise
    return _opened(low, wanted if level is None else None, options), level


def _absolute(source: Any) -> Any:
    if not isinstance(source, str | os.PathLike):
        return source
    path = Path(source)
    return str(path.resolve()) if path.is_file() else os.fspath(source)


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


def steps_bar(**options: Any) -> tqdm[Any]:
    """Returns a bar that a terminal shows while a job goes through its steps."""
    return progress_bar(unit="step", disable=None, dynamic_ncols=True, leave=False, **options)


def check_result_files(
    files: Mapping[str, str | os.PathLike[str] | None], structure: Structure, *, overwrite: bool
) -> tuple[Path, ...]:
    """Refuses to replace a file unless told, and the structure itself ever.

    Args:
        files: by the option that names each; None for one that is not wanted.
        structure: that is read.
        overwrite: whether files may be replaced.

    Returns:
        Those that are wanted.

    Raises:
        OutputError: a file exists, is the structure, or is named twice.
    """
    found: dict[Path, str] = {}
    for option, path in files.items():
        if path is None:
            continue
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
        other = found.setdefault(target.resolve(), option)
        if other != option:
            raise OutputError(f"{other} and {option} are both {path}; give two names")
    return tuple(Path(path) for path in files.values() if path is not None)

"""Descriptions of file layouts: which array is what, in which unit, at which level of theory."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ase.data import atomic_numbers

from tlpot.config import LATER, parse, read_yaml
from tlpot.errors import ConfigError, TLPotError, nearest
from tlpot.levels import canonical_level
from tlpot.targets import Kind, Quantity, check_name, is_property
from tlpot.units import energy_factor, force_factor, length_factor, stress_factor

Likeness = Literal["energy", "forces", "stress", "unit"]

_FORCES = {"force", "forces", "frc", "frcs", "gradient", "gradients", "grad", "grads", "grd"}
_STRESS = {"virial", "virials", "stress", "stresses", "pressure"}
_ENERGY = {
    "energy", "energies", "e", "ene", "etot", "toten", "totenergy", "totalenergy", "freeenergy",
    "en", "erg", "eng",
}  # fmt: skip
_UNIT = {"unit", "units"}
_OTHERS = {
    "kinetic", "ekin", "zero", "zpe", "gap", "homo", "lumo", "fermi", "max", "rms", "mean", "std",
    "sigma", "error", "errors", "weight", "weights", "mask", "cutoff", "constant", "constants",
    "threshold", "id", "index", "name", "time", "cost", "has", "uncertainty", "variance", "key",
    "solvation", "nuclear", "repulsion", "window",
}  # fmt: skip
_KNOWN_UNITS = re.compile(r"(ev)?/?(å|a|ang|angstrom)?(\^?3)?(,.*)?|metal", re.IGNORECASE)


def looks_like(key: str) -> Likeness | None:
    """Returns what label the name of an unread array suggests, None if none.

    Args:
        key: such as ``dft_forces``, ``TotEnergy`` or ``virial``.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)
    words = {word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word}
    joined = re.sub(r"[^a-z]", "", key.lower())
    if words & _UNIT and "cell" not in words:
        return "unit"
    if words & _OTHERS:
        return None
    if words & _FORCES or joined in _FORCES:
        return "forces"
    if words & _STRESS or joined in _STRESS:
        return "stress"
    if words & _ENERGY or joined in _ENERGY:
        return "energy"
    return None


def is_own_unit(text: str) -> bool:
    """Whether a unit is made of eV and Å, in which extended XYZ is read."""
    return bool(_KNOWN_UNITS.fullmatch(text.strip().replace(" ", "")))


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitSpec:
    """Units of a file, by name (see `tlpot.units`).

    Attributes:
        coordinates: of positions and cells.
        energy: of energies; needed when a level has energies.
        forces: ``energy/length``; needed when a level has forces.
        stress: ``gpa``, ``kbar``, ... or ``energy/length^3``; needed when a level has stresses.
        isolated_atoms: of the constants in the description; the unit of the energies if left out.
        stated: npz only: arrays in which a file may name its units of ``coordinates`` and
            ``energy``; one that names another unit is refused.
    """

    coordinates: str
    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    isolated_atoms: str | None = None
    stated: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [name for name in self.stated if name not in ("coordinates", "energy")]
        if unknown:
            raise ConfigError(f"stated: {unknown[0]!r}, expected coordinates and energy")
        try:
            length_factor(self.coordinates)
            energy_factor(self.of_energy)
            energy_factor(self.isolated_atoms or self.of_energy)
            if self.forces is not None:
                force_factor(self.forces)
            if self.stress is not None:
                stress_factor(self.stress)
        except TLPotError as error:
            raise ConfigError(str(error)) from error

    @property
    def of_energy(self) -> str:
        """The unit of energies, where there are any."""
        return self.energy or "ev"


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSpec:
    """Where the labels of one level of theory are, or those of one property.

    Attributes:
        energy: the array, or several that are summed (reference plus correlation energy).
        forces: the array.
        stress: the array.
        energy_zero: ``total``, or ``isolated_atoms`` when the file's energies are relative to
            the free atoms, whose energies are then added back.
        isolated_atoms: total energy of the free atom by element symbol.
        definition: how the labels were computed, in words.
        other_definitions: where they were computed in several ways, the others.
        value: the array of a scalar property, ``property@level``, in place of the others.
        unit: of the property, see `tlpot.targets.Quantity`.
        extensive: whether the property doubles with the structure.
        kind: ``scalar``, ``positive`` or ``yes_no``.
        zeros: of a property, what an array with many exact zeros, such as gaps of metals, stands
            for: ``values`` as they are, ``missing`` where it is zero, or ``yes_no``: yes where it
            is, no elsewhere (of kind ``yes_no``). The last two are a hurdle: whether, how much.
    """

    energy: tuple[str, ...] | str = ()
    forces: str | None = None
    stress: str | None = None
    energy_zero: Literal["total", "isolated_atoms"] = "total"
    isolated_atoms: Mapping[str, float] = field(default_factory=dict)
    definition: str = ""
    other_definitions: tuple[str, ...] = ()
    value: str | None = None
    unit: str | None = None
    extensive: bool | None = None
    kind: Kind = "scalar"
    zeros: Literal["values", "missing", "yes_no"] = field(default="values", metadata=LATER)

    def __post_init__(self) -> None:
        self._check_property()
        for symbol in self.isolated_atoms:
            if symbol not in atomic_numbers:
                raise ConfigError(f"isolated_atoms: {symbol!r} is not an element")
        if self.energy_zero == "isolated_atoms" and not self.isolated_atoms:
            raise ConfigError("energy_zero is isolated_atoms, but isolated_atoms is empty")

    @property
    def quantity(self) -> Quantity | None:
        """What the numbers of a property are; None for energies."""
        if self.value is None:
            return None
        return Quantity(unit=self.unit or "", extensive=bool(self.extensive), kind=self.kind)

    @property
    def energy_keys(self) -> tuple[str, ...]:
        """The arrays whose sum is the energy, or the one of the property."""
        if self.value is not None:
            return (self.value,)
        return (self.energy,) if isinstance(self.energy, str) else self.energy

    def _check_property(self) -> None:
        labels = [name for name in ("energy", "forces", "stress") if getattr(self, name)]
        stated = [name for name in ("unit", "extensive") if getattr(self, name) is not None]
        if self.value is None:
            if self.zeros != "values":
                stated = [*stated, "zeros"]
            if stated or self.kind != "scalar":
                raise ConfigError(
                    f"{(stated or ['kind'])[0]} is for properties; name the array with value:"
                )
            return
        if (self.zeros == "yes_no") > (self.kind == "yes_no"):
            raise ConfigError(f"zeros is yes_no and kind {self.kind}; expected kind: yes_no")
        if labels or self.isolated_atoms:
            raise ConfigError(
                f"value {self.value!r} stands beside {(labels or ['isolated_atoms'])[0]}; "
                "a property has a level of its own, called property@level"
            )
        for name in ("unit", "extensive"):
            if name not in stated and not (name == "unit" and self.kind == "yes_no"):
                raise ConfigError(
                    f"value {self.value!r} needs {name}: "
                    + (
                        "eV, GPa, ... ('' for none)"
                        if name == "unit"
                        else "true if it doubles with the structure, false for a gap"
                    )
                )
        _ = self.quantity

    @property
    def keys(self) -> tuple[str, ...]:
        """Every array of this level."""
        return (*self.energy_keys, *(key for key in (self.forces, self.stress) if key))


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSpec:
    """The layout of a file.

    Attributes:
        container: kind of file.
        units: units of the file.
        description: what uses this layout, with its citation.
        numbers: atomic numbers or element symbols, [N], or [M, N] padded with zeros.
        coordinates: [M, N, 3].
        offsets: HDF5 and npz: where the atoms of all frames stand in a row (`numbers` [ΣN],
            `coordinates` and forces [ΣN, 3]): the array with the first atom of each frame and,
            last, their number, [M + 1].
        counts: in place of `offsets`: the array with the number of atoms of each frame, [M].
        groups: HDF5 only: shell pattern of the groups to read. A group is any that holds
            `numbers` and `coordinates`, however deep.
        cell: [3, 3] or [M, 3, 3], rows are lattice vectors.
        pbc: [3] or [M, 3].
        charge: total charge, one number or [M]; or a whole number, which is that of every frame.
        charge_smiles: a SMILES string whose formal charges add up to the charge.
        spin: multiplicity, likewise.
        group: extended XYZ only: the key of the comment line that names the molecule.
        sign: whether the arrays called forces hold the force or the gradient.
        stress_sign: whether arrays called stress are positive under tension (ASE) or, as a
            pressure, under compression (VASP); a virial has one sign.
        levels: by level of theory.
        one_level: a file holds one of the levels and does not say which: the user must.
        other_levels: for a level that is not listed (`one_level` only).
        columns: arrays that are neither structure nor labels and are meant to be there, such as
            one value per frame for a split.
        unread: arrays that look like labels and are left out on purpose.
        unlabelled: a file without any label is no mistake.
        named: extended XYZ only: quantities of which no other key is read than the one given
            here, although it is the usual one (`energy`), which would stand for its usual other
            names, too.
    """

    container: Literal["hdf5", "npz", "extxyz"]
    units: UnitSpec
    description: str = ""
    numbers: str = "atomic_numbers"
    coordinates: str = "coordinates"
    offsets: str | None = None
    counts: str | None = None
    groups: str = "*"
    cell: str | None = None
    pbc: str | None = None
    charge: str | int | None = None
    charge_smiles: str | None = None
    spin: str | int | None = None
    group: str | None = None
    sign: Literal["force", "gradient"] | None = None
    stress_sign: Literal["tensile", "compressive"] = "tensile"
    levels: Mapping[str, LevelSpec] = field(default_factory=dict)
    one_level: bool = False
    other_levels: LevelSpec | None = None
    columns: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    unlabelled: bool = False
    named: tuple[str, ...] = ()

    @property
    def charge_key(self) -> str | None:
        """The array of the charges, if one is named."""
        return self.charge if isinstance(self.charge, str) else None

    @property
    def spin_key(self) -> str | None:
        """The array of the multiplicities, if one is named."""
        return self.spin if isinstance(self.spin, str) else None

    def __post_init__(self) -> None:
        if isinstance(self.spin, int) and self.spin < 1:
            raise ConfigError(f"spin is {self.spin}, expected a multiplicity 2S + 1, 1 or more")
        if self.charge_smiles and self.charge is not None:
            raise ConfigError("charge and charge_smiles say the same; keep one of them")
        if self.offsets and self.counts:
            raise ConfigError("offsets and counts say the same; keep one of them")
        if (self.offsets or self.counts) and self.container == "extxyz":
            raise ConfigError("offsets and counts are for hdf5 and npz, not for extended XYZ")
        listed = list(self.levels.values()) + ([self.other_levels] if self.other_levels else [])
        if not listed and not self.unlabelled:
            raise ConfigError("no level of theory is described; fill in 'levels'")
        if any(level.forces for level in listed) and (not self.sign or not self.units.forces):
            raise ConfigError(
                "a level has forces, so 'sign' (force or gradient) and 'units.forces' are required"
            )
        if any(level.stress for level in listed) and not self.units.stress:
            raise ConfigError("a level has stresses, so 'units.stress' is required")
        if any(level.energy for level in listed) and self.units.energy is None:
            raise ConfigError("a level has energies, so 'units.energy' is required")
        for name, level in self.levels.items():
            if canonical_level(name) != name:
                raise ConfigError(f"level {name!r} should be written {canonical_level(name)!r}")
            if is_property(name):
                check_name(name)
            if is_property(name) != (level.value is not None):
                raise ConfigError(
                    f"level {name!r}: a property, and only a property, is called property@level "
                    "and has its array under value:"
                )


SpecSource = str | os.PathLike[str] | Mapping[str, Any] | DataSpec
"""Name of a description that ships with tlpot, a YAML file, or what would be in one."""


def load_spec(source: SpecSource) -> DataSpec:
    """Reads a description.

    Raises:
        ConfigError: no such description, or a mistake in it.
    """
    if isinstance(source, DataSpec):
        return source
    if isinstance(source, Mapping):
        return parse(DataSpec, source, "spec")
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"spec is a {type(source).__name__}; expected the name of a description, a YAML file, "
            "or a mapping of what would be in one"
        )
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        shipped = {file.stem: file for file in specs_folder().glob("*.yaml")}
        if str(path) not in shipped:
            raise ConfigError(
                f"no data description {str(path)!r}{nearest(str(path), shipped)}; "
                "for your own, give the path of a .yaml file"
            )
        path = shipped[str(path)]
    return parse(DataSpec, read_yaml(path), str(path))


def spec_words(source: SpecSource) -> str:
    """Returns what to call a description in a message."""
    if isinstance(source, str | os.PathLike):
        return f"the description {os.fspath(source)}"
    return "the description given"


def fitting_specs(container: str, names: Collection[str]) -> list[str]:
    """Returns the shipped descriptions of files that hold such arrays.

    Args:
        container: kind of file.
        names: of its arrays.
    """
    found = []
    for file in sorted(specs_folder().glob("*.yaml")):
        spec = load_spec(file)
        listed = [*spec.levels.values(), *([spec.other_levels] if spec.other_levels else [])]
        labels = any(set(level.energy_keys) & {*names} for level in listed)
        if spec.container == container and {spec.numbers, spec.coordinates} <= {*names} and labels:
            found.append(file.stem)
    return found


def undescribed(container: str, names: Collection[str]) -> str:
    """Says what a file holds that does not describe itself, and how to describe it.

    Args:
        container: kind of file.
        names: of its arrays.
    """
    fitting = [f"spec={name!r}" for name in fitting_specs(container, names)]
    held = f"it holds the arrays {', '.join(sorted(names)[:12])}{', ...' * (len(names) > 12)}"
    if fitting:
        return f"{held}, as files do that are read with {' or '.join(fitting)}"
    return (
        f"{held}, which no shipped description fits; write one of ten lines "
        "(data_specs/README.md; with offsets or counts where the atoms of all frames stand in a "
        "row) and name it with spec='FILE.yaml', "
        "or write the file with 'tlpot data convert' or h5py in tlpot's own layout (docs/data.md)"
    )


def specs_folder() -> Path:
    """Returns the folder of the shipped descriptions, in a wheel or in a source tree."""
    package = Path(__file__).parent.parent
    installed = package / "data_specs"
    return installed if installed.is_dir() else package.parent / "data_specs"

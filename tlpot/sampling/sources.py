"""Fragments by name: the capped residues, their protonation states, molecules, SMILES and files."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from tlpot.data import files_or_atoms
from tlpot.errors import ConfigError, DataError, GeometryError, TLPotWarning, nearest
from tlpot.files import check_text, not_utf8
from tlpot.sampling.fragment import SamplingTarget
from tlpot.structures import (
    PREFIX,
    capped_residues,
    looks_like_smiles,
    read_all,
    read_structure,
    smiles_atoms,
)

SETS = ("residues", "states")
SMILES_FILES = (".smi", ".smiles")
_Given = (
    str
    | os.PathLike[str]
    | Atoms
    | Sequence[str | os.PathLike[str] | Atoms]
    | Mapping[str, Atoms | str]
)
_JOINT = re.compile(r"\+(?![^\[]*\])")
"""A plus that is no charge in the brackets of a SMILES."""


def named_fragments(names: Sequence[str], *, skip_failed: bool = False) -> list[SamplingTarget]:
    """Finds fragments.

    Args:
        names: ``residues`` (the 21 fragments of ITLFF), ``states`` (those and the other
            protonation states), one of them such as ``ACE-HIP-NME``, a molecule of ASE's G2
            collection such as ``H2O``, a SMILES such as ``CCO`` (``smiles:CO`` where it is a name
            of ASE's, too), a file of them (`SMILES_FILES`: SMILES and, after a space, a name in
            each line), or a file that ASE reads; each frame of a file is a fragment. Charge and
            multiplicity of a file's molecules are read from the keys of extended XYZ that state
            them, see `tlpot.total_charge`. A SMILES of several molecules is a complex.
        skip_failed: leave out SMILES of no molecule that can be, with a warning.

    Raises:
        ConfigError: no such fragment or file, or no SMILES of a molecule.
        MissingExtraError: a SMILES without RDKit.
        DataError: a file could not be read.
        GeometryError: a charge or multiplicity that is ambiguous, or that the electrons of a
            molecule cannot have; or no conformer of a SMILES.
    """
    from ase.collections import g2

    every = capped_residues(states=True)
    found: dict[str, Atoms | SamplingTarget] = {}

    def add(smiles: str) -> None:
        found.update(_possible(smiles, _group(smiles), skip_failed))

    for name in names:
        if name in SETS:
            found |= capped_residues(states=name == "states")
        elif name in every:
            found[name] = every[name]
        elif name.startswith(PREFIX):
            add(name.removeprefix(PREFIX))
        elif Path(name).is_file():
            is_list = Path(name).suffix.lower() in SMILES_FILES
            found |= _read_smiles(Path(name), skip_failed) if is_list else _read(Path(name))
        elif name in g2.names:
            found[name] = read_structure(name)
            _warn_of_smiles(name)
        elif looks_like_smiles(name):
            add(name)
        else:
            raise ConfigError(
                f"no fragment, file or SMILES {name!r}{nearest(name, [*SETS, *every])}"
            )
    return [
        each if isinstance(each, SamplingTarget) else SamplingTarget(name=name, atoms=each)
        for name, each in found.items()
    ]


def by_smiles(smiles: str, name: str | None = None) -> SamplingTarget:
    """Returns the molecule of a SMILES, or the complex of several.

    Args:
        smiles: molecules are separated by dots.
        name: of the fragment; None for the SMILES, with ``|`` for slashes.

    Raises:
        ConfigError: no SMILES of a molecule.
        GeometryError: no conformer could be found.
        MissingExtraError: RDKit is not installed.
    """
    parts = [smiles_atoms(part) for part in smiles.split(".")]
    called = _group(smiles) if name is None else name
    if len(parts) > 1:
        return SamplingTarget.complex(called, parts)
    return SamplingTarget(name=called, atoms=parts[0])


def _group(smiles: str) -> str:
    """A name for a group of HDF5, where a slash would make groups within groups."""
    return smiles.replace("/", "|")


def _warn_of_smiles(name: str) -> None:
    if looks_like_smiles(name) and not any(c.isdigit() for c in name):
        warnings.warn(
            f"{name} is taken for the molecule that ASE calls so, {read_structure(name).symbols}; "
            f"if it is meant as SMILES, write {PREFIX}{name}",
            TLPotWarning,
            stacklevel=3,
        )


def _possible(
    smiles: str, name: str, skip_failed: bool, where: str = ""
) -> dict[str, SamplingTarget]:
    """Returns what `by_smiles` does, by name; nothing, and a warning, for what cannot be made.

    Args:
        smiles: of a molecule or complex.
        name: of the fragment.
        skip_failed: what cannot be made is left out; else it is an error.
        where: the SMILES stands, for messages.
    """
    try:
        return {name: by_smiles(smiles, name)}
    except (ConfigError, GeometryError) as error:
        if not skip_failed:
            raise type(error)(f"{where}{error}") from error
        warnings.warn(f"{name} is left out: {where}{error}", TLPotWarning, stacklevel=4)
        return {}


def _read_smiles(path: Path, skip_failed: bool) -> dict[str, SamplingTarget]:
    found: dict[str, SamplingTarget] = {}
    check_text(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(path, error)) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read as text ({error})") from error
    for number, line in enumerate(lines, start=1):
        words = line.split(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        name = _group(words[-1].strip())
        if name in found:
            raise ConfigError(f"{path}, line {number}: {name!r} occurs twice; name it otherwise")
        found |= _possible(words[0], name, skip_failed, f"{path}, line {number}: ")
    if not found and not skip_failed:
        raise DataError(f"{path} has no SMILES; expected lines such as 'CCO ethanol'")
    return found


def given_fragments(
    given: _Given,
    *,
    skip_failed: bool = False,
) -> list[SamplingTarget]:
    """Returns fragments from names, files and atoms.

    Args:
        given: see `named_fragments`; atoms are named by a mapping, which may hold SMILES, too, or
            by their formula.
        skip_failed: leave out SMILES of no molecule that can be, with a warning.

    Raises:
        ConfigError, DataError, GeometryError: see `named_fragments`; or none was left.
    """
    found = _given(given, skip_failed)
    if not found:
        raise ConfigError("no fragment is left of those that were given")
    return found


def _given(
    given: _Given,
    skip_failed: bool,
) -> list[SamplingTarget]:
    if isinstance(given, Mapping):
        made: dict[str, SamplingTarget] = {}
        for name, each in given.items():
            if isinstance(each, str):
                made |= _possible(each.removeprefix(PREFIX), name, skip_failed)
            else:
                made[name] = SamplingTarget(name=name, atoms=each)
        return list(made.values())
    parts = files_or_atoms(given, "fragments")
    names = [os.fspath(part) for part in parts if not isinstance(part, Atoms)]
    return named_fragments(names, skip_failed=skip_failed) + [
        SamplingTarget(name=part.get_chemical_formula(), atoms=part)
        for part in parts
        if isinstance(part, Atoms)
    ]


def pairs(specs: Sequence[str], fragments: Sequence[SamplingTarget]) -> list[SamplingTarget]:
    """Makes dimers of fragments.

    Args:
        specs: such as ``ACE-ALA-NME+H2O`` or ``[NH4+]+smiles:O``.
        fragments: to look among; names of `named_fragments` need not be there.

    Raises:
        ConfigError: not two names, or no such fragment.
    """
    known = {fragment.name: fragment for fragment in fragments}
    made = []
    for spec in specs:
        ends = _JOINT.split(spec)
        if len(ends) != 2:
            raise ConfigError(f"a pair is NAME+NAME, not {spec!r}")
        one, other = (known[end] if end in known else _single(end) for end in ends)
        made.append(SamplingTarget.pair(one, other))
    return made


def _single(name: str) -> SamplingTarget:
    found = named_fragments([name])
    if len(found) != 1:
        raise ConfigError(f"{name!r} is {len(found)} fragments, a pair needs one")
    return found[0]


def _read(path: Path) -> dict[str, Atoms]:
    frames = read_all(path)
    stem = path.stem
    if len(frames) == 1:
        return {stem: frames[0]}
    return {f"{stem}-{k}": frame for k, frame in enumerate(frames)}

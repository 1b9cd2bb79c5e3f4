"""Fragments by name: the capped residues, their protonation states, molecules and files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from tlpot.errors import ConfigError, nearest
from tlpot.sampling.fragment import SamplingTarget
from tlpot.structures import capped_residues, read_all, read_structure

SETS = ("residues", "states")


def named_fragments(names: Sequence[str]) -> list[SamplingTarget]:
    """Finds fragments.

    Args:
        names: ``residues`` (the 21 fragments of ITLFF), ``states`` (those and the other
            protonation states), one of them such as ``ACE-HIP-NME``, a molecule of ASE's G2
            collection such as ``H2O``, or a file that ASE reads; each frame of a file is a
            fragment. Charge and multiplicity of a file's molecules are read from the keys of
            extended XYZ that state them, see `tlpot.total_charge`.

    Raises:
        ConfigError: no such fragment or file.
        DataError: a file could not be read.
        GeometryError: a charge or multiplicity that is ambiguous, or that the electrons of a
            molecule cannot have.
    """
    from ase.collections import g2

    every = capped_residues(states=True)
    found: dict[str, Atoms] = {}
    for name in names:
        if name in SETS:
            found |= capped_residues(states=name == "states")
        elif name in every:
            found[name] = every[name]
        elif Path(name).is_file():
            found |= _read(Path(name))
        elif name in g2.names:
            found[name] = read_structure(name)
        else:
            raise ConfigError(f"no fragment or file {name!r}{nearest(name, [*SETS, *every])}")
    return [SamplingTarget(name=name, atoms=atoms) for name, atoms in found.items()]


def given_fragments(
    given: str
    | os.PathLike[str]
    | Atoms
    | Sequence[str | os.PathLike[str] | Atoms]
    | Mapping[str, Atoms],
) -> list[SamplingTarget]:
    """Returns fragments from names, files and atoms.

    Args:
        given: see `named_fragments`; atoms are named by a mapping, or by their formula.

    Raises:
        ConfigError, DataError, GeometryError: see `named_fragments`.
    """
    if isinstance(given, Mapping):
        return [SamplingTarget(name=name, atoms=atoms) for name, atoms in given.items()]
    parts = [given] if isinstance(given, str | os.PathLike | Atoms) else list(given)
    named = named_fragments([os.fspath(part) for part in parts if not isinstance(part, Atoms)])
    return named + [
        SamplingTarget(name=part.get_chemical_formula(), atoms=part)
        for part in parts
        if isinstance(part, Atoms)
    ]


def pairs(specs: Sequence[str], fragments: Sequence[SamplingTarget]) -> list[SamplingTarget]:
    """Makes dimers of fragments.

    Args:
        specs: such as ``ACE-ALA-NME+H2O``.
        fragments: to look among; names of `named_fragments` need not be there.

    Raises:
        ConfigError: not two names, or no such fragment.
    """
    known = {fragment.name: fragment for fragment in fragments}
    made = []
    for spec in specs:
        ends = spec.split("+")
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

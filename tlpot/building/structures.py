"""The structures that a force field is built for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms

from tlpot.building.config import BuildConfig
from tlpot.errors import ConfigError, DataError, GeometryError, TLPotError
from tlpot.files import write_text
from tlpot.fragments import ProteinFrames, Scheme, parse_scheme
from tlpot.structures import build_peptide, extxyz_text, read_all, read_frames
from tlpot.system import System
from tlpot.topology import Topology
from tlpot.topology import perceive_topology as perceive

CONFORMATIONS = ("extended", "helix")
"""Of a peptide that is built."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A structure that the force field is for.

    Attributes:
        name: in tables.
        frames: conformations, with the total charge in ``info``.
        topology: of all of them.
    """

    name: str
    frames: tuple[Atoms, ...]
    topology: Topology

    @classmethod
    def of(cls, name: str, frames: Sequence[Atoms]) -> Target:
        """Perceives the topology of the first frame.

        Raises:
            GeometryError: valences that do not close, or a periodic structure.
        """
        if any(frame.pbc.any() for frame in frames):
            raise GeometryError(f"{name} is periodic, and fragments are molecules in vacuum")
        try:
            topology = perceive(System.from_atoms(frames[0]))
        except TLPotError as error:
            raise GeometryError(f"{name}: {error}") from error
        info = {"charge": topology.charge, "spin": 1}
        bare = [Atoms(frame.numbers, frame.positions, info=dict(info)) for frame in frames]
        return cls(name=name, frames=tuple(bare), topology=topology)

    @property
    def protein(self) -> ProteinFrames:
        """The same, to be cut."""
        return ProteinFrames(name=self.name, frames=self.frames, topology=self.topology)

    @property
    def fingerprint(self) -> str:
        """A hash of elements and positions (to 1e-6 Å)."""
        found = hashlib.sha256()
        for frame in self.frames:
            found.update(frame.numbers.astype("<i8").tobytes())
            found.update((np.round(frame.positions, 6) + 0.0).astype("<f8").tobytes())
        return found.hexdigest()[:16]


def find_targets(
    config: BuildConfig, atoms: Mapping[str, Sequence[Atoms]] | None = None
) -> list[Target]:
    """Reads or builds the structures.

    Args:
        config: with files or a sequence.
        atoms: structures in memory by name, in place of those of `config`.

    Raises:
        DataError: a file is missing or unreadable.
        ConfigError: no structures, an unknown residue, cap or conformation, or two files of one
            name.
        GeometryError: valences that do not close.
    """
    if atoms is not None:
        if config.sequence is not None:
            raise ConfigError("give either structures or a sequence; both are given")
        return [Target.of(name, frames) for name, frames in atoms.items()]
    if config.sequence is not None:
        return [_built(config, config.sequence)]
    if not config.structures:
        raise ConfigError("give either structures or a sequence; neither is given")
    found: dict[str, Target] = {}
    for path in config.structures:
        if not path.is_file():
            raise DataError(f"structures: no such file: {path}")
        if path.stem in found:
            raise ConfigError(f"two structures are called {path.stem}; rename one of the files")
        found[path.stem] = Target.of(path.stem, read_frames(str(path)))
    return list(found.values())


def _built(config: BuildConfig, sequence: str | Sequence[str]) -> Target:
    caps: dict[str, Any] = {}
    if config.n_cap is not None:
        caps["n_cap"] = config.n_cap
    if config.c_cap is not None:
        caps["c_cap"] = config.c_cap
    names = CONFORMATIONS if config.conformations is None else config.conformations
    if not names:
        raise ConfigError("conformations is empty; leave it out for extended and helix")
    frames = [build_peptide(sequence, conformation=cast(Any, name), **caps) for name in names]
    residues = sequence if isinstance(sequence, str) else "-".join(sequence)
    n_cap, c_cap = config.n_cap or "ACE", config.c_cap or "NME"
    return Target.of(f"{n_cap}-{residues}-{c_cap}", frames)


def scheme_of(setting: str | Mapping[str, Any]) -> Scheme:
    """Returns the fragment scheme of a configuration.

    Raises:
        ConfigError: no such scheme or setting, or one that needs no fragments.
    """
    scheme = parse_scheme(setting)
    if scheme.name == "direct":
        raise ConfigError(
            "scheme is 'direct', which has no fragments; label and train on the structure itself "
            "with tlpot label, train and finetune, or choose mfcc, mfcc2 or mfcc_mbe2"
        )
    return scheme


def write_atoms(frames: Sequence[Atoms], path: Path) -> None:
    """Writes extended XYZ, empty where there are no frames.

    Raises:
        OutputError: it could not be written.
    """
    write_text(path, extxyz_text(frames))


def read_atoms(path: Path) -> list[Atoms]:
    """Reads what `write_atoms` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    empty = path.is_file() and not path.stat().st_size
    return [] if empty else read_all(path)

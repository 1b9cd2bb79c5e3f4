"""The structures that a force field is built for, and the kinds of fragments that it must know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from ase import Atoms

from tlpot.building.config import BuildConfig, FragmentSettings
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.config import to_mapping
from tlpot.errors import ConfigError, DataError, GeometryError, TLPotError
from tlpot.files import write_text
from tlpot.fragments import FragmentPool, FragmentTypes, ProteinFrames, Scheme, parse_scheme
from tlpot.numbers import Ints, counted
from tlpot.reports import named_structures
from tlpot.sampling import SamplingTarget, named_fragments, pairs
from tlpot.structures import SMILES, build_peptide, extxyz_text, read_all
from tlpot.system import System
from tlpot.topology import ColouredGraph, Topology, perceive_topology

CONFORMATIONS = ("extended", "helix")
"""Of a peptide that is built."""

FRAGMENTS = "fragments.xyz"
_PAIR = "pair_charges"
"""Of the two molecules of a dimer; under ``charges`` a reader would take them for those of atoms,
and files of before have none that it gives back."""


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
            topology = perceive_topology(System.from_atoms(frames[0]))
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

    Structures in memory, `atoms` by name, take the place of those of `config`.

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
    for path in config.structures:
        if not path.is_file():  # no name of a molecule either
            raise DataError(f"structures: no such file: {path}")
    found = named_structures(config.structures)
    return [Target.of(name, frames) for name, frames in found.items()]


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


def cut_fragments(targets: Sequence[Target], scheme: Scheme) -> Iterator[Atoms]:
    """Yields every distinct fragment of structures.

    They have the caps that `FragmentCalculator` gives them. ``info`` has ``charge``, ``spin``,
    ``molecule`` (key of the kind), ``name`` and, of dimers, ``first``: the number of atoms of
    the first molecule. Fragments that are the same molecule are one kind, whichever of its
    hydrogen atoms are caps, and have their elements in the same order. Bonds are those of the
    structure's topology, so that frames of dynamics may have them stretched.

    Raises:
        GeometryError: broken bonds, and valences that do not close without them.
    """
    pool = FragmentPool(FragmentTypes(), scheme)
    for target in targets:
        pool.add(target.protein)
    for key, candidates in pool.found.items():
        kind = pool.types.kinds[key]
        numbers = kind.atomic_numbers
        labels = [(int(z == 1), int(z)) for z in numbers.tolist()]
        graph = ColouredGraph(labels, kind.bonds)
        molecule = f"{key.rpartition('.')[0]}.{graph.digest(kind.name, kind.charge)}"
        order, first = _by_molecule(np.array(graph.order(), dtype=np.int64), kind.bonds)
        info: dict[str, Any] = {
            "charge": kind.charge, "spin": 1, "molecule": molecule, "name": kind.name,
            "first": first,
        }  # fmt: skip
        for candidate in candidates:
            yield Atoms(numbers[order], candidate.positions[order], info=dict(info))


def _by_molecule(order: Ints, bonds: Ints) -> tuple[Ints, int]:
    """An order with molecule after molecule, and the size of the first if there are two."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(order)
    matrix = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    count, label = connected_components(matrix, directed=False)
    seen = list(dict.fromkeys(label[order].tolist()))
    place = np.argsort(seen)[label[order]]
    return order[np.argsort(place, kind="stable")], int((place == 0).sum()) if count == 2 else 0


def _charges(atoms: Atoms, first: int) -> Ints:
    parts = [Atoms(atoms.numbers[s], atoms.positions[s]) for s in (np.s_[:first], np.s_[first:])]
    return np.array([perceive_topology(System.from_atoms(part)).charge for part in parts])


def named(settings: FragmentSettings) -> list[Atoms]:
    """Returns the fragments that are asked for by name, as `cut_fragments` does.

    Raises:
        ConfigError: no such fragment, or something that makes no pair.
    """
    names = [] if settings.source == "structures" else [settings.source]
    found = named_fragments([*names, *settings.also])
    found += pairs(settings.pairs, found)
    frames = []
    for fragment in found:
        atoms = Atoms(fragment.atoms.numbers, fragment.atoms.positions)
        charge, spin = (int(fragment.atoms.info.get(k, d)) for k, d in (("charge", 0), ("spin", 1)))
        atoms.info = {
            "charge": charge, "spin": spin, "molecule": fragment.name, "name": fragment.name,
            "first": 0,
        }  # fmt: skip
        if SMILES in fragment.atoms.info:
            atoms.info[SMILES] = fragment.atoms.info[SMILES]
        if fragment.partners is not None:
            if len(fragment.partners) > 2:
                raise ConfigError(
                    f"{fragment.name} is of {len(fragment.partners)} molecules, and a build knows "
                    "fragments of one or two; sample it with tlpot sample"
                )
            atoms.info["first"] = len(fragment.partners[0])
            atoms.info[_PAIR] = np.array(
                [int(part.info.get("charge", 0)) for part in fragment.partners]
            )
        frames.append(atoms)
    return frames


def all_fragments(
    settings: FragmentSettings, targets: Sequence[Target], scheme: Scheme
) -> list[Atoms]:
    """Returns the geometries of all fragments to begin with, dimers with the charges of both.

    Raises:
        ConfigError: there are none, or two kinds have one name.
        GeometryError: see `cut_fragments`.
    """
    frames = []
    if settings.source == "structures":
        frames = list(cut_fragments(targets, scheme))
    for atoms in frames:
        if first := int(atoms.info["first"]):
            atoms.info[_PAIR] = _charges(atoms, first)
    own = {atoms.info["molecule"] for atoms in frames}
    for atoms in named(settings):
        if atoms.info["molecule"] in own:
            raise ConfigError(f"fragments.also names {atoms.info['molecule']} twice")
        frames.append(atoms)
    return frames


def sampled_fragments(frames: Sequence[Atoms]) -> list[SamplingTarget]:
    """Returns one fragment to sample for each kind among those of `all_fragments`."""
    found: dict[str, SamplingTarget] = {}
    for atoms in frames:
        name, first = str(atoms.info["molecule"]), int(atoms.info["first"])
        if name in found:
            continue
        bare = Atoms(atoms.numbers, atoms.positions, info=_state(atoms.info))
        partners = None
        if first:
            charges = [int(q) for q in atoms.info.get(_PAIR, _charges(atoms, first))]
            halves = (np.s_[:first], np.s_[first:])
            one, other = (
                Atoms(atoms.numbers[s], atoms.positions[s], info={"charge": q, "spin": 1})
                for s, q in zip(halves, charges, strict=True)
            )
            partners = one, other
        found[name] = SamplingTarget(name=name, atoms=bare, partners=partners)
    return list(found.values())


def fragment_stage(
    settings: FragmentSettings,
    scheme: str | Mapping[str, Any],
    targets: Sequence[Target],
    frames: Sequence[Atoms],
) -> Stage:
    """Writes the fragments down, those of `all_fragments`."""

    def run(work: StageContext) -> StageResult:
        write_atoms(frames, work.folder / FRAGMENTS)
        counts: dict[str, int] = {}
        for atoms in frames:
            name = str(atoms.info["molecule"])
            counts[name] = counts.get(name, 0) + 1
        kinds = {str(atoms.info["molecule"]): str(atoms.info["name"]) for atoms in frames}
        return StageResult(outputs=(FRAGMENTS,), facts={"geometries": counts, "names": kinds})

    return Stage(
        name="fragments",
        summary=f"{counted(len({a.info['molecule'] for a in frames}), 'kind')} of fragments",
        settings={
            "fragments": to_mapping(settings),
            "scheme": to_mapping(scheme),
            "structures": {target.name: target.fingerprint for target in targets},
        },
        needs=(),
        run=run,
    )


def _state(info: Mapping[str, Any]) -> dict[str, Any]:
    known = {SMILES: str(info[SMILES])} if SMILES in info else {}
    return {"charge": int(info["charge"]), "spin": int(info["spin"]), **known}

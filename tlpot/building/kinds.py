"""The kinds of fragments that a force field has to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from tlpot.building.config import FragmentSettings
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.building.structures import Target, write_atoms
from tlpot.config import to_mapping
from tlpot.errors import ConfigError
from tlpot.fragments import FragmentPool, FragmentTypes, Scheme
from tlpot.sampling import SamplingTarget, named_fragments, pairs
from tlpot.system import System
from tlpot.topology import ColouredGraph, perceive_topology

FRAGMENTS = "fragments.xyz"


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


def _by_molecule(
    order: NDArray[np.int64], bonds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """An order with molecule after molecule, and the size of the first if there are two."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(order)
    matrix = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    count, label = connected_components(matrix, directed=False)
    seen = list(dict.fromkeys(label[order].tolist()))
    place = np.argsort(seen)[label[order]]
    return order[np.argsort(place, kind="stable")], int((place == 0).sum()) if count == 2 else 0


def _charges(atoms: Atoms, first: int) -> NDArray[np.int64]:
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
        if fragment.partners is not None:
            atoms.info["first"] = len(fragment.partners[0])
            atoms.info["charges"] = np.array(
                [int(part.info.get("charge", 0)) for part in fragment.partners]
            )
        frames.append(atoms)
    return frames


def all_fragments(
    settings: FragmentSettings, targets: Sequence[Target], scheme: Scheme
) -> list[Atoms]:
    """Returns the geometries of all fragments to begin with, dimers with their two ``charges``.

    Raises:
        ConfigError: there are none, or two kinds have one name.
        GeometryError: see `cut_fragments`.
    """
    frames = []
    if settings.source == "structures":
        frames = list(cut_fragments(targets, scheme))
    for atoms in frames:
        if first := int(atoms.info["first"]):
            atoms.info["charges"] = _charges(atoms, first)
    own = {atoms.info["molecule"] for atoms in frames}
    for atoms in named(settings):
        if atoms.info["molecule"] in own:
            raise ConfigError(f"fragments.also names {atoms.info['molecule']} twice")
        frames.append(atoms)
    return frames


def sampled_fragments(frames: Sequence[Atoms]) -> list[SamplingTarget]:
    """Returns one fragment to sample for each kind.

    Args:
        frames: of `all_fragments`.
    """
    found: dict[str, SamplingTarget] = {}
    for atoms in frames:
        name, first = str(atoms.info["molecule"]), int(atoms.info["first"])
        if name in found:
            continue
        bare = Atoms(atoms.numbers, atoms.positions, info=_state(atoms.info))
        partners = None
        if first:
            charges = [int(q) for q in np.atleast_1d(atoms.info["charges"])]
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
    """Writes the fragments down.

    Args:
        settings: which.
        scheme: as in the configuration.
        targets: the structures.
        frames: of `all_fragments`.
    """

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
        summary=f"{len({a.info['molecule'] for a in frames})} kinds of fragments",
        settings={
            "fragments": to_mapping(settings),
            "scheme": to_mapping(scheme),
            "structures": {target.name: target.fingerprint for target in targets},
        },
        needs=(),
        run=run,
    )


def _state(info: Mapping[str, Any]) -> dict[str, int]:
    return {"charge": int(info["charge"]), "spin": int(info["spin"])}

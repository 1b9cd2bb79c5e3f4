"""Import of a model of mace-torch: its heads become levels of a potential, which is checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from tlpot.energy import evaluate
from tlpot.errors import ConfigError, ModelFileError, nearest
from tlpot.files import file_hash
from tlpot.graph import build_graph
from tlpot.levels import total_level
from tlpot.models.backbone import Head
from tlpot.models.description import ModelCard
from tlpot.models.level_potential import LevelPotential
from tlpot.models.mace.architecture import MaceArchitecture
from tlpot.models.mace.archive import Module, read_module
from tlpot.models.mace.backbone import MaceBackbone
from tlpot.models.mace.conversion import Conversion
from tlpot.models.mace.description import describe_mace
from tlpot.models.potential import Potential
from tlpot.numbers import Floats, Ints
from tlpot.presentation import Result
from tlpot.system import System
from tlpot.torch_mode import plain_torch

TOLERANCE = 1e-8
"""eV and eV/Å for each eV or eV/Å of a model in float64, which is exact to some 1e-11."""


def check_physics(potential: Potential) -> dict[str, float]:
    """Checks an imported model in float64 on clusters of its elements.

    Returns:
        The largest relative change of energies and forces under a rotation with reflection and a
        permutation, and the largest deviation from additivity of two clusters far apart.

    Raises:
        ModelFileError: one of them is not zero.
    """
    rng = np.random.default_rng(0)
    clusters = [
        _cluster(rng.choice(potential.elements, size=6), potential.cutoff, rng) for _ in range(3)
    ]
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    found: dict[str, list[float]] = {"symmetry": [], "size consistency": []}
    for level in potential.levels:
        model = potential.at(level)
        energies = []
        for atoms in clusters:
            energy, forces = _evaluated(model, atoms)
            order = rng.permutation(len(atoms))
            other = Atoms(atoms.numbers[order], atoms.positions[order] @ turned.T + 1.0)
            energy_2, forces_2 = _evaluated(model, other)
            size = max(abs(energy), float(np.abs(forces).max()), 1.0)
            off = np.abs(forces_2 - forces[order] @ turned.T).max()
            found["symmetry"] += [abs(energy_2 - energy) / size, float(off) / size]
            energies.append(energy)
        joined = clusters[0].copy()
        for k, atoms in enumerate(clusters[1:], start=1):
            moved = atoms.copy()
            moved.translate([0.0, 0.0, 50.0 * k])
            joined += moved
        off = abs(_evaluated(model, joined)[0] - sum(energies)) / max(1.0, *map(abs, energies))
        found["size consistency"].append(off)
    worst = {what: float(np.max(offs)) for what, offs in found.items()}  # NaN stays NaN
    for what, off in worst.items():
        if not off < TOLERANCE:
            raise ModelFileError(
                f"the imported model fails a check of {what} (off by {off:.1e}, expected at most "
                f"{TOLERANCE:.0e}): it would give wrong energies and is not written"
            )
    return worst


def _evaluated(model: LevelPotential, atoms: Atoms) -> tuple[float, Floats]:
    """Returns the energy without E0, eV, and the forces, eV/Å."""
    graph = build_graph([System.from_atoms(atoms)], model.cutoff, layout=model.layout)
    result = evaluate(model, graph)
    e0 = model.potential.references(model.level)
    assert result.forces is not None
    energy = float(result.energy[0]) - sum(e0[z] for z in atoms.numbers)
    return energy, result.forces.numpy()


def _cluster(numbers: Ints, cutoff: float, rng: np.random.Generator) -> Atoms:
    """Returns atoms at some 1.3 times the sum of their largest radii, within the cutoff."""
    grid = np.array([(x, y, z) for x in range(2) for y in range(2) for z in range(2)], dtype=float)
    spacing = min(2.6 * max(covalent_radii[z] for z in numbers), 0.4 * cutoff)
    places = grid[: len(numbers)] * spacing + rng.normal(scale=0.1, size=(len(numbers), 3))
    return Atoms(numbers, places)


def check_vectors(
    potential: Potential, taken: Mapping[str, str], path: str | os.PathLike[str]
) -> dict[str, float]:
    """Compares an imported model in float64 with energies and forces that mace-torch gave.

    Args:
        potential: the model.
        taken: head by level.
        path: npz file with ``n`` structures, each as ``numbers_k``, ``positions_k``, ``cell_k``,
            ``pbc_k``, ``charge_k``, ``spin_k``, and by head ``HEAD/energy_k``, ``HEAD/forces_k``.

    Returns:
        Largest differences of energies (without E0, relative) and forces (relative to the
        largest).

    Raises:
        ModelFileError: the file cannot be read, or a difference is larger than rounding.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {key: file[key] for key in file.files}
        structures = [
            Atoms(
                data[f"numbers_{k}"],
                data[f"positions_{k}"],
                cell=data[f"cell_{k}"],
                pbc=data[f"pbc_{k}"],
                info={"charge": int(data[f"charge_{k}"]), "spin": int(data[f"spin_{k}"])},
            )
            for k in range(int(data["n"]))
        ]
        tolerance = 1e-4 if bool(data.get("single", False)) else 1e-7
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ModelFileError(
            f"cannot read the test vectors {path}: {error!r}; expected what "
            "examples/mace_vectors.py writes in an environment with mace-torch"
        ) from error
    offs: dict[str, list[float]] = {"energy": [], "forces": []}
    for level, head in taken.items():
        model = potential.at(level)
        e0 = potential.references(level)
        before = len(offs["energy"])
        for k, atoms in enumerate(structures):
            if f"{head}/energy_{k}" not in data or not set(atoms.numbers) <= set(model.elements):
                continue
            energy, forces = _evaluated(model, atoms)
            truth = float(data[f"{head}/energy_{k}"]) - sum(e0[z] for z in atoms.numbers)
            offs["energy"].append(abs(energy - truth) / max(abs(truth), 0.1))
            expected = data[f"{head}/forces_{k}"]
            off = np.abs(forces - expected).max() / max(np.abs(expected).max(), 0.1)
            offs["forces"].append(float(off))
        if len(offs["energy"]) == before:
            raise ModelFileError(
                f"{path} holds no structure of the elements that were taken with energies of head "
                f"{head!r}; write it with structures of these elements, or take other heads"
            )
    worst = {what: float(np.max(values)) for what, values in offs.items()}  # NaN stays NaN
    if not np.max(list(worst.values())) <= tolerance:
        raise ModelFileError(
            f"the imported model does not give what mace-torch gave ({path}): energies are off by "
            f"{worst['energy']:.1e}, forces by {worst['forces']:.1e} (relative), expected at most "
            f"{tolerance:.0e}; it is not written. Please report the file's version of mace-torch"
        )
    return worst


ASL = "ASL (academic software licence: NOT FOR COMMERCIAL USE)"
LICENCES = {
    r"mace-?(off|omat|omol|matpes|mh)": ASL,
    r"mace-mpa?-0[ab]?\d?(-(small|medium|large))?$": "MIT",
    r"20\d\d-\d\d-\d\d-mace-128-l\d(-epoch-\d+)?$": "MIT",
}
"""Licences of published models by the names of their files (of the permissive ones, whole names):
https://github.com/ACEsuit/mace-foundations."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MaceImport(Result):
    """An imported model, and what was found on the way.

    Attributes:
        potential: the model.
        source: the file.
        heads: those of the file.
        taken: head by level.
        left_out: symbols of the file's elements that were not asked for.
        coupling_error: largest difference between the file's couplings and tlpot's.
        checks: what was checked of the imported model in float64, by name, and how far it is off.
        vectors: the same against energies and forces that mace-torch gave, if there were any.
        licence_by_name: whether the licence is that of published files of this name, not stated.
    """

    potential: Potential
    source: str
    heads: Sequence[str]
    taken: Mapping[str, str]
    left_out: Sequence[str]
    coupling_error: float
    checks: Mapping[str, float]
    vectors: Mapping[str, float]
    licence_by_name: bool

    def text(self) -> str:
        """Returns what was read, what was not, and what was checked."""
        potential, a = self.potential, self.potential.architecture
        assert isinstance(a, MaceArchitecture)
        n_weights = sum(p.numel() for p in potential.parameters())
        others = [h for h in self.heads if h not in self.taken.values()]
        checked = ", ".join(f"{k} {v:.0e}" for k, v in self.checks.items())
        lines = [
            f"{self.source}: {potential.card.description}",
            *(f"  level {level}: head {head}" for level, head in self.taken.items()),
            f"  elements {' '.join(chemical_symbols[z] for z in a.elements)}",
            f"  {a.hidden_irreps}, {a.n_layers} layers, cutoff {a.cutoff:g} Å, "
            f"{n_weights:,} weights",
            f"  charge and multiplicity: {'read' if a.charge_spin else 'neutral singlets only'}",
            f"  not taken: heads {', '.join(others) or 'none'}; elements "
            f"{' '.join(self.left_out) or 'none'}",
            f"  checked: couplings {self.coupling_error:.0e}, {checked}",
        ]
        if self.vectors:
            found = ", ".join(f"{k} {v:.0e}" for k, v in self.vectors.items())
            lines.append(f"  against mace-torch itself (relative): {found}")
        else:
            lines.append(
                "  not compared with mace-torch itself: examples/mace_vectors.py, run where it is "
                "installed, writes what --check reads"
            )
        if not a.isolated_at_reference:
            lines.append("  an atom by itself is not at E0 in this model, as it is in tlpot's own")
        lines.append(f"  licence: {potential.card.licence}{self._licence_note()}")
        return "\n".join(lines)

    def _licence_note(self) -> str:
        licence = self.potential.card.licence
        if licence == "not stated":
            return "; find out which it is, and give it with --licence"
        note = ", as published for files of this name" if self.licence_by_name else ""
        return note + ("; so are all models that are made from it" if licence == ASL else "")

    def as_json(self) -> dict[str, Any]:
        """Returns every number as plain values."""
        return {
            "source": self.source,
            "levels": dict(self.taken),
            "heads": list(self.heads),
            "elements": [chemical_symbols[z] for z in self.potential.elements],
            "left_out": list(self.left_out),
            "licence": self.potential.card.licence,
            "coupling_error": self.coupling_error,
            "checks": dict(self.checks),
            "vectors": dict(self.vectors),
        }


@plain_torch()
def import_mace(
    source: str | os.PathLike[str],
    *,
    levels: Mapping[str, str] | str | None = None,
    heads: Sequence[str] | None = None,
    elements: Sequence[int] | None = None,
    licence: str | None = None,
    dtype: torch.dtype | None = None,
    kernels: str = "auto",
    vectors: str | os.PathLike[str] | None = None,
) -> MaceImport:
    """Reads a model that mace-torch wrote; nothing of the file is executed.

    Args:
        source: the ``.model`` file.
        levels: name of the level of theory, or one for each head; heads without one have the
            name of the file, and their own where there are several.
        heads: those to take; None for all.
        elements: atomic numbers of those to take; None for all.
        licence: of the weights; None for that of a published model of the file's name.
        dtype: precision; None for that of the file.
        kernels: see `tlpot.models.load`.
        vectors: npz file with structures, energies and forces that mace-torch gave.

    Raises:
        ModelFileError: the file cannot be read, is damaged, or holds a model of another kind; or
            the imported model does not give what it should.
        ConfigError: a head or an element that it does not have, or a name of no level.
    """
    path, name = Path(source), os.fspath(source)
    module = read_module(path)
    architecture, left_out = describe_mace(module, name, elements)
    conversion = Conversion(module, architecture, name)
    taken = _levels(path, conversion.heads, heads, levels)
    made = {level: conversion.head(conversion.heads.index(h)) for level, h in taken.items()}
    with torch.random.fork_rng(devices=[]):
        parts = {
            level: Head(architecture, head.references, head.scale).double()
            for level, head in made.items()
        }
        potential = Potential(architecture, parts, kernels).double()
    assert isinstance(potential.backbone, MaceBackbone)
    conversion.backbone(potential.backbone)
    for level, h in taken.items():
        head, index = potential.head(level), conversion.heads.index(h)
        conversion.readout(head.readout, index)
        head.readout.scale = torch.tensor(made[level].scale, dtype=torch.float64)
        if head.repulsion_scale is not None:
            head.repulsion_scale.value = torch.tensor(made[level].scale, dtype=torch.float64)
        if head.embedding is not None:
            conversion.embedding_readout(head.embedding, index)
    potential.card = _card(path, module, licence, taken)
    checks = check_physics(potential)
    compared = check_vectors(potential, taken, vectors) if vectors is not None else {}
    stored = torch.float32 if _is_single(module) else torch.float64
    return MaceImport(
        potential=potential.to(stored if dtype is None else dtype),
        source=name,
        heads=conversion.heads,
        taken=taken,
        left_out=left_out,
        coupling_error=conversion.residual,
        checks=checks,
        vectors=compared,
        licence_by_name=licence is None,
    )


def _is_single(module: Module) -> bool:
    return module.state()["node_embedding.linear.weight"].dtype == np.float32


def _levels(
    path: Path,
    known: Sequence[str],
    heads: Sequence[str] | None,
    levels: Mapping[str, str] | str | None,
) -> dict[str, str]:
    """Returns the head of each level that is taken."""
    chosen = list(known if heads is None else heads)
    unknown = [head for head in chosen if head not in known]
    if unknown:
        raise ConfigError(
            f"{path} has no head {unknown[0]!r}{nearest(unknown[0], list(known))}; it has "
            f"{', '.join(known)}"
        )
    if isinstance(levels, str):
        if len(chosen) > 1:
            raise ConfigError(
                f"{path} has {len(chosen)} heads ({', '.join(chosen)}), but one level was named; "
                "choose a head, or name levels as HEAD=LEVEL"
            )
        levels = {chosen[0]: levels}
    levels = levels or {}
    astray = [head for head in levels if head not in chosen]
    if astray:
        raise ConfigError(f"a level was named for {astray[0]!r}, which is no head that is taken")
    taken: dict[str, str] = {}
    for head in chosen:
        own = path.stem if len(known) == 1 else f"{path.stem}/{head}"
        level = total_level(levels.get(head, own), "a head")
        if level in taken:
            raise ConfigError(f"the heads {taken[level]} and {head} would both be level {level!r}")
        taken[level] = head
    return taken


def _card(path: Path, module: Module, licence: str | None, taken: Mapping[str, str]) -> ModelCard:
    found = licence
    if found is None:
        stem = path.stem.lower().replace("_", "-")
        found = next((text for name, text in LICENCES.items() if re.match(name, stem)), None)
    found = found or "not stated"
    return ModelCard(
        name=path.stem,
        description=f"imported from {path.name}, a {module.name} of mace-torch",
        licence=found,
        recipe={"imported": {"file": path.name, "heads": dict(taken)}},
        references=dict.fromkeys(taken, "of the imported head, with its shift"),
        origin={
            "file": path.name,
            "sha256": file_hash(path),
            "program": "mace-torch",
            "licence": found,
        },
        citation="doi:10.48550/arXiv.2206.07697",
    )

"""Many fragments, in this process or several, kept on disk when finished, to one dataset."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from functools import partial
from pathlib import Path

import numpy as np

from tlpot.calculators import CalculatorFactory
from tlpot.data import (
    ArrayDataset,
    DataSpec,
    LevelSpec,
    MemoryStore,
    Section,
    UnitSpec,
    write_dataset,
    written_hdf5,
)
from tlpot.engines import METHODS, MMFF94
from tlpot.errors import (
    ConfigError,
    DataError,
    MissingExtraError,
    OutputError,
    SimulationError,
    TLPotError,
    TLPotWarning,
)
from tlpot.execution import run_tasks
from tlpot.files import check_hdf5_name, check_replaced, make_folder, sole_use
from tlpot.models import content_hash
from tlpot.numbers import Floats, counted
from tlpot.presentation import progress_bar
from tlpot.sampling.candidate import SampledGeometry
from tlpot.sampling.fragment import FragmentSamples, SamplingTarget, sample_fragment
from tlpot.sampling.settings import SamplingSettings
from tlpot.sampling.thermal_motion import PROTONS_HELD
from tlpot.stored_results import digest, read_arrays, write_arrays
from tlpot.structures import SMILES
from tlpot.topology import MolecularGraph

PROVENANCE = ("sample_method", "sample_temperature", "sample_seed", "sample_step")
"""Arrays of each group beside geometry and labels, one value for each frame."""

_BAR = "{desc} {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"


_COLUMNS = ("positions", "energy", "forces", "method", "temperature", "seed", "step")
"""Fields of a geometry, of which there is one array each."""
_OF_CRYSTALS = ("cell", "stress")
"""Fields that periodic structures have, NaN where there is none."""
_TYPES = {"seed": np.int64, "step": np.int64}


class Parts:
    """A folder with one file for each fragment that is done.

    A file is written in one piece and says what it was made from; one that was made from
    something else is refused, or, in a folder that is kept, has another name.

    Args:
        folder: made when the first part is written.
        settings: of the sampling.
        engine: what calculates.
        kept: whether files are named by what they were made from, so that those of several
            samplings have room.
    """

    def __init__(
        self,
        folder: Path,
        settings: SamplingSettings,
        engine: CalculatorFactory,
        *,
        kept: bool = False,
    ) -> None:
        self.folder, self.kept = folder, kept
        self.settings, self.engine = settings, engine
        self._also = _also_made_from(settings, engine)
        if kept:
            self._also["definition"] = engine.definition

    def path(self, fragment: SamplingTarget) -> Path:
        """The file of a fragment.

        Args:
            fragment: done or not.
        """
        tail = hashlib.sha256(fragment.name.encode()).hexdigest()[:8]
        if self.kept:
            tail = f"{tail}.{self._made_from(fragment)[:16]}"
        stem = "".join(c if c.isalnum() or c in "-+_" else "_" for c in fragment.name)
        return self.folder / f"{stem[:80]}.{tail}.npz"

    def load(self, fragment: SamplingTarget) -> FragmentSamples | None:
        """What is there of a fragment; None if nothing is.

        Args:
            fragment: which.

        Raises:
            OutputError: the part was made with other settings or from another structure.
            DataError: the part is damaged.
        """
        path, again = self.path(fragment), "remove it to sample it again"
        periodic = bool(fragment.atoms.pbc.any())
        names = ("head", "relaxed", *_COLUMNS, *(_OF_CRYSTALS if periodic else ()))
        content = read_arrays(path, names, again)
        if content is None:
            return None
        try:
            head = json.loads(str(content["head"]))
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}); {again}") from error
        if head["made_from"] != self._made_from(fragment):
            raise OutputError(
                f"{path} is of another sampling (settings, calculator or structure differ); remove "
                f"{self.folder} to start afresh (--overwrite), or choose another output"
            )
        atoms = fragment.atoms.copy()
        atoms.set_positions(content["relaxed"])
        chosen = tuple(
            SampledGeometry(
                positions=content["positions"][k],
                method=str(content["method"][k]),
                temperature=float(content["temperature"][k]),
                seed=int(content["seed"][k]),
                step=int(content["step"][k]),
                energy=float(content["energy"][k]),
                forces=content["forces"][k],
                cell=content["cell"][k] if periodic else None,
                stress=_known(content["stress"][k]) if periodic else None,
            )
            for k in range(len(content["energy"]))
        )
        return FragmentSamples(
            name=fragment.name,
            atoms=atoms,
            chosen=chosen,
            counts=head["counts"],
            radius=head["radius"],
            random_radius=head["random_radius"],
        )

    def save(self, fragment: SamplingTarget, samples: FragmentSamples) -> None:
        """Writes a part.

        Args:
            fragment: what was sampled.
            samples: what came of it.

        Raises:
            OutputError: it could not be written.
        """
        head = {
            "made_from": self._made_from(fragment),
            "counts": samples.counts,
            "radius": samples.radius,
            "random_radius": samples.random_radius,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        columns = {
            name: np.array([getattr(c, name) for c in samples.chosen], dtype=_TYPES.get(name))
            for name in _COLUMNS
        }
        if samples.atoms.pbc.any():
            columns |= {name: _tensors(samples, name) for name in _OF_CRYSTALS}
        arrays = {"head": json.dumps(head), "relaxed": samples.atoms.positions, **columns}
        write_arrays(self.path(fragment), arrays, compressed=True)

    def _made_from(self, fragment: SamplingTarget) -> str:
        parts = [fragment.atoms, *(fragment.partners or ())]
        return digest(
            {
                "settings": self.settings.as_json(),
                "engine": [self.engine.name, self.engine.level],
                "factory": self.engine.factory_name,
                **self._also,
                "structures": [
                    [
                        part.numbers.tolist(),
                        np.round(part.positions, 6).tolist(),
                        int(part.info.get("charge", 0)),
                        int(part.info.get("spin", 1)),
                        *([part.cell.tolist(), part.pbc.tolist()] if part.pbc.any() else []),
                    ]
                    for part in parts
                ],
            }
        )


def _tensors(samples: FragmentSamples, name: str) -> Floats:
    """Returns one tensor for each geometry, [n, 3, 3]; NaN where there is none."""
    found = [getattr(c, name) for c in samples.chosen]
    return np.array([np.full((3, 3), np.nan) if each is None else each for each in found])


def _known(tensor: Floats) -> Floats | None:
    return tensor if np.isfinite(tensor).all() else None


def _also_made_from(settings: SamplingSettings, engine: CalculatorFactory) -> dict[str, str]:
    """What names do not tell: a model may be replaced, and a program be another version.

    Of xTB and MMFF94 by name nothing, so that what was begun before goes on.
    """
    found = {}
    if engine.factory is not None or engine.name not in (*METHODS, MMFF94):
        found["definition"] = engine.definition
    if settings.model is not None:
        found["model"] = content_hash(settings.model)
    if settings.downhill is not None:
        own = CalculatorFactory.of(settings.downhill)
        if own.name not in (*METHODS, MMFF94):
            found["downhill"] = own.definition
    return found


def write_samples(
    samples: Sequence[FragmentSamples],
    path: str | os.PathLike[str],
    *,
    level: str,
    settings: SamplingSettings,
    definition: str = "",
) -> None:
    """Writes geometries with the energies and forces of the calculator that sampled them.

    One group for each fragment, with an attribute ``molecule`` and, beside geometry, charge and
    labels, the arrays of `PROVENANCE`: how each geometry was made, at which temperature (K; NaN
    where there is none), from which seed, and at which step. Molecules by SMILES have attributes
    ``smiles`` and ``bonds``. The settings are JSON in the root attribute ``sampling``.

    Args:
        samples: of fragments with different names.
        path: the HDF5 file.
        level: of the energies.
        settings: of the sampling.
        definition: of the level.

    Raises:
        OutputError: the file could not be written; an existing one is left as it was.
    """
    sections, columns = [], []
    for each in samples:
        count = len(each.chosen)
        column = {
            "numbers": each.atoms.numbers,
            "coordinates": np.array([c.positions for c in each.chosen]),
            "charge": np.full(count, int(each.atoms.info.get("charge", 0))),
            "spin": np.full(count, int(each.atoms.info.get("spin", 1))),
            "energy": np.array([c.energy for c in each.chosen]),
            "forces": np.array([c.forces for c in each.chosen]),
        }
        if each.atoms.pbc.any():
            column |= {"cell": _tensors(each, "cell")}
            if any(c.stress is not None for c in each.chosen):
                column["stress"] = _tensors(each, "stress")
            column["pbc"] = each.atoms.pbc
        columns.append(column)
        shapes = {name: array.shape for name, array in column.items()}
        sections.append(Section(group=each.name, label=each.name, shapes=shapes))
    periodic = any(each.atoms.pbc.any() for each in samples)
    strained = any(c.stress is not None for each in samples for c in each.chosen)
    spec = DataSpec(
        container="hdf5",
        units=UnitSpec(
            coordinates="angstrom", energy="ev", forces="ev/angstrom", stress="ev/angstrom^3"
        ),
        numbers="numbers",
        charge="charge",
        spin="spin",
        cell="cell" if periodic else None,
        pbc="pbc" if periodic else None,
        sign="force",
        levels={
            level: LevelSpec(
                energy="energy",
                forces="forces",
                stress="stress" if strained else None,
                definition=definition,
            )
        },
    )
    dataset = ArrayDataset(MemoryStore(Path(path), sections, columns), spec)
    with written_hdf5(path, partial(write_dataset, dataset)) as handle:
        handle.attrs["sampling"] = json.dumps(settings.as_json())
        for each in samples:
            group = handle[each.name]
            if SMILES in each.atoms.info:
                bonds = MolecularGraph(each.atoms).bonds
                group.attrs.update({SMILES: each.atoms.info[SMILES], "bonds": bonds.astype("i4")})
            group["sample_method"] = np.array([c.method for c in each.chosen], dtype="S8")
            group["sample_temperature"] = np.array([c.temperature for c in each.chosen])
            group["sample_seed"] = np.array([c.seed for c in each.chosen], dtype=np.int64)
            group["sample_step"] = np.array([c.step for c in each.chosen], dtype=np.int64)


def sample(
    fragments: Sequence[SamplingTarget],
    out: str | os.PathLike[str],
    settings: SamplingSettings,
    engine: CalculatorFactory | None = None,
    *,
    executor: Executor | None = None,
    overwrite: bool = False,
    skip_failed: bool = False,
    progress: bool = True,
) -> list[FragmentSamples]:
    """Samples fragments and writes one dataset.

    Each finished fragment is kept in the folder ``OUT.parts`` until the dataset is written, so
    that a run that was interrupted goes on with those that are missing when it is started
    again. The result does not depend on the number of processes.

    Args:
        fragments: with different names; those cut from proteins are given as any other.
        out: the HDF5 file.
        settings: how.
        engine: what calculates; None is GFN2-xTB.
        executor: of processes; None is this one.
        overwrite: replace the file and what is there of an interrupted run.
        skip_failed: leave out what cannot be sampled, with a warning, instead of stopping.
        progress: show a bar with the time left, taken to grow with the square of the atoms.

    Returns:
        In the order of the fragments.

    Raises:
        ConfigError: two fragments have one name, or there are none.
        OutputError: the file exists, or parts of another sampling do.
        SimulationError: a fragment falls apart or has no geometry left; the others are kept.
    """
    make_folder(Path(out).parent)
    target, chosen = Path(out), engine or CalculatorFactory()
    with sole_use(target, "tlpot sample"):
        parts = Parts(target.with_name(target.name + ".parts"), settings, chosen)
        _check(fragments, parts, target, overwrite)
        found = _write_sampled(fragments, target, parts, executor, skip_failed, progress)
        shutil.rmtree(parts.folder)
    return found


def sample_with(
    fragments: Sequence[SamplingTarget],
    out: str | os.PathLike[str],
    parts: Parts,
    executor: Executor | None = None,
) -> list[FragmentSamples]:
    """Does the same with parts that outlive it: those that are there are not sampled again.

    Raises:
        ConfigError: two fragments have one name, or there are none.
        OutputError: the file exists.
        SimulationError: a fragment falls apart or has no geometry left; the others are kept.
    """
    make_folder(Path(out).parent)
    with sole_use(Path(out), "tlpot sample"):
        _check(fragments, parts, Path(out), overwrite=False)
        return _write_sampled(fragments, Path(out), parts, executor)


def _write_sampled(
    fragments: Sequence[SamplingTarget],
    target: Path,
    parts: Parts,
    executor: Executor | None,
    skip_failed: bool = False,
    progress: bool = True,
) -> list[FragmentSamples]:
    done = _finished(fragments, parts, executor, skip_failed, progress)
    ordered = [done[each.name] for each in fragments if each.name in done]
    if not ordered:
        raise SimulationError("no fragment could be sampled, see the warnings")
    level, definition = parts.engine.label_level, parts.engine.definition
    write_samples(ordered, target, level=level, settings=parts.settings, definition=definition)
    return ordered


def _check(
    fragments: Sequence[SamplingTarget], parts: Parts, target: Path, overwrite: bool
) -> None:
    names = [fragment.name for fragment in fragments]
    if not names:
        raise ConfigError("there are no fragments to sample")
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ConfigError(f"fragments {', '.join(twice)} occur twice; give each a name of its own")
    check_replaced(check_hdf5_name(target), what="dataset", overwrite=overwrite)
    if overwrite:
        shutil.rmtree(parts.folder, ignore_errors=True)


def _finished(
    fragments: Sequence[SamplingTarget],
    parts: Parts,
    executor: Executor | None,
    skip_failed: bool,
    progress: bool,
) -> dict[str, FragmentSamples]:
    """Samples what is not done yet; what fails is left out, if that is wanted."""
    done = {f.name: found for f in fragments if (found := parts.load(f)) is not None}
    # large ones first, so that no process ends up alone with them
    todo = sorted((f for f in fragments if f.name not in done), key=lambda f: -len(f.atoms))
    weights = {f.name: float(len(f.atoms)) ** 2 for f in fragments}
    with progress_bar(
        total=sum(weights.values()),
        initial=sum(weights[name] for name in done),
        bar_format=_BAR,
        desc="sampling",
        disable=not progress,
        dynamic_ncols=True,
    ) as bar:
        bar.set_postfix_str(f"{len(done)}/{len(fragments)} fragments")
        for fragment, found in _results(todo, parts, executor, skip_failed):
            parts.save(fragment, found)
            done[fragment.name] = found
            if held := found.counts.get(PROTONS_HELD):
                warnings.warn(
                    f"{fragment.name}: {counted(held, 'proton')} would leave for another atom, as "
                    "in vacuum; springs on bonds of N, O and S with hydrogen held what was sampled "
                    "(labels are without). If it may leave, give the other protonation state",
                    TLPotWarning,
                    stacklevel=4,
                )
            bar.set_postfix_str(f"{len(done)}/{len(fragments)} fragments", refresh=False)
            bar.update(weights[fragment.name])
    return done


def _results(
    todo: Sequence[SamplingTarget], parts: Parts, executor: Executor | None, skip_failed: bool
) -> Iterator[tuple[SamplingTarget, FragmentSamples]]:
    function = partial(sample_fragment, settings=parts.settings, engine=parts.engine)
    failure: BaseException | None = None
    for fragment, found in run_tasks(function, todo, executor):
        if isinstance(found, BrokenExecutor):
            found = SimulationError(
                f"{fragment.name}: the worker died ({found}); out of memory, or a crash in the "
                "program? The same command tries it again, with fewer workers perhaps"
            )
        if not isinstance(found, Exception):
            yield fragment, found
        elif skip_failed and _of_one(found):
            warnings.warn(f"{fragment.name} is left out: {found}", TLPotWarning, stacklevel=4)
        elif executor is None:
            raise found
        elif isinstance(found, CancelledError):  # by a pool that was told to stop
            failure = failure or KeyboardInterrupt()
        else:  # the others are waited for, and kept
            failure = failure or found
    if failure is not None:
        raise failure


def _of_one(error: Exception) -> bool:
    """Whether an error is a fragment's own, and others may do."""
    return isinstance(error, TLPotError) and not isinstance(error, MissingExtraError)

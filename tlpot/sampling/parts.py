"""Finished fragments on disk, so that an interrupted sampling goes on where it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tlpot.calculators import CalculatorFactory
from tlpot.errors import DataError, OutputError
from tlpot.sampling.candidate import SampledGeometry
from tlpot.sampling.fragment import FragmentSamples, SamplingTarget
from tlpot.sampling.settings import SamplingSettings
from tlpot.stored_results import digest, read_arrays, write_arrays

_COLUMNS = ("positions", "energy", "forces", "method", "temperature", "seed", "step")
"""Fields of a geometry, of which there is one array each."""
_TYPES = {"seed": np.int64, "step": np.int64}


class Parts:
    """A folder with one file for each fragment that is done.

    A file is written in one piece and says what it was made from; one that was made from
    something else is refused.

    Args:
        folder: made when the first part is written.
        settings: of the sampling.
        engine: what calculates.
    """

    def __init__(self, folder: Path, settings: SamplingSettings, engine: CalculatorFactory) -> None:
        self.folder = folder
        self._settings, self._engine = settings, engine

    def path(self, fragment: SamplingTarget) -> Path:
        """The file of a fragment.

        Args:
            fragment: done or not.
        """
        tail = hashlib.sha256(fragment.name.encode()).hexdigest()[:8]
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
        content = read_arrays(path, ("head", "relaxed", *_COLUMNS), again)
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
        arrays = {"head": json.dumps(head), "relaxed": samples.atoms.positions, **columns}
        write_arrays(self.path(fragment), arrays, compressed=True)

    def _made_from(self, fragment: SamplingTarget) -> str:
        parts = [fragment.atoms, *(fragment.partners or ())]
        return digest(
            {
                "settings": asdict(self._settings),
                "engine": [self._engine.name, self._engine.level],
                "factory": self._engine.factory_name,
                "structures": [
                    [
                        part.numbers.tolist(),
                        np.round(part.positions, 6).tolist(),
                        int(part.info.get("charge", 0)),
                        int(part.info.get("spin", 1)),
                    ]
                    for part in parts
                ],
            }
        )

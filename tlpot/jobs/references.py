"""Reference energies E0 of a level of theory: given, inherited, or fitted as far as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import chemical_symbols

from tlpot.data import Dataset, frames_of, with_any_label
from tlpot.errors import ConfigError, DataError
from tlpot.evaluation import predict
from tlpot.models import LevelPotential
from tlpot.numbers import Floats, Ints, counted
from tlpot.presentation import Table
from tlpot.training import ReferenceFit, fit_references

_POSITIVE = 1.0
"""eV; E0 above it are those of no total energy."""

_UNEXPLAINED = 1.0
"""eV per atom that may be left over by a fit of E0."""

_NO_TOTALS = "energies per atom or relative ones"

ReferenceMethod = Literal["fit", "isolated", "parent"]


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """Reference energies and how they were found.

    Attributes:
        energies: E0 by atomic number, eV; NaN where the level does not know the element.
        origin: in words, for the model card.
        prior: the values that a fit started from; none where the level does not know an element.
        fit: the fit, if there was one.
    """

    energies: Mapping[int, float]
    origin: str
    prior: Mapping[int, float]
    fit: ReferenceFit | None = None

    @property
    def absent(self) -> tuple[int, ...]:
        """Atomic numbers that nothing was learned of."""
        return () if self.fit is None else self.fit.absent

    def cautions(self, *, pretrained: bool) -> list[str]:
        """Returns what a fit to total energies does not give; nothing for one that is sound.

        Args:
            pretrained: of what is left over the error of the model tells.
        """
        if self.fit is None:
            return []
        heavy = {z: self.energies[z] for z in self.prior if z > 1 and z not in self.absent}
        found = []
        if heavy and min(heavy.values()) > _POSITIVE:
            shown = ", ".join(f"{chemical_symbols[z]} {e:+.4g} eV" for z, e in heavy.items())
            found.append(
                f"the fitted E0 of all elements but hydrogen are positive ({shown}), and total "
                f"energies are far below zero; are these {_NO_TOTALS}, or of the other sign?"
            )
        if self.fit.after_per_atom > _UNEXPLAINED and not pretrained:
            found.append(
                f"the fitted E0 leave {self.fit.after_per_atom:.3g} eV per atom of the energies "
                f"unexplained, more than bonds do; are these {_NO_TOTALS}, in another unit, or of "
                "several levels of theory?"
            )
        return found

    def table(self) -> str:
        """Returns the shift table of the pre-flight report."""
        lines = [f"reference energies: {self.origin}"]
        rows: list[tuple[object, ...]] = []
        known = list(self.prior)
        for z, energy in self.energies.items():
            if z not in known:
                rows.append((chemical_symbols[z], "", "", "", "in no molecule of this level"))
                continue
            k, shift, note = known.index(z), energy - self.prior[z], ""
            if self.fit is not None:
                error = self.fit.uncertainties[k]
                note = f"± {error:.4f}" if np.isfinite(error) else "error unknown"
                note = note if self.fit.identified[k] else "not identified alone"
            rows.append((chemical_symbols[z], self.prior[z], shift, energy, note))
        columns = "element | prior (eV) | shift (eV) | E0 (eV) | "
        lines += Table(columns, rows, format=".6f", widths=(8, 14), indent=2).lines()
        if self.fit is not None:
            lines.append(
                f"  mean residual before {1e3 * self.fit.before:.1f} meV, "
                f"after {1e3 * self.fit.after:.1f} meV"
            )
            if self.fit.caution:
                lines.append(f"  note: {self.fit.caution}")
        return "\n".join(lines)


def elements_at(dataset: Dataset, level: str) -> set[int]:
    """Returns the atomic numbers in molecules with a label at a level."""
    frames = np.flatnonzero(with_any_label(dataset, level))
    _, first = np.unique(dataset.group_idx[frames], return_index=True)
    one_each = frames_of(dataset, frames[first], levels=[])
    return {int(z) for frame in one_each for z in frame.system.atomic_numbers}


def find_references(
    method: ReferenceMethod,
    dataset: Dataset,
    indices: Ints,
    level: str,
    elements: Sequence[int],
    *,
    parent: LevelPotential | None = None,
    parent_energies: Mapping[int, float] | None = None,
    beyond: Mapping[int, float] | None = None,
) -> References:
    """Decides on the reference energies of `level`.

    A fit starts from the free atoms of the level where the dataset gives them, else from the
    parent's values, else from zero, and moves only what the compositions identify. With a
    parent it is a fit to what the parent's interaction energy leaves over. From free atoms goes
    off what the network gives an atom by itself, so that the whole gives them as they are.

    Args:
        method: ``fit``, ``isolated`` (free atoms as given), or ``parent``.
        dataset: where labels come from.
        indices: the training frames; no others are looked at.
        level: canonical.
        elements: of the model.
        parent: the pretrained potential, if any.
        parent_energies: its reference energies.
        beyond: what an atom of each element has by itself beyond its E0 in the model at step 0,
            eV, see `tlpot.models.LevelPotential.beyond_references`; None for nothing, NaN for an
            element whose free atom is then of no use.

    Raises:
        DataError: free atoms are asked for and not given.
        ConfigError: the parent's are asked for and there are none.
    """
    beyond = beyond or {}
    given = {
        z: energy - beyond.get(z, 0.0)
        for z, energy in dataset.levels[level].isolated_atoms.items()
        if not np.isnan(beyond.get(z, 0.0))
    }
    free = "free atoms of this level"
    if any(beyond.values()):
        free += ", less what the network gives an atom by itself"
    if method == "parent":
        if parent_energies is None:
            raise ConfigError(
                "references=parent does not apply to a difference of levels, of which the parent "
                "has no reference energies; use references=fit or references=isolated"
            )
        return References(
            energies=dict(parent_energies), origin="those of the parent", prior=parent_energies
        )
    missing = [chemical_symbols[z] for z in elements if z not in given]
    if method == "isolated":
        if missing:
            raise DataError(
                f"{dataset.path}: no free-atom energy at {level} for {', '.join(missing)}; add "
                "'isolated_atoms' to the file or its description, or use references=fit"
            )
        energies = {z: given[z] for z in elements}
        return References(energies=energies, origin=free, prior=energies)

    fallback = parent_energies or dict.fromkeys(elements, 0.0)
    prior = {z: float(given.get(z, fallback[z])) for z in elements}
    unknown = {z for z, energy in prior.items() if np.isnan(energy)}
    if unknown:
        present = elements_at(dataset, level)
        prior = {
            z: 0.0 if z in unknown else e for z, e in prior.items() if z not in unknown - present
        }
    all_elements, elements = elements, tuple(prior)
    indices = indices[dataset.labelled(level)[indices]]
    if not len(indices):
        origin = "as they were: no training frame has an energy, so they mean nothing"
        energies = {z: prior.get(z, np.nan) for z in all_elements}
        return References(energies=energies, origin=origin, prior=prior)
    composition, labels = _compositions_and_energies(dataset, indices, level, elements)
    base = composition @ np.array([prior[z] for z in elements])
    if parent is not None and parent_energies is not None:
        device = parent.potential.device
        predictions = predict(parent, dataset, indices, level, device=device, forces=False)
        interaction = predictions.energy[np.argsort(predictions.indices), 1][
            np.argsort(np.argsort(indices))
        ]
        known = np.nan_to_num([parent_energies[z] for z in elements])
        base += interaction - composition @ known
    fit = fit_references(elements, composition, labels - base)
    unread = all(np.isnan(energy) for energy in (parent_energies or {}).values())
    start = "zero" if unread else "the parent's"
    missing = [chemical_symbols[z] for z in elements if z not in given]
    if len(missing) < len(elements):
        start = free + (f", for {', '.join(missing)} {start}" if missing else "")
    found = {z: prior[z] + s for z, s in zip(elements, fit.shifts.tolist(), strict=True)}
    return References(
        energies={z: found.get(z, np.nan) for z in all_elements},
        origin=(
            f"least squares over {counted(len(indices), 'training frame')}, starting from {start}"
        )
        + (", on the residuals of the parent" if parent is not None else ""),
        prior=prior,
        fit=fit,
    )


def _compositions_and_energies(
    dataset: Dataset, indices: Ints, level: str, elements: Sequence[int]
) -> tuple[Floats, Floats]:
    """Returns [n_frames, n_elements] and [n_frames], eV, reading a few frames at a time."""
    counts = np.zeros((len(indices), len(elements)))
    energies = np.zeros(len(indices))
    for k, frame in enumerate(frames_of(dataset, indices, levels=[level])):
        counts[k] = [(frame.system.atomic_numbers == z).sum() for z in elements]
        energies[k] = frame.labels[level].energy
    return counts, energies

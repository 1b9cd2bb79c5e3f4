"""What the user reads before the first update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols

from tlpot.data import Dataset, label_problems, lacking_elements, renamed_molecules, with_any_label
from tlpot.errors import DataError
from tlpot.evaluation import error_report, predict
from tlpot.jobs.references import References
from tlpot.jobs.training_job import Job
from tlpot.levels import difference_parts
from tlpot.models import parameter_blocks
from tlpot.numbers import Ints, counted
from tlpot.presentation import Column, Table

_SUSPICIOUS = 0.5
"""eV/atom; a step-0 error above this is nearly always a mismatch of reference energies."""


def label_warnings(dataset: Dataset, level: str, frames: Ints) -> list[str]:
    """Looks at the labels to learn as ``tlpot data validate`` does.

    Args:
        dataset: the frames.
        level: of theory.
        frames: indices of those that are learned from.

    Returns:
        What is suspicious about them.

    Raises:
        DataError: they cannot be right, such as forces with the sign of gradients.
    """
    texts = []
    for problem in label_problems(dataset, level, frames):
        n = len(problem.frames)
        where = f" ({counted(n, 'frame')}, {problem.frames[0]}{', ...' * (n > 1)})" if n else ""
        if problem.severity == "error":
            raise DataError(f"{dataset.path}: {problem.what}{where}; see tlpot data validate")
        texts.append(f"{problem.what}{where}")
    return texts


def preflight_report(
    job: Job,
    references: References | Mapping[str, References],
    *,
    pretrained: bool,
    notes: Sequence[str] = (),
    suspicions: Sequence[str] = (),
) -> str:
    """Says what data, model and settings are, and how good the model is at step 0.

    Args:
        job: the model before the first update.
        references: its reference energies at the level to learn, or by level.
        pretrained: whether the model should be good already.
        notes: what is to be said of the strategy.
        suspicions: what is to be said of the labels, see `label_warnings`.
    """
    dataset, split, potential = job.dataset, job.split, job.potential
    level = job.levels[0]
    if isinstance(references, References):
        references = {level: references}
    molecules = [len(np.unique(dataset.group_idx[getattr(split, part)])) for part in _PARTS]
    frames = [len(getattr(split, part)) for part in _PARTS]
    lines = [
        f"data: {dataset.path}",
        *(f"  level {k}: {_labels_of(job, k)}{_source(job, k)}" for k in job.levels),
        "  not read: " + (", ".join(dataset.unused_keys) or "nothing"),
        *(f"{problem.severity}: {problem.what}" for problem in dataset.problems),
        *(f"warning: {text}" for text in suspicions),
        "  elements " + " ".join(chemical_symbols[z] for z in dataset.elements),
        "  "
        + ", ".join(
            f"{part} {counted(n, 'frame')} of {counted(m, 'molecule')}"
            for part, n, m in zip(_PARTS, frames, molecules, strict=True)
        ),
        f"  divided {split.way}, seed {split.seed}{_one_molecule(job)}",
        *_renamed(job),
        *_others(job),
    ]
    for name, found in references.items():
        lines += [*([f"level {name}"] if len(references) > 1 else []), found.table()]
        lines += _unlearned(job, name, found)
        if dataset.levels[name].quantity is None and difference_parts(name) is None:
            lines += [f"warning: {text}" for text in found.cautions(pretrained=pretrained)]
    lines.append(_trainable(job, level))
    for name in references:
        own = split.train
        if len(references) > 1:
            own = own[with_any_label(dataset, name)[own]]
        sample = own[:: max(1, len(own) // 200)]
        error = error_report(
            predict(potential.at(name), dataset, sample, name, device=potential.device)
        ).overall
        at = f" at {name}" if len(references) > 1 else ""
        text = f"error at step 0{at}, {counted(len(sample), 'training frame')}: "
        quantity = dataset.levels[name].quantity
        if quantity is not None:
            lines.append(f"{text}MAE {error['property_mae']:.4g} {quantity.unit}".rstrip())
            continue
        text += f"E MAE {error['energy_mae']:.4g} meV" if "energy_mae" in error else "no energies"
        if "forces_mae" in error and "forces" in _kinds(job, name):
            text += f", F MAE {error['forces_mae']:.4g} meV/Å"
        lines.append(text)
        per_atom = error.get("energy_per_atom_mae", 0.0) / 1e3
        if pretrained and per_atom > _SUSPICIOUS:
            lines.append(
                f"warning: at step 0 energies at {name} are off by {per_atom:.3g} eV per atom "
                f"(MAE of training frames, expected below {_SUSPICIOUS}); most likely the "
                "reference energies do not belong to the labels (relative energies or energies "
                "per atom taken for total ones, a wrong unit, or another level of theory)"
            )
    lines += [f"note: {text}" for text in notes]
    if not job.plan.rates:
        lines.append("training: none")
        return "\n".join(lines)
    s = job.settings
    loss = s.loss.for_labels(dataset.levels[level].kinds if job.kinds is None else job.kinds)
    end = loss.at(1.0).energy
    rise = "" if end == loss.energy else f" to {end:g}"
    relative = f" : relative E {s.loss.relative:g}{rise and ', rising as E'}" * bool(
        s.loss.relative
    )
    n_frames = len(split.train) + min(job.n_others, len(job.others))
    weights = f"E {s.loss.energy:g}{rise}{relative} : F {s.loss.forces:g} ({s.loss.kind})"
    if all(dataset.levels[name].quantity is not None for name in job.levels):
        weights = f"{s.loss.kind} of the errors over the spread of the labels"
    lines.append(
        f"training: {counted(s.epochs, 'epoch')} of "
        f"{counted(-(-n_frames // s.batch_size), 'batch', 'batches')}, "
        f"{_OPTIMIZERS[s.optimizer]} at {s.learning_rate:g} ({s.schedule}), EMA {s.ema}, "
        f"clip {s.clip:g}, loss {weights}"
    )
    return "\n".join(lines)


_OPTIMIZERS = {"adamw": "AdamW", "soap": "SOAP"}

_PARTS = ("train", "validation", "test")


def _one_molecule(job: Job) -> str:
    split = job.split
    frames = np.concatenate([split.train, split.validation, split.test])
    if split.by != "random" or len(np.unique(job.dataset.group_idx[frames])) > 1:
        return ""
    return "; all frames are of one molecule, so nothing is known of errors for others"


def _renamed(job: Job) -> list[str]:
    """Says that held-out molecules are in training under other names."""
    if job.split.by != "molecule":
        return []
    held_out = np.concatenate([job.split.validation, job.split.test])
    found = renamed_molecules(job.dataset, job.split.train, held_out)
    return [f"warning: {found}"] if found else []


def _unlearned(job: Job, level: str, references: References) -> list[str]:
    """Names elements that only frames have which are not trained on."""
    absent = [z for z in references.absent if z in job.dataset.elements]
    if not absent:
        return []
    symbols = [chemical_symbols[z] for z in absent]
    if job.split.by.startswith("element"):
        known = getattr(job.potential.architecture, "species", "learned") == "elemental"
        return [
            f"note: {', '.join(symbols)} was left out of the training"
            + ("" if known else "; the model has learned nothing of it (see model.species)")
        ]
    split = job.split
    held_out = lacking_elements(
        job.dataset, split.train, np.concatenate([split.validation, split.test])
    )
    what = "energies" if job.dataset.levels[level].quantity is None else f"values of {level}"
    found = []
    if lost := [chemical_symbols[z] for z in absent if z in held_out]:
        found.append(
            f"warning: {', '.join(lost)} is in the data and in no training frame, so {what} of "
            "structures with it will be far off; use split.by=random, or name what is held out "
            "(split.validation, split.test)"
        )
    if bare := [chemical_symbols[z] for z in absent if z not in held_out]:
        found.append(
            f"note: only frames without a label at {level} have {', '.join(bare)}; {what} of "
            "structures with it will be far off unless some of these get a label"
        )
    return found


def _others(job: Job) -> list[str]:
    n = min(job.n_others, len(job.others))
    return [f"  {len(job.others)} other frames take turns, {n} in an epoch"] if n else []


def _labels_of(job: Job, level: str) -> str:
    quantity = job.dataset.levels[level].quantity
    return ", ".join(_kinds(job, level)) if quantity is None else quantity.words


def _source(job: Job, level: str) -> str:
    keys = job.dataset.levels[level].keys
    return f"\n    from {', '.join(keys)}" if keys else ""


def _kinds(job: Job, level: str) -> list[str]:
    """Returns the kinds of labels, without an anchor's forces, which no held-out frame has."""
    dataset, held_out = job.dataset, np.concatenate([job.split.validation, job.split.test])
    kinds = sorted(dataset.levels[level].kinds)
    if level != job.levels[0]:
        return list(kinds)
    return [k for k in kinds if k == "energy" or dataset.labelled(level, k)[held_out].any()]


def _trainable(job: Job, level: str) -> str:
    sizes = {name: p.numel() for name, p in job.potential.named_parameters()}
    rows = []
    for block, names in parameter_blocks(job.potential, level).items():
        total = sum(sizes[name] for name in names)
        moving = [name for name in names if name in job.plan.rates]
        n_moving = sum(sizes[name] for name in moving)
        rates = sorted({job.plan.rates[name] for name in moving})
        rate = f"rate x {', '.join(f'{r:g}' for r in rates)}" if rates else "fixed"
        rows.append((block, n_moving, "of", total, rate))
    columns: list[Column | str] = [
        Column(width=16),
        Column(width=9, gap=1),
        Column(gap=1),
        Column(width=10, gap=1),
        "",
    ]
    table = Table(columns, rows, whole=",", heads=False, indent=2)
    return "\n".join(["weights that move:", *table.lines()])

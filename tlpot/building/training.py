"""Trainings at the expensive level: which labels, which split, and what all trainings share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tlpot import jobs
from tlpot.building.config import SelectSettings, UncertaintySettings
from tlpot.building.labels import LABELS, as_atoms, labels_of
from tlpot.building.stage import Stage, StageContext, StageResult
from tlpot.config import to_mapping
from tlpot.data import Dataset, Split, fingerprint, frames_of, load_split, open_dataset
from tlpot.errors import ConfigError, OutputError
from tlpot.models import load, save
from tlpot.numbers import Ints
from tlpot.sampling import ModelView, farthest_points, most_uncertain, scaled
from tlpot.stored_results import write_json
from tlpot.training import CHECKPOINT, Processes
from tlpot.transfer import strategy
from tlpot.uncertainty import MIN_FRAMES

UNSEEN, VALIDATED, TRAINED = 0, 1, 2
"""What a geometry was for in the pretraining."""

SPLIT = "split.json"

_SPLIT = {"by": "random", "validation": 0.1, "test": 0.1}
"""Of a build: every kind of fragment has frames for training and for testing."""

CHOSEN = "chosen.json"


def pretraining_use(low: Dataset, split: Split, dataset: Dataset) -> Ints:
    """Returns what the geometries of a dataset were for in the pretraining, [n_frames].

    The charges of `dataset` are read as those of `low`, the labels of the cheap level, are.
    """
    known: dict[bytes, int] = {}
    for use, part in ((VALIDATED, split.validation), (TRAINED, split.train)):
        known |= {fingerprint(frame.system): use for frame in frames_of(low, part, levels=())}
    frames = frames_of(dataset, np.arange(len(dataset)), levels=())
    return np.array(
        [known.get(fingerprint(frame.system), UNSEEN) for frame in frames], dtype=np.int64
    )


def write_split(
    work: StageContext, config: jobs.FinetuneConfig, pretraining: Path, path: Path
) -> None:
    """Divides the frames of a fine-tuning, unless that is done.

    For the test come first those that the pretraining left out, then those that it validated
    with, and those that it was trained on only where the others are too few; so for the
    validation with what remains. Frames of rounds never move a frame of the first labels: the
    test frames stay the same in all rounds, and a share of the new frames is for validation.

    The first of the files of `config` has the labels before any round.
    """
    if path.exists():
        return
    dataset = config.data.open()
    first = open_dataset(config.data.files[0])
    low = open_dataset(work.of("low", LABELS))
    use = pretraining_use(low, load_split(pretraining, low), first)
    split = replace(config.split, train=None).divide(first, config.level, turn=use)
    known = np.flatnonzero(dataset.labelled(config.level))
    new = np.random.default_rng([config.split.seed, 2]).permutation(known[known >= len(first)])
    share = len(split.validation) / max(len(split.validation) + len(split.train), 1)
    n_held = round(share * len(new))
    Split(
        train=np.sort(np.concatenate([split.train, new[n_held:]])),
        validation=np.sort(np.concatenate([split.validation, new[:n_held]])),
        test=split.test,
        by=split.by,
        seed=split.seed,
        content_hash=dataset.content_hash,
    ).save(path)


MODEL, UNCERTAIN = "model.safetensors", "uncertain.safetensors"
RUN_SPLIT = f"{Path(MODEL).stem}.run/{SPLIT}"
"""Of a training, beside its model."""


def tuning_config(
    given: Mapping[str, Any], low: str, high: str, *, trained_charges: bool = False
) -> jobs.FinetuneConfig:
    """Returns the configuration of the fine-tuning; files are filled in later.

    Raises:
        ConfigError: a typo, a value that makes no sense, or a key that a build fills in.
    """
    refuse_keys(given, "finetune", ("parent", "data", "level", "source", "output"))
    settings = {
        **given, "split": build_split(given, "finetune"), "parent": MODEL, "source": low,
        "level": high, "output": MODEL,
        "data": {"files": [LABELS], "charges": "ignore" if trained_charges else "read"},
    }  # fmt: skip
    return jobs.finetune_config(settings)


def check_uncertainty(
    settings: UncertaintySettings, config: jobs.FinetuneConfig, n_frames: int
) -> None:
    """Checks that the models can be given such an uncertainty.

    Raises:
        ConfigError: the strategy makes no such models, or there are too few validation frames.
    """
    if settings.method == "none":
        return
    chosen = strategy(config.strategy)
    corrects = chosen.name.startswith("frozen-")
    if chosen.learns_difference or (corrects and settings.method == "last-layer"):
        raise ConfigError(
            f"uncertainty.method={settings.method!r} does not apply to the strategy "
            f"{chosen.name!r}; take one that fine-tunes weights, such as full or multihead"
            + (", or an ensemble" if corrects else "")
        )
    held = config.split.validation
    if isinstance(held, float):
        check_held_out(held, n_frames, "finetune")


def check_held_out(share: float, n_frames: int, where: str) -> None:
    """Checks that there will be enough validation frames to calibrate an uncertainty on.

    Raises:
        ConfigError: there will not.
    """
    n_held = round(share * n_frames if share < 1 else share)
    if n_held < MIN_FRAMES:
        raise ConfigError(
            f"an uncertainty is calibrated on at least {MIN_FRAMES} validation frames; "
            f"{where}.split.validation={share:g} of {n_frames} labels gives {n_held}. Raise it, or "
            "the budget"
        )


def build_split(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns how the frames of a section are divided, as plain settings.

    Raises:
        ConfigError: no section, or a file of a split.
    """
    split = given.get("split", {})
    if not isinstance(split, Mapping):
        raise ConfigError(f"{where}: split must be a section of 'key: value' pairs, not {split!r}")
    if split.get("file") is not None:
        raise ConfigError(f"{where}: split.file does not apply, as the frames are yet to be made")
    return {**_SPLIT, **split}


def refuse_keys(given: Mapping[str, Any], where: str, names: Sequence[str]) -> None:
    """Refuses the keys of a section that a build fills in.

    Raises:
        ConfigError: one is given.
    """
    for name in names:
        if name in given:
            raise ConfigError(f"{where}.{name} does not apply: a build fills it in; leave it out")


def tune_stage(
    config: jobs.FinetuneConfig,
    uncertainty: UncertaintySettings,
    *,
    name: str = "finetune",
    rounds: Sequence[str] = (),
) -> Stage:
    """Fine-tunes the pretrained model to the expensive level; `rounds` have further labels."""
    members = uncertainty.members if uncertainty.method == "ensemble" else 1

    def run(work: StageContext) -> StageResult:
        extra = [work.of(other, LABELS) for other in rounds]
        files = (work.of("high", LABELS), *(path for path in extra if path.exists()))
        base = replace(
            config,
            parent=str(work.of("pretrain", MODEL)),
            data=replace(config.data, files=files),
            name=config.name or f"{work.root.name}-{name}",
        )
        write_split(work, base, work.of("pretrain", RUN_SPLIT), work.folder / SPLIT)
        outputs = []
        for k in range(members):
            file = MODEL if k == 0 else f"member-{k}.safetensors"
            training = {**config.training, "seed": config.training["seed"] + k}
            own = replace(
                base,
                output=work.folder / file,
                split=jobs.SplitSettings(file=work.folder / SPLIT, train=config.split.train),
                training=training,
            )
            trained(work, own.output, _prepared(own, work.device))
            outputs.append(file)
        dataset = base.data.open()
        if uncertainty.method == "last-layer":
            write_calibrated(work, work.folder / MODEL, dataset, config.level)
        elif uncertainty.method == "ensemble":
            ensemble = jobs.make_ensemble(
                [str(work.folder / f) for f in outputs], device=work.device
            )
            split = load_split(work.folder / SPLIT, dataset)
            found = jobs.calibrate_model(ensemble, dataset, level=config.level, split=split)
            save(found.model, work.folder / UNCERTAIN)
        if uncertainty.method != "none":
            outputs.append(UNCERTAIN)
        return StageResult(outputs=(*outputs, SPLIT), facts=model_facts(work.folder / MODEL))

    settings = to_mapping(config)
    for key in ("data", "output", "parent"):
        del settings[key]
    strategy_name = strategy(config.strategy).name
    return Stage(
        name=name,
        summary=f"{strategy_name} to {config.level}" + (f", {members} models" * (members > 1)),
        settings={
            "finetune": settings,
            "uncertainty": to_mapping(uncertainty)
            if uncertainty.method == "ensemble"
            else uncertainty.method,
        },
        needs=("pretrain", "high", *rounds),
        run=run,
        like=None if name == "finetune" else "finetune",
    )


def trained(work: StageContext, output: Path, prepare: Callable[[], jobs.Job]) -> None:
    """Trains a model, from its last checkpoint on, unless that is done.

    Raises:
        KeyboardInterrupt: the user stopped it; the checkpoint is kept.
        TLPotError: something is wrong with the data or the settings.
    """
    run = output.with_suffix(".run")
    report, checkpoint = run / jobs.REPORT, run / CHECKPOINT
    if output.exists() and report.exists():
        return
    resume = checkpoint.exists() and not report.exists()
    job = prepare()
    with jobs.as_part():
        try:
            jobs.fit(job, Processes(), resume=resume, overwrite=not resume)
        except ConfigError:
            if not resume:
                raise
            # the checkpoint is an older version's; nothing but time is lost by starting afresh
            jobs.fit(prepare(), Processes(), overwrite=True)


def _prepared(config: jobs.FinetuneConfig, device: str | None) -> Callable[[], jobs.Job]:
    return lambda: jobs.prepare_finetune(config, device=device).job


def write_calibrated(work: StageContext, model: Path, dataset: Dataset, level: str) -> None:
    """Writes the model with a calibrated uncertainty of its last layer, beside it.

    Raises:
        ConfigError, DataError: see `calibrate_model`.
    """
    split = load_split(model.with_suffix(".run") / SPLIT, dataset)
    found = jobs.calibrate_model(
        load(model, device=work.device), dataset, level=level, split=split, show=True
    )
    save(found.model, work.folder / UNCERTAIN)


def model_facts(model: Path) -> dict[str, Any]:
    """Returns what the card of a model says of errors and frames.

    Raises:
        OutputError: it has none.
    """
    found = load(model, device="cpu")
    if not hasattr(found, "card"):
        raise OutputError(f"{model} has no card")
    return {"metrics": dict(found.card.metrics), "frames": dict(found.card.dataset)}


def select_stage(
    settings: SelectSettings, budget: int, level: str, *, trained_charges: bool = False
) -> Stage:
    """Chooses among the geometries with cheap labels, fragment by fragment."""

    def run(work: StageContext) -> StageResult:
        dataset = labels_of([work.of("low", LABELS)], trained_charges)
        name = UNCERTAIN if settings.how == "uncertainty" else MODEL
        view = ModelView(str(work.of("pretrain", name)), level)
        known = dataset.labelled(level)
        chosen: dict[str, list[int]] = {}
        for number, group in enumerate(dataset.group_names):
            members = np.flatnonzero((dataset.group_idx == number) & known)
            if len(members):
                picked = _pick(view, dataset, members, settings.how, budget, level)
                chosen[group] = sorted(picked.tolist())
        write_json(work.folder / CHOSEN, chosen)
        return StageResult(
            outputs=(CHOSEN,), facts={"geometries": {k: len(v) for k, v in chosen.items()}}
        )

    return Stage(
        name="select",
        summary=f"{budget} geometries of each, {settings.how}",
        settings={"select": to_mapping(settings), "budget": budget, "level": level},
        needs=("low", "pretrain"),
        run=run,
    )


def _pick(
    view: ModelView, dataset: Dataset, members: Ints, how: str, budget: int, level: str
) -> Ints:
    frames = list(frames_of(dataset, members, levels=[level]))
    atoms = [as_atoms(frame) for frame in frames]
    rows = scaled(view.features(atoms))
    if how == "uncertainty":
        order = most_uncertain(view.uncertainty(atoms), rows, budget)
    else:
        first = int(np.argmin([frame.labels[level].energy for frame in frames]))
        order, _ = farthest_points(rows, budget, first)
    return members[order]

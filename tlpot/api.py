"""Every job as one function: paths or objects in, a result that prints, saves and draws itself.

Arguments are named like the keys of YAML files. A job can be given such a file, or what is in one,
as ``config``; what is given as an argument wins, and sections are joined key by key.

What all jobs have in common:

- a model is a file, the name of one that ships or is installed, or one that `tlpot.load` returned;
- data are a file, several that are read as one, `ase.Atoms` with labels, or a dataset;
- ``level`` may be left out where there is only one;
- ``device=None`` is CUDA if there is one, else the CPU; ``threads`` is put back when a job ends;
- ``progress`` is called with what is done, of how much (or None), and what is at work. Whatever it
  raises ends the job as Ctrl-C would: what was done is kept, and a training can be resumed. None
  shows a bar, False nothing;
- a mistake of the user's is a `tlpot.errors.TLPotError`, whose message says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlpot.config import configured

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor
    from typing import Literal

    import torch

    from tlpot.data import DataSource, Share, SplitBy
    from tlpot.evaluation import TransferReport
    from tlpot.fragments import Scheme
    from tlpot.jobs import (
        Calibrated,
        ConfigSource,
        ConvertedData,
        DataCheck,
        DataSplit,
        EnsembleOutcome,
        Evaluation,
        ModelSource,
        ReferenceMethod,
        StructurePredictions,
        StructureSource,
        TrainingOutcome,
    )
    from tlpot.learning_curves import Curve, CurveReport, LearningCurve, ParentSource, Plan
    from tlpot.models import Potential
    from tlpot.presentation import Progress
    from tlpot.ranking import Ranking
    from tlpot.ranking import Scheme as FoldScheme
    from tlpot.transfer import Strategy

    PathLike = str | os.PathLike[str]
    Device = str | torch.device | None


@contextmanager
def _running(threads: int, progress: Progress) -> Iterator[None]:
    """While a job runs: torch's threads, and who is told of its progress."""
    from tlpot.presentation import telling
    from tlpot.torch_mode import torch_threads

    with torch_threads(threads), telling(progress):
        yield


def train(
    data: DataSource | None = None,
    *,
    level: str | None = None,
    output: PathLike | None = None,
    preset: str | None = None,
    model: Mapping[str, Any] | None = None,
    references: Literal["fit", "isolated"] | None = None,
    split: Mapping[str, Any] | PathLike | None = None,
    epochs: int | None = None,
    training: Mapping[str, Any] | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    name: str | None = None,
    description: str | None = None,
    licence: str | None = None,
    citation: str | None = None,
    defaults: int | None = None,
    spec: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    strict: bool = False,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> TrainingOutcome:
    """Trains a model from scratch: ``tlpot train``.

    Args:
        data: the labels.
        level: level of theory to learn.
        output: the model file to write, ``.safetensors``.
        preset: size of the network: tiny, small or medium.
        model: its architecture, see `tlpot.models.Architecture`.
        references: ``fit`` E0 to the training energies, or the ``isolated`` atoms as given.
        split: which frames are for what, see `tlpot.jobs.SplitSettings`; or a stored split.
        epochs: passes over the training frames.
        training: further settings, see `tlpot.training.TrainingSettings`.
        dtype: precision of the network.
        name: of the model; that of the file if left out.
        description: one sentence for the card.
        licence: of the weights.
        citation: what to cite.
        defaults: version of the training's defaults.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of the labels, where the file has its own: ``{"energy": "E_dft"}``.
        config: YAML file, or what is in one; see docs/training.md.
        resume: continue an interrupted run of the same settings.
        overwrite: replace the model that is there, and discard the checkpoint of a run.
        dry_run: stop after the pre-flight report.
        strict: take a warning of that report for an error.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import Launch, prepare_train, train_job

    settings = train_job(
        config, data, level=level, output=output, preset=preset, model=model,
        references=references, split=split, epochs=epochs, training=training, dtype=dtype,
        name=name, description=description, licence=licence, citation=citation,
        defaults=defaults, spec=spec, keys=keys,
    )  # fmt: skip
    launch = Launch(
        resume=resume, overwrite=overwrite, dry_run=dry_run, strict=strict, device=device,
        threads=threads, progress=progress,
    )  # fmt: skip
    return launch.run(lambda where: prepare_train(settings, device=where))


def finetune(
    parent: PathLike | Potential | None = None,
    data: DataSource | None = None,
    *,
    level: str | None = None,
    strategy: str | Mapping[str, Any] | Strategy | None = None,
    output: PathLike | None = None,
    source: str | None = None,
    anchor: float | None = None,
    references: ReferenceMethod | None = None,
    split: Mapping[str, Any] | PathLike | None = None,
    epochs: int | None = None,
    training: Mapping[str, Any] | None = None,
    name: str | None = None,
    licence: str | None = None,
    report: Mapping[str, Any] | None = None,
    defaults: int | None = None,
    spec: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    strict: bool = False,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> TrainingOutcome:
    """Transfers a model to another level of theory: ``tlpot finetune``.

    Args:
        parent: the pretrained model; it is left as it is.
        data: the labels.
        level: level of theory to learn.
        strategy: name, or a section with ``name`` and settings; ``auto`` compares some. Default
            full.
        output: the model file to write, ``.safetensors``.
        source: level of the parent to start from, if it has several.
        anchor: weight in the loss of the parent's forces, where the labels are energies only.
        references: E0 of the new level: ``fit``, ``isolated`` atoms, or those of the ``parent``.
        split: which frames are for what, see `tlpot.jobs.SplitSettings`; or a stored split.
        epochs: passes over the training frames.
        training: further settings; what is not set is what suits the strategy.
        name: of the model; that of the file if left out.
        licence: of the new weights.
        report: what the transfer report looks at; ``{"enabled": False}`` for none.
        defaults: version of the training's defaults.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of the labels, where the file has its own.
        config: YAML file, or what is in one; see docs/transfer.md.
        resume: continue an interrupted run of the same settings.
        overwrite: replace the model that is there, and discard the checkpoint of a run.
        dry_run: stop after the pre-flight report.
        strict: take a warning of that report for an error.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import Launch, finetune_job, is_automatic, prepare_finetune

    settings = finetune_job(
        config, parent, data, level=level, strategy=strategy, output=output, source=source,
        anchor=anchor, references=references, split=split, epochs=epochs, training=training,
        name=name, licence=licence, report=report, defaults=defaults, spec=spec, keys=keys,
    )  # fmt: skip
    launch = Launch(
        resume=resume, overwrite=overwrite, dry_run=dry_run, strict=strict, device=device,
        threads=threads, progress=progress,
    )  # fmt: skip
    tries = is_automatic(settings.strategy)
    return launch.run(
        lambda where: prepare_finetune(settings, device=where),
        output=settings.output if tries else None,
    )


@configured
def evaluate(
    model: ModelSource,
    data: DataSource,
    *,
    level: str | None = None,
    model_level: str | None = None,
    spec: str | None = None,
    split: PathLike | None = None,
    part: Literal["train", "validation", "test"] = "test",
    scheme: str | Scheme | None = None,
    low: str | None = None,
    low_level: str | None = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    batch_size: int = 32,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> Evaluation:
    """Measures the errors of a model on labelled frames: ``tlpot evaluate``.

    Args:
        model: the model.
        data: the labels.
        level: level of theory of the labels; ``high - low`` for the difference of two.
        model_level: level of the model, if it has several or another than the labels.
        spec: layout of the data, if it is not tlpot's own.
        split: a stored split, to evaluate one part of it.
        part: which: train, validation or test.
        scheme: of fragments that the structures are assembled from, see docs/fragments.md.
        low: two layers: model of the whole structure that fragments correct, or gfn2-xtb.
        low_level: level of theory of `low`, if it has several.
        dispersion: of the whole structure, such as ``d3bj:b3lyp``.
        trained_charges: the model reads no charges, but was trained on fragments charged so.
        batch_size: frames at a time.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import evaluate_model, force_field, open_labels

    with _running(threads, progress):
        return evaluate_model(
            model, open_labels(data, spec, level), level=level, model_level=model_level,
            part=None if split is None else (split, part),
            assembly=force_field(scheme, low, low_level, dispersion, trained_charges),
            device=device, batch_size=batch_size,
        )  # fmt: skip


@configured
def predict(
    model: ModelSource,
    structures: StructureSource,
    *,
    level: str | None = None,
    output: PathLike | None = None,
    spec: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> StructurePredictions:
    """Evaluates a model on structures, labelled or not: ``tlpot predict``.

    Args:
        model: the model.
        structures: `ase.Atoms`, one or several; a file of any format that ASE reads, or several;
            or a dataset, whose labels are not looked at.
        level: level of theory of the model.
        output: file for structures and predictions: .xyz, or .h5 in the native layout.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of charge and multiplicity in files of structures.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import predict_structures

    with _running(threads, progress):
        return predict_structures(
            model, structures, level=level, output=output, spec=spec, keys=keys, device=device
        )


def learning_curve(
    parents: ParentSource | Sequence[ParentSource] | None = None,
    data: DataSource | None = None,
    *,
    level: str | None = None,
    strategies: Sequence[str | Mapping[str, Any]] | None = None,
    sizes: Sequence[int] | None = None,
    output: PathLike | None = None,
    seeds: int | None = None,
    subsets: Literal["by_seed", "shared"] | None = None,
    updates: int | None = None,
    source: str | None = None,
    references: ReferenceMethod | None = None,
    split: Mapping[str, Any] | PathLike | None = None,
    training: Mapping[str, Any] | None = None,
    keep_models: bool | None = None,
    licence: str | None = None,
    spec: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    ensembles: bool = False,
    workers: int = 1,
    executor: Executor | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> LearningCurve:
    """Measures errors against numbers of labels: ``tlpot curve``; what is there is kept.

    Args:
        parents: pretrained models.
        data: the labels.
        level: level of theory to learn.
        strategies: names, or sections with ``name`` and settings.
        sizes: numbers of training frames.
        output: the folder to write, and to continue in.
        seeds: repeats, default 3.
        subsets: ``by_seed`` draws other frames for each, ``shared`` the same.
        updates: length of every training, whatever its number of frames.
        source: level of the parents to start from, if they have several.
        references: as for `finetune`.
        split: which frames are for what, see `tlpot.jobs.SplitSettings`; or a stored split.
        training: settings of all strategies that train.
        keep_models: keep the models in the folder.
        licence: of the models.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of the labels, where the file has its own.
        config: YAML file, or what is in one; see docs/curves.md.
        ensembles: join the kept models of all seeds, too, and look at their spread.
        workers: processes of one thread each.
        executor: what runs the points instead, such as Dask's.
        overwrite: a curve of just this, where the folder holds one of other settings.
        dry_run: list the points and stop.
        device: where to compute.
        threads: of the CPU, in this process.
        progress: who is told of it, after each point.
    """
    from tlpot.learning_curves import curve_job, measure_curve

    settings = curve_job(
        config, parents, data, level=level, strategies=strategies, sizes=sizes, output=output,
        seeds=seeds, subsets=subsets, updates=updates, source=source, references=references,
        split=split, training=training, keep_models=keep_models, licence=licence, spec=spec,
        keys=keys,
    )  # fmt: skip
    with _running(threads, progress):
        return measure_curve(
            settings, ensembles=ensembles, workers=workers, executor=executor,
            overwrite=overwrite, dry_run=dry_run, device=device,
        )  # fmt: skip


@configured
def plan(
    curve: PathLike | Curve | LearningCurve,
    *,
    target: float | str | None = None,
    budget: float | None = None,
    cost_ratio: float | None = None,
    cost_from: Sequence[PathLike] | None = None,
    levels: tuple[str, str] | None = None,
    quantity: str = "energy_mae",
    sunk: bool = False,
    have: int = 0,
    pretraining: PathLike | Curve | LearningCurve | None = None,
    fit_up_to: int | None = None,
    config: ConfigSource = None,
) -> Plan | CurveReport:
    """Says how many labels to buy, from a learning curve: ``tlpot plan``.

    Args:
        curve: measured curve, or its folder.
        target: error to reach, in eV and Å, or such as ``50meV``.
        budget: to be spent, in prices of a cheap label.
        cost_ratio: price of an expensive label in cheap ones.
        cost_from: instead, files with labels by tlpot, which hold what they cost.
        levels: the expensive and the cheap level, whose costs are compared.
        quantity: which error.
        sunk: the pretraining is paid already.
        have: expensive labels that are there already.
        pretraining: curve of the low level itself.
        fit_up_to: no plan: fit sizes up to this and compare the forecasts with the larger ones.
        config: YAML file with any of these, or what is in one.
    """
    from tlpot.learning_curves import Wanted, plan_purchase

    wanted = Wanted(
        target=target, budget=budget, cost_ratio=cost_ratio, cost_from=cost_from, levels=levels,
        quantity=quantity, sunk=sunk, have=have, pretraining=pretraining, fit_up_to=fit_up_to,
    )  # fmt: skip
    return plan_purchase(curve, wanted)


@configured
def rank(
    data: DataSource,
    models: Sequence[str] | None = None,
    *,
    level: str | None = None,
    spec: str | None = None,
    folders: Sequence[PathLike] = (),
    by: FoldScheme | None = None,
    folds: int = 5,
    seed: int = 0,
    cache: PathLike | None = None,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> Ranking:
    """Compares pretrained models as a start for some labels: ``tlpot models rank``.

    Args:
        data: the labels.
        models: files or names; None for all that have names, or those of `folders`.
        level: level of theory of the labels.
        spec: layout of the data, if it is not tlpot's own.
        folders: whose model files to add.
        by: folds that decide: random, molecule or cluster.
        folds: their number.
        seed: of the folds.
        cache: folder that keeps features.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.ranking import rank_files

    with _running(threads, progress):
        return rank_files(
            data, models, folders, level=level, spec=spec, by=by, n_folds=folds, seed=seed,
            cache=cache, device=device,
        )  # fmt: skip


@configured
def ensemble(
    models: Sequence[PathLike | Potential],
    data: DataSource | None = None,
    *,
    output: PathLike | None = None,
    level: str | None = None,
    spec: str | None = None,
    split: PathLike | None = None,
    coverage: float | None = None,
    overwrite: bool = False,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> EnsembleOutcome:
    """Joins models into one that knows how sure it is: ``tlpot ensemble``.

    Args:
        models: of other seeds or other subsets, trained with the same split.
        data: labels to calibrate on; without any, standard deviations are a ranking only.
        output: the model file to write; None for none.
        level: keep just this level of each.
        spec: layout of the data, if it is not tlpot's own.
        split: stored split of the training: validation frames calibrate, test frames judge.
        coverage: what one reported standard deviation covers, default 0.683.
        overwrite: replace the model file that is there.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import CalibrationSettings, join_models

    own = CalibrationSettings(data=data, level=level, spec=spec, split=split, coverage=coverage)
    with _running(threads, progress):
        return join_models(
            models, level=level, calibration=own, output=output, overwrite=overwrite,
            device=device,
        )  # fmt: skip


@configured
def calibrate(
    model: ModelSource,
    data: DataSource,
    *,
    output: PathLike | None = None,
    level: str | None = None,
    spec: str | None = None,
    split: PathLike | None = None,
    coverage: float | None = None,
    forces: bool = False,
    overwrite: bool = False,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> Calibrated:
    """Gives a model an uncertainty, or brings it to scale: ``tlpot calibrate``.

    Args:
        model: an ensemble, or a single model.
        data: the labels.
        output: the model file to write; None for none.
        level: level of theory of labels and model.
        spec: layout of the data, if it is not tlpot's own.
        split: stored split of the training: validation frames calibrate, test frames judge.
        coverage: what one reported standard deviation covers, default 0.683.
        forces: calibrate the forces of a last layer, too (slow); those of an ensemble always are.
        overwrite: replace the model file that is there.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import CalibrationSettings, calibrate_file

    own = CalibrationSettings(
        data=data, level=level, spec=spec, split=split, coverage=coverage, forces=forces
    )
    with _running(threads, progress):
        return calibrate_file(model, own, output=output, overwrite=overwrite, device=device)


def report(
    model: PathLike | Potential | None = None,
    data: DataSource | None = None,
    *,
    level: str | None = None,
    model_level: str | None = None,
    parent: PathLike | Potential | None = None,
    source: str | None = None,
    split: PathLike | None = None,
    part: Literal["train", "validation", "test"] | None = None,
    report: Mapping[str, Any] | None = None,
    spec: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> TransferReport:
    """Says what a transfer did to a model: ``tlpot report``.

    Args:
        model: the model.
        data: the labels.
        level: level of theory of the labels.
        model_level: level of the model, if it has several or another than the labels.
        parent: what it was made from, to compare with.
        source: level of the parent, if it has several.
        split: a stored split, to look at one part of it.
        part: which: train, validation or test (default).
        report: what to look at, see `tlpot.evaluation.ReportSettings`.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of the labels, where the file has its own.
        config: YAML file with any of these, or what is in one; see docs/report.md.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import make_report, report_job

    settings = report_job(
        config, model, data, level=level, model_level=model_level, parent=parent, source=source,
        split=split, part=part, report=report, spec=spec, keys=keys,
    )  # fmt: skip
    with _running(threads, progress):
        return make_report(settings, device=device, show=True)


@configured
def validate_dataset(
    data: DataSource,
    *,
    spec: str | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    progress: Progress = None,
) -> DataCheck:
    """Looks for mistakes in labels: ``tlpot data validate``.

    Args:
        data: the labels.
        spec: layout of the data, if it is not tlpot's own.
        level: level of theory, where the file does not say.
        keys: names of the labels, where the file has its own.
        config: YAML file with any of these, or what is in one.
        progress: who is told of it.
    """
    from tlpot.jobs import DataFiles, check_data
    from tlpot.presentation import telling

    with telling(progress):
        return check_data(DataFiles(data=data, spec=spec, level=level, keys=keys))


@configured
def convert_dataset(
    data: DataSource,
    output: PathLike,
    *,
    spec: str | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    progress: Progress = None,
) -> ConvertedData:
    """Writes labels as one file in the native layout: ``tlpot data convert``.

    Args:
        data: the labels.
        output: the HDF5 file to write.
        spec: layout of the data, if it is not tlpot's own.
        level: level of theory, where the file does not say.
        keys: names of the labels, where the file has its own.
        config: YAML file with any of these, or what is in one.
        progress: who is told of it.
    """
    from tlpot.jobs import DataFiles, convert
    from tlpot.presentation import telling

    with telling(progress):
        return convert(DataFiles(data=data, spec=spec, level=level, keys=keys), output)


@configured
def split_dataset(
    data: DataSource,
    output: PathLike | None = None,
    *,
    by: SplitBy | None = None,
    key: str | None = None,
    validation: Share = 0.1,
    test: Share = 0.1,
    labelled: str | None = None,
    seed: int = 0,
    spec: str | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    progress: Progress = None,
) -> DataSplit:
    """Divides labels into training, validation and test frames: ``tlpot data split``.

    Args:
        data: the labels.
        output: the JSON file to write; None for none.
        by: what stays together: molecule, source, trajectory, the same value of a key, or
            random. None for molecule, or random where all frames are of one.
        key: array with one value per frame, for ``by="key"``.
        validation: fraction (below 1), number of frames, or names.
        test: the same.
        labelled: only frames with a label at this level; None for `level`.
        seed: of the random order.
        spec: layout of the data, if it is not tlpot's own.
        level: level of theory, where the file does not say.
        keys: names of the labels, where the file has its own.
        config: YAML file with any of these, or what is in one.
        progress: who is told of it.
    """
    from tlpot.jobs import DataFiles, divide
    from tlpot.presentation import telling

    with telling(progress):
        return divide(
            DataFiles(data=data, spec=spec, level=level, keys=keys), output=output, by=by, key=key,
            validation=validation, test=test, labelled=labelled, seed=seed,
        )  # fmt: skip

"""Every job as one function: paths or objects in, a result that prints, saves and draws itself.

Arguments are named like the keys of YAML files. A job can be given such a file, or what is in one,
as ``config``; what is given as an argument wins, and sections are joined key by key.

What all jobs have in common:

- a model is a file, the name of one that ships or is installed, or one that `tlpot.load` returned;
- data are a file, several that are read as one, `ase.Atoms` with labels, or a dataset;
- ``spec``, the layout of data, is the name of a description, a YAML file, or a mapping of what
  would be in one;
- ``split`` may be a file, a `tlpot.data.Split` or what `split_dataset` returned;
- ``level`` may be left out where there is only one and the file or model names it, which
  `ase.Atoms`, trajectories and extended XYZ do not;
- ``device=None`` is CUDA if there is one, else the CPU; ``threads`` is put back when a job ends;
- ``progress`` is called with what is done, of how much (or None), and what is at work. Whatever it
  raises ends the job as Ctrl-C would: what was done is kept, and a training can be resumed. None
  shows a bar, False nothing;
- a mistake of the user's is a `tlpot.errors.TLPotError`, whose message says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from tlpot.config import configured, listed, numbers_checked

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Executor
    from typing import Literal

    import torch
    from ase import Atoms

    from tlpot.active_learning import Campaign, SimulatedCampaign
    from tlpot.building import BuildResult
    from tlpot.data import Dataset, DataSource, Frame, Share, SpecSource, SplitBy, SplitSource
    from tlpot.dynamics import Frequencies, Relaxation
    from tlpot.engines import EngineSpec
    from tlpot.evaluation import PropertyReport, TransferReport
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
        MolecularDynamics,
        ReferenceMethod,
        Structure,
        StructurePredictions,
        StructureSource,
        TrainingOutcome,
    )
    from tlpot.labelling import LabelReport
    from tlpot.learning_curves import Curve, CurveReport, LearningCurve, ParentSource, Plan
    from tlpot.models import MaceImport, Potential, TrainedModel
    from tlpot.presentation import Progress
    from tlpot.ranking import Ranking
    from tlpot.ranking import Scheme as FoldScheme
    from tlpot.reports import ForceFieldReport, Fragmentation
    from tlpot.sampling import DatasetSelection, SamplingReport
    from tlpot.transfer import Strategy

    SchemeLike = str | Scheme | Mapping[str, Any]
    PathLike = str | os.PathLike[str]
    Device = str | torch.device | None


@contextmanager
def _running(threads: int, progress: Progress) -> Iterator[None]:
    """While a job runs: torch's threads, old objects, and who is told of its progress."""
    from tlpot.presentation import telling
    from tlpot.torch_mode import objects_set_aside, torch_threads

    with torch_threads(threads), objects_set_aside(), telling(progress):
        yield


def train(
    data: DataSource | None = None,
    *,
    start: PathLike | None = None,
    level: str | Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    output: PathLike | None = None,
    preset: str | None = None,
    model: Mapping[str, Any] | None = None,
    references: Literal["fit", "isolated"] | None = None,
    split: Mapping[str, Any] | SplitSource | None = None,
    epochs: int | None = None,
    training: Mapping[str, Any] | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    name: str | None = None,
    description: str | None = None,
    licence: str | None = None,
    citation: str | None = None,
    pooling: Literal["mean", "attention"] | None = None,
    known: str | None = None,
    defaults: int | None = None,
    spec: SpecSource | None = None,
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
    """Trains a model, from scratch or on from another: ``tlpot train``.

    Args:
        data: the labels.
        start: a model whose weights and E0 the training goes on from, at some of its levels.
        level: level of theory to learn, or several, each of which becomes one of the model; or
            scalar properties, such as ``gap@hse06``.
        weights: factor of the loss by level.
        output: the model file to write, ``.safetensors``.
        preset: size of the network: tiny, crystal, small or medium.
        model: its architecture, see `tlpot.models.Architecture`.
        references: ``fit`` E0 to the training energies, or the ``isolated`` atoms as given.
        split: which frames are for what, see `tlpot.jobs.SplitSettings`; or a split.
        epochs: passes over the training frames.
        training: further settings, see `tlpot.training.TrainingSettings`.
        dtype: precision of the network.
        name: of the model; that of the file if left out.
        description: one sentence for the card.
        licence: of the weights.
        citation: what to cite.
        pooling: how atoms make an intensive property, see `tlpot.jobs.TrainConfig`.
        known: another property, such as ``gap@pbe``, that the model is told of each structure.
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

    Raises:
        KeyboardInterrupt: it was interrupted; the best model so far and a checkpoint are saved,
            and the message says where.
    """
    from tlpot.jobs import Launch, prepare_train, train_job

    settings = train_job(
        config, data, start=start, level=level, weights=weights, output=output, preset=preset,
        model=model, references=references, split=split, epochs=epochs, training=training,
        dtype=dtype, name=name, description=description, licence=licence, citation=citation,
        pooling=pooling, known=known, defaults=defaults, spec=spec, keys=keys,
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
    split: Mapping[str, Any] | SplitSource | None = None,
    epochs: int | None = None,
    training: Mapping[str, Any] | None = None,
    name: str | None = None,
    licence: str | None = None,
    report: Mapping[str, Any] | None = None,
    pooling: Literal["mean", "attention"] | None = None,
    features: PathLike | None = None,
    defaults: int | None = None,
    spec: SpecSource | None = None,
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
        parent: the pretrained model; it is left as it is. Or an engine with features of atoms, see
            docs/foreign.md.
        data: the labels.
        level: level of theory to learn, or a scalar property such as ``gap@hse06``.
        strategy: name, or a section with ``name`` and settings; ``auto`` compares some. Default
            full.
        output: the model file to write, ``.safetensors``.
        source: level of the parent to start from, if it has several.
        anchor: weight in the loss of the parent's forces, where the labels are energies only.
        references: E0 of the new level: ``fit``, ``isolated`` atoms, or those of the ``parent``.
        split: which frames are for what, see `tlpot.jobs.SplitSettings`; or a split.
        epochs: passes over the training frames.
        training: further settings; what is not set is what suits the strategy.
        name: of the model; that of the file if left out.
        licence: of the new weights.
        report: what the transfer report looks at; ``{"enabled": False}`` for none.
        pooling: how atoms make an intensive property; left out: as in the parent.
        features: folder that keeps what an engine as the parent says of structures.
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

    Raises:
        KeyboardInterrupt: it was interrupted; the best model so far and a checkpoint are saved,
            and the message says where.
    """
    from tlpot.jobs import Launch, finetune_job, is_automatic, prepare_finetune

    settings = finetune_job(
        config, parent, data, level=level, strategy=strategy, output=output, source=source,
        anchor=anchor, references=references, split=split, epochs=epochs, training=training,
        name=name, licence=licence, report=report, pooling=pooling, features=features,
        defaults=defaults, spec=spec, keys=keys,
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


def load(
    source: PathLike,
    *,
    engine: str | None = None,
    device: Device = None,
    dtype: str | torch.dtype | None = None,
    kernels: str = "auto",
) -> TrainedModel:
    """Opens a model: a `Potential`, or what else is kept in model files.

    Args:
        source: a file, or the name of a model that ships with tlpot or is installed.
        engine: whose features the model reads, if it does, see docs/foreign.md.
        device: None means CUDA if there is one, else the CPU.
        dtype: ``float32`` or ``float64``, or torch's own; None means as stored.
        kernels: of the sums, see `tlpot.kernels.kernels_by_name`.
    """
    from tlpot import models
    from tlpot.jobs import with_engine

    opened = models.load(source, device=device, dtype=dtype, kernels=kernels)
    return opened if engine is None else with_engine(opened, engine)


@configured
@numbers_checked
def evaluate(
    model: ModelSource,
    data: DataSource,
    *,
    level: str | None = None,
    model_level: str | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    split: SplitSource | None = None,
    part: Literal["train", "validation", "test"] | None = None,
    scheme: SchemeLike | None = None,
    low: str | None = None,
    low_level: str | None = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    engine: str | None = None,
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
        keys: names of the labels, where the file has its own.
        split: a stored split, to evaluate one part of it.
        part: which: train, validation or test (default; the validation frames where there are
            none).
        scheme: of fragments that the structures are assembled from, see docs/fragments.md.
        low: two layers: model of the whole structure that fragments correct, or gfn2-xtb.
        low_level: level of theory of `low`, if it has several.
        dispersion: of the whole structure, such as ``d3bj:b3lyp``.
        trained_charges: the model reads no charges, but was trained on fragments charged so.
        engine: whose features the model reads, if it does, see docs/foreign.md.
        batch_size: frames at a time.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.data import stored_part
    from tlpot.jobs import DataFiles, evaluate_model, fragment_method, with_engine

    with _running(threads, progress):
        return evaluate_model(
            model if engine is None else with_engine(model, engine, device),
            DataFiles(data=data, spec=spec, level=level, keys=keys), model_level=model_level,
            part=stored_part(split, part),
            assembly=fragment_method(scheme, low, low_level, dispersion, trained_charges),
            device=device, batch_size=batch_size,
        )  # fmt: skip


@configured
def predict(
    model: ModelSource,
    structures: StructureSource,
    *,
    level: str | None = None,
    output: PathLike | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    charge: int | None = None,
    spin: int | None = None,
    engine: str | None = None,
    overwrite: bool = False,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> StructurePredictions:
    """Evaluates a model on structures, labelled or not: ``tlpot predict``.

    Args:
        model: the model, or the name of an engine such as ``gfn2-xtb``.
        structures: `ase.Atoms`, one or several; a file of any format that ASE reads, or several;
            a folder of structures, a matbench file; or a dataset, whose labels are not looked at.
        level: level of theory, or property, of the model; ``all`` for all of them.
        output: file for structures and predictions: .xyz, .traj, .db, .json, or .h5 in the native
            layout; or .csv for a table of ids and numbers, in which structures with unknown
            elements have none.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of charge and multiplicity in files of structures.
        charge: total charge of all structures, where they state none.
        spin: multiplicity, likewise.
        engine: whose features the model reads, if it does, see docs/foreign.md.
        overwrite: replace the file that is there.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import Reading, predict_structures, with_engine

    with _running(threads, progress):
        return predict_structures(
            model if engine is None else with_engine(model, engine, device),
            structures,
            level=level,
            output=output,
            reading=Reading(spec=spec, keys=keys, charge=charge, spin=spin),
            overwrite=overwrite,
            device=device,
        )


@numbers_checked
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
    split: Mapping[str, Any] | SplitSource | None = None,
    training: Mapping[str, Any] | None = None,
    keep_models: bool | None = None,
    licence: str | None = None,
    spec: SpecSource | None = None,
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
        split: which frames are for what, see `tlpot.jobs.SplitSettings`; or a split.
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


def active_learning(
    parent: PathLike | Potential | None = None,
    data: DataSource | None = None,
    *,
    level: str | None = None,
    output: PathLike | None = None,
    goal: Literal["learn", "maximise", "minimise", "window"] | None = None,
    window: Sequence[float] | None = None,
    strategy: str | Mapping[str, Any] | None = None,
    batch: int | None = None,
    rounds: int | None = None,
    initial: int | None = None,
    seeds: int | None = None,
    simulate: bool | None = None,
    members: int | None = None,
    repeat: int | None = None,
    source: str | None = None,
    quantity: Mapping[str, Any] | None = None,
    split: Mapping[str, Any] | SplitSource | None = None,
    training: Mapping[str, Any] | None = None,
    seed: int | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> Campaign | SimulatedCampaign:
    """Chooses candidates to label, round by round, with a transferred model: ``tlpot active``.

    Where all candidates have a label, whole campaigns are simulated beside random choice. Else
    the next candidates are written to a table; fill its last column and call again.

    Args:
        parent: the pretrained model.
        data: the candidates, structures with labels or without.
        level: a scalar property, such as ``gap@hse06``.
        output: folder of the campaign, which goes on where it ended.
        goal: ``learn`` (what the model is least sure of; the default), ``maximise``, ``minimise``
            (expected improvement), or ``window``.
        window: lowest and highest value that are wanted.
        strategy: that fits a model in each round; default frozen-gp.
        batch: candidates of a round, default 10.
        rounds: of a simulation, default 5.
        initial: labels before the first choice, default 20.
        seeds: of a simulation, default 3.
        simulate: hide the labels that there are; None does so where all candidates have one.
        members: models whose spread is the uncertainty, where the strategy has none; default 4.
        repeat: times that the newest labels count, default 1.
        source: level of the parent to start from, if it has several.
        quantity: unit, extensive and kind of the property, where nothing else says so.
        split: what a simulation holds out to measure errors on, see `tlpot.jobs.SplitSettings`.
        training: settings of strategies that train.
        seed: of everything that is drawn.
        spec: layout of the data, if it is not tlpot's own.
        keys: names of the labels, where the file has its own.
        config: YAML file, or what is in one; see docs/properties.md.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.

    Raises:
        DataError: candidates of the last round have no label yet.
    """
    from tlpot.active_learning import active_job, run_campaign

    settings = active_job(
        config, parent, data, level=level, output=output, goal=goal, window=window,
        strategy=strategy, batch=batch, rounds=rounds, initial=initial, seeds=seeds,
        simulate=simulate, members=members, repeat=repeat, source=source, quantity=quantity,
        split=split, training=training, seed=seed, spec=spec, keys=keys,
    )  # fmt: skip
    with _running(threads, progress):
        return run_campaign(settings, device=device)


@configured
@numbers_checked
def plan(
    curve: PathLike | Curve | LearningCurve,
    *,
    target: float | str | None = None,
    budget: float | None = None,
    cost_ratio: float | None = None,
    cost_from: Sequence[PathLike] | PathLike | None = None,
    levels: tuple[str, str] | None = None,
    quantity: str = "energy_mae",
    pretraining_paid: bool = False,
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
        pretraining_paid: the pretraining is paid already.
        have: expensive labels that are there already.
        pretraining: curve of the low level itself.
        fit_up_to: no plan: fit sizes up to this and compare the forecasts with the larger ones.
        config: YAML file with any of these, or what is in one.
    """
    from tlpot.learning_curves import Wanted, plan_purchase

    wanted = Wanted(
        target=target, budget=budget, cost_ratio=cost_ratio,
        cost_from=None if cost_from is None else listed(cost_from), levels=levels,
        quantity=quantity, pretraining_paid=pretraining_paid, have=have, pretraining=pretraining,
        fit_up_to=fit_up_to,
    )  # fmt: skip
    return plan_purchase(curve, wanted)


@configured
@numbers_checked
def rank(
    data: DataSource,
    models: Sequence[str] | str | None = None,
    *,
    level: str | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    folders: Sequence[PathLike] | PathLike = (),
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
        keys: names of the labels, where the file has its own.
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
            data, None if models is None else listed(models), listed(folders), level=level,
            spec=spec, keys=keys, by=by, n_folds=folds, seed=seed, cache=cache, device=device,
        )  # fmt: skip


@configured
@numbers_checked
def ensemble(
    models: Sequence[PathLike | Potential],
    data: DataSource | None = None,
    *,
    output: PathLike | None = None,
    level: str | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    split: SplitSource | None = None,
    coverage: float | None = None,
    engine: str | None = None,
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
        keys: names of the labels, where the file has its own.
        split: stored split of the training: validation frames calibrate, test frames judge.
        coverage: what one reported standard deviation covers, default 0.683.
        engine: whose features the models read, if they do, see docs/foreign.md.
        overwrite: replace the model file that is there.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import CalibrationSettings, join_models

    own = CalibrationSettings(
        data=data, level=level, spec=spec, keys=keys, split=split, coverage=coverage, engine=engine
    )
    with _running(threads, progress):
        return join_models(
            listed(models), level=level, calibration=own, output=output, overwrite=overwrite,
            device=device,
        )  # fmt: skip


@configured
@numbers_checked
def calibrate(
    model: ModelSource,
    data: DataSource,
    *,
    output: PathLike | None = None,
    level: str | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    split: SplitSource | None = None,
    coverage: float | None = None,
    forces: bool = False,
    engine: str | None = None,
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
        keys: names of the labels, where the file has its own.
        split: stored split of the training: validation frames calibrate, test frames judge.
        coverage: what one reported standard deviation covers, default 0.683.
        forces: calibrate the forces of a last layer, too (slow); those of an ensemble always are.
        engine: whose features the model reads, if it does, see docs/foreign.md.
        overwrite: replace the model file that is there.
        config: YAML file with any of these, or what is in one.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import CalibrationSettings, calibrate_file

    own = CalibrationSettings(
        data=data, level=level, spec=spec, keys=keys, split=split, coverage=coverage,
        forces=forces, engine=engine,
    )  # fmt: skip
    with _running(threads, progress):
        return calibrate_file(model, own, output=output, overwrite=overwrite, device=device)


def import_model(
    source: PathLike,
    *,
    output: PathLike | None = None,
    head: str | Sequence[str] | None = None,
    level: str | Mapping[str, str] | None = None,
    elements: Sequence[str] | str | None = None,
    licence: str | None = None,
    check: PathLike | None = None,
    dtype: Literal["float32", "float64"] | None = None,
    overwrite: bool = False,
) -> MaceImport:
    """Reads a model of mace-torch into tlpot's network, exactly: ``tlpot models import``.

    Nothing of the file is executed, and mace-torch is not needed.

    Args:
        source: the ``.model`` file that mace-torch wrote.
        output: the model file to write; None for none.
        head: those to take; None for all. Each is a level of theory of the model.
        level: name of the level of theory, or one by head; default: the file's and head's name.
        elements: symbols of those to take; None for all. Matrices for each element are most of
            the weights.
        licence: of the weights; None for that of a published model of the file's name.
        check: npz file with energies and forces that mace-torch gave, to compare with
            (examples/mace_vectors.py writes it).
        dtype: precision; None for that of the file.
        overwrite: replace the model file that is there.

    Raises:
        ModelFileError: the file cannot be read, or holds a model of another kind; or the
            imported model does not give what it should.
        ConfigError: a head or an element that it does not have.
        OutputError: there is a file already.
    """
    from pathlib import Path

    import torch

    from tlpot.files import check_replaced
    from tlpot.jobs import check_output
    from tlpot.models import import_mace, parse_elements, save

    if output is not None:
        check_output(Path(output))
        check_replaced(output, what="model file", overwrite=overwrite)
    found = import_mace(
        source,
        levels=level,
        heads=[head] if isinstance(head, str) else head,
        elements=None if elements is None else parse_elements(",".join(listed(elements))),
        licence=licence,
        dtype=None if dtype is None else getattr(torch, dtype),
        vectors=check,
    )
    if output is not None:
        save(found.potential, output)
    return found


def report(
    model: PathLike | Potential | None = None,
    data: DataSource | None = None,
    *,
    level: str | None = None,
    model_level: str | None = None,
    parent: PathLike | Potential | None = None,
    source: str | None = None,
    split: SplitSource | None = None,
    part: Literal["train", "validation", "test"] | None = None,
    report: Mapping[str, Any] | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    engine: str | None = None,
    config: ConfigSource = None,
    device: Device = None,
    threads: int = 1,
    progress: Progress = None,
) -> TransferReport | PropertyReport:
    """Says what a transfer did to a model, or what one of a property is worth: ``tlpot report``.

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
        engine: whose features the model reads, if it does, see docs/foreign.md.
        config: YAML file with any of these, or what is in one; see docs/report.md.
        device: where to compute.
        threads: of the CPU.
        progress: who is told of it.
    """
    from tlpot.jobs import make_report, report_job

    settings = report_job(
        config, model, data, level=level, model_level=model_level, parent=parent, source=source,
        split=split, part=part, report=report, spec=spec, keys=keys, engine=engine,
    )  # fmt: skip
    with _running(threads, progress):
        return make_report(settings, device=device, show=True)


@configured
def validate_dataset(
    data: DataSource,
    *,
    against: PathLike | None = None,
    spec: SpecSource | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    config: ConfigSource = None,
    progress: Progress = None,
) -> DataCheck:
    """Looks for mistakes in labels: ``tlpot data validate``.

    Args:
        data: the labels.
        against: file of structures, such as the parent's data: those that it has, too, and other
            structures of its formulas, are reported.
        spec: layout of the data, if it is not tlpot's own.
        level: level of theory, where the file does not say.
        keys: names of the labels, where the file has its own.
        config: YAML file with any of these, or what is in one.
        progress: who is told of it.
    """
    from tlpot.jobs import DataFiles, check_data
    from tlpot.presentation import telling

    with telling(progress):
        return check_data(DataFiles(data=data, spec=spec, level=level, keys=keys), against)


@configured
def convert_dataset(
    data: DataSource,
    output: PathLike,
    *,
    spec: SpecSource | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    overwrite: bool = False,
    config: ConfigSource = None,
    progress: Progress = None,
) -> ConvertedData:
    """Writes labels as one file in the native layout: ``tlpot data convert``.

    Args:
        data: the labels.
        output: the HDF5 file to write, ``.h5``.
        spec: layout of the data, if it is not tlpot's own.
        level: level of theory, where the file does not say.
        keys: names of the labels, where the file has its own.
        overwrite: replace the file; never one that is read.
        config: YAML file with any of these, or what is in one.
        progress: who is told of it.
    """
    from tlpot.jobs import DataFiles, convert
    from tlpot.presentation import telling

    with telling(progress):
        files = DataFiles(data=data, spec=spec, level=level, keys=keys)
        return convert(files, output, overwrite=overwrite)


@configured
@numbers_checked
def select_dataset(
    data: DataSource,
    output: PathLike,
    *,
    each: int | None = None,
    count: int | None = None,
    select: Literal["farthest", "uncertainty"] = "farthest",
    model: str | None = None,
    model_level: str | None = None,
    max_force: float | None = None,
    window: float | None = None,
    seed: int = 0,
    spec: SpecSource | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    overwrite: bool = False,
    threads: int = 1,
    config: ConfigSource = None,
    progress: Progress = None,
) -> DatasetSelection:
    """Chooses unlike or uncertain frames, and writes them with all labels: ``tlpot data select``.

    Args:
        data: the frames. A file in tlpot's own layout is kept with all that it says; others are
            converted on the way.
        output: the HDF5 file to write.
        each: frames of each molecule at most.
        count: frames in all at most.
        select: the farthest in features, or those that the model is least sure of.
        model: to choose by; None for distances and angles.
        model_level: of its uncertainty, where it has several.
        max_force: leave out frames with a larger force at any level, eV/Å.
        window: leave out frames this far above the lowest of their molecule, eV per atom.
        seed: of the first frame, where there are no energies.
        spec: layout of the data, if it is not tlpot's own.
        level: level of theory, where the file does not say; elsewhere the only one to keep.
        keys: names of the labels, where the file has its own.
        overwrite: replace the file.
        threads: of torch.
        config: YAML file with any of these, or what is in one.
        progress: who is told of it.

    Raises:
        ConfigError: nothing to choose by, or a model without what is needed.
        DataError: the data cannot be read, or nothing is left.
        OutputError: the file exists, or could not be written.
    """
    from tlpot.sampling import FrameChoice, choose_frames

    choice = FrameChoice(
        each=each, count=count, select=select, model=model, level=model_level,
        max_force=max_force, window=window, seed=seed,
    )  # fmt: skip
    with _running(threads, progress):
        return choose_frames(
            data, output, choice, spec=spec, level=level, keys=keys, overwrite=overwrite
        )


@configured
@numbers_checked
def split_dataset(
    data: DataSource,
    output: PathLike | None = None,
    *,
    by: SplitBy | None = None,
    key: str | None = None,
    validation: Share | str | None = None,
    test: Share | str | None = None,
    labelled: str | None = None,
    together_with: PathLike | None = None,
    seed: int = 0,
    strict: bool = False,
    spec: SpecSource | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
    overwrite: bool = False,
    config: ConfigSource = None,
    progress: Progress = None,
) -> DataSplit:
    """Divides labels into training, validation and test frames: ``tlpot data split``.

    Args:
        data: the labels.
        output: the JSON file to write; None for none.
        by: what stays together: molecule, source, trajectory, formula, prototype, composition, the
            same value of a key, or, for random, nothing; element leaves the elements of the test
            out of training. None for molecule, formula for properties of periodic structures, or
            random where all frames are of one.
        key: array with one value per frame, for ``by="key"``.
        validation: fraction (below 1), number of frames, or names, also as a text with commas.
            None for a tenth, of few frames one.
        test: the same.
        labelled: only frames with a label at this level; None for `level`.
        together_with: file of structures, such as the parent's data, whose formulas stay in
            training.
        seed: of the random order.
        strict: take a warning, of an element that no training frame has, for an error.
        spec: layout of the data, if it is not tlpot's own.
        level: level of theory, where the file does not say.
        keys: names of the labels, where the file has its own.
        overwrite: replace the file of a split; never one that is read.
        config: YAML file with any of these, or what is in one.
        progress: who is told of it.
    """
    from tlpot.jobs import DataFiles, divide
    from tlpot.presentation import telling

    with telling(progress):
        return divide(
            DataFiles(data=data, spec=spec, level=level, keys=keys), output=output, by=by, key=key,
            validation=validation, test=test, labelled=labelled, together_with=together_with,
            seed=seed, strict=strict, overwrite=overwrite,
        )  # fmt: skip


@configured
@numbers_checked
def sample(
    fragments: PathLike | Atoms | Sequence[PathLike | Atoms] | Mapping[str, Atoms | str],
    output: PathLike,
    *,
    engine: str = "gfn2-xtb",
    level: str | None = None,
    methods: Sequence[str] | str = ("scan", "modes", "md"),
    temperatures: Sequence[float] | str = (300.0, 600.0),
    pairs: Sequence[str] | str = (),
    budget: int = 500,
    pool: float = 3.0,
    window: float = 0.2,
    interval: int = 20,
    conformers: int | None = None,
    noise: float = 0.08,
    strain: float = 0.05,
    downhill: str | None = None,
    downhill_steps: int = 12,
    separations: tuple[float, float] | None = None,
    minimise: bool = True,
    select: Literal["farthest", "uncertainty"] = "farthest",
    model: str | None = None,
    model_level: str | None = None,
    seed: int = 0,
    skip_failed: bool = False,
    overwrite: bool = False,
    workers: int = 1,
    dask: str | None = None,
    threads: int = 1,
    config: ConfigSource = None,
    progress: Progress = None,
) -> SamplingReport:
    """Samples geometries of molecules, fragments and crystals, with the engine's labels.

    Fragments that are finished are kept in ``OUTPUT.parts``, and a call that was interrupted goes
    on with the others.

    Args:
        fragments: ``residues``, ``states``, a fragment such as ``ACE-HIP-NME``, a SMILES such as
            ``CCO``, a molecule of ASE's, a file (of SMILES, too), or atoms, which are named by
            their formula or by the keys of a mapping.
        output: HDF5 file.
        engine: what calculates: ``gfn2-xtb``, ``gfn1-xtb``, ``mmff94``, or a model.
        level: level of theory of an engine that is a model with several.
        methods: see `tlpot.sampling.SamplingSettings`, as all until `seed`; also as one text with
            commas.
        temperatures: K, or a range such as ``200-1000``.
        pairs: dimers to scan as well, ``NAME+NAME``.
        budget: geometries of each fragment.
        pool: times the budget to choose from.
        window: eV per atom above the lowest.
        interval: steps of dynamics between two geometries.
        conformers: number of ``etkdg``, or of complexes in contact.
        noise: largest standard deviation, Å.
        strain: of cells, the largest share by which lengths change.
        downhill: engine that relaxes a little.
        downhill_steps: at most.
        separations: Å beyond contact, between which complexes are scanned.
        minimise: complexes in contact before they are scanned.
        select: how to choose.
        model: to choose by.
        model_level: of its uncertainty.
        seed: of everything that is drawn.
        skip_failed: leave out fragments that cannot be sampled, with a warning.
        overwrite: replace the file, and start afresh.
        workers: processes of one thread each; 1 is this one.
        dask: address of a Dask scheduler, or ``local``.
        threads: of torch in this process.
        config: YAML file with any of these, or what is in one.
        progress: see `tlpot.api`.

    Raises:
        ConfigError: no such fragment, method and so on.
        OutputError: the file exists, or could not be written.
        SimulationError: a fragment falls apart; the others are kept.
    """
    from tlpot.calculators import CalculatorFactory
    from tlpot.execution import workers as worker_pool
    from tlpot.sampling import SamplingReport, SamplingSettings, given_fragments
    from tlpot.sampling import pairs as pairs_of
    from tlpot.sampling import sample as run

    settings = SamplingSettings(
        methods=listed(methods, commas=True),
        temperatures=temperatures if isinstance(temperatures, str) else tuple(temperatures),
        budget=budget,
        pool=pool,
        window=window,
        interval=interval,
        conformers=conformers,
        noise=noise,
        strain=strain,
        downhill=downhill,
        downhill_steps=downhill_steps,
        separations=separations,
        minimise=minimise,
        select=select,
        model=model,
        level=model_level,
        seed=seed,
    )
    found = given_fragments(fragments, skip_failed=skip_failed)
    found += pairs_of(listed(pairs, commas=True), found)
    chosen = CalculatorFactory.of(engine, level)
    with _running(threads, progress), worker_pool(workers, dask, alone=True) as (executor, _):
        samples = run(
            found,
            output,
            settings,
            chosen,
            executor=executor,
            overwrite=overwrite,
            skip_failed=skip_failed,
        )
    return SamplingReport.of(samples, output, chosen.label_level)


@numbers_checked
def label(
    structures: PathLike | Atoms | Iterable[PathLike | Atoms | Frame],
    engine: str | EngineSpec,
    output: PathLike,
    *,
    settings: Mapping[str, Any] | None = None,
    level: str | None = None,
    forces: Literal["auto", "no", "analytic", "numerical"] = "auto",
    stress: bool = True,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    charge: int | None = None,
    spin: int | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    repair_journal: bool = False,
    tries: int = 3,
    timeout: float | None = None,
    batch: int = 1,
    workers: int | None = None,
    dask: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> LabelReport:
    """Labels structures at a level of theory, and adds the labels to a dataset.

    Each label is on disk before the next is waited for; after an interruption the same call goes
    on. The first Ctrl-C lets finish what runs.

    Args:
        structures: a dataset, some frames of one, files that ASE reads, or atoms.
        engine: such as ``gfn2-xtb``, ``pyscf:METHOD/BASIS`` or ``model:PATH@LEVEL``.
        output: HDF5 file; may be the dataset itself.
        settings: of the engine, where `engine` is a name.
        level: name of the level of theory, instead of the engine's.
        forces: analytic ones where they exist, none, or insist.
        stress: with forces, of structures that are periodic in three directions, where the engine
            has it.
        spec: layout of the dataset, if it is not tlpot's own.
        keys: names that the file has for a quantity.
        charge: total charge of all structures, where they state none.
        spin: multiplicity, likewise.
        limit: new labels at most.
        retry_failed: try again what failed before.
        repair_journal: drop damaged lines of the journal.
        tries: workers that a geometry may kill.
        timeout: s that a label may take before it has failed; not with `dask`.
        batch: molecules of one number of atoms at once, by engines that can: ``torch:``,
            ``model:``, and calculators with ``calculate_batch``.
        workers: processes of one thread each, which may die without harm to others; None is
            this process.
        dask: address of a Dask scheduler, or ``local`` for `workers` processes.
        threads: of each label.
        progress: see `tlpot.api`.

    Raises:
        TLPotError: something is wrong with structures, engine or files; nothing was computed.
        KeyboardInterrupt: all labels are in the file; the message says how many.
    """
    from tlpot.engines import EngineSpec
    from tlpot.errors import ConfigError
    from tlpot.execution import workers as worker_pool
    from tlpot.labelling import LabelSettings, read_structures
    from tlpot.labelling import label as run
    from tlpot.training import Interrupt

    if isinstance(engine, str):
        engine = EngineSpec(
            name=engine, settings=settings or {}, level=level, forces=forces, stress=stress
        )
    elif settings is not None or level is not None or forces != "auto" or not stress:
        raise ConfigError(
            "an EngineSpec has settings, level, forces and stress of its own; leave them out"
        )
    if dask is not None and timeout is not None:
        raise ConfigError("timeout does not work in Dask's threads; leave it out, or take workers")
    with ExitStack() as stack:
        stack.enter_context(_running(threads, progress))
        interrupt = stack.enter_context(Interrupt())
        executor, in_flight = None, None
        if workers is not None or dask is not None:
            executor, in_flight = stack.enter_context(
                worker_pool(1 if workers is None else workers, dask)
            )
        report = run(
            read_structures(structures, spec, keys, charge=charge, spin=spin),
            engine,
            output,
            settings=LabelSettings(
                threads=threads,
                in_flight=in_flight,
                limit=limit,
                retry_failed=retry_failed,
                repair_journal=repair_journal,
                tries=tries,
                batch=batch,
                timeout=timeout,
            ),
            executor=executor,
            stop=lambda: interrupt.requested,
        )
        if interrupt.requested and report.n_left:
            raise KeyboardInterrupt(f"{str(report).splitlines()[0]}; the same call continues")
    return report


def build(
    config: PathLike | Mapping[str, Any] | None = None,
    *,
    output: PathLike | None = None,
    structures: PathLike | Sequence[PathLike] | Mapping[str, Atoms | Sequence[Atoms]] | None = None,
    sequence: str | Sequence[str] | None = None,
    conformations: Sequence[str] | None = None,
    n_cap: str | None = None,
    c_cap: str | None = None,
    low: Mapping[str, Any] | None = None,
    high: Mapping[str, Any] | None = None,
    fragments: Mapping[str, Any] | None = None,
    scheme: str | Mapping[str, Any] | None = None,
    sample: Mapping[str, Any] | None = None,
    pretrain: Mapping[str, Any] | None = None,
    select: Mapping[str, Any] | None = None,
    finetune: Mapping[str, Any] | None = None,
    uncertainty: Mapping[str, Any] | None = None,
    active: Mapping[str, Any] | None = None,
    curve: Mapping[str, Any] | None = None,
    assemble: Mapping[str, Any] | None = None,
    trained_charges: bool | None = None,
    name: str | None = None,
    until: str | None = None,
    dry_run: bool = False,
    workers: int = 1,
    dask: str | None = None,
    device: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> BuildResult:
    """Builds a force field from structures and two levels of theory, stage by stage.

    What is finished is kept, and not done again by the next call with the same settings.

    Args:
        config: YAML file, or what is in one; arguments that are given win, key by key.
        output: see `tlpot.building.config.BuildConfig`, as all until `name`.
        structures: files, or atoms by name, each in one or more conformations.
        sequence: of a peptide to build instead.
        conformations: of that peptide.
        n_cap: of that peptide.
        c_cap: of that peptide.
        low: the cheap level.
        high: the expensive level.
        fragments: what the model learns.
        scheme: of fragments.
        sample: settings of the sampling.
        pretrain: how the cheap level is learned.
        select: which geometries get expensive labels.
        finetune: how the expensive level is learned.
        uncertainty: how the force field knows how sure it is.
        active: active rounds.
        curve: errors against numbers of labels.
        assemble: the tests of the force field.
        trained_charges: the model reads no charges.
        name: of the force field.
        until: stop after this stage.
        dry_run: check everything, and say where the stages stand.
        workers: processes of one thread each; 1 is this one.
        dask: address of a Dask scheduler, or ``local``.
        device: of models.
        threads: of torch in this process.
        progress: see `tlpot.api`; the stages' own bars.

    Raises:
        TLPotError: something is wrong; what was finished is kept.
        KeyboardInterrupt: the user stopped it; so is what was begun.
    """
    from tlpot.building import BuildResult, build_plan, run_build
    from tlpot.execution import workers as worker_pool
    from tlpot.training import Interrupt

    plan = build_plan(
        config,
        structures,
        output=output,
        sequence=sequence,
        conformations=conformations,
        n_cap=n_cap,
        c_cap=c_cap,
        low=low,
        high=high,
        fragments=fragments,
        scheme=scheme,
        sample=sample,
        pretrain=pretrain,
        select=select,
        finetune=finetune,
        uncertainty=uncertainty,
        active=active,
        curve=curve,
        assemble=assemble,
        trained_charges=trained_charges,
        name=name,
    )
    if dry_run:
        return BuildResult.of(plan, until)
    with ExitStack() as stack:
        stack.enter_context(_running(threads, progress))
        interrupt = stack.enter_context(Interrupt())
        executor, in_flight = stack.enter_context(worker_pool(workers, dask, alone=True))
        return run_build(
            plan,
            until=until,
            executor=executor,
            in_flight=in_flight,
            device=device,
            stop=lambda: interrupt.requested,
        )


def fragment(
    structure: PathLike | Atoms | Sequence[Atoms],
    model: Any = None,
    *,
    level: str | None = None,
    scheme: SchemeLike = "mfcc_mbe2",
    low: Any = None,
    low_level: str | None = None,
    charges: Any = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    reference: Any = None,
    device: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> Fragmentation:
    """Cuts a structure into fragments; with a model energies and forces, with a reference errors.

    The result draws the partition or the error budget (``plot``), writes the fragments for
    labelling (``export``) and the frames with forces (``write_forces``).

    Args:
        structure: with all hydrogens: a file, or atoms, in one or more frames of one molecule.
        model: of the fragments: a file or name, an engine such as ``gfn2-xtb``, a YAML file or
            mapping with a model for each kind, or what `FragmentCalculator` takes.
        level: level of theory of `model`.
        scheme: name of a fragment scheme, a scheme, or a mapping with its ``name`` and settings.
        low: two layers: model of the whole structure that fragments correct.
        low_level: level of theory of `low`.
        charges: ``amber`` for Coulomb terms between atoms that share no fragment.
        dispersion: of the whole structure, such as ``d3bj:b3lyp``.
        trained_charges: see `FragmentCalculator`.
        reference: what QM is: the error budget is measured, and nothing else.
        device: of the models.
        threads: of torch.
        progress: see `tlpot.api`; calculations of an engine.

    Raises:
        DataError: the structure could not be read.
        GeometryError: valences that do not close, or frames with other bonds; atoms are named.
        ConfigError: no such scheme, or arguments that do not go together.
    """
    from tlpot.calculators import FragmentMethod
    from tlpot.reports import FragmentedFrames, fragment_budget, fragment_structure

    method = FragmentMethod(
        scheme=scheme,
        low=low,
        low_level=low_level,
        charges=charges,
        dispersion=dispersion,
        trained_charges=trained_charges,
    )
    with _running(threads, progress):
        given = FragmentedFrames.open(structure)
        if reference is not None:
            return fragment_budget(given, method, reference, model, level=level, device=device)
        return fragment_structure(given, method, model, level=level, device=device)


def force_field_report(
    model: PathLike | Mapping[str, PathLike],
    data: PathLike | Dataset | None = None,
    *,
    level: str | None = None,
    structure: PathLike | Sequence[PathLike] | Mapping[str, Atoms | Sequence[Atoms]] | None = None,
    scheme: SchemeLike = "mfcc_mbe2",
    low: Any = None,
    low_level: str | None = None,
    charges: Any = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    reference: Any = None,
    parent: PathLike | Mapping[str, PathLike] | None = None,
    source: str | None = None,
    spec: SpecSource | None = None,
    keys: Mapping[str, str] | None = None,
    split: SplitSource | None = None,
    part: Literal["train", "validation", "test"] | None = None,
    curve: PathLike | None = None,
    cost: Sequence[PathLike] | PathLike = (),
    ancestors: Sequence[PathLike] | PathLike = (),
    settings: Mapping[str, Any] | None = None,
    output: PathLike | None = None,
    device: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> ForceFieldReport:
    """Looks at a force field from all sides that the given files allow, and writes a page.

    Args:
        model: of the fragments, or a mapping (or YAML file) with one for each kind.
        data: labelled fragments, to measure errors on.
        level: level of theory of `model`.
        structure: test structures: files, or atoms by name.
        scheme: see `fragment`, as the next five.
        low: of two layers.
        low_level: of `low`.
        charges: ``amber``.
        dispersion: of the whole structure.
        trained_charges: the model reads no charges.
        reference: what QM is, for structures.
        parent: the model before the transfer.
        source: level of the parent; without one, the level of `model` that it started from.
        spec: layout of the data.
        keys: names of the labels, where the file has its own.
        split: file that divides the data.
        part: of the split to look at: train, validation or test (default).
        curve: folder of a learning curve.
        cost: files of ``tlpot label``.
        ancestors: model files that may be ancestors.
        settings: see `tlpot.reports.ExaminationSettings`.
        output: folder for the page and the numbers; None writes nothing.
        device: of the models.
        threads: of torch.
        progress: see `tlpot.api`.

    Raises:
        ConfigError: arguments that do not go together.
        TLPotError: something is wrong with models, data or structures.
    """
    from tlpot.calculators import FragmentMethod
    from tlpot.config import parse
    from tlpot.data import open_dataset
    from tlpot.files import make_folder
    from tlpot.reports import (
        Evidence,
        ExaminationSettings,
        ForceFieldModels,
        LabelledFragments,
        examine_force_field,
        models_by_kind,
        named_structures,
        write_report,
    )

    if keys and data is not None:
        data, spec = open_dataset(data, spec, keys=keys), None
    if output is not None:
        make_folder(output)  # what cannot be written is said before anything is computed
    method = FragmentMethod(
        scheme=scheme,
        low=low,
        low_level=low_level,
        charges=charges,
        dispersion=dispersion,
        trained_charges=trained_charges,
    )
    method.parsed()
    with _running(threads, progress):
        found = examine_force_field(
            ForceFieldModels(
                model=models_by_kind(model),
                level=level,
                parent=parent,
                parent_level=source,
                ancestors=listed(ancestors),
            ),
            named_structures(structure),
            method=method,
            reference=reference,
            fragments=None
            if data is None
            else LabelledFragments.open(data, spec=spec, split=split, part=part),
            evidence=Evidence(curve=curve, cost=listed(cost)),
            settings=parse(ExaminationSettings, settings or {}, "report"),
            device=device,
        )
    if output is not None:
        write_report(output, found)
    return found


@numbers_checked
def md(
    structure: Structure,
    model: Any,
    *,
    level: str | None = None,
    output: PathLike = "md",
    ensemble: Literal["nve", "langevin", "nvt", "npt"] = "langevin",
    temperature: float = 300.0,
    timestep: float = 0.5,
    time: float = 1.0,
    steps: int | None = None,
    friction: float = 10.0,
    pressure: float = 1.0,
    thermostat_time: float = 100.0,
    barostat_time: float = 1000.0,
    seed: int = 0,
    log_every: int = 10,
    stop_when: Sequence[str] | str = (),
    charge: int | None = None,
    spin: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    scheme: SchemeLike | None = None,
    low: Any = None,
    low_level: str | None = None,
    charges: Any = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> MolecularDynamics:
    """Runs molecular dynamics, with a trajectory, a log and a picture on disk.

    Args:
        structure: a file (its last frame), one of ASE's molecules by name, or atoms, which are
            copied; velocities that it has are kept.
        model: a file or name, a potential, an engine such as ``gfn2-xtb``, or an ASE calculator.
        level: level of theory, if the model has several.
        output: path of the files without ending, or of the trajectory (.xyz), or a folder.
        ensemble: see `tlpot.dynamics.MDSettings`, as all until `log_every`.
        temperature: K.
        timestep: fs.
        time: length, ps.
        steps: length in steps, in place of `time`.
        friction: of ``langevin``, 1/ps.
        pressure: of ``npt``, bar.
        thermostat_time: of ``npt``, fs.
        barostat_time: of ``npt``, fs.
        seed: of velocities and noise.
        log_every: steps between two frames.
        stop_when: conditions that end the run, such as ``domain<0.05``.
        charge: total charge in e, in place of what the structure says.
        spin: multiplicity 2S + 1, likewise.
        resume: go on with the run that is there.
        overwrite: replace the run that is there; never the structure itself.
        scheme: of fragments, see `fragment`; None treats the whole structure.
        low: with a scheme, see `fragment`; without one the low level of a model of differences.
        low_level: level of theory of `low`, or, for a model of differences, the one that its only
            level stands for.
        charges: with a scheme, see `fragment`.
        dispersion: with a scheme, see `fragment`.
        trained_charges: with a scheme, see `FragmentCalculator`.
        device: of the models.
        dtype: ``float32`` or ``float64``; None is as stored.
        threads: of torch; 1 is best for small molecules.
        progress: see `tlpot.api`; steps.

    Raises:
        ConfigError: arguments that make no sense.
        OutputError: a file exists, or could not be written.
        SimulationError: the dynamics exploded; the files hold what came before.
        KeyboardInterrupt: the user stopped it; the message says what the files hold.
    """
    from tlpot.dynamics import MDSettings, run_md
    from tlpot.jobs import EnergyMethod, MDStart, MolecularDynamics, n_steps

    settings = MDSettings(
        ensemble=ensemble,
        temperature=temperature,
        timestep=timestep,
        steps=n_steps(time, timestep) if steps is None else steps,
        friction=friction,
        pressure=pressure,
        thermostat_time=thermostat_time,
        barostat_time=barostat_time,
        seed=seed,
        log_every=log_every,
    )
    method = EnergyMethod(
        model=model,
        level=level,
        scheme=scheme,
        low=low,
        low_level=low_level,
        charges=charges,
        dispersion=dispersion,
        trained_charges=trained_charges,
        device=device,
        dtype=dtype,
    )
    with _running(threads, progress):
        start = MDStart.open(structure, output, resume=resume, charge=charge, spin=spin)
        calculator, words = method.calculator(start.atoms)
        run = run_md(
            start.atoms,
            calculator,
            settings,
            output,
            resume=resume,
            overwrite=overwrite,
            stop_when=listed(stop_when),
        )
    return MolecularDynamics(run=run, method=words, velocities=start.velocities, notes=start.notes)


@numbers_checked
def relax(
    structure: Structure,
    model: Any,
    *,
    level: str | None = None,
    scheme: SchemeLike | None = None,
    fmax: float = 0.01,
    steps: int = 1000,
    optimizer: Literal["auto", "bfgs-line-search", "lbfgs", "fire"] = "auto",
    cell: bool = False,
    pressure: float = 0.0,
    charge: int | None = None,
    spin: int | None = None,
    low: Any = None,
    low_level: str | None = None,
    charges: Any = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    output: PathLike | None = None,
    trajectory: PathLike | None = None,
    overwrite: bool = False,
    device: str | None = None,
    dtype: str | None = "float64",
    threads: int = 1,
    progress: Progress = None,
) -> Relaxation:
    """Relaxes a structure until no force is larger than `fmax`: ``tlpot relax``.

    Constraints of the atoms are kept. A result that is not converged, or has lost a bond, says so
    and comes with a `TLPotWarning`. Where the job is interrupted or `progress` raises, the last
    structure is written to `output` before the exception goes on.

    Args:
        structure: a file (its last frame), one of ASE's molecules by name, or atoms, which are
            copied.
        model: a model file, the name of a model, a potential or another energy model, an engine
            such as ``gfn2-xtb``, or an ASE calculator such as a `DeltaCalculator`.
        level: level of theory, if the model has several.
        scheme: of fragments; None treats the whole structure.
        fmax: largest force to end at, eV/Å.
        steps: the most steps.
        optimizer: see `tlpot.dynamics.RelaxationSettings`.
        cell: relax the cell, too.
        pressure: that the cell is relaxed under, bar.
        charge: total charge in e, in place of what the structure says.
        spin: multiplicity 2S + 1, likewise.
        low: with a scheme, see `fragment`; without one the low level of a model of differences.
        low_level: level of theory of `low`, or, for a model of differences, the one that its only
            level stands for.
        charges: with a scheme, see `fragment`.
        dispersion: with a scheme, see `fragment`.
        trained_charges: with a scheme, see `FragmentCalculator`.
        output: file for the relaxed structure, in the format of its ending.
        trajectory: extended XYZ file for the structure after each step.
        overwrite: replace files that are there; never the structure itself.
        device: such as ``cuda:1``.
        dtype: of the model: rounding in float32 misleads line searches. None is as stored.
        threads: of torch.
        progress: see `tlpot.api`; steps.

    Raises:
        ConfigError: arguments that make no sense.
        DataError: the structure could not be read.
        GeometryError: NaN, coincident atoms, nothing that can move, and what the model refuses.
        OutputError: a file exists, or could not be written.
        SimulationError: the model refuses a geometry on the way; the trajectory has the others.
        KeyboardInterrupt: the user stopped it; the message says what the files hold.
    """
    from tlpot.dynamics import RelaxationSettings
    from tlpot.jobs import EnergyMethod, relax_structure

    settings = RelaxationSettings(
        fmax=fmax, steps=steps, optimizer=optimizer, cell=cell, pressure=pressure
    )
    method = EnergyMethod(
        model=model,
        level=level,
        scheme=scheme,
        low=low,
        low_level=low_level,
        charges=charges,
        dispersion=dispersion,
        trained_charges=trained_charges,
        device=device,
        dtype=dtype,
    )
    with _running(threads, progress):
        return relax_structure(
            structure,
            method,
            settings,
            charge=charge,
            spin=spin,
            output=output,
            trajectory=trajectory,
            overwrite=overwrite,
        )


@numbers_checked
def frequencies(
    structure: Structure,
    model: Any,
    *,
    level: str | None = None,
    scheme: SchemeLike | None = None,
    relax: bool = False,
    fmax: float = 1e-3,
    steps: int = 1000,
    allow_forces: bool = False,
    temperature: float = 298.15,
    pressure: float = 1.01325,
    symmetry: int | None = None,
    charge: int | None = None,
    spin: int | None = None,
    low: Any = None,
    low_level: str | None = None,
    charges: Any = None,
    dispersion: str | None = None,
    trained_charges: bool = False,
    modes: PathLike | None = None,
    molden: PathLike | None = None,
    overwrite: bool = False,
    device: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> Frequencies:
    """Computes harmonic vibrations and thermochemistry, in float64: ``tlpot frequencies``.

    The Hessian is the model's own, by automatic derivatives; where a part of the model has none
    (an engine, a `DeltaCalculator`), it is central differences of forces, which the result says.

    Args:
        structure: a stationary point: a file (its last frame), one of ASE's molecules by name,
            or atoms, which are copied. Of constraints only fixed atoms are understood.
        model: a model file, the name of a model, a potential or another energy model, an engine
            such as ``gfn2-xtb``, or an ASE calculator such as a `DeltaCalculator`.
        level: level of theory, if the model has several.
        scheme: of fragments; None treats the whole structure.
        relax: relax the structure first, until no force is larger than `fmax`.
        fmax: of that relaxation, eV/Å.
        steps: the most steps of it.
        allow_forces: go on where a force is larger than 0.01 eV/Å. There is no thermochemistry.
        temperature: of the thermochemistry, K.
        pressure: of the ideal gas, bar; the default is 1 atm.
        symmetry: rotational symmetry number; None finds it, see
            `tlpot.dynamics.frequencies.symmetry_number`.
        charge: total charge in e, in place of what the structure says.
        spin: multiplicity 2S + 1, likewise.
        low: with a scheme, see `fragment`; without one the low level of a model of differences.
        low_level: level of theory of `low`, or, for a model of differences, the one that its only
            level stands for.
        charges: with a scheme, see `fragment`.
        dispersion: with a scheme, see `fragment`.
        trained_charges: with a scheme, see `FragmentCalculator`.
        modes: extended XYZ file for the displacements, a frame for each mode.
        molden: file for the displacements in the format of Molden.
        overwrite: replace files that are there; never the structure itself.
        device: such as ``cuda:1``.
        threads: of torch.
        progress: see `tlpot.api`; steps of a relaxation, and rows of the Hessian.

    Raises:
        ConfigError: arguments that make no sense, or constraints that are no fixed atoms.
        DataError: the structure could not be read.
        GeometryError: a force is too large, all atoms are fixed, and what the model refuses.
        OutputError: a file exists, or could not be written.
        SimulationError: the relaxation does not converge.
    """
    from tlpot.dynamics import RelaxationSettings
    from tlpot.jobs import EnergyMethod, FrequencySettings, frequencies_of

    relaxation = RelaxationSettings(fmax=fmax, steps=steps)
    settings = FrequencySettings(
        relaxation=relaxation if relax else None,
        allow_forces=allow_forces,
        temperature=temperature,
        pressure=pressure,
        symmetry=symmetry,
    )
    method = EnergyMethod(
        model=model,
        level=level,
        scheme=scheme,
        low=low,
        low_level=low_level,
        charges=charges,
        dispersion=dispersion,
        trained_charges=trained_charges,
        device=device,
        dtype="float64",
    )
    with _running(threads, progress):
        return frequencies_of(
            structure,
            method,
            settings,
            charge=charge,
            spin=spin,
            modes=modes,
            molden=molden,
            overwrite=overwrite,
        )

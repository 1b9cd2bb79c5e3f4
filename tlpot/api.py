"""One function for each job: paths or objects in, a result that prints, saves and draws itself.

A job sets the number of torch's threads while it runs, and puts back whatever it sets. Its
``progress`` is a function that is called with what is done, the number of all (or None) and a
line; raising in it cancels as Ctrl-C does: what is done is kept, and the same call goes on. None
shows a bar to who watches the terminal, False nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import os

    from ase import Atoms

    from tlpot.building import BuildResult
    from tlpot.data import Dataset
    from tlpot.engines import EngineSpec
    from tlpot.fragments import Scheme
    from tlpot.jobs import MolecularDynamics
    from tlpot.labelling import LabelReport
    from tlpot.presentation import Progress
    from tlpot.reports import ForceFieldReport, Fragmentation
    from tlpot.sampling import SamplingReport

    PathLike = str | os.PathLike[str]
    SchemeLike = str | Scheme | Mapping[str, Any]


def sample(
    fragments: PathLike | Atoms | Sequence[PathLike | Atoms] | Mapping[str, Atoms],
    output: PathLike,
    *,
    engine: str = "gfn2-xtb",
    level: str | None = None,
    methods: Sequence[Literal["scan", "modes", "md"]] = ("scan", "modes", "md"),
    temperatures: Sequence[float] = (300.0, 600.0),
    pairs: Sequence[str] = (),
    budget: int = 500,
    pool: float = 3.0,
    window: float = 0.2,
    interval: int = 20,
    select: Literal["farthest", "uncertainty"] = "farthest",
    model: str | None = None,
    model_level: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    workers: int = 1,
    dask: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> SamplingReport:
    """Samples geometries of molecules and fragments into one dataset, with the engine's labels.

    Fragments that are finished are kept in ``OUTPUT.parts``, and a call that was interrupted goes
    on with the others.

    Args:
        fragments: ``residues``, ``states``, a fragment such as ``ACE-HIP-NME``, a molecule of
            ASE's, a file, or atoms, which are named by their formula or by the keys of a mapping.
        output: HDF5 file.
        engine: what calculates: ``gfn2-xtb``, ``gfn1-xtb``, or a model.
        level: level of theory of an engine that is a model with several.
        methods: see `tlpot.sampling.SamplingSettings`, as all until `seed`.
        temperatures: K.
        pairs: dimers to scan as well, ``NAME+NAME``.
        budget: geometries of each fragment.
        pool: times the budget to choose from.
        window: eV per atom above the lowest.
        interval: steps of dynamics between two geometries.
        select: how to choose.
        model: to choose by.
        model_level: of its uncertainty.
        seed: of everything that is drawn.
        overwrite: replace the file, and start afresh.
        workers: processes of one thread each; 1 is this one.
        dask: address of a Dask scheduler, or ``local``.
        threads: of torch in this process.
        progress: see `tlpot.api`.

    Raises:
        ConfigError: no such fragment, method and so on.
        OutputError: the file exists, or could not be written.
        SimulationError: a fragment falls apart; the others are kept.
    """
    from tlpot.jobs import workers as worker_pool
    from tlpot.presentation import telling
    from tlpot.sampling import CalculatorFactory, SamplingReport, SamplingSettings, given_fragments
    from tlpot.sampling import pairs as pairs_of
    from tlpot.sampling import sample as run
    from tlpot.torch_mode import torch_threads

    settings = SamplingSettings(
        methods=tuple(methods),
        temperatures=tuple(temperatures),
        budget=budget,
        pool=pool,
        window=window,
        interval=interval,
        select=select,
        model=model,
        level=model_level,
        seed=seed,
    )
    found = given_fragments(fragments)
    found += pairs_of(pairs, found)
    chosen = CalculatorFactory(name=engine, level=level)
    with torch_threads(threads), telling(progress), worker_pool(workers, dask) as executor:
        samples = run(found, output, settings, chosen, executor=executor, overwrite=overwrite)
    return SamplingReport.of(samples, output, chosen.label_level)


def label(
    structures: PathLike | Atoms | Sequence[PathLike] | Sequence[Atoms],
    engine: str | EngineSpec,
    output: PathLike,
    *,
    settings: Mapping[str, Any] | None = None,
    level: str | None = None,
    forces: Literal["auto", "no", "analytic", "numerical"] = "auto",
    spec: PathLike | None = None,
    keys: Mapping[str, str] | None = None,
    limit: int | None = None,
    retry_failed: bool = False,
    repair_journal: bool = False,
    tries: int = 3,
    workers: int | None = None,
    dask: str | None = None,
    threads: int = 1,
    progress: Progress = None,
) -> LabelReport:
    """Labels structures at a level of theory, and adds the labels to a dataset.

    Each label is on disk before the next is waited for; after an interruption the same call goes
    on. The first Ctrl-C lets finish what runs.

    Args:
        structures: a dataset, files that ASE reads, or atoms.
        engine: such as ``gfn2-xtb``, ``pyscf:METHOD/BASIS`` or ``model:PATH@LEVEL``.
        output: HDF5 file; may be the dataset itself.
        settings: of the engine, where `engine` is a name.
        level: name of the level of theory, instead of the engine's.
        forces: analytic ones where they exist, none, or insist.
        spec: layout of the dataset, if it is not tlpot's own.
        keys: names that the file has for a quantity.
        limit: new labels at most.
        retry_failed: try again what failed before.
        repair_journal: drop damaged lines of the journal.
        tries: workers that a geometry may kill.
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
    from tlpot.jobs import label_workers
    from tlpot.labelling import LabelSettings, read_structures
    from tlpot.labelling import label as run
    from tlpot.presentation import telling
    from tlpot.torch_mode import torch_threads
    from tlpot.training import Interrupt

    if isinstance(engine, str):
        engine = EngineSpec(name=engine, settings=settings or {}, level=level, forces=forces)
    elif settings is not None or level is not None or forces != "auto":
        raise ConfigError("an EngineSpec has settings, level and forces of its own; leave them out")
    with ExitStack() as stack:
        stack.enter_context(torch_threads(threads))
        stack.enter_context(telling(progress))
        interrupt = stack.enter_context(Interrupt())
        executor, in_flight = None, None
        if workers is not None or dask is not None:
            executor, in_flight = stack.enter_context(label_workers(workers or 1, dask))
        report = run(
            read_structures(structures, spec, keys),
            engine,
            output,
            settings=LabelSettings(
                threads=threads,
                in_flight=in_flight,
                limit=limit,
                retry_failed=retry_failed,
                repair_journal=repair_journal,
                tries=tries,
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
    from tlpot.jobs import label_workers
    from tlpot.presentation import telling
    from tlpot.torch_mode import torch_threads
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
        stack.enter_context(torch_threads(threads))
        stack.enter_context(telling(progress))
        interrupt = stack.enter_context(Interrupt())
        executor, in_flight = stack.enter_context(label_workers(workers, dask, alone=True))
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
    from tlpot.presentation import telling
    from tlpot.reports import FragmentedStructure, fragment_budget, fragment_structure
    from tlpot.torch_mode import torch_threads

    method = FragmentMethod(
        scheme=scheme,
        low=low,
        low_level=low_level,
        charges=charges,
        dispersion=dispersion,
        trained_charges=trained_charges,
    )
    with torch_threads(threads), telling(progress):
        given = FragmentedStructure.open(structure)
        if reference is not None:
            return fragment_budget(given, method, reference, model, level=level, device=device)
        return fragment_structure(given, method, model, level=level, device=device)


def report(
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
    spec: PathLike | None = None,
    split: PathLike | None = None,
    part: Literal["train", "validation", "test"] = "test",
    curve: PathLike | None = None,
    cost: Sequence[PathLike] = (),
    ancestors: Sequence[PathLike] = (),
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
        split: file that divides the data.
        part: of the data to look at.
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
    from tlpot.files import make_folder
    from tlpot.presentation import telling
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
    from tlpot.torch_mode import torch_threads

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
    with torch_threads(threads), telling(progress):
        found = examine_force_field(
            ForceFieldModels(
                model=models_by_kind(model),
                level=level,
                parent=parent,
                parent_level=source,
                ancestors=ancestors,
            ),
            named_structures(structure),
            method=method,
            reference=reference,
            fragments=None
            if data is None
            else LabelledFragments.open(data, spec=spec, split=split, part=part),
            evidence=Evidence(curve=curve, cost=cost),
            settings=parse(ExaminationSettings, settings or {}, "report"),
            device=device,
        )
    if output is not None:
        write_report(output, found)
    return found


def md(
    structure: PathLike | Atoms,
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
    stop_when: Sequence[str] = (),
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
        output: path of the files without ending, or a folder.
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
        resume: go on with the run that is there.
        overwrite: replace the run that is there; never the structure itself.
        scheme: of fragments, see `fragment`; None treats the whole structure.
        low: with a scheme, see `fragment`; without one the low level of a model of differences.
        low_level: level of theory of `low`.
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
    from tlpot.calculators import FragmentMethod
    from tlpot.dynamics import MDSettings, run_md
    from tlpot.jobs import MDStart, MolecularDynamics, n_steps, open_calculator
    from tlpot.presentation import telling
    from tlpot.torch_mode import torch_threads

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
    with torch_threads(threads), telling(progress):
        start = MDStart.open(structure, output, resume=resume)
        if scheme is not None:
            scheme = FragmentMethod(scheme=scheme).calculator_scheme()
        calculator, method = open_calculator(
            start.atoms,
            model,
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
        run = run_md(
            start.atoms,
            calculator,
            settings,
            output,
            resume=resume,
            overwrite=overwrite,
            stop_when=stop_when,
        )
    return MolecularDynamics(run=run, method=method, velocities=start.velocities, notes=start.notes)

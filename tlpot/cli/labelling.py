"""Geometries, and labels for them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tlpot.cli import options
from tlpot.cli.parser import check_warnings
from tlpot.presentation import warnings_of


def add_sample_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot sample FRAGMENT...`."""
    add = options.adder(parser)
    add(
        "fragments FRAGMENT...",
        "residues (20 capped residues and the cap), states (all protonation states), one "
        "such as ACE-HIP-NME, a SMILES such as CCO, an ASE molecule, a .smi file (a SMILES and a "
        "name in each line), or a file that ASE reads (each frame)",
    )
    add("-o --output", "HDF5 file to write", required=True)
    add(
        "--methods --method",
        "of scan, modes, md, etkdg, noise, downhill, strain; several with commas, and weights "
        "such as md=6; default scan,modes,md, of periodic structures strain,noise,md",
    )
    add("--temperatures", "K, with commas, or a range such as 200-1000; default 300,600")
    add("--pairs A+B...", "dimers to scan as well", default=[])
    add("--budget", "geometries of each fragment", 500)
    add("--pool", "times the budget to choose from; default 3", 3.0)
    add("--window", "eV per atom above the lowest; default 0.2", 0.2)
    add("--interval", "MD steps of 1 fs; default 20", 20)
    add("--conformers", "number of etkdg, or of complexes in contact; default a share", int)
    add("--noise", "largest standard deviation of noise, Å; default 0.08", 0.08)
    add("--strain", "largest share by which lengths of a cell change; default 0.05", 0.05)
    add("--downhill ENGINE", "engine of the method downhill; default --engine")
    add("--downhill-steps", "at most; default 12", 12)
    about = "scan complexes from LOW to HIGH Å beyond contact, such as -0.4 4"
    add("--separations LOW HIGH", about, float)
    add("--not-minimised", "scan complexes from where they were put together", False)
    about = "engine as for tlpot label, or a model; default gfn2-xtb, cheap: mmff94"
    add("--engine --calculator", about, "gfn2-xtb")
    add("--level", "of an engine that is a model with several")
    add("--select", "farthest (default) or uncertainty", "farthest")
    add("--model", "choose by this model's features and uncertainty")
    add("--model-level", "of the uncertainty, where there are several")
    add("--seed", "of all that is drawn", 0)
    add("--workers", "processes; default 1", 1)
    add("--skip-failed", "leave out what cannot be sampled, with a warning", False)
    add("--overwrite", "replace the file and start afresh", False)


def run_sample(arguments: argparse.Namespace) -> None:
    """Samples, and prints and draws how diverse the samples are."""
    from tlpot.api import sample
    from tlpot.errors import ConfigError
    from tlpot.files import check_replaced, check_spared

    given: dict[str, Any] = {}
    if arguments.methods is not None:
        given["methods"] = arguments.methods
    if arguments.temperatures is not None:
        if arguments.methods == "scan":
            raise ConfigError("--temperatures applies to md and modes, not to a scan; leave it out")
        given["temperatures"] = _temperatures(arguments.temperatures)
    if arguments.separations is not None:
        given["separations"] = tuple(arguments.separations)
    names = (
        "level pairs budget pool window interval conformers noise strain downhill downhill_steps "
        "select model model_level seed skip_failed overwrite workers"
    )
    numbers, picture = (Path(arguments.output).with_suffix(kind) for kind in (".json", ".png"))
    for beside in (numbers, picture):
        check_spared(beside, arguments.fragments, option="beside --output,")
        check_replaced(beside, what="file beside --output,", overwrite=arguments.overwrite)
    report = sample(
        arguments.fragments,
        arguments.output,
        engine=arguments.engine,
        minimise=not arguments.not_minimised,
        **given,
        **options.values_of(arguments, names),
    )
    print(report)
    report.save(numbers)
    drawn = report.plot(picture)
    more = f", {picture}" if drawn is not None else ""
    print(f"wrote {report.output} ({report.n_frames} geometries, {report.level}), {numbers}{more}")


def _temperatures(text: str) -> str | list[float]:
    """Returns a range as it is, and a list as numbers."""
    from tlpot.errors import ConfigError

    if "-" in text.strip("-"):
        return text
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--temperatures is {text!r}, expected numbers such as 300,600, or a range such as "
            "200-1000"
        ) from None


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot label STRUCTURES --engine E -o FILE.h5`."""
    add = options.adder(parser)
    add(
        "settings",
        "a dataset, or files that ASE reads; and settings of the engine, such as "
        "density_fitting=false",
        nargs="+",
        metavar="STRUCTURES | key=value",
    )
    add(
        "--engine",
        "gfn2-xtb, gfn1-xtb, pyscf:METHOD/BASIS, pyscf:r2scan-3c, ase:MODULE:CLASS, "
        "'env:PYTHON ase:MODULE:CLASS', torch:FILE or model:PATH[@LEVEL]",
        required=True,
    )
    add("-o --output", "HDF5 file to write, or to add to; may be the dataset", required=True)
    add("--level", "name of the level of theory, instead of the engine's or the model's")
    add("--spec", "layout of the dataset, if it is not tlpot's own")
    about = "names that the file has: charge=Q spin=M; with --spec any quantity of the layout"
    add("--keys QUANTITY=NAME...", about, default=[])
    add("--charge", "of all structures, where they state none", int)
    add("--spin", "multiplicity, likewise", int)
    add("--forces", "auto (analytic ones where they exist), no, analytic, or numerical", "auto")
    add("--no-stress", "leave out the stress of crystals, which comes with forces", False)
    add("--batch", "molecules of one size at once, by torch:, model: and some env: engines", 1)
    add("--workers", "processes of one thread each", 1)
    add("--dask ADDRESS|local", "run the labels on a Dask cluster")
    add("--limit N", "new labels at most", int)
    add("--tries", "workers that a geometry may kill (default 3)", 3)
    add("--timeout", "seconds that a label may take before it has failed", float)
    add("--retry-failed", "try failures again", False)
    options.add_strict_argument(parser)
    add("--repair-journal", "drop damaged lines of the journal", False)


def run_label(arguments: argparse.Namespace) -> None:
    """Labels, and lists what failed."""
    from tlpot.api import label
    from tlpot.config import with_overrides
    from tlpot.errors import DataError

    structures = [s for s in arguments.settings if "=" not in s or Path(s).exists()]
    names = (
        "level charge spin forces spec limit retry_failed repair_journal tries timeout batch "
        "workers dask"
    )
    report = label(
        structures,
        arguments.engine,
        arguments.output,
        settings=with_overrides({}, [s for s in arguments.settings if s not in structures]),
        keys=options.key_pairs(arguments.keys),
        stress=not arguments.no_stress,
        **options.values_of(arguments, names),
    )
    print(report)
    if report.failures:
        print(report.failure_text(), file=sys.stderr)
    if report.failures and not report.n_labelled and not report.n_known:
        raise DataError("every geometry failed, see above")
    failed = [f"{record.name}: {record.outcome.error}" for record in report.failures]
    check_warnings([*warnings_of(str(report)), *failed], arguments)

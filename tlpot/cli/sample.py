"""`tlpot sample FRAGMENT...`: geometries of molecules and fragments."""

from __future__ import annotations

import argparse
from typing import Any

from tlpot.cli.options import options_adder, options_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add(
        "fragments",
        "residues (20 capped residues and the cap), states (all protonation states), one "
        "such as ACE-HIP-NME, a SMILES such as CCO, an ASE molecule, a .smi file (a SMILES and a "
        "name in each line), or a file that ASE reads (each frame)",
        nargs="+",
        metavar="FRAGMENT",
    )
    add("-o --out", "HDF5 file to write", required=True)
    add(
        "--method",
        "of scan, modes, md, etkdg, noise, downhill; several with commas, and weights such as "
        "md=6; default scan,modes,md",
    )
    add("--temperatures", "K, with commas, or a range such as 200-1000; default 300,600")
    add("--pairs", "dimers to scan as well", nargs="+", default=[], metavar="A+B")
    add("--budget", "geometries of each fragment", 500)
    add("--pool", "times the budget to choose from; default 3", 3.0)
    add("--window", "eV per atom above the lowest; default 0.2", 0.2)
    add("--interval", "MD steps of 1 fs; default 20", 20)
    add("--conformers", "number of etkdg, or of complexes in contact; default a share", int)
    add("--noise", "largest standard deviation of noise, Å; default 0.08", 0.08)
    add("--downhill", "engine of the method downhill; default --calculator", metavar="ENGINE")
    add("--downhill-steps", "at most; default 12", 12)
    add(
        "--separations",
        "scan complexes from LOW to HIGH Å beyond contact, such as -0.4 4",
        float,
        nargs=2,
        metavar=("LOW", "HIGH"),
    )
    add("--not-minimised", "scan complexes from where they were put together", False)
    add(
        "--calculator",
        "an engine as for tlpot label, or a model file or name; default gfn2-xtb, cheap: mmff94",
        "gfn2-xtb",
    )
    add("--level", "of a calculator that is a model with several")
    add("--select", "farthest (default) or uncertainty", "farthest")
    add("--model", "choose by this model's features and uncertainty")
    add("--model-level", "of the uncertainty, where there are several")
    parser.add_argument("--seed", type=int, default=0)
    add("--workers", "processes; default 1", 1)
    add("--skip-failed", "leave out what cannot be sampled, with a warning", False)
    add("--overwrite", "replace the file and start afresh", False)


def run(arguments: argparse.Namespace) -> None:
    """Samples, and prints and draws how diverse the samples are."""
    from tlpot.api import sample
    from tlpot.errors import ConfigError

    given: dict[str, Any] = {}
    if arguments.method is not None:
        given["methods"] = arguments.method.split(",")
    if arguments.temperatures is not None:
        if arguments.method == "scan":
            raise ConfigError("--temperatures applies to md and modes, not to a scan; leave it out")
        given["temperatures"] = _temperatures(arguments.temperatures)
    if arguments.separations is not None:
        given["separations"] = tuple(arguments.separations)
    names = (
        "level pairs budget pool window interval conformers noise downhill downhill_steps select "
        "model model_level seed skip_failed overwrite workers"
    )
    report = sample(
        arguments.fragments,
        arguments.out,
        engine=arguments.calculator,
        minimise=not arguments.not_minimised,
        **given,
        **options_of(arguments, names),
    )
    print(report)
    numbers, picture = report.output.with_suffix(".json"), report.output.with_suffix(".png")
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

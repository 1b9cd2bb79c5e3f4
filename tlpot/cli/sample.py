"""`tlpot sample FRAGMENT...`: geometries of molecules and fragments."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        "fragments",
        nargs="+",
        metavar="FRAGMENT",
        help="residues (20 capped residues and the cap), states (all protonation states), one "
        "such as ACE-HIP-NME, an ASE molecule, or a file that ASE reads (each frame)",
    )
    parser.add_argument("-o", "--out", required=True, help="HDF5 file to write")
    parser.add_argument(
        "--method", help="of scan, modes, md; several with commas; default all of them"
    )
    parser.add_argument("--temperatures", help="K, with commas; default 300,600")
    parser.add_argument(
        "--pairs", nargs="+", default=[], metavar="A+B", help="dimers to scan as well"
    )
    parser.add_argument("--budget", type=int, default=500, help="geometries of each fragment")
    parser.add_argument(
        "--pool", type=float, default=3.0, help="times the budget to choose from; default 3"
    )
    parser.add_argument(
        "--window", type=float, default=0.2, help="eV per atom above the lowest; default 0.2"
    )
    parser.add_argument("--interval", type=int, default=20, help="MD steps of 1 fs; default 20")
    parser.add_argument(
        "--calculator",
        default="gfn2-xtb",
        help="an engine as for tlpot label, or a model file or name; default gfn2-xtb",
    )
    parser.add_argument("--level", help="of a calculator that is a model with several")
    parser.add_argument("--select", default="farthest", help="farthest (default) or uncertainty")
    parser.add_argument("--model", help="choose by this model's features and uncertainty")
    parser.add_argument("--model-level", help="of the uncertainty, where there are several")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes; default 1")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the file and start afresh"
    )


def run(arguments: argparse.Namespace) -> None:
    """Samples, and prints and draws how diverse the samples are."""
    from tlpot.api import sample
    from tlpot.errors import ConfigError

    given = {}
    if arguments.method is not None:
        given["methods"] = arguments.method.split(",")
    if arguments.temperatures is not None:
        if arguments.method == "scan":
            raise ConfigError("--temperatures applies to md and modes, not to a scan; leave it out")
        try:
            given["temperatures"] = [float(word) for word in arguments.temperatures.split(",")]
        except ValueError:
            raise ConfigError(
                f"--temperatures is {arguments.temperatures!r}, expected numbers such as 300,600"
            ) from None
    names = ("level", "pairs", "budget", "pool", "window", "interval", "select", "model",
             "model_level", "seed", "overwrite", "workers")  # fmt: skip
    report = sample(
        arguments.fragments,
        arguments.out,
        engine=arguments.calculator,
        **given,
        **{name: getattr(arguments, name) for name in names},
    )
    print(report)
    numbers, picture = report.output.with_suffix(".json"), report.output.with_suffix(".png")
    report.save(numbers)
    drawn = report.plot(picture)
    print(f"wrote {report.output} ({report.n_frames} geometries, {report.level}), {numbers}"
          + (f", {picture}" if drawn is not None else ""))  # fmt: skip

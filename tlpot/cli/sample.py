"""`tlpot sample FRAGMENT...`: geometries of molecules and fragments."""

from __future__ import annotations

import argparse
import sys


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
    from pathlib import Path

    import torch

    from tlpot.calculators import CalculatorFactory
    from tlpot.cli.workers import workers
    from tlpot.errors import ConfigError
    from tlpot.sampling import (
        METHODS,
        SamplingSettings,
        diversity,
        named_fragments,
        pairs,
        plot_ramachandran,
        sample,
        table,
        write_json,
    )
    from tlpot.structures import NOTES

    methods = METHODS if arguments.method is None else tuple(arguments.method.split(","))
    if arguments.temperatures is None:
        temperatures: tuple[float, ...] = (300.0, 600.0)
    else:
        try:
            temperatures = tuple(float(word) for word in arguments.temperatures.split(","))
        except ValueError:
            raise ConfigError(
                f"--temperatures is {arguments.temperatures!r}, expected numbers such as 300,600"
            ) from None
    settings = SamplingSettings(
        methods=methods,
        temperatures=temperatures,
        budget=arguments.budget,
        pool=arguments.pool,
        window=arguments.window,
        interval=arguments.interval,
        select=arguments.select,
        model=arguments.model,
        level=arguments.model_level,
        seed=arguments.seed,
    )
    if arguments.temperatures is not None and not settings.needs_temperature:
        raise ConfigError("--temperatures applies to md and modes, not to a scan; leave it out")
    out = Path(arguments.out)
    fragments = named_fragments(arguments.fragments)
    for fragment in fragments:
        if fragment.atoms.info.get(NOTES):
            print(f"note: {fragment.name}: {fragment.atoms.info[NOTES]}", file=sys.stderr)
    fragments += pairs(arguments.pairs, fragments)
    engine = CalculatorFactory.of(arguments.calculator, arguments.level)
    torch.set_num_threads(1)
    with workers(arguments.workers, None) as executor:
        samples = sample(
            fragments,
            out,
            settings,
            engine,
            executor=executor,
            overwrite=arguments.overwrite,
        )
    rows = [diversity(each) for each in samples]
    print(table(rows))
    report, picture = out.with_suffix(".json"), out.with_suffix(".png")
    write_json(rows, report)
    drawn = plot_ramachandran(samples, picture)
    total = sum(row.frames for row in rows)
    print(f"wrote {out} ({total} geometries, {engine.label_level}), {report}"
          + (f", {picture}" if drawn else ""))  # fmt: skip

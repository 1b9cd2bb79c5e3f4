"""`tlpot md STRUCTURE MODEL`: molecular dynamics."""

from __future__ import annotations

import argparse
import sys

from tlpot.cli.fragment_options import add_assembly_arguments, fragment_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        "structure", help="a file that ASE reads (its last frame), or a molecule such as CH3CH2OH"
    )
    parser.add_argument(
        "model", help="a model file, the name of a shipped model, gfn2-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, 'env:PYTHON ase:MODULE:CLASS' or torch:FILE;"
        " with --scheme also a YAML file with a model for each fragment",
    )  # fmt: skip
    parser.add_argument("--level", help="level of theory, if the model has several")
    parser.add_argument(
        "--ensemble", default="langevin", help="nve, langevin (default), npt; nvt means langevin"
    )
    parser.add_argument("--temperature", type=float, default=300.0, help="K; default 300")
    parser.add_argument("--timestep", type=float, default=0.5, help="fs; default 0.5")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--time", type=float, default=1.0, help="length in ps; default 1")
    length.add_argument("--steps", type=int, help="length in steps")
    parser.add_argument("--friction", type=float, default=10.0, help="1/ps; default 10")
    parser.add_argument("--pressure", type=float, default=1.0, help="bar; default 1")
    parser.add_argument(
        "--thermostat-time", type=float, default=100.0,
        help="period of the thermostat of npt, fs; default 100",
    )  # fmt: skip
    parser.add_argument(
        "--barostat-time", type=float, default=1000.0,
        help="period of the barostat of npt, fs; default 1000",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of velocities and thermostat")
    parser.add_argument("--log-every", type=int, default=10, help="steps between frames")
    parser.add_argument(
        "--stop-when", action="append", default=[], metavar="CONDITION",
        help="end the run there: 'domain<0.05', 'energy_std>0.2', 'temperature>900', ...; may be "
        "given several times",
    )  # fmt: skip
    parser.add_argument("--out", default="md", help="path of the files without ending, or a folder")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--resume", action="store_true", help="go on with the run in --out")
    there.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    parser.add_argument("--dtype", help="float32 or float64; default as stored")
    parser.add_argument(
        "--threads", type=int, default=1, help="for torch; default 1, best for small molecules"
    )
    add_assembly_arguments(parser, default=None)


def run(arguments: argparse.Namespace) -> None:
    """Runs the dynamics and prints a summary."""
    from tlpot.api import md

    names = ("level", "ensemble", "temperature", "timestep", "time", "steps", "friction",
             "pressure", "thermostat_time", "barostat_time", "seed", "log_every", "stop_when",
             "resume", "overwrite", "device", "dtype", "threads")  # fmt: skip
    result = md(
        arguments.structure,
        arguments.model,
        output=arguments.out,
        **fragment_options(arguments),
        **{name: getattr(arguments, name) for name in names},
    )
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    print(result)

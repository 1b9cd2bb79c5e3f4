"""`tlpot md STRUCTURE MODEL`: molecular dynamics."""

from __future__ import annotations

import argparse
import sys

from tlpot.cli.options import (
    DEVICE,
    add_assembly_arguments,
    add_option,
    fragment_options,
    options_adder,
    options_of,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("structure", "a file that ASE reads (its last frame), or a molecule such as CH3CH2OH")
    add(
        "model",
        "a model file, the name of a shipped model, gfn2-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, 'env:PYTHON ase:MODULE:CLASS' or torch:FILE; with --scheme also a YAML "
        "file with a model for each fragment",
    )
    add("--level", "level of theory, if the model has several")
    add("--ensemble", "nve, langevin (default), npt; nvt means langevin", "langevin")
    add("--temperature", "K; default 300", 300.0)
    add("--timestep", "fs; default 0.5", 0.5)
    length = parser.add_mutually_exclusive_group()
    add_option(length, "--time", "length in ps; default 1", 1.0)
    add_option(length, "--steps", "length in steps", int)
    add("--friction", "1/ps; default 10", 10.0)
    add("--pressure", "bar; default 1", 1.0)
    add("--thermostat-time", "period of the thermostat of npt, fs; default 100", 100.0)
    add("--barostat-time", "period of the barostat of npt, fs; default 1000", 1000.0)
    add("--seed", "of velocities and thermostat", 0)
    add("--log-every", "steps between frames", 10)
    add(
        "--stop-when",
        "end the run there: 'domain<0.05', 'energy_std>0.2', 'temperature>900', ...; may be "
        "given several times",
        action="append",
        default=[],
        metavar="CONDITION",
    )
    add("--out", "path of the files without ending, or a folder", "md")
    there = parser.add_mutually_exclusive_group()
    add_option(there, "--resume", "go on with the run in --out", False)
    add_option(there, "--overwrite", "replace the run in --out", False)
    add("--device", DEVICE)
    add("--dtype", "float32 or float64; default as stored")
    add("--threads", "for torch; default 1, best for small molecules", 1)
    add_assembly_arguments(parser, default=None)


def run(arguments: argparse.Namespace) -> None:
    """Runs the dynamics and prints a summary."""
    from tlpot import api

    names = "level ensemble temperature timestep time steps friction pressure thermostat_time"
    names += " barostat_time seed log_every stop_when resume overwrite device dtype threads"
    result = api.md(
        arguments.structure,
        arguments.model,
        output=arguments.out,
        **fragment_options(arguments),
        **options_of(arguments, names),
    )
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    print(result)

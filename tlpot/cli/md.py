"""`tlpot md STRUCTURE MODEL`: molecular dynamics."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

from tlpot.cli.fragment_options import (
    add_assembly_arguments,
    fragment_calculator,
    refuse_without_scheme,
)

if TYPE_CHECKING:
    from ase import Atoms

    from tlpot.calculators import FragmentCalculator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        "structure", help="a file that ASE reads (its last frame), or a molecule such as CH3CH2OH"
    )
    parser.add_argument(
        "model", help="a model file or the name of a shipped model; with --scheme also gfn2-xtb, "
        "pyscf:METHOD/BASIS, ase:MODULE:CLASS or a YAML file with a model for each fragment",
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
    import torch

    from tlpot.calculators import TLPotCalculator
    from tlpot.dynamics import MDSettings, run_md
    from tlpot.errors import ConfigError
    from tlpot.structures import read_structure

    if arguments.threads < 1:
        raise ConfigError(f"--threads is {arguments.threads}, expected 1 or more")
    if not 0 < arguments.timestep < math.inf:
        raise ConfigError(f"--timestep is {arguments.timestep}, expected a time in fs")
    steps = arguments.steps
    if steps is None:
        if not 0 < arguments.time < math.inf:
            raise ConfigError(f"--time is {arguments.time}, expected a length in ps")
        steps = round(1e3 * arguments.time / arguments.timestep)
    settings = MDSettings(
        ensemble=arguments.ensemble,
        temperature=arguments.temperature,
        timestep=arguments.timestep,
        steps=steps,
        friction=arguments.friction,
        pressure=arguments.pressure,
        thermostat_time=arguments.thermostat_time,
        barostat_time=arguments.barostat_time,
        seed=arguments.seed,
        log_every=arguments.log_every,
    )
    torch.set_num_threads(arguments.threads)
    if not arguments.resume:
        _check_out(arguments)
    atoms = read_structure(arguments.structure)
    if atoms.info.get("reader_notes"):
        print(f"note: {atoms.info['reader_notes']}\n", file=sys.stderr)
    calculator: TLPotCalculator | FragmentCalculator
    if arguments.scheme is None:
        refuse_without_scheme(arguments)
        calculator = TLPotCalculator(
            arguments.model, level=arguments.level, device=arguments.device, dtype=arguments.dtype
        )
        method = calculator.level
    else:
        calculator = _assembled(arguments, atoms)
        method = f"{arguments.model} by {arguments.scheme}"
        if arguments.low:
            method += f" over {arguments.low}"
    velocities = "of the last frame" if arguments.resume else "drawn"
    if not arguments.resume and atoms.get_momenta().any():
        velocities = "of the structure"
    print(
        f"{atoms.get_chemical_formula()}, {method}, {settings.ensemble}, "
        f"{steps} steps of {settings.timestep:g} fs, velocities {velocities}"
    )
    result = run_md(
        atoms,
        calculator,
        settings,
        arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        stop_when=arguments.stop_when,
    )
    print(result.summary())


def _check_out(arguments: argparse.Namespace) -> None:
    """Refuses to replace the structure itself, even with --overwrite: it may be the only copy."""
    from pathlib import Path

    from tlpot.dynamics import MDRecord
    from tlpot.errors import OutputError

    structure, trajectory = Path(arguments.structure), MDRecord(arguments.out).trajectory
    if structure.exists() and trajectory.exists() and structure.samefile(trajectory):
        raise OutputError(
            f"--out {arguments.out} would write the trajectory to {trajectory}, which is the "
            "structure to start from; choose another --out"
        )


def _assembled(arguments: argparse.Namespace, atoms: Atoms) -> FragmentCalculator:
    from tlpot.errors import ConfigError

    calculator = fragment_calculator(
        arguments, atoms, arguments.model, level=arguments.level, device=arguments.device,
        dtype=arguments.dtype,
    )  # fmt: skip
    if not calculator.force_field.scheme.smooth:
        raise ConfigError(
            f"the energy of scheme {arguments.scheme} jumps where its list of fragments changes, "
            "so it is for single points only; mfcc_mbe2 with inner < outer is smooth"
        )
    return calculator

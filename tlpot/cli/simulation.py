"""Molecular dynamics, relaxations and vibrations."""

from __future__ import annotations

import argparse
import sys

from tlpot.cli import options


def add_md_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot md STRUCTURE MODEL`."""
    add = options.adder(parser)
    add(
        "structure",
        "a file that ASE reads (its last frame), a molecule of ASE such as CH3CH2OH, or a SMILES",
    )
    add(
        "model",
        "a model file, the name of a shipped model, gfn2-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, 'env:PYTHON ase:MODULE:CLASS' or torch:FILE; with --scheme also a YAML "
        "file with a model for each fragment",
    )
    add("--level", "level of theory, if the model has several")
    add("--charge", "total charge, in place of the structure's", int)
    add("--spin", "multiplicity 2S + 1, likewise", int)
    add("--ensemble", "nve, langevin (default), npt; nvt means langevin", "langevin")
    add("--temperature", "K; default 300", 300.0)
    add("--timestep", "fs; default 0.5", 0.5)
    length = parser.add_mutually_exclusive_group()
    options.declare(length, "--time", "length in ps; default 1", 1.0)
    options.declare(length, "--steps", "length in steps", int)
    add("--friction", "1/ps; default 10", 10.0)
    add("--pressure", "bar; default 1", 1.0)
    add("--thermostat-time", "period of the thermostat of npt, fs; default 100", 100.0)
    add("--barostat-time", "period of the barostat of npt, fs; default 1000", 1000.0)
    add("--seed", "of velocities and thermostat", 0)
    add("--log-every", "steps between frames", 10)
    about = "end the run there: 'domain<0.05', 'energy_std>0.2', 'temperature>900', ..."
    add("--stop-when CONDITION", about, action="append", default=[])
    add(
        "-o --output",
        "path of the files without ending, or of the trajectory (.xyz), or a folder",
        "md",
    )
    there = parser.add_mutually_exclusive_group()
    options.declare(there, "--resume", "go on with the run in --output", False)
    options.declare(there, "--overwrite", "replace the run in --output", False)
    add("--device", options.DEVICE)
    add("--dtype", "float32 or float64; default as stored")
    add("--threads", "for torch; default 1, best for small molecules", 1)
    options.add_assembly_arguments(parser, default=None)


def run_md(arguments: argparse.Namespace) -> None:
    """Runs the dynamics and prints a summary."""
    from tlpot import api

    names = "level charge spin ensemble temperature timestep time steps friction pressure"
    names += " thermostat_time barostat_time seed log_every stop_when resume overwrite"
    names += " device dtype threads"
    result = api.md(
        arguments.structure,
        arguments.model,
        output=arguments.output,
        **options.fragment_options(arguments),
        **options.values_of(arguments, names),
    )
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    print(result)


def add_relax_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot relax STRUCTURE MODEL`."""
    add = options.adder(parser)
    add("--fmax", "eV/Å; default 0.01", 0.01)
    add("--steps", "the most steps; default 1000", 1000)
    add("--optimizer", "bfgs-line-search (default), lbfgs (beyond 100 atoms) or fire", "auto")
    add("--cell", "relax the cell, too", False)
    add("--pressure", "with --cell, bar; default 0", 0.0)
    add("-o --output FILE", "relaxed structure, by its ending; default relaxed.xyz", "relaxed.xyz")
    add("--trajectory FILE", "extended XYZ file for all steps")
    add("--dtype", "float32 or float64; default float64", "float64")
    options.add_calculator_arguments(parser)


def run_relax(arguments: argparse.Namespace) -> None:
    """Relaxes, prints what became of the structure, and fails if it is not converged."""
    from tlpot import api
    from tlpot.errors import SimulationError

    options.check_files(arguments)
    result = api.relax(
        arguments.structure,
        arguments.model,
        output=arguments.output,
        **options.values_of(arguments, "fmax steps optimizer cell pressure trajectory dtype"),
        **options.calculator_options(arguments),
    )
    options.show_result(result, arguments)
    if not result.converged:
        raise SimulationError(
            f"NOT CONVERGED; {arguments.output} holds the last structure: start from it and write "
            "to another --output, with more --steps or another --optimizer"
        )


def add_frequencies_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `tlpot frequencies STRUCTURE MODEL`."""
    add = options.adder(parser)
    first = parser.add_mutually_exclusive_group()
    options.declare(first, "--relax", "relax the structure first", False)
    options.declare(first, "--not-relaxed", "go on where a force is above 0.01 eV/Å", False)
    add("--fmax", "of --relax, eV/Å; default 0.001", 1e-3)
    add("--steps", "of --relax; default 1000", 1000)
    add("--temperature", "K; default 298.15", 298.15)
    add("--pressure", "bar; default 1.01325", 1.01325)
    add("--symmetry", "rotational symmetry number; default: found from the structure", int)
    add("--modes FILE", "extended XYZ file, a frame for each mode")
    add("--molden FILE", "the modes in the format of Molden")
    options.add_calculator_arguments(parser)


def run_frequencies(arguments: argparse.Namespace) -> None:
    """Computes the vibrations and prints them."""
    from tlpot import api

    options.check_files(arguments)
    result = api.frequencies(
        arguments.structure,
        arguments.model,
        allow_forces=arguments.not_relaxed,
        **options.values_of(
            arguments, "relax fmax steps temperature pressure symmetry modes molden"
        ),
        **options.calculator_options(arguments),
    )
    options.show_result(result, arguments)

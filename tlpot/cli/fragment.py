"""`tlpot fragment STRUCTURE [--scheme S] [--model M] [--budget --reference R]`."""

from __future__ import annotations

import argparse
import sys

from tlpot.cli.options import (
    DEVICE,
    add_assembly_arguments,
    fragment_options,
    options_adder,
    options_of,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add(
        "structure",
        "a file with all hydrogens: PDB, mmCIF or what ASE reads; may be several frames of "
        "one molecule",
    )
    add_assembly_arguments(parser, default="mfcc_mbe2")
    add("--all", "list all kinds of fragments", False)
    add("--json", "file for all numbers", metavar="FILE")
    add("--picture", "the partition drawn, .png or .pdf", metavar="FILE")
    add(
        "--show",
        "fragment of which --picture shows the caps; default: one in the middle",
        metavar="NAME|NUMBER",
    )
    add(
        "--export",
        "fragments for labelling: .h5 (distinct ones, added to what is there), or .xyz",
        metavar="FILE",
    )
    add = options_adder(parser.add_argument_group("energies and forces"))
    add(
        "--model",
        "of the fragments: a file, a shipped model, gfn2-xtb, gfn1-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, 'env:PYTHON ase:MODULE:CLASS', torch:FILE, or a YAML file with a "
        "model for each fragment",
        metavar="M",
    )
    add("--level", "level of theory of --model, if it has several")
    add("--forces", "frames with energies and forces", metavar="FILE.xyz")
    add("--device", DEVICE)
    add = options_adder(parser.add_argument_group("error budget"))
    add(
        "--budget",
        "model against fragment QM, fragment QM against whole QM, model against whole QM",
        False,
    )
    add("--reference", "what QM is, such as gfn2-xtb; as --model", metavar="M")
    add("--plot", "the budget drawn, .png or .pdf", metavar="FILE")
    add = options_adder(parser.add_argument_group("preparation"))
    add("--prepare", "add missing atoms and hydrogens, and stop", metavar="OUT.pdb")
    add("--ph", "for --prepare; default 7.4", float)


def run(arguments: argparse.Namespace) -> None:
    """Lists, draws, exports, evaluates, or prepares."""
    from tlpot.presentation import picture_path
    from tlpot.reports import check_export

    _check_options(arguments)
    for picture in (arguments.picture, arguments.plot):
        if picture is not None:
            picture_path(picture)
    if arguments.export is not None:
        check_export(arguments.export)
    if arguments.prepare is not None:
        _prepare(arguments)
        return
    from tlpot.api import fragment

    found = fragment(
        arguments.structure,
        arguments.model,
        **options_of(arguments, "level reference device"),
        **fragment_options(arguments),
    )
    for note in found.notes:
        print(f"note: {note}\n", file=sys.stderr)
    print(found.text(everything=arguments.all).rstrip("\n"))
    if arguments.export is not None:
        print(f"\n{found.export(arguments.export)}")
    if arguments.forces is not None:
        found.write_forces(arguments.forces)
        print(f"wrote {arguments.forces}")
    picture = arguments.picture or arguments.plot
    if picture is not None:
        found.plot(picture, show=arguments.show)
        print(f"\nwrote {picture}")
    if arguments.json is not None:
        found.save(arguments.json)


def _check_options(arguments: argparse.Namespace) -> None:
    from tlpot.errors import ConfigError

    given = vars(arguments)
    needs = {
        "level": "model", "forces": "model", "reference": "budget", "plot": "budget",
        "show": "picture", "ph": "prepare",
    }  # fmt: skip
    for option, other in needs.items():
        if given[option] is not None and not given[other]:
            raise ConfigError(f"--{option} goes with --{other}; add that, or leave it out")
    if arguments.budget and arguments.reference is None:
        raise ConfigError("--budget needs --reference: what QM is, such as gfn2-xtb")
    if arguments.budget:
        for option in ("picture", "export", "forces"):
            if given[option] is not None:
                raise ConfigError(f"--{option} does not go with --budget; run it on its own")
    if arguments.prepare is not None:
        for option in ("model", "budget", "picture", "export", "json"):
            if given[option]:
                raise ConfigError(
                    f"--{option} does not go with --prepare, which only writes the structure; run "
                    "it on the result"
                )
    if arguments.model is None and not arguments.budget:
        for option in ("low", "low_level", "charges", "dispersion", "trained_charges", "device"):
            if given[option] is not None:
                raise ConfigError(
                    f"--{option.replace('_', '-')} goes with --model; add that, or leave it out"
                )


def _prepare(arguments: argparse.Namespace) -> None:
    from tlpot.structures import prepare_protein

    ph = 7.4 if arguments.ph is None else arguments.ph
    print(prepare_protein(arguments.structure, out=arguments.prepare, ph=ph).text())

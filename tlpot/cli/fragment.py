"""`tlpot fragment STRUCTURE [--scheme S] [--model M] [--budget --reference R]`."""

from __future__ import annotations

import argparse
import sys

from tlpot.cli import options

_OF_PREPARE = (
    "ph", "caps", "remove_water", "remove_hetero", "replace_nonstandard", "model_number",
)  # fmt: skip


def add_fragment_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options.adder(parser)
    add("structure", "with all hydrogens: PDB, mmCIF or what ASE reads; frames of one molecule")
    options.add_assembly_arguments(parser, default="mfcc_mbe2")
    add("--all", "list all kinds of fragments", False)
    add("--json FILE", "file for all numbers")
    add("--picture FILE", "the partition drawn, .png or .pdf")
    add("--show NAME|NUMBER", "fragment whose caps --picture shows; default: one in the middle")
    add(
        "--overwrite", "replace files of --export (.xyz), --forces, --prepare that are there", False
    )
    add("--export FILE", "fragments to label: .h5 (distinct ones, added to what is there) or .xyz")
    add = options.adder(parser.add_argument_group("energies and forces"))
    add(
        "--model M",
        "of the fragments: a file, a shipped model, gfn2-xtb, gfn1-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, 'env:PYTHON ase:MODULE:CLASS', torch:FILE, or a YAML file with a "
        "model for each fragment",
    )
    add("--level", "level of theory of --model, if it has several")
    add("--forces FILE.xyz", "frames with energies and forces")
    add("--device", options.DEVICE)
    add = options.adder(parser.add_argument_group("error budget"))
    add(
        "--budget",
        "model against fragment QM, that against whole QM, model against whole QM",
        False,
    )
    add("--reference M", "what QM is, such as gfn2-xtb; as --model")
    add("--plot FILE", "the budget drawn, .png or .pdf")
    add = options.adder(parser.add_argument_group("preparation"))
    add("--prepare OUT.pdb", "add missing atoms and hydrogens, and stop")
    add("--ph", "for --prepare; default 7.4", float)
    add("--caps", "close ends with acetyl and N-methylamide, not with charged groups", False)
    add("--remove-water", "drop water", False)
    add("--remove-hetero", "drop ligands and ions, water apart", False)
    add("--replace-nonstandard", "make of MSE, SEP and the like what they come from", False)
    add("--model-number N", "of the file's models; default: the first", int)


def run_fragment(arguments: argparse.Namespace) -> None:
    """Lists, draws, exports, evaluates, or prepares."""
    from tlpot.presentation import picture_path
    from tlpot.reports import check_export

    _check_options(arguments)
    for picture in (arguments.picture, arguments.plot):
        if picture is not None:
            picture_path(picture)
    if arguments.export is not None:
        check_export(arguments.export)
    _check_replaced(arguments)
    if arguments.prepare is not None:
        _prepare(arguments)
        return
    from tlpot.api import fragment

    found = fragment(
        arguments.structure,
        arguments.model,
        **options.values_of(arguments, "level reference device"),
        **options.fragment_options(arguments),
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
        "show": "picture", **dict.fromkeys(_OF_PREPARE, "prepare"),
    }  # fmt: skip
    for option, other in needs.items():
        if given[option] is not None and given[option] is not False and not given[other]:
            raise ConfigError(
                f"--{option.replace('_', '-')} goes with --{other}; add that, or leave it out"
            )
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


def _check_replaced(arguments: argparse.Namespace) -> None:
    from tlpot.files import check_replaced

    for name in ("export", "forces", "prepare"):
        path = getattr(arguments, name)
        # to a file of labels fragments are added
        if path is not None and path.endswith((".xyz", ".pdb")):
            option = f"--{name}"
            check_replaced(path, what="file", overwrite=arguments.overwrite, option=option)


def _prepare(arguments: argparse.Namespace) -> None:
    from tlpot.structures import prepare_protein

    report = prepare_protein(
        arguments.structure,
        out=arguments.prepare,
        ph=7.4 if arguments.ph is None else arguments.ph,
        model=arguments.model_number,
        **options.values_of(arguments, "caps remove_water remove_hetero replace_nonstandard"),
    )
    print(report.text())

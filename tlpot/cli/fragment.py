"""`tlpot fragment STRUCTURE [--scheme S] [--model M] [--budget --reference R]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlpot.cli.fragment_options import add_assembly_arguments

if TYPE_CHECKING:
    from ase import Atoms
    from tqdm import tqdm

    from tlpot.jobs import Cut
    from tlpot.topology import Lattice, Topology


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        "structure", help="a file with all hydrogens: PDB, mmCIF or what ASE reads; may be several "
        "frames of one molecule",
    )  # fmt: skip
    add_assembly_arguments(parser, default="mfcc_mbe2")
    parser.add_argument("--all", action="store_true", help="list all kinds of fragments")
    parser.add_argument("--json", metavar="FILE", help="file for all numbers")
    parser.add_argument("--picture", metavar="FILE", help="the partition drawn, .png or .pdf")
    parser.add_argument(
        "--show", metavar="NAME|NUMBER",
        help="fragment of which --picture shows the caps; default: one in the middle",
    )  # fmt: skip
    parser.add_argument(
        "--export", metavar="FILE",
        help="fragments for labelling: .h5 (distinct ones, added to what is there), or .xyz",
    )  # fmt: skip
    group = parser.add_argument_group("energies and forces")
    group.add_argument(
        "--model", metavar="M",
        help="of the fragments: a file, a shipped model, gfn2-xtb, gfn1-xtb, pyscf:METHOD/BASIS, "
        "ase:MODULE:CLASS, or a YAML file with a model for each fragment",
    )  # fmt: skip
    group.add_argument("--level", help="level of theory of --model, if it has several")
    group.add_argument("--forces", metavar="FILE.xyz", help="frames with energies and forces")
    group.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    group = parser.add_argument_group("error budget")
    group.add_argument(
        "--budget", action="store_true",
        help="model against fragment QM, fragment QM against whole QM, model against whole QM",
    )  # fmt: skip
    group.add_argument("--reference", metavar="M", help="what QM is, such as gfn2-xtb; as --model")
    group.add_argument("--plot", metavar="FILE", help="the budget drawn, .png or .pdf")
    group = parser.add_argument_group("preparation")
    group.add_argument(
        "--prepare", metavar="OUT.pdb", help="add missing atoms and hydrogens, and stop"
    )
    group.add_argument("--ph", type=float, help="for --prepare; default 7.4")


def run(arguments: argparse.Namespace) -> None:
    """Lists, draws, exports, evaluates, or prepares."""
    import torch

    from tlpot.presentation import picture_path

    torch.set_num_threads(1)
    _check_options(arguments)
    for picture in (arguments.picture, arguments.plot):
        if picture is not None:
            picture_path(picture)
    if arguments.prepare is not None:
        _prepare(arguments)
        return
    frames, topology = _read(arguments.structure)
    if arguments.budget:
        found = _budget(arguments, frames, topology)
    else:
        found = _list(arguments, frames, topology)
        if arguments.model is not None:
            found |= _evaluate(arguments, frames, topology)
    if arguments.json is not None:
        from tlpot.files import write_text

        write_text(arguments.json, json.dumps(found, indent=2))


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


def _read(name: str) -> tuple[list[Atoms], Topology]:
    from tlpot.errors import GeometryError
    from tlpot.fragments import Prepared, choose_scheme
    from tlpot.structures import read_frames
    from tlpot.topology import perceive_topology

    frames = read_frames(name)
    notes = frames[0].info.get("reader_notes")
    if notes:
        print(f"note: {notes}\n", file=sys.stderr)
    some = ", frame 0" if len(frames) > 1 else ""
    try:
        topology = perceive_topology(frames[0])
    except GeometryError as error:
        raise GeometryError(f"{name}{some}: {error}") from error
    bonds = Prepared(topology, choose_scheme("direct"), skin=0.0)
    for k, frame in enumerate(frames):
        bonds.check_bonds(bonds.whole(frame.positions, _lattice(frame)), where=f"{name}, frame {k}")
    return frames, topology


def _prepare(arguments: argparse.Namespace) -> None:
    from tlpot.structures import prepare_protein

    ph = 7.4 if arguments.ph is None else arguments.ph
    print(prepare_protein(arguments.structure, out=arguments.prepare, ph=ph).text())


def _list(arguments: argparse.Namespace, frames: list[Atoms], topology: Topology) -> dict[str, Any]:
    from tlpot.cli.fragment_options import scheme_of
    from tlpot.jobs import Cut, Listing

    scheme = scheme_of(arguments)
    cuts = [Cut.make(topology, scheme, f.positions, _lattice(f)) for f in frames]
    listing = Listing.make(arguments.scheme.lower(), cuts[0])
    if len(frames) > 1:
        print(f"{len(frames)} frames; the first is listed\n")
    print(listing.text(shown=None if arguments.all else 30))
    if arguments.picture is not None:
        _draw(arguments, cuts[0])
    if arguments.export is not None:
        _export(arguments, frames, cuts)
    return listing.as_json()


def _lattice(frame: Atoms) -> Lattice | None:
    from tlpot.system import System
    from tlpot.topology import Lattice

    return Lattice.of(System.from_atoms(frame))


def _export(arguments: argparse.Namespace, frames: list[Atoms], cuts: list[Cut]) -> None:
    from tlpot.errors import OutputError
    from tlpot.fragments import ProteinFrames, export_fragments
    from tlpot.jobs import write_fragments

    path = Path(arguments.export)
    if path.suffix == ".xyz":
        print(f"\nwrote {write_fragments(cuts, path)} fragments to {path}")
        return
    if path.suffix not in (".h5", ".hdf5"):
        raise OutputError(f"the fragments' file {path} must end in .h5 or .xyz")
    protein = ProteinFrames(name=Path(arguments.structure).stem, frames=frames)
    report = export_fragments([protein], cuts[0].scheme, path)
    print(
        f"\nwrote {report.n_written} new geometries of {report.n_distinct} distinct ones of "
        f"{len(report.counts)} kinds to {path}"
    )


def _draw(arguments: argparse.Namespace, cut: Cut) -> None:
    from tlpot.reports import plot_partition

    plot_partition(cut, arguments.picture, Path(arguments.structure).stem, arguments.show)
    print(f"\nwrote {arguments.picture}")


def _evaluate(
    arguments: argparse.Namespace, frames: list[Atoms], topology: Topology
) -> dict[str, Any]:
    from tlpot.cli.fragment_options import fragment_calculator
    from tlpot.jobs import SinglePoints

    with _bar("calculations") as bar:
        calculator = fragment_calculator(
            arguments, frames[0], arguments.model, level=arguments.level, topology=topology,
            on_done=bar.update, device=arguments.device, skin=0.0,
        )  # fmt: skip
        points = SinglePoints.compute(frames, calculator)
    print(f"\n{arguments.model} by {arguments.scheme}\n{points.text()}")
    if arguments.forces is not None:
        points.write_forces(frames, arguments.forces)
        print(f"wrote {arguments.forces}")
    return points.as_json()


def _budget(
    arguments: argparse.Namespace, frames: list[Atoms], topology: Topology
) -> dict[str, Any]:
    from tlpot.calculators import FragmentCalculator, energy_model, named_source
    from tlpot.cli.fragment_options import assembly_words, fragment_calculator
    from tlpot.errors import ConfigError
    from tlpot.reports import BudgetReport, measure_budget

    if arguments.scheme == "direct" and arguments.model is None:
        raise ConfigError("scheme direct has no fragments, and without --model there is no error")
    with _bar("QM calculations") as bar:
        source = named_source(arguments.reference, on_done=bar.update)
        if isinstance(source, dict):
            raise ConfigError("--reference must be one model for everything, not one per fragment")
        reference = energy_model(source, device=arguments.device)
        low = None
        if arguments.low is not None:  # shared, so that nothing is computed twice
            opened = named_source(arguments.low, on_done=bar.update)
            low = energy_model(opened, level=arguments.low_level, device=arguments.device)
        options = {"topology": topology, "device": arguments.device, "skin": 0.0}
        whole = FragmentCalculator(frames[0], reference, "direct", **options)
        arguments.low_level = None
        pieces = fragment_calculator(arguments, frames[0], reference, low=low, **options)
        model = None
        if arguments.model is not None:
            model = fragment_calculator(
                arguments, frames[0], arguments.model, level=arguments.level, low=low,
                on_done=bar.update, **options,
            )  # fmt: skip
        budget = measure_budget(frames, whole=whole, fragments=pieces, model=model)
    report = BudgetReport(
        budget=budget,
        structure=Path(arguments.structure).name,
        scheme=assembly_words(arguments),
        model=arguments.model or "",
        reference=arguments.reference,
    )
    print(report.text(), end="")
    if arguments.plot is not None:
        report.plot(arguments.plot)
        print(f"\nwrote {arguments.plot}")
    return report.as_json()


def _bar(name: str) -> tqdm:
    from tlpot.presentation import progress_bar

    return progress_bar(desc=name, unit="", delay=1.0, file=sys.stderr, dynamic_ncols=True)

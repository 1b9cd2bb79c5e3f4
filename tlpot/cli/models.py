"""`tlpot models list|info|search|install|import|index|rank`: what models there are, and where."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tlpot.cli.options import DEVICE, SPEC, add_option, options_of
from tlpot.cli.parser import print_json

if TYPE_CHECKING:
    from tlpot.models import CatalogueEntry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=summary)

    listed = action("list", "models that ship with tlpot, that are installed, and of other places")
    _add_folder(listed)
    _add_place(listed)
    listed.set_defaults(do=_list)

    info = action("info", "print the card of a model")
    add_option(info, "model", "a model file, or the name of a model")
    add_option(info, "--json", "print everything as JSON", False)
    add_option(
        info,
        "--from",
        "what the index of a place says of the model, without installing it",
        dest="place",
        metavar="DIR|URL",
    )
    info.set_defaults(do=_info)

    search = action("search", "models that have what is asked for")
    _add_folder(search)
    _add_place(search)
    add_option(search, "--elements", "symbols that the model must know: C,H,O")
    add_option(search, "--level", "level of theory, or a part of its name")
    add_option(search, "--licence", "licence, or a part of its name")
    add_option(search, "--max-weights", "largest number of weights", int)
    search.set_defaults(do=_search)

    installed = action("install", "give a model a name that works wherever a shipped one does")
    add_option(installed, "model", "a model file, its URL, or with --from a name")
    add_option(
        installed,
        "--from",
        "where the model is: a folder, or the URL of one with an index (tlpot models index)",
        dest="place",
        metavar="DIR|URL",
    )
    add_option(installed, "--as", "what to call it here", dest="name", metavar="NAME")
    add_option(installed, "--sha256", "hash that the file must have")
    add_option(installed, "--force", "replace another model installed under the name", False)
    installed.set_defaults(do=_install)

    imported = action("import", "turn a model of mace-torch into one of tlpot, exactly")
    imported.add_argument("model", metavar="FILE.model", help="what mace-torch wrote")
    imported.add_argument("-o", "--output", required=True, help="model file to write")
    imported.add_argument(
        "--head", action="append", help="take this head; may be given several times; default: all"
    )
    imported.add_argument(
        "--level", action="append", default=[], metavar="NAME | HEAD=NAME",
        help="level of theory of the head; default: name of the file, and of the head",
    )  # fmt: skip
    imported.add_argument("--elements", help="symbols of those to take: H,C,N,O; default: all")
    imported.add_argument("--licence", help="of the weights; default: by the name of the file")
    imported.add_argument(
        "--check", metavar="FILE.npz",
        help="compare with energies and forces that mace-torch gave (examples/mace_vectors.py)",
    )  # fmt: skip
    imported.add_argument("--dtype", choices=("float32", "float64"), help="default: as in the file")
    imported.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    imported.add_argument("--json", help="file for all numbers")
    imported.set_defaults(do=_import)

    index = action("index", "write the index of a folder that others install from")
    add_option(index, "folder", "the folder; the index is written into it")
    index.set_defaults(do=_index)

    rank = action("rank", "errors of closed-form transfer from each model, on folds of the data")
    add_option(rank, "data", "file with the labels")
    add_option(
        rank, "models", "files or names; default: all that have names", nargs="*", metavar="MODEL"
    )
    add_option(rank, "--level", "level of theory of the labels", required=True)
    add_option(rank, "--spec", SPEC)
    _add_folder(rank)
    add_option(
        rank,
        "--by",
        "folds that decide: frames at random, whole molecules, or clusters of structures "
        "that look alike; default: molecule if there are enough, else random",
        choices=("random", "molecule", "cluster"),
    )
    add_option(rank, "--folds", "number of folds (default 5)", 5)
    add_option(rank, "--seed", "of the folds (default 0)", 0)
    add_option(rank, "--json", "file for all numbers")
    add_option(rank, "--cache", "folder that keeps features; default beside the JSON file")
    add_option(rank, "--device", DEVICE)
    rank.set_defaults(do=_rank)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    add_option(
        parser,
        "--folder",
        "add the model files of a folder; may be given several times",
        action="append",
        default=[],
        metavar="DIR",
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    add_option(
        parser,
        "--from",
        "add what can be installed from a place; may be given several times",
        dest="places",
        action="append",
        default=[],
        metavar="DIR|URL",
    )


def run(arguments: argparse.Namespace) -> None:
    """Does what was asked."""
    arguments.do(arguments)


def _list(arguments: argparse.Namespace) -> None:
    from tlpot.models import catalogue

    _print_entries(catalogue(arguments.folder))
    for place, entries in _elsewhere(arguments):
        print(f"\nto install from {place}")
        _print_entries(entries)


def _elsewhere(arguments: argparse.Namespace) -> list[tuple[str, list[CatalogueEntry]]]:
    from tlpot.models import ModelSource

    return [
        (where, [entry.as_catalogue() for entry in ModelSource(where).entries])
        for where in arguments.places
    ]


def _info(arguments: argparse.Namespace) -> None:
    from tlpot.cli import info
    from tlpot.config import to_mapping
    from tlpot.models import ModelSource

    if arguments.place is None:
        info.run(arguments)
        return
    entry = ModelSource(arguments.place).entry(arguments.model)
    if arguments.json:
        print_json(to_mapping(entry))
        return
    _print_entries([entry.as_catalogue()])
    print(f"  {entry.kind}, {entry.size:,} bytes, SHA-256 {entry.sha256}")
    print(f"  not installed: tlpot models install {entry.name} --from {arguments.place}")


def _install(arguments: argparse.Namespace) -> None:
    from tlpot.models import install

    made = install(arguments.model, show=True, **options_of(arguments, "place name sha256 force"))
    done = "installed" if made.is_new else "there already, with the same content:"
    print(f"{done} {made.name}  ({', '.join(made.levels)})")
    print(f"  {made.path}\n  SHA-256 {made.sha256}")


def _import(arguments: argparse.Namespace) -> None:
    from tlpot import api

    named = [text.partition("=") for text in arguments.level]
    level = (
        named[0][0]
        if len(named) == 1 and not named[0][1]
        else {head: name for head, _, name in named}
    )
    found = api.import_model(
        arguments.model, output=arguments.output, head=arguments.head, level=level or None,
        elements=arguments.elements.split(",") if arguments.elements else None,
        licence=arguments.licence, check=arguments.check, dtype=arguments.dtype,
        overwrite=arguments.overwrite,
    )  # fmt: skip
    print(found)
    print(f"wrote {arguments.output}")
    if arguments.json:
        found.save(arguments.json)


def _index(arguments: argparse.Namespace) -> None:
    from tlpot.models import write_index

    entries = write_index(arguments.folder)
    for entry in entries:
        print(f"{entry.name}  {entry.kind}, {entry.size:,} bytes, SHA-256 {entry.sha256}")
    print(f"wrote the index of {len(entries)} models in {arguments.folder}")


def _search(arguments: argparse.Namespace) -> None:
    from tlpot.models import Query, catalogue, parse_elements

    query = Query(
        elements=parse_elements(arguments.elements) if arguments.elements else None,
        level=arguments.level,
        licence=arguments.licence,
        max_weights=arguments.max_weights,
    )
    entries = catalogue(arguments.folder)
    found = [entry for entry in entries if query.accepts(entry)]
    _print_entries(found)
    n_found, n_all = len(found), len(entries)
    for place, others in _elsewhere(arguments):
        suitable = [entry for entry in others if query.accepts(entry)]
        if suitable:
            print(f"\nto install from {place}")
            _print_entries(suitable)
        n_found, n_all = n_found + len(suitable), n_all + len(others)
    print(f"{n_found} of {n_all} models")


def _print_entries(entries: list[CatalogueEntry]) -> None:
    for entry in entries:
        if entry.problem:
            print(f"{entry.source}\n  cannot be used: {entry.problem}")
            continue
        print(f"{entry.source}")
        print(
            f"  {', '.join(entry.levels)}; {entry.symbols}; {entry.n_weights:,} weights; "
            f"cutoff {entry.cutoff:g} Å; licence {entry.licence}; SHA-256 {entry.sha256[:12]}…"
        )
        if entry.description:
            print(f"  {entry.description}")


def _rank(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from tlpot import api

    cache = arguments.cache
    if cache is None and arguments.json:
        cache = Path(arguments.json).with_suffix(".run") / "features"
    ranking = api.rank(
        arguments.data,
        arguments.models or None,
        folders=arguments.folder,
        cache=cache,
        **options_of(arguments, "level spec by folds seed device"),
    )
    print(ranking)
    if arguments.json:
        ranking.save(arguments.json)

"""`tlpot models list|info|search|install|import|index|rank`: what models there are, and where."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from tlpot.cli import options
from tlpot.cli.parser import print_json
from tlpot.execution import load_torch

if TYPE_CHECKING:
    from tlpot.models import CatalogueEntry

_FEW_ELEMENTS = 20
"""So many are named in a line of a list; ``tlpot models info`` names all."""


def add_models_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(
        name: str, do: Callable[[argparse.Namespace], None], summary: str
    ) -> Callable[..., None]:
        parser = actions.add_parser(name, help=summary, description=summary)
        parser.set_defaults(do=do)
        return options.adder(parser)

    add = action(
        "list", _list, "models that ship with tlpot, that are installed, and of other places"
    )
    _add_folder(add)
    _add_place(add)

    add = action("info", _info, "print the card of a model")
    add("model", "a model file, or the name of a model")
    add("--json", "print everything as JSON", False)
    add("--from DIR|URL", "what the index of a place says, without installing", dest="place")

    add = action("search", _search, "models that have what is asked for")
    _add_folder(add)
    _add_place(add)
    add("--elements", "symbols that the model must know: C,H,O")
    add("--level", "level of theory, or a part of its name")
    add("--licence", "licence, or a part of its name")
    add("--max-weights", "largest number of weights", int)

    add = action("install", _install, "give a model a name that works wherever a shipped one does")
    add("model", "a model file, its URL, or with --from a name")
    about = "where the model is: a folder, or the URL of one with an index (tlpot models index)"
    add("--from DIR|URL", about, dest="place")
    add("--as NAME", "what to call it here", dest="name")
    add("--sha256", "hash that the file must have")
    add("--force", "replace another model installed under the name", False)

    add = action("import", _import, "turn a model of mace-torch into one of tlpot, exactly")
    add("model FILE.model", "what mace-torch wrote")
    add("-o --output", "model file to write", required=True)
    add("--head", "take this head; default: all", action="append")
    about = "level of theory of the head; default: name of the file, and of the head"
    add("--level NAME|HEAD=NAME", about, action="append", default=[])
    add("--elements", "symbols of those to take: H,C,N,O; default: all")
    add("--licence", "of the weights; default: by the name of the file")
    add("--check FILE.npz", "compare with what mace-torch gave (examples/mace_vectors.py)")
    add("--dtype", "default: as in the file", choices=("float32", "float64"))
    add("--overwrite", "replace a file that is there", False)
    add("--json", "file for all numbers")

    add = action("index", _index, "write the index of a folder that others install from")
    add("folder", "the folder; the index is written into it")

    add = action(
        "rank", _rank, "errors of closed-form transfer from each model, on folds of the data"
    )
    add("data", "file with the labels")
    add("models [MODEL...]", "files or names; default: all that have names")
    add("--level", "level of theory of the labels", required=True)
    add("--spec", options.SPEC)
    add("--keys QUANTITY=NAME...", options.KEYS)
    _add_folder(add)
    add(
        "--by",
        "folds that decide: frames at random, whole molecules, or clusters of structures "
        "that look alike; default: molecule if there are enough, else random",
        choices=("random", "molecule", "cluster"),
    )
    add("--folds", "number of folds (default 5)", 5)
    add("--seed", "of the folds (default 0)", 0)
    add("--json", "file for all numbers")
    add("--cache", "folder that keeps features; default beside the JSON file")
    add("--device", options.DEVICE)


def _add_folder(add: Callable[..., None]) -> None:
    about = "add the model files of a folder"
    add("--folder DIR", about, action="append", default=[])


def _add_place(add: Callable[..., None]) -> None:
    about = "add what can be installed from a place"
    add("--from DIR|URL", about, dest="places", action="append", default=[])


def run_models(arguments: argparse.Namespace) -> None:
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
    from tlpot.cli.info import run_info
    from tlpot.config import to_mapping
    from tlpot.models import ModelSource

    if arguments.place is None:
        run_info(arguments)
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

    made = install(
        arguments.model, show=True, **options.values_of(arguments, "place name sha256 force")
    )
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
    from tlpot.numbers import counted

    entries = write_index(arguments.folder)
    for entry in entries:
        print(f"{entry.name}  {entry.kind}, {entry.size:,} bytes, SHA-256 {entry.sha256}")
    print(f"wrote the index of {counted(len(entries), 'model')} in {arguments.folder}")


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
        many = len(entry.elements) > _FEW_ELEMENTS
        elements = f"{len(entry.elements)} elements" if many else entry.symbols
        print(
            f"  {', '.join(entry.levels)}; {elements}; {entry.n_weights:,} weights; "
            f"cutoff {entry.cutoff:g} Å; licence {entry.licence}; SHA-256 {entry.sha256[:12]}…"
        )
        if entry.description:
            print(f"  {entry.description}")
        if entry.no_parent:
            print(f"  no parent: {entry.no_parent}")


def _rank(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from tlpot import api

    load_torch()
    cache = arguments.cache
    if cache is None and arguments.json:
        cache = Path(arguments.json).with_suffix(".run") / "features"
    ranking = api.rank(
        arguments.data,
        arguments.models or None,
        folders=arguments.folder,
        cache=cache,
        **options.reading_options(arguments),
        **options.values_of(arguments, "level by folds seed device"),
    )
    print(ranking)
    if arguments.json:
        ranking.save(arguments.json)

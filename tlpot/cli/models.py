"""`tlpot models list|search|install|import|index|rank`, and `tlpot info MODEL`: the card of one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tlpot.cli import options
from tlpot.cli.parser import print_json
from tlpot.execution import load_torch

if TYPE_CHECKING:
    from tlpot.models import CatalogueEntry, ModelDescription, PotentialDescription


def add_info_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options.adder(parser)
    add("model", "a model file, or the name of a model")
    add("--json", "print everything as JSON", False)


def run_info(arguments: argparse.Namespace) -> None:
    """Prints the card."""
    from ase.data import chemical_symbols

    from tlpot.models import ENSEMBLE_FORMAT, describe, read_description

    model = read_description(arguments.model)
    if arguments.json:
        found = {"sha256": model.sha256, **describe(model.path)}
        print_json(found)
        return
    card = model.card
    print(f"{card.name}: {card.description}" if card.description else card.name)
    rows: list[tuple[str, Any]] = [
        ("levels", ", ".join(model.levels)),
        ("elements", " ".join(chemical_symbols[z] for z in model.elements)),
        *_networks(model),
        ("precision", model.dtype),
        ("uncertainty", _uncertainty(model)),
        ("parent", card.parent or "none"),
        ("domain", _domain(model)),
        ("licence", card.licence),
        *([("parent licence", card.parent_licence)] if card.parent_licence else []),
        ("file", model.path),
        ("SHA-256", model.sha256),
        ("cite", card.citation or "see README.md"),
    ]
    for key, value in rows:
        if key != "parent" or model.form != ENSEMBLE_FORMAT:
            print(f"  {key:16}{value}")
    if model.form == ENSEMBLE_FORMAT:
        for k, member in enumerate(model.parts, start=1):
            print(f"  member {k:<9}{member.card.name}: {member.card.description}")
    else:
        _print_references(model)
    for title, content in (
        ("origin", card.origin),
        ("data", card.dataset),
        ("metrics", card.metrics),
        ("recipe", card.recipe),
        ("versions", card.versions),
    ):
        if content:
            print(f"  {title}")
            _print_tree(content, "    ")


def _networks(model: ModelDescription) -> list[tuple[str, Any]]:
    """Returns what to say of the network, or of each part of a sum."""
    from tlpot.models import DELTA_FORMAT, ENSEMBLE_FORMAT

    if model.form == ENSEMBLE_FORMAT:
        return [("weights", f"{sum(part.n_weights for part in model.parts):,}")]
    if model.form != DELTA_FORMAT:
        return _network(model.parts[0], model.card.implies_charges)
    rows: list[tuple[str, Any]] = [("kind", "sum of a low level and a difference")]
    for part in model.parts:
        rows.append(("part", part.levels[0]))
        rows += [(f"- {key}", value) for key, value in _network(part, model.card.implies_charges)]
    return rows


def _network(part: PotentialDescription, implied: bool) -> list[tuple[str, Any]]:
    from tlpot.models import EngineArchitecture

    a = part.architecture
    if isinstance(a, EngineArchitecture):
        said = f"{a.n_channels} features of each atom by {a.engine}, without derivatives"
        return [
            ("engine", f"{said}; --engine names it"),
            ("program", a.definition.get("engine", "")),
        ]
    unread = "follow from the atoms, not read" if implied else "neutral singlets only"
    return [
        ("cutoff", f"{a.cutoff} Å x {a.n_layers} layers"),
        (
            "network",
            f"{a.hidden_irreps}, l_max {a.l_max}, correlation {_plain(a.correlation)}, "
            f"{part.n_weights:,} weights",
        ),
        ("repulsion", "ZBL" if a.zbl else "none"),
        ("charge, spin", "read" if a.charge_spin else unread),
    ]


def _plain(values: int | tuple[int, ...]) -> str:
    """Returns one number where all layers have the same."""
    found = (values,) if isinstance(values, int) else values
    return ", ".join(map(str, dict.fromkeys(found)))


def _print_references(model: ModelDescription) -> None:
    from ase.data import chemical_symbols

    for level in model.levels:
        energies = model.references(level)
        print(f"  E0 {level}: {model.card.references.get(level, 'origin not stated')}")
        print(
            "    "
            + "  ".join(f"{chemical_symbols[z]} {e:.6f}" for z, e in energies.items() if e == e)
            + " eV"
        )
        unknown = [chemical_symbols[z] for z, e in energies.items() if e != e]
        if unknown:
            print(f"    not known at this level: {', '.join(unknown)}")
        if not all(part.architecture.isolated_at_reference for part in model.parts):
            print("    an atom by itself is not at its E0: the network has constants of its own")
        for correction in model.corrections(level):
            print(f"  + {correction['kind']} on {' + '.join(correction['blocks'])}")
            _print_tree(correction.get("fit", {}), "    ")


def _uncertainty(model: ModelDescription) -> str:
    """Says at which levels the model knows its uncertainty, and how that was calibrated."""
    words = []
    for level in model.levels:
        n_frames = model.uncertainty(level)
        if n_frames is not None:
            how = f"calibrated on {n_frames} frames" if n_frames else "not calibrated"
            words.append(f"{level} ({how})")
    return ", ".join(words) or "none"


def _domain(model: ModelDescription) -> str:
    """Says at which levels the model knows what it was trained on, and what that was."""
    from ase.data import chemical_symbols

    from tlpot.models import FEW_FRAMES

    words = []
    for part in model.parts:
        for level in part.levels:
            found = part.domain(level)
            if found is None:
                continue
            never = " ".join(chemical_symbols[z] for z in found.absent)
            more = f", or {found.n_inherited} of the parent" if found.n_inherited else ""
            more += f", none with {never}" if never else ""
            if found.n_frames < FEW_FRAMES:
                more += f"; fewer than {FEW_FRAMES} warn of elements and charges only"
            words.append(f"{level} ({found.n_frames} training frames{more})")
    return ", ".join(dict.fromkeys(words)) or "none: no check of what the model was trained on"


def _print_tree(content: Any, indent: str) -> None:
    for key, value in content.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print_tree(value, indent + "  ")
        else:
            print(f"{indent}{key}: {value}")


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

"""`tlpot info MODEL`: prints a model's card."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tlpot.cli import options
from tlpot.cli.parser import print_json

if TYPE_CHECKING:
    from tlpot.models import ModelDescription, PotentialDescription


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

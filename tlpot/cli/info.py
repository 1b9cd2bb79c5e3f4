"""`tlpot info MODEL`: prints a model's card."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlpot.models import AnyPotential


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("model", help="a model file, or the name of a shipped model")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Prints the card."""
    from ase.data import chemical_symbols

    from tlpot.models import content_hash, load

    if arguments.json:
        from tlpot.models import describe

        print(json.dumps(describe(arguments.model), indent=2, ensure_ascii=False))
        return
    potential = load(arguments.model, device="cpu")
    card = potential.card
    print(f"{card.name}: {card.description}" if card.description else card.name)
    rows: list[tuple[str, Any]] = [
        ("levels", ", ".join(potential.levels)),
        ("elements", " ".join(chemical_symbols[z] for z in potential.elements)),
        *_networks(potential),
        ("precision", str(potential.dtype).removeprefix("torch.")),
        ("licence", card.licence),
        ("parent", card.parent or "none"),
        ("SHA-256", content_hash(arguments.model)),
        ("cite", card.citation or "see README.md"),
    ]
    for key, value in rows:
        print(f"  {key:16}{value}")
    for level in potential.levels:
        energies = potential.references(level)
        print(f"  E0 {level}: {card.references.get(level, 'origin not stated')}")
        print(
            "    "
            + "  ".join(f"{chemical_symbols[z]} {e:.6f}" for z, e in energies.items())
            + " eV"
        )
    for title, content in (
        ("data", card.dataset),
        ("metrics", card.metrics),
        ("recipe", card.recipe),
        ("versions", card.versions),
    ):
        if content:
            print(f"  {title}")
            _print_tree(content, "    ")


def _networks(potential: AnyPotential) -> list[tuple[str, Any]]:
    """Returns what to say of the network, or of each part of a sum."""
    from tlpot.models import Potential

    if isinstance(potential, Potential):
        a = potential.architecture
        n_weights = sum(p.numel() for p in potential.parameters())
        return [
            ("cutoff", f"{potential.cutoff} Å x {a.n_layers} layers"),
            (
                "network",
                f"{a.hidden_irreps}, l_max {a.l_max}, correlation {a.correlation}, "
                f"{n_weights:,} weights",
            ),
            ("repulsion", "ZBL" if a.zbl else "none"),
            ("charge, spin", "read" if a.charge_spin else "neutral singlets only"),
        ]
    rows: list[tuple[str, Any]] = [("kind", "sum of a low level and a difference")]
    for part in (potential.low, potential.delta):
        rows.append(("part", part.levels[0]))
        rows += [(f"- {key}", value) for key, value in _networks(part)]
    return rows


def _print_tree(content: Any, indent: str) -> None:
    for key, value in content.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print_tree(value, indent + "  ")
        else:
            print(f"{indent}{key}: {value}")

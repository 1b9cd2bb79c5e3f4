"""`tlpot info MODEL`: prints a model's card."""

from __future__ import annotations

import argparse
import json
from typing import Any


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
    card, architecture = potential.card, potential.architecture
    n_weights = sum(p.numel() for p in potential.parameters())
    print(f"{card.name}: {card.description}" if card.description else card.name)
    rows: list[tuple[str, Any]] = [
        ("levels", ", ".join(potential.levels)),
        ("elements", " ".join(chemical_symbols[z] for z in potential.elements)),
        ("cutoff", f"{potential.cutoff} Å x {architecture.n_layers} layers"),
        (
            "network",
            f"{architecture.hidden_irreps}, l_max {architecture.l_max}, "
            f"correlation {architecture.correlation}, {n_weights:,} weights",
        ),
        ("precision", str(potential.dtype).removeprefix("torch.")),
        ("repulsion", "ZBL" if architecture.zbl else "none"),
        ("charge, spin", "read" if architecture.charge_spin else "neutral singlets only"),
        ("licence", card.licence),
        ("parent", card.parent or "none"),
        ("SHA-256", content_hash(arguments.model)),
        ("cite", card.citation or "see README.md"),
    ]
    for key, value in rows:
        print(f"  {key:14}{value}")
    for level in potential.levels:
        energies = potential.references(level)
        print(f"  E0 {level}: {card.references.get(level, 'origin not stated')}")
        print(
            "    "
            + "  ".join(f"{chemical_symbols[z]} {e:.6f}" for z, e in energies.items())
            + " eV"
        )
        for correction in potential.corrections(level):
            print(f"  + {correction.info.kind} on {' + '.join(correction.info.blocks)}")
            _print_tree(correction.info.fit, "    ")
    for title, content in (
        ("data", card.dataset),
        ("metrics", card.metrics),
        ("recipe", card.recipe),
        ("versions", card.versions),
    ):
        if content:
            print(f"  {title}")
            _print_tree(content, "    ")


def _print_tree(content: Any, indent: str) -> None:
    for key, value in content.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print_tree(value, indent + "  ")
        else:
            print(f"{indent}{key}: {value}")

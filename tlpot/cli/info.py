"""`tlpot info MODEL`: prints a model's card."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlpot.models import DeltaPotential, Potential, TrainedModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("model", help="a model file, or the name of a model")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Prints the card."""
    from ase.data import chemical_symbols

    from tlpot.models import DeltaPotential, Ensemble, Potential, content_hash, library_file, load

    if arguments.json:
        from tlpot.models import describe

        found = {"sha256": content_hash(arguments.model), **describe(arguments.model)}
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    model = load(arguments.model, device="cpu")
    card = model.card
    print(f"{card.name}: {card.description}" if card.description else card.name)
    rows: list[tuple[str, Any]] = [
        ("levels", ", ".join(model.levels)),
        ("elements", " ".join(chemical_symbols[z] for z in model.elements)),
        *_networks(model),
        ("precision", str(model.dtype).removeprefix("torch.")),
        ("uncertainty", _uncertainty(model)),
        ("domain", _domain(model)),
        ("licence", card.licence),
        ("file", library_file(arguments.model)),
        ("SHA-256", content_hash(arguments.model)),
        ("cite", card.citation or "see README.md"),
    ]
    if isinstance(model, Potential | DeltaPotential):
        rows.insert(-4, ("parent", card.parent or "none"))
    for key, value in rows:
        print(f"  {key:16}{value}")
    if isinstance(model, Ensemble):
        for k, member in enumerate(model.potentials(), start=1):
            print(f"  member {k:<9}{member.card.name}: {member.card.description}")
    if isinstance(model, Potential | DeltaPotential):
        _print_references(model)
    for title, content in (
        ("data", card.dataset),
        ("metrics", card.metrics),
        ("recipe", card.recipe),
        ("versions", card.versions),
    ):
        if content:
            print(f"  {title}")
            _print_tree(content, "    ")


def _networks(model: TrainedModel) -> list[tuple[str, Any]]:
    """Returns what to say of the network, or of each part of a sum."""
    from tlpot.models import DeltaPotential, Potential

    n_weights = f"{sum(p.numel() for p in model.parameters()):,}"
    if isinstance(model, Potential):
        a = model.architecture
        return [
            ("cutoff", f"{model.cutoff} Å x {a.n_layers} layers"),
            (
                "network",
                f"{a.hidden_irreps}, l_max {a.l_max}, correlation {a.correlation}, "
                f"{n_weights} weights",
            ),
            ("repulsion", "ZBL" if a.zbl else "none"),
            ("charge, spin", "read" if a.charge_spin else "neutral singlets only"),
        ]
    if not isinstance(model, DeltaPotential):
        return [("weights", n_weights)]
    rows: list[tuple[str, Any]] = [("kind", "sum of a low level and a difference")]
    for part in (model.low, model.delta):
        rows.append(("part", part.levels[0]))
        rows += [(f"- {key}", value) for key, value in _networks(part)]
    return rows


def _print_references(model: Potential | DeltaPotential) -> None:
    from ase.data import chemical_symbols

    for level in model.levels:
        energies = model.references(level)
        print(f"  E0 {level}: {model.card.references.get(level, 'origin not stated')}")
        print(
            "    "
            + "  ".join(f"{chemical_symbols[z]} {e:.6f}" for z, e in energies.items())
            + " eV"
        )
        for correction in model.corrections(level):
            print(f"  + {correction.info.kind} on {' + '.join(correction.info.blocks)}")
            _print_tree(correction.info.fit, "    ")


def _uncertainty(model: TrainedModel) -> str:
    """Says at which levels the model knows its uncertainty, and how that was calibrated."""
    from tlpot.models import uncertain

    words = []
    for level in model.levels:
        found = uncertain(model.at(level))
        if found is not None:
            made = found.calibration
            how = f"calibrated on {made.n_frames} frames" if made else "not calibrated"
            words.append(f"{level} ({how})")
    return ", ".join(words) or "none"


def _domain(model: TrainedModel) -> str:
    """Says at which levels the model knows what it was trained on, and what that was."""
    from ase.data import chemical_symbols

    from tlpot.energy import has_domain

    words = []
    for level in model.levels:
        view = model.at(level)
        if not has_domain(view):
            continue
        known = getattr(view, "training_domain", None)
        if known is None:  # of several networks
            words.append(level)
            continue
        content = known.content
        never = [
            chemical_symbols[z]
            for z, count in zip(model.elements, content.atoms.tolist(), strict=True)
            if not count
        ]
        without = f", none with {' '.join(never)}" if never else ""
        words.append(f"{level} ({content.n_frames} training frames{without})")
    return ", ".join(words) or "none: no check of what the model was trained on"


def _print_tree(content: Any, indent: str) -> None:
    for key, value in content.items():
        if isinstance(value, dict):
            print(f"{indent}{key}")
            _print_tree(value, indent + "  ")
        else:
            print(f"{indent}{key}: {value}")

"""`tlpot models list|info|search|rank`: what there is to transfer from."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlpot.models import CatalogueEntry
    from tlpot.pipeline import Ranking


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=summary)

    listed = action("list", "models that ship with tlpot, and those of folders")
    _add_folder(listed)
    listed.set_defaults(do=_list)

    info = action("info", "print the card of a model")
    info.add_argument("model", help="a model file, or the name of a shipped model")
    info.add_argument("--json", action="store_true", help="print everything as JSON")
    info.set_defaults(do=_info)

    search = action("search", "models that have what is asked for")
    _add_folder(search)
    search.add_argument("--elements", help="symbols that the model must know: C,H,O")
    search.add_argument("--level", help="level of theory, or a part of its name")
    search.add_argument("--licence", help="licence, or a part of its name")
    search.add_argument("--max-weights", type=int, help="largest number of weights")
    search.set_defaults(do=_search)

    rank = action("rank", "errors of closed-form transfer from each model, on folds of the data")
    rank.add_argument("data", help="file with the labels")
    rank.add_argument("models", nargs="*", metavar="MODEL",
                      help="files or shipped names; default: all that ship")  # fmt: skip
    rank.add_argument("--level", required=True, help="level of theory of the labels")
    rank.add_argument("--spec", help="layout of the data, if it is not tlpot's own")
    _add_folder(rank)
    rank.add_argument(
        "--by",
        choices=("random", "molecule", "cluster"),
        help="folds that decide: frames at random, whole molecules, or clusters of structures "
        "that look alike; default: molecule if there are enough, else random",
    )
    rank.add_argument("--folds", type=int, default=5, help="number of folds (default 5)")
    rank.add_argument("--seed", type=int, default=0, help="of the folds (default 0)")
    rank.add_argument("--json", help="file for all numbers")
    rank.add_argument("--cache", help="folder that keeps features; default beside the JSON file")
    rank.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    rank.set_defaults(do=_rank)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder", action="append", default=[], metavar="DIR",
        help="add the model files of a folder; may be given several times",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Does what was asked."""
    arguments.do(arguments)


def _list(arguments: argparse.Namespace) -> None:
    from tlpot.models import catalogue

    _print_entries(catalogue(arguments.folder))


def _info(arguments: argparse.Namespace) -> None:
    from tlpot.cli import info

    info.run(arguments)


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
    print(f"{len(found)} of {len(entries)} models")


def _print_entries(entries: list[CatalogueEntry]) -> None:
    for entry in entries:
        if entry.problem:
            print(f"{entry.source}\n  cannot be used: {entry.problem}")
            continue
        print(f"{entry.source}")
        print(
            f"  {', '.join(entry.levels)}; {entry.symbols}; {entry.n_weights:,} weights; "
            f"cutoff {entry.cutoff:g} Å; licence {entry.licence}"
        )
        if entry.description:
            print(f"  {entry.description}")


def _rank(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    import torch

    from tlpot.atomic_file import atomic_file
    from tlpot.data import open_dataset
    from tlpot.models import catalogue
    from tlpot.pipeline import rank_models

    torch.set_num_threads(1)
    dataset = open_dataset([arguments.data], arguments.spec, level=arguments.level)
    cache = Path(arguments.cache) if arguments.cache else None
    if cache is None and arguments.json:
        cache = Path(arguments.json).with_suffix(".run") / "features"
    chosen = arguments.models or ([] if arguments.folder else None)
    ranking = rank_models(
        dataset, arguments.level, catalogue(arguments.folder, chosen), by=arguments.by,
        n_folds=arguments.folds, seed=arguments.seed, cache=cache, device=arguments.device,
        spec=arguments.spec,
    )  # fmt: skip
    print(_table(ranking))
    if arguments.json:
        with atomic_file(arguments.json) as temporary:
            temporary.write_text(json.dumps(ranking.as_json(), indent=2), encoding="utf-8")


def _table(ranking: Ranking) -> str:
    schemes = list(ranking.folds)
    rows = [(score.model or "-", score.source or "-", score.what) for score in ranking.scores]
    heads = ("model", "source", "ridge on")
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]

    def words(row: tuple[str, ...]) -> str:
        return "  ".join(f"{word:{width}}" for word, width in zip(row, widths, strict=True))

    lines = [
        f"{ranking.n_frames} energies at {ranking.level}; MAE in meV and R² on frames left out, "
        f"sorted by {ranking.by}",
        words(("", "", "")) + "".join(f"{f'{s} ({n})':>18}" for s, n in ranking.folds.items()),
        words(heads) + f"{'MAE':>10}{'R²':>8}" * len(schemes),
    ]
    for row, score in zip(rows, ranking.scores, strict=True):
        errors = [score.errors[scheme] for scheme in schemes]
        lines.append(words(row) + "".join(f"{e.mae:>10.4g}{e.r2:>8.3f}" for e in errors))
    lines.append("R²: share of the squared error of 'composition only' on the same folds that is "
                 "gone")  # fmt: skip
    lines += [f"not applicable: {model}: {why}" for model, why in ranking.refused.items()]
    lines += [
        f"note: {model} was trained on frames of this file, so that to its features not all of "
        "what is left out is new"
        for model in ranking.acquainted
    ]
    best = ranking.winner
    if best is None:
        lines.append("no model does better than the composition alone; train from scratch")
        return "\n".join(lines)
    lines.append(
        f"\nbest: {best.model} at {best.source}, {best.what}; in closed form, and fine-tuned:"
    )
    lines += [f"  {command}" for command in ranking.commands()]
    return "\n".join(lines)

"""`tlpot data info|validate|convert|split FILE ...`: looks at and translates datasets."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tlpot.cli.terminal import add_strict_argument, check_warnings
from tlpot.errors import ConfigError, DataError, UnknownLevelError
from tlpot.plural import counted

if TYPE_CHECKING:
    from tlpot.data import Dataset, Problem, Summary

_SHOWN = 3
"""Frames named for each problem."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    info = _action(actions, "info", _info, "levels, counts, elements, sizes, ranges, duplicates")
    info.add_argument("--molecules", action="store_true", help="list the molecules")
    info.add_argument("--json", action="store_true", help="print everything as JSON")
    validate = _action(
        actions, "validate", _validate, "problems found; exit status 2 if there are errors"
    )
    validate.add_argument("--all", action="store_true", help=f"name all frames, not just {_SHOWN}")
    convert = _action(actions, "convert", _convert, "write the files as one in the native layout")
    convert.add_argument("-o", "--output", required=True, help="HDF5 file to write")
    split = _action(actions, "split", _split, "divide into training, validation and test frames")
    split.add_argument("-o", "--output", required=True, help="JSON file to write")
    split.add_argument(
        "--by",
        choices=("molecule", "random", "source", "trajectory", "key"),
        help="what stays together: all frames of a molecule (default), nothing but identical "
        "structures (default where all frames are of one molecule), all frames from one protein "
        "or run, or with the same value of --key",
    )
    split.add_argument("--key", help="array with one value per frame, for --by key")
    for part in ("validation", "test"):
        split.add_argument(
            f"--{part}",
            default="0.1",
            metavar="SHARE",
            help="fraction (below 1) or number of frames, or names: water,methanol (default 0.1)",
        )
    split.add_argument(
        "--labelled", metavar="LEVEL", help="only frames with a label there (default: --level)"
    )
    split.add_argument("--seed", type=int, default=0, help="of the random order (default 0)")


def run(arguments: argparse.Namespace) -> None:
    """Opens the files and does what was asked."""
    from tlpot.data import open_dataset

    keys = dict(_pair(text) for text in arguments.keys)
    level = arguments.level or getattr(arguments, "labelled", None)
    try:
        dataset = open_dataset(arguments.files, arguments.spec, level=level, keys=keys)
    except UnknownLevelError:
        if arguments.action != "split" or level is not None:
            raise
        # the file has one level and does not name it; frames are divided all the same
        dataset = open_dataset(arguments.files, arguments.spec, level="unnamed", keys=keys)
    arguments.do(dataset, arguments)


def _action(
    actions: Any,
    name: str,
    do: Callable[[Dataset, argparse.Namespace], None],
    summary: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    parser.set_defaults(do=do)
    parser.add_argument("files", nargs="+", metavar="FILE", help="read together as one dataset")
    parser.add_argument("--spec", help="name or path of the description of the layout")
    parser.add_argument("--level", help="level of theory, where the file does not say")
    add_strict_argument(parser)
    parser.add_argument(
        "--keys",
        nargs="+",
        default=[],
        metavar="QUANTITY=NAME",
        help="names of arrays that differ from the description: energy=energy_xtb",
    )
    return parser


def _pair(text: str) -> tuple[str, str]:
    quantity, equals, name = text.partition("=")
    if not equals:
        raise ConfigError(f"--keys: {text!r} is not of the form QUANTITY=NAME")
    return quantity, name


def _info(dataset: Dataset, arguments: argparse.Namespace) -> None:
    from tlpot.data import definitions_of, summarize

    with _progress(dataset, "reading") as progress:
        summary = summarize(dataset, progress=progress)
    if arguments.json:
        content = {
            **dataclasses.asdict(summary),
            "content_hash": dataset.content_hash,
            "definitions": {name: definitions_of(x) for name, x in dataset.levels.items()},
            "unused_keys": dataset.unused_keys,
            "problems": [dataclasses.asdict(problem) for problem in dataset.problems],
        }
        print(json.dumps(content, indent=2))
        check_warnings(_warnings(dataset.problems), arguments)
        return
    _print_summary(dataset, summary)
    if arguments.molecules:
        _print_molecules(dataset)
    check_warnings(_warnings(dataset.problems), arguments)


def _print_summary(dataset: Dataset, summary: Summary) -> None:
    from ase.data import chemical_symbols

    from tlpot.data import definitions_of, printable

    low, high = summary.size_range
    rows = [
        ("frames", f"{summary.n_frames:,} of {counted(summary.n_molecules, 'molecule')}"),
        ("atoms", str(low) if low == high else f"{low} to {high}"),
        ("elements", " ".join(chemical_symbols[z] for z in summary.elements)),
        ("charges", " ".join(f"{q:+d}" if q else "0" for q in summary.charges)),
        ("multiplicities", _spins(summary)),
        ("periodic", f"{counted(summary.n_periodic, 'frame')}"),
        ("duplicates", f"{counted(summary.n_duplicates, 'frame')}"),
        ("damaged labels", f"{counted(summary.n_damaged, 'frame')} (see tlpot data validate)"),
        ("not used", ", ".join(map(printable, dataset.unused_keys)) or "nothing"),
        ("SHA-256", dataset.content_hash),
    ]
    for key, text in rows:
        if key == "damaged labels" and not summary.n_damaged:
            continue
        print(f"{key:16}{text}")
    print()
    table = [
        [
            "level of theory",
            "energies",
            "forces",
            "stresses",
            "E/atom from",
            "to",
            "spread",
            "force rms",
            "largest",
        ]
    ]
    for name, level in summary.levels.items():
        kinds = [level.n_energies, level.n_forces, level.n_stresses]
        mark = "" if level.relative else " *"
        table.append(
            [
                name,
                *(f"{n:,}" if n else "-" for n in kinds),
                *(_number(x) for x in level.energy_range),
                _number(level.spread) + mark,
                _number(level.force_rms),
                _number(level.force_max),
            ]
        )
    _print_table(table)
    print(
        "\nE/atom: energy per atom relative to the free atoms, eV; spread: its rms deviation from"
    )
    print("the molecule's mean; forces in eV/Å.")
    if not all(level.relative for level in summary.levels.values()):
        print("* The file gives no free atoms at this level: energies are total.")
    print()
    for name, info in dataset.levels.items():
        print(f"{name}: read from {', '.join(map(printable, info.keys)) or 'nothing'}")
        for text in definitions_of(info):
            print(f"{'':4}{text}")
    for problem in dataset.problems:
        print(f"{problem.severity}: {problem.what}")


def _spins(summary: Summary) -> str:
    text = " ".join(str(s) for s in summary.spins)
    n = summary.n_impossible
    if not n:
        return text
    return f"{text} (not those of {counted(n, 'frame')}; see tlpot data validate)"


def _print_molecules(dataset: Dataset) -> None:
    import numpy as np

    from tlpot.data import printable

    n = len(dataset.group_names)
    counts = np.bincount(dataset.group_idx, minlength=n)
    sizes = dataset.sizes[np.unique(dataset.group_idx, return_index=True)[1]]
    labelled = {
        level: np.bincount(dataset.group_idx[dataset.labelled(level)], minlength=n)
        for level in dataset.levels
    }
    print()
    _print_table(
        [
            ["molecule", "atoms", "frames", *labelled],
            *(
                [
                    printable(name),
                    str(sizes[k]),
                    f"{counts[k]:,}",
                    *(f"{v[k]:,}" for v in labelled.values()),
                ]
                for k, name in enumerate(dataset.group_names)
            ),
        ]
    )


def _validate(dataset: Dataset, arguments: argparse.Namespace) -> None:
    from tlpot.data import find_problems

    with _progress(dataset, "checking") as progress:
        problems = find_problems(dataset, progress=progress)
    for problem in problems:
        count = f"{counted(len(problem.frames), 'frame')}: " if problem.frames else ""
        print(f"{problem.severity:8} {count}{problem.what}")
        if problem.frames:
            shown = problem.frames if arguments.all else problem.frames[:_SHOWN]
            more = ", ..." if len(problem.frames) > len(shown) else ""
            print(f"{'':9}{', '.join(shown)}{more}")
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise DataError(
            f"{dataset.path}: {errors[0].what} "
            f"({counted(len(errors), 'kind of error', 'kinds of error')} in all)"
        )
    n = sum(problem.severity == "warning" for problem in problems)
    kinds = counted(n, "kind of warning", "kinds of warning")
    print(f"{counted(len(dataset), 'frame')} checked, no errors, {kinds}")
    check_warnings(_warnings(problems), arguments)


def _warnings(problems: Sequence[Problem]) -> list[str]:
    return [problem.what for problem in problems if problem.severity == "warning"]


def _tell(dataset: Dataset, arguments: argparse.Namespace) -> None:
    """Says what opening the files has shown, before anything is written."""
    for problem in dataset.problems:
        print(f"{problem.severity}: {problem.what}", file=sys.stderr)
    check_warnings(_warnings(dataset.problems), arguments)


def _convert(dataset: Dataset, arguments: argparse.Namespace) -> None:
    from tlpot.data import write_dataset

    _tell(dataset, arguments)
    with _progress(dataset, "writing") as progress:
        write_dataset(dataset, arguments.output, progress=progress)
    levels = ", ".join(dataset.levels)
    print(f"wrote {arguments.output}: {counted(len(dataset), 'frame')} at {levels}")


def _split(dataset: Dataset, arguments: argparse.Namespace) -> None:
    from ase.data import chemical_symbols

    from tlpot.data import default_by, make_split, unlearned_elements

    _tell(dataset, arguments)
    labelled = arguments.labelled or arguments.level
    split = make_split(
        dataset,
        validation=_share(arguments.validation),
        test=_share(arguments.test),
        by=arguments.by or default_by(dataset, labelled),
        key=arguments.key,
        seed=arguments.seed,
        labelled=labelled,
    )
    absent = [chemical_symbols[z] for z in unlearned_elements(dataset, split)]
    lacking = [f"{', '.join(absent)} is in no training frame, only in held-out ones"] * bool(absent)
    check_warnings(lacking, arguments)
    split.save(arguments.output)
    for text in lacking:
        print(f"warning: {text}", file=sys.stderr)
    table = [["", "frames", "molecules"]]
    for part in ("train", "validation", "test"):
        frames = getattr(split, part)
        table.append([part, f"{len(frames):,}", f"{len(set(dataset.group_idx[frames])):,}"])
    _print_table(table)
    print(f"wrote {arguments.output} (by {split.by}, seed {split.seed})")


def _share(text: str) -> float | list[str]:
    try:
        return float(text)
    except ValueError:
        return text.split(",")


def _number(value: float) -> str:
    return "-" if value != value else f"{value:,.3f}"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows, the first being the header: names to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if k else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


@contextmanager
def _progress(dataset: Dataset, what: str) -> Iterator[Callable[[int], object]]:
    """Yields a progress bar's update, silent where nobody watches."""
    from tlpot.presentation import progress_bar

    with progress_bar(
        total=len(dataset), desc=what, unit=" frames", leave=False, disable=None
    ) as bar:
        yield bar.update

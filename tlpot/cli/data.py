"""`tlpot data info|validate|convert|split|select FILE ...`: looks at and translates datasets."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlpot.cli import options
from tlpot.cli.parser import check_warnings
from tlpot.numbers import counted
from tlpot.presentation import text_table

if TYPE_CHECKING:
    from tlpot.data import Dataset, LevelSummary, Problem, Summary


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = _action(actions, "info", _info, "levels, counts, elements, sizes, ranges, duplicates")
    add("--molecules", "list the molecules", False)
    add("--json", "print everything as JSON", False)
    add = _action(
        actions, "validate", _validate, "problems found; exit status 2 if there are errors"
    )
    add("--all", "name all frames, not just some", False)
    add("--against FILE", "structures, such as the parent's data, that should not be there, too")
    add = _action(actions, "convert", _convert, "write the files as one in the native layout")
    add("-o --output", "HDF5 file to write", required=True)
    add("--overwrite", "replace the file", False)
    add = _action(actions, "split", _split, "divide into training, validation and test frames")
    add("-o --output", "JSON file to write", required=True)
    add("--overwrite", "replace the file", False)
    add(
        "--by",
        "what stays together: all frames of a molecule (default), nothing but identical "
        "structures (default where all frames are of one molecule), all frames from one "
        "protein or run, with the same value of --key, of a reduced formula (default for "
        "properties of periodic structures), of a type of structure, or of a cluster of "
        "compositions; element leaves the elements of the test out of training",
        choices=(
            "molecule", "random", "source", "trajectory", "key",
            "formula", "element", "prototype", "composition",
        ),
    )  # fmt: skip
    add("--key", "array with one value per frame, for --by key")
    for part in ("validation", "test"):
        about = (
            "fraction (below 1) or number of frames, or names: water,methanol (default 0.1, of "
            "few frames one)"
        )
        add(f"--{part} SHARE", about)
    add("--labelled LEVEL", "only frames with a label there (default: --level)")
    about = "structures, such as the parent's data, whose formulas stay in training"
    add("--together-with FILE", about)
    add("--seed", "of the random order (default 0)", 0)

    _add_select(actions)


def _add_select(actions: Any) -> None:
    about = "choose unlike or uncertain frames, written with all labels in the native layout"
    add = _action(actions, "select", _select, about)
    add("-o --output", "HDF5 file to write", required=True)
    add("--each N", "frames of each molecule at most", int)
    add("--count N", "frames in all at most", int)
    add("--select", "farthest (default) or uncertainty", "farthest")
    add("--model", "choose by this model's features and uncertainty")
    add("--model-level", "of the uncertainty, where there are several")
    add("--max-force", "leave out frames with a larger force at any level, eV/Å", float)
    add("--window", "leave out frames so many eV per atom above the lowest of the molecule", float)
    add("--seed", "of the first frame, where there are no energies", 0)
    add("--overwrite", "replace the file", False)


def run_data(arguments: argparse.Namespace) -> None:
    """Opens the files and does what was asked."""
    arguments.do(arguments)


def _reading(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns how to read the files."""
    keys = options.key_pairs(arguments.keys)
    return {"spec": arguments.spec, "level": arguments.level, "keys": keys or None}


def _action(
    actions: Any, name: str, do: Callable[[argparse.Namespace], None], summary: str
) -> Callable[..., None]:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary)
    parser.set_defaults(do=do)
    add = options.adder(parser)
    add("files FILE...", "read together as one dataset")
    add("--spec", "name or path of the description of the layout")
    add("--level", "level of theory, where the file does not say")
    options.add_strict_argument(parser)
    about = "names of arrays that differ from the description: energy=energy_xtb"
    add("--keys QUANTITY=NAME...", about, default=[])
    return add


def _info(arguments: argparse.Namespace) -> None:
    from tlpot.data import definitions_of, open_dataset, summarize
    from tlpot.presentation import progress_bar

    dataset = open_dataset(arguments.files, **_reading(arguments))
    with progress_bar(
        total=len(dataset), desc="reading", unit=" frames", leave=False, disable=None
    ) as bar:
        summary = summarize(dataset, progress=bar.update)
    if arguments.json:
        content = {
            **dataclasses.asdict(summary),
            "content_hash": dataset.content_hash,
            "definitions": {name: definitions_of(x) for name, x in dataset.levels.items()},
            "unused_keys": dataset.unused_keys,
            "problems": [dataclasses.asdict(problem) for problem in dataset.problems],
        }
        print(json.dumps(content, indent=2))
    else:
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
    properties = {k: v for k, v in summary.levels.items() if v.quantity is not None}
    if properties:
        cells = [["property", "values", "from", "to", "std. dev.", "unit"]]
        for name, level in properties.items():
            assert level.quantity is not None
            numbers = [_number(x) for x in (*level.energy_range, level.spread)]
            cells.append([name, f"{level.n_energies:,}", *numbers, level.quantity.words])
        print("\n".join(text_table(cells)))
    levels = {k: v for k, v in summary.levels.items() if v.quantity is None}
    if levels:
        _print_levels(levels)
    print()
    for name, info in dataset.levels.items():
        print(f"{name}: read from {', '.join(map(printable, info.keys)) or 'nothing'}")
        for text in definitions_of(info):
            print(f"{'':4}{text}")
    for problem in dataset.problems:
        print(f"{problem.severity}: {problem.what}")


def _print_levels(levels: Mapping[str, LevelSummary]) -> None:
    head = "level of theory|energies|forces|stresses|E/atom from|to|spread|force rms|largest"
    table = [head.split("|")]
    for name, level in levels.items():
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
    print("\n".join(text_table(table)))
    print(
        "\nE/atom: energy per atom relative to the free atoms, eV; spread: its rms deviation from"
    )
    print("the molecule's mean; forces in eV/Å.")
    if not all(level.relative for level in levels.values()):
        print("* The file gives no free atoms at this level: energies are total.")


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
    rows = [
        [printable(name), str(sizes[k]), *(f"{v[k]:,}" for v in (counts, *labelled.values()))]
        for k, name in enumerate(dataset.group_names)
    ]
    print("\n" + "\n".join(text_table([["molecule", "atoms", "frames", *labelled], *rows])))


def _validate(arguments: argparse.Namespace) -> None:
    from tlpot import api

    found = api.validate_dataset(arguments.files, against=arguments.against, **_reading(arguments))
    print(found.text(every=arguments.all))
    found.raise_errors()
    check_warnings(_warnings(found.problems), arguments)


def _warnings(problems: Sequence[Problem]) -> list[str]:
    return [problem.what for problem in problems if problem.severity == "warning"]


def _convert(arguments: argparse.Namespace) -> None:
    from tlpot import api

    reading = {**_reading(arguments), "overwrite": arguments.overwrite}
    print(api.convert_dataset(arguments.files, arguments.output, **reading))


def _split(arguments: argparse.Namespace) -> None:
    from tlpot import api

    names = "by key validation test labelled together_with seed strict overwrite"
    found = api.split_dataset(
        arguments.files,
        arguments.output,
        **options.values_of(arguments, names),
        **_reading(arguments),
    )
    for text in found.warnings:
        print(f"warning: {text}", file=sys.stderr)
    print(found)


def _select(arguments: argparse.Namespace) -> None:
    from tlpot import api

    names = "each count select model model_level max_force window seed overwrite"
    print(
        api.select_dataset(
            arguments.files,
            arguments.output,
            **options.values_of(arguments, names),
            **_reading(arguments),
        )
    )


def _number(value: float) -> str:
    return "-" if value != value else f"{value:,.3f}"

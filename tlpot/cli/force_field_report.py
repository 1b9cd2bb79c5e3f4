"""`tlpot report MODEL --structure S --scheme NAME --reference R -o DIR`: of a force field."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlpot.cli.fragment_options import OPTIONS, add_assembly_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from tlpot.data import Dataset

_OWN = ("structure", "scheme", *OPTIONS, "reference", "fragments", "cost", "curve", "ancestor")
_PLAIN = ("model_level",)
"""Options of the report on a transfer that mean nothing here."""


def add_force_field_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the report on a force field."""
    group = parser.add_argument_group(
        "force field (an HTML page; with any of these the report is on a force field)"
    )
    group.add_argument(
        "--structure", action="append", metavar="FILE",
        help="test structure with all hydrogens, in one or more frames; may be given several "
        "times",
    )  # fmt: skip
    group.add_argument(
        "--reference",
        metavar="M",
        help="what QM is: gfn2-xtb, pyscf:METHOD/BASIS, ase:MODULE:CLASS, or a model",
    )
    group.add_argument(
        "--data", dest="fragments", metavar="FILE", help="labelled fragments, to measure errors on"
    )
    group.add_argument(
        "--cost", action="append", metavar="FILE", help="a file that tlpot label wrote"
    )
    group.add_argument("--curve", metavar="DIR", help="folder of tlpot curve")
    group.add_argument(
        "--ancestor", action="append", metavar="MODEL",
        help="a model file that may be an ancestor; models with names are known",
    )  # fmt: skip
    add_assembly_arguments(parser, default=None)


def is_force_field(arguments: argparse.Namespace) -> bool:
    """Whether the report is on a force field: any of its options was given."""
    return any(getattr(arguments, name) is not None for name in _OWN)


def run(arguments: argparse.Namespace) -> None:
    """Examines a force field and writes the page."""
    import torch

    from tlpot.config import parse, with_overrides
    from tlpot.errors import ConfigError
    from tlpot.files import make_folder
    from tlpot.reports import ExaminationSettings, error_text, examine_force_field, write_report

    _check(arguments)
    changes = with_overrides({}, arguments.settings)
    for section in changes.keys() - {"report"}:
        raise ConfigError(f"the settings are called report.{section}=..., not {section}=...")
    settings = parse(ExaminationSettings, changes.get("report", {}), "report")
    make_folder(arguments.output)  # what cannot be written is said before anything is computed
    dataset, indices, part, train = _data(arguments)
    torch.set_num_threads(1)
    report = examine_force_field(
        _models(arguments.model),
        _structures(arguments.structure or []),
        level=arguments.level,
        assembly=_assembly(arguments),
        reference=arguments.reference,
        dataset=dataset,
        indices=indices,
        part=part,
        train=train,
        parent=arguments.parent,
        parent_level=arguments.source,
        curve=arguments.curve,
        cost=arguments.cost or (),
        ancestors=arguments.ancestor or (),
        settings=settings,
        device=arguments.device,
        progress=lambda line: print(line, file=sys.stderr),
    )
    files = write_report(arguments.output, report)
    if report.stages:
        print(error_text([stage.as_json() for stage in report.stages]) + "\n")
    print(f"wrote {files.page} and {files.numbers}")


def _check(arguments: argparse.Namespace) -> None:
    from tlpot.errors import ConfigError

    if arguments.output is None:
        raise ConfigError("the report on a force field is a page; say where with -o DIR")
    if arguments.data is not None:
        raise ConfigError(
            f"the labelled fragments of a force field are given as --data {arguments.data}"
        )
    for name in _PLAIN:
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')} does not apply to the report on a force field"
            )
    if arguments.structure is None:
        for name in ("scheme", "reference", *OPTIONS):
            if name == "trained_charges" and arguments.fragments is not None:
                continue
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} goes with --structure; add that")
    if arguments.fragments is None:
        for name in ("split", "spec", "parent", "source"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} goes with --data; add that, or leave it out")


def _models(name: str) -> str | Mapping[str, str]:
    """A model, or the table of a YAML file."""
    if not name.endswith((".yaml", ".yml")):
        return name
    from tlpot.config import read_yaml
    from tlpot.errors import ConfigError

    table = read_yaml(name)
    if not table or not all(isinstance(v, str) for v in table.values()):
        raise ConfigError(f"{name} is no list of models by fragment, such as 'ACE-ALA-NME: FILE'")
    return table


def _structures(names: list[str]) -> dict[str, list[Atoms]]:
    from tlpot.errors import ConfigError
    from tlpot.structures import read_frames

    found: dict[str, list[Atoms]] = {}
    for name in names:
        stem = Path(name).stem
        if stem in found:
            raise ConfigError(f"two structures are called {stem}; rename one of the files")
        found[stem] = read_frames(name)
    return found


def _assembly(arguments: argparse.Namespace) -> Any:
    from tlpot.calculators import named_source
    from tlpot.cli.fragment_options import assembly_words, calculator_scheme
    from tlpot.reports import Assembly

    if arguments.scheme is None:
        arguments.scheme = "mfcc_mbe2"
    scheme = calculator_scheme(arguments)
    options = {
        "low_level": arguments.low_level,
        "charges": arguments.charges,
        "dispersion": arguments.dispersion,
        "trained_charges": bool(arguments.trained_charges),
        "low": None if arguments.low is None else named_source(arguments.low),
    }
    return Assembly(scheme=scheme, options=options, words=assembly_words(arguments))


def _data(
    arguments: argparse.Namespace,
) -> tuple[Dataset | None, NDArray[np.int64] | None, str, NDArray[np.int64] | None]:
    """The fragments, those to look at, what these are, and those that were trained on."""
    from tlpot.data import load_split, open_dataset
    from tlpot.errors import DataError

    every = "all labelled frames, training frames included"
    if arguments.fragments is None:
        return None, None, every, None
    dataset = open_dataset([arguments.fragments], arguments.spec)
    if arguments.split is None:
        return dataset, None, every, None
    split = load_split(arguments.split, dataset)
    indices = getattr(split, arguments.part)
    if not len(indices):
        raise DataError(
            f"{arguments.split} has no {arguments.part} frames; choose others with --part"
        )
    return dataset, indices, f"{arguments.part} frames", split.train

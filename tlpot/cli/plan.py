"""`tlpot plan CURVE_DIR --cost-ratio 1000 --target 0.05 --budget 1e6`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("curve", help="folder that tlpot curve wrote")
    parser.add_argument("--quantity", default="energy_mae", help="which error (energy_mae)")
    parser.add_argument(
        "--target", metavar="ERROR", help="error to reach, in eV and Å: 0.05, or 50meV"
    )
    parser.add_argument("--budget", type=float, help="to be spent, in prices of a cheap label")
    parser.add_argument(
        "--cost-ratio", type=float, help="price of an expensive label in cheap ones"
    )
    parser.add_argument(
        "--cost-from", nargs="+", metavar="FILE",
        help="datasets with labels by tlpot label, which hold what they cost; with --levels",
    )  # fmt: skip
    parser.add_argument(
        "--levels", nargs=2, metavar=("EXPENSIVE", "CHEAP"),
        help="the two levels of theory whose costs are compared",
    )  # fmt: skip
    parser.add_argument("--sunk", action="store_true", help="the pretraining is paid already")
    parser.add_argument(
        "--have", type=int, default=0, help="expensive labels that are there already"
    )
    parser.add_argument(
        "--pretraining", metavar="DIR",
        help="curve of the low level itself (tlpot curve with strategy scratch)",
    )  # fmt: skip
    parser.add_argument(
        "--fit-up-to", type=int, metavar="N",
        help="fit sizes up to N only and compare the forecasts with the larger ones",
    )  # fmt: skip
    parser.add_argument("--json", help="file for all numbers")


def run(arguments: argparse.Namespace) -> None:
    """Plans."""
    from tlpot.errors import ConfigError
    from tlpot.files import write_text
    from tlpot.learning_curves import Terms, analyse, load_curve, make_plan

    curve = load_curve(Path(arguments.curve))
    if arguments.fit_up_to is not None:
        if arguments.target or arguments.budget:
            raise ConfigError("--fit-up-to tests the forecasts; it does not go with a plan")
        print(analyse(curve, arguments.quantity, up_to=arguments.fit_up_to).text())
        return
    terms = Terms(
        cost_ratio=_cost_ratio(arguments),
        target=None if arguments.target is None else _milli(arguments.target),
        budget=arguments.budget,
        sunk=arguments.sunk,
        have=arguments.have,
    )
    pretraining = load_curve(Path(arguments.pretraining)) if arguments.pretraining else None
    plan = make_plan(
        curve, arguments.quantity, terms, pretraining=pretraining, folder=Path(arguments.curve)
    )
    print(plan.text())
    if arguments.json:
        write_text(arguments.json, json.dumps(plan.as_json(), indent=1, ensure_ascii=False))


def _cost_ratio(arguments: argparse.Namespace) -> float:
    """Returns the price as given, or as measured."""
    from tlpot.errors import ConfigError
    from tlpot.labelling import cost_ratio, label_costs

    if (arguments.cost_from is None) != (arguments.levels is None):
        raise ConfigError("--cost-from FILE and --levels EXPENSIVE CHEAP go together")
    if arguments.cost_from is None:
        if arguments.cost_ratio is None:
            raise ConfigError(
                "--cost-ratio is needed: how many cheap labels one expensive one costs; or "
                "--cost-from FILE --levels EXPENSIVE CHEAP, where tlpot label has measured it"
            )
        return float(arguments.cost_ratio)
    if arguments.cost_ratio is not None:
        raise ConfigError("give --cost-ratio or --cost-from, not both")
    costs = label_costs([Path(file) for file in arguments.cost_from])
    ratio, n_both = cost_ratio(costs, *arguments.levels)
    basis = f"{n_both} geometries with both" if n_both else "the medians of different geometries"
    print(
        f"one label at {arguments.levels[0]} costs {ratio:.4g} at {arguments.levels[1]} ({basis})"
    )
    return ratio


def _milli(text: str) -> float:
    """Reads an error in eV, or with a unit, and returns it in meV."""
    from tlpot.errors import ConfigError

    number, factor = text.strip(), 1e3
    for unit, size in (("meV", 1.0), ("eV", 1e3)):
        if number.endswith(unit):
            number, factor = number.removesuffix(unit), size
            break
    try:
        return float(number) * factor
    except ValueError:
        raise ConfigError(
            f"--target is {text!r}; expected a number in eV (or eV/Å), or one such as 50meV"
        ) from None

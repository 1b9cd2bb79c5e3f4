"""`tlpot plan CURVE_DIR --cost-ratio 1000 --target 0.05 --budget 1e6`."""

from __future__ import annotations

import argparse


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
    parser.add_argument(
        "--pretraining-paid", "--sunk", action="store_true", help="the pretraining is paid already"
    )
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
    from tlpot import api

    plan = api.plan(
        arguments.curve,
        target=arguments.target,
        budget=arguments.budget,
        cost_ratio=arguments.cost_ratio,
        cost_from=arguments.cost_from,
        levels=None if arguments.levels is None else tuple(arguments.levels),
        quantity=arguments.quantity,
        pretraining_paid=arguments.pretraining_paid,
        have=arguments.have,
        pretraining=arguments.pretraining,
        fit_up_to=arguments.fit_up_to,
    )
    print(plan)
    if arguments.json:
        plan.save(arguments.json)

"""`tlpot plan CURVE_DIR --cost-ratio 1000 --target 0.05 --budget 1e6`."""

from __future__ import annotations

import argparse

from tlpot.cli.options import options_adder, options_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("curve", "folder that tlpot curve wrote")
    add("--quantity", "which error (energy_mae)", "energy_mae")
    add("--target", "error to reach, in eV and Å: 0.05, or 50meV", metavar="ERROR")
    add("--budget", "to be spent, in prices of a cheap label", float)
    add("--cost-ratio", "price of an expensive label in cheap ones", float)
    add(
        "--cost-from",
        "datasets with labels by tlpot label, which hold what they cost; with --levels",
        nargs="+",
        metavar="FILE",
    )
    add(
        "--levels",
        "the two levels of theory whose costs are compared",
        nargs=2,
        metavar=("EXPENSIVE", "CHEAP"),
    )
    add("--pretraining-paid --sunk", "the pretraining is paid already", False)
    add("--have", "expensive labels that are there already", 0)
    add(
        "--pretraining",
        "curve of the low level itself (tlpot curve with strategy scratch)",
        metavar="DIR",
    )
    add(
        "--fit-up-to",
        "fit sizes up to N only and compare the forecasts with the larger ones",
        int,
        metavar="N",
    )
    add("--json", "file for all numbers")


def run(arguments: argparse.Namespace) -> None:
    """Plans."""
    from tlpot import api

    names = (
        "target budget cost_ratio cost_from quantity pretraining_paid have pretraining fit_up_to"
    )
    plan = api.plan(
        arguments.curve,
        levels=None if arguments.levels is None else tuple(arguments.levels),
        **options_of(arguments, names),
    )
    print(plan)
    if arguments.json:
        plan.save(arguments.json)

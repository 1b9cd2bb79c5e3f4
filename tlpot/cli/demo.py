"""`tlpot demo [--out DIR]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tlpot.cli.options import options_adder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add = options_adder(parser)
    add("--out", "folder for what it makes", "tlpot-demo")
    add("--seeds", "repeats, for error bars", 1)


def run(arguments: argparse.Namespace) -> None:
    """Runs the demo."""
    import torch

    from tlpot.jobs import DATA, HELD_OUT, LEVEL, MD_KELVIN, PARENT, run_demo

    torch.set_num_threads(1)
    print(
        f"parent: {PARENT} (wB97X/6-31G*), labels: {LEVEL} from {DATA.name},\n"
        f"coupled-cluster labels held out: {', '.join(HELD_OUT)}\n"
    )
    out = Path(arguments.out)
    result = run_demo(out, n_seeds=arguments.seeds)
    print(f"\n{result.table()}\n")
    print(f"ethanol, velocities of {MD_KELVIN:.0f} K, constant energy, {result.model.name}:")
    print(f"  {result.md.summary()}".replace("\n", "\n  "))
    print(f"\n{result.seconds:.0f} s; learning curves {out / 'demo.png'}, everything in {out}/")

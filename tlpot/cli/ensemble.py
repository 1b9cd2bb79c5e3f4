"""`tlpot ensemble A B ... -o E [--calibrate DATA --level L --split FILE]`."""

from __future__ import annotations

import argparse

from tlpot.cli.calibrate import add_calibration_arguments, calibrate_and_save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument("models", nargs="+", help="model files: other seeds, other subsets")
    parser.add_argument("-o", "--output", required=True, help="ensemble file to write")
    parser.add_argument("--calibrate", metavar="DATA", help="file with labels to calibrate on")
    add_calibration_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Joins models."""
    import sys
    from pathlib import Path

    import torch

    from tlpot.errors import ConfigError, OutputError
    from tlpot.jobs import check_output, check_replaced, check_shared_split, make_ensemble
    from tlpot.models import library_file, save

    if arguments.calibrate is None:
        for name in ("spec", "split", "coverage", "plot", "json"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} does not apply without --calibrate DATA")
    torch.set_num_threads(1)
    output = Path(arguments.output)
    check_output(output)
    if output.exists() and any(output.samefile(library_file(m)) for m in arguments.models):
        raise OutputError(f"the output {output} is one of the members; choose another name")
    check_replaced(output, overwrite=arguments.overwrite)
    ensemble = make_ensemble(arguments.models, level=arguments.level, device=arguments.device)
    unknown = check_shared_split(arguments.models, [m.card for m in ensemble.potentials()])
    if unknown:
        print(
            f"warning: {', '.join(unknown)}: the card does not say with what split the model was "
            "trained, so its training frames may be test frames of other members",
            file=sys.stderr,
        )
    print(f"{ensemble.card.description}, at {', '.join(ensemble.levels)}")
    if arguments.calibrate is not None:
        calibrate_and_save(ensemble, [arguments.calibrate], arguments)
        return
    save(ensemble, output)
    print(f"model {output}, not calibrated: its standard deviations are only a ranking so far")

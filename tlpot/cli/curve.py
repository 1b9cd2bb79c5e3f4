"""`tlpot curve CONFIG.yaml` and `tlpot curve PARENT DATA --level L --sizes 10 20 50 -o DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlpot.learning_curves import Curve

_SHOWN = ("energy_mae", "forces_mae")
"""Errors that are printed and drawn; the files have all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        "settings", nargs="*", metavar="CONFIG.yaml | PARENT ... DATA | key.path=value",
        help="a YAML file, or one or several parents and then the file with the labels; and "
        "settings, such as split.by=random or training.learning_rate=1e-3",
    )  # fmt: skip
    parser.add_argument("--level", help="level of theory to learn")
    parser.add_argument("--strategies", nargs="+", metavar="S", help="names of strategies")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help="training frames")
    parser.add_argument("--seeds", type=int, help="repeats (default 3)")
    parser.add_argument(
        "--updates", type=int, help="length of every training, whatever its number of frames"
    )
    parser.add_argument("--spec", help="layout of the data, if it is not tlpot's own")
    parser.add_argument("--source", help="level of the parents to start from")
    parser.add_argument("-o", "--output", help="folder to write, and to continue in")
    parser.add_argument(
        "--overwrite", action="store_true",
        help="a curve of just this, where -o holds one of other settings; points are kept",
    )  # fmt: skip
    parser.add_argument("--keep-models", action="store_true", help="keep the models")
    parser.add_argument(
        "--ensembles", action="store_true",
        help="join the kept models of all seeds, too, and look at their spread",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument(
        "--dask", metavar="ADDRESS|local",
        help="run the points on a Dask cluster that sees the same files",
    )  # fmt: skip
    parser.add_argument("--device", help="cpu, cuda, ...; default CUDA if there is one")
    parser.add_argument("--dry-run", action="store_true", help="list the points and stop")


def run(arguments: argparse.Namespace) -> None:
    """Measures the curve and prints its tables."""
    import torch

    from tlpot.errors import DataError
    from tlpot.jobs.workers import workers
    from tlpot.learning_curves import (
        check_ensembles,
        curve_config,
        curve_ensembles,
        curve_tasks,
        run_curve,
    )

    torch.set_num_threads(1)
    config = curve_config(_settings(arguments), _file(arguments) or "curve")
    if arguments.ensembles:
        check_ensembles(config)
    if arguments.dry_run:
        for series in curve_tasks(config, device=arguments.device).series:
            here = sum(task.file.exists() for task in series.tasks)
            updates = sum(task.updates for task in series.tasks)
            print(f"{series.label}: {len(series.tasks)} points, {here} there, {updates} updates")
        return
    with workers(arguments.workers, arguments.dask) as executor:
        in_flight = arguments.workers if executor is not None and arguments.dask is None else None
        try:
            curve = run_curve(
                config, executor=executor, in_flight=in_flight, device=arguments.device,
                overwrite=arguments.overwrite,
            )  # fmt: skip
        except KeyboardInterrupt:
            print("interrupted: the same command continues", file=sys.stderr)
            raise
    _report(curve, config.output)
    if arguments.ensembles:
        joined = curve_ensembles(config, device=arguments.device)
        joined.save(config.output)
        print(f"\n{joined.text()}")
    if curve.failures:
        for failure in curve.failures:
            print(
                f"failed: {failure.label}, {failure.size} labels, seed {failure.seed}: "
                f"{failure.error}",
                file=sys.stderr,
            )
        raise DataError(
            f"{len(curve.failures)} points failed, see above; the same command tries them again"
        )


def _report(curve: Curve, folder: Path) -> None:
    from tlpot.learning_curves import analyse, plot_curve, save_reports

    every = {quantity: analyse(curve, quantity) for quantity in curve.quantities()}
    if not every:  # all points failed
        return
    shown = {quantity: every[quantity] for quantity in _SHOWN if quantity in every}
    save_reports(every, folder)
    plot_curve(shown, folder / "curve.png")
    print("\n\n".join(report.text() for report in shown.values()))
    print(f"\npicture {folder / 'curve.png'}, all errors in {folder / 'report.txt'}")


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Puts the configuration together from a file or a command line."""
    from tlpot.config import read_yaml, with_overrides
    from tlpot.errors import ConfigError

    names = _names(arguments)
    overrides = [s for s in arguments.settings if s not in names]
    settings: dict[str, Any] = {}
    file = _file(arguments)
    if file is not None:
        settings = read_yaml(file)
    elif len(names) >= 2:
        settings = {"parents": names[:-1], "data": {"files": [names[-1]]}}
        if arguments.level is not None:
            settings["data"]["level"] = arguments.level
        if arguments.spec is not None:
            settings["data"]["spec"] = arguments.spec
    else:
        raise ConfigError(
            f"expected CONFIG.yaml, or PARENT and DATA, and found {' '.join(names) or 'neither'}"
        )
    for name in ("level", "strategies", "sizes", "seeds", "updates", "source", "output"):
        if getattr(arguments, name) is not None:
            settings[name] = getattr(arguments, name)
    for text in (t for t in settings.get("strategies") or () if isinstance(t, str) and "=" in t):
        raise ConfigError(f"{text!r} is no strategy; put key=value settings before the options")
    if arguments.keep_models:
        settings["keep_models"] = True
    return with_overrides(settings, overrides)


def _names(arguments: argparse.Namespace) -> list[str]:
    return [s for s in arguments.settings if "=" not in s or Path(s).exists()]


def _file(arguments: argparse.Namespace) -> str | None:
    """The configuration file, if there is one."""
    names = _names(arguments)
    return names[0] if len(names) == 1 and names[0].endswith((".yaml", ".yml")) else None

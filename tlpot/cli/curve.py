"""`tlpot curve CONFIG.yaml` and `tlpot curve PARENT DATA --level L --sizes 10 20 50 -o DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlpot.config import Settings


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
    from contextlib import nullcontext

    from tlpot import api
    from tlpot.errors import DataError
    from tlpot.jobs import workers

    settings = _settings(arguments)
    n, dask = arguments.workers, arguments.dask
    with nullcontext() if dask is None else workers(n, dask) as executor:
        try:
            found = api.learning_curve(
                config=settings, ensembles=arguments.ensembles, workers=n, executor=executor,
                overwrite=arguments.overwrite, dry_run=arguments.dry_run, device=arguments.device,
            )  # fmt: skip
        except KeyboardInterrupt:
            print("interrupted: the same command continues", file=sys.stderr)
            raise
    print(found)
    for failure in found.failures:
        print(f"failed: {failure}", file=sys.stderr)
    if found.failures:
        raise DataError(
            f"{len(found.failures)} points failed, see above; the same command tries them again"
        )


def _settings(arguments: argparse.Namespace) -> Settings:
    """Puts the configuration together from a file or a command line."""
    from tlpot.config import job_settings, with_overrides
    from tlpot.errors import ConfigError

    names = _names(arguments)
    overrides = [s for s in arguments.settings if s not in names]
    file = _file(arguments)
    settings = job_settings(file, "curve")
    if file is None and len(names) >= 2:
        settings |= {"parents": names[:-1], "data": {"files": [names[-1]]}}
        if arguments.level is not None:
            settings["data"]["level"] = arguments.level
        if arguments.spec is not None:
            settings["data"]["spec"] = arguments.spec
    elif file is None:
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

"""Options of every command that can assemble a protein from fragments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlpot.calculators import FragmentMethod

OPTIONS = ("set", "low", "low_level", "charges", "dispersion", "trained_charges")
"""Those that mean nothing without a scheme."""


def add_assembly_arguments(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Declares --scheme and what goes with it."""
    group = parser.add_argument_group("fragments")
    about = "direct, mfcc, mfcc2, ..., mfcc_mbe2 (recommended), gmfcc, sphere or ai2bmd"
    group.add_argument(
        "--scheme", default=default, help=about + (f"; default {default}" if default else "")
    )
    group.add_argument(
        "--set", nargs="+", action="extend", metavar="KEY=VALUE",
        help="settings of the scheme, such as inner=3.5 outer=4.5",
    )  # fmt: skip
    group.add_argument(
        "--low", help="two layers: model of the whole structure that fragments correct, or gfn2-xtb"
    )
    group.add_argument("--low-level", help="level of theory of --low, if it has several")
    group.add_argument(
        "--charges", choices=["amber"], help="Coulomb terms between atoms that share no fragment"
    )
    group.add_argument(
        "--dispersion", metavar="KIND:FUNCTIONAL",
        help="of the whole structure, such as d3bj:b3lyp; labels must be without it",
    )  # fmt: skip
    group.add_argument(
        "--trained-charges", action="store_true", default=None,
        help="the model reads no charges, but was trained on fragments charged as these are; not "
        "needed where it was trained with data.charges=ignore, as its card says",
    )  # fmt: skip


def refuse_without_scheme(arguments: argparse.Namespace) -> None:
    """Refuses options that only mean something with a scheme.

    Raises:
        ConfigError: one was given without --scheme.
    """
    from tlpot.errors import ConfigError

    given = [name for name in OPTIONS if getattr(arguments, name) is not None]
    if arguments.scheme is None and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{options} without --scheme; name a fragment scheme, or leave out")


def fragment_method(arguments: argparse.Namespace) -> FragmentMethod:
    """Returns the fragment method that the options describe."""
    from tlpot.calculators import FragmentMethod

    return FragmentMethod(**fragment_options(arguments))


def fragment_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options as keyword arguments of a job; without --scheme, that is None.

    Raises:
        ConfigError: --set without --scheme, or no ``KEY=VALUE``.
    """
    from tlpot.config import with_overrides
    from tlpot.errors import ConfigError

    scheme: Any = arguments.scheme
    if arguments.set:
        if scheme is None:
            raise ConfigError("--set without --scheme; name a fragment scheme, or leave out")
        scheme = {**with_overrides({}, arguments.set), "name": scheme}
    names = ("low", "low_level", "charges", "dispersion")
    options = {name: getattr(arguments, name) for name in names}
    return {"scheme": scheme, **options, "trained_charges": bool(arguments.trained_charges)}

"""Options of every command that can assemble a protein from fragments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase import Atoms

    from tlpot.calculators import FragmentCalculator
    from tlpot.fragments import Scheme
    from tlpot.topology import Topology

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
        help="the model reads no charges, but was trained on fragments charged as these are",
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


def scheme_of(arguments: argparse.Namespace) -> Scheme:
    """Returns the scheme that was asked for; that of ``ai2bmd`` is ``mfcc``.

    Raises:
        ConfigError: no such scheme or setting, or a value that makes no sense.
    """
    from tlpot.config import parse, to_mapping, with_overrides
    from tlpot.errors import ConfigError
    from tlpot.fragments import choose_scheme, is_ai2bmd

    settings = with_overrides({}, arguments.set or [])
    name = arguments.scheme
    parity = is_ai2bmd(name)
    scheme = choose_scheme("mfcc" if parity else name)
    if not settings:
        return scheme
    if parity:
        raise ConfigError("scheme ai2bmd has no settings; leave --set out")
    choose_scheme(name, **{key: getattr(scheme, key, None) for key in settings})
    return parse(type(scheme), {**to_mapping(scheme), **settings}, f"scheme {name}")


def calculator_scheme(arguments: argparse.Namespace) -> Scheme | str:
    """Returns the scheme as `FragmentCalculator` takes it: ``ai2bmd`` by its name.

    Raises:
        ConfigError: see `scheme_of`.
    """
    from tlpot.fragments import AI2BMD, is_ai2bmd

    scheme = scheme_of(arguments)
    return AI2BMD if is_ai2bmd(arguments.scheme) else scheme


def assembly_words(arguments: argparse.Namespace) -> str:
    """Returns the options as they were given, for titles."""
    options = {name: getattr(arguments, name) for name in ("low", "charges", "dispersion")}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    return " ".join([arguments.scheme, *(arguments.set or []), *given])


def fragment_calculator(
    arguments: argparse.Namespace,
    atoms: Atoms,
    model: Any,
    *,
    level: str | None = None,
    low: Any = None,
    topology: Topology | None = None,
    on_done: Callable[[], object] | None = None,
    **options: Any,
) -> FragmentCalculator:
    """Makes the calculator that the options describe.

    Args:
        arguments: those of `add_assembly_arguments`.
        atoms: the structure.
        model: of the fragments, by name or as `FragmentCalculator` takes it.
        level: of `model`.
        low: opened already; None opens --low.
        topology: of `atoms`, if it is known.
        on_done: see `tlpot.calculators.named_source`.
        options: of `FragmentCalculator`.
    """
    from tlpot.calculators import FragmentCalculator, named_source

    scheme = calculator_scheme(arguments)
    if low is None and arguments.low is not None:
        low = named_source(arguments.low, on_done=on_done)
    return FragmentCalculator(
        atoms,
        named_source(model, on_done=on_done) if isinstance(model, str) else model,
        scheme,
        low=low,
        level=level,
        low_level=arguments.low_level,
        charges=arguments.charges,
        dispersion=arguments.dispersion,
        trained_charges=bool(arguments.trained_charges),
        topology=topology,
        **options,
    )

"""A fragment method, of which calculators and force fields are made: scheme and layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from numpy.typing import ArrayLike

from tlpot.calculators.engine import named_source
from tlpot.calculators.fragment import FragmentCalculator, Source, energy_model
from tlpot.energy import EnergyModel
from tlpot.engines import dispersion_model
from tlpot.errors import ConfigError
from tlpot.fragments import (
    AI2BMD,
    DEFAULT_SCHEME,
    SKIN,
    FragmentForceField,
    Layer,
    ModelLayer,
    Scheme,
    is_ai2bmd,
    parse_scheme,
)
from tlpot.topology import Topology


@dataclass(frozen=True, kw_only=True)
class FragmentMethod:
    """How structures are put together from fragments, whatever the model of the fragments.

    Attributes:
        scheme: name, `Scheme`, or a mapping with ``name`` and settings, see
            `tlpot.fragments.parse_scheme`.
        low: see `FragmentCalculator`; also the name of an engine, see `named_source`.
        low_level: level of theory of `low`.
        charges: see `FragmentCalculator`.
        dispersion: see `FragmentCalculator`.
        trained_charges: see `FragmentCalculator`.
    """

    scheme: str | Scheme | Mapping[str, Any] = DEFAULT_SCHEME
    low: Source | None = None
    low_level: str | None = None
    charges: ArrayLike | str | None = None
    dispersion: str | None = None
    trained_charges: bool = False

    @property
    def name(self) -> str:
        """Name of the scheme, as it was given."""
        if isinstance(self.scheme, Mapping):
            return str(self.scheme.get("name"))
        return self.scheme if isinstance(self.scheme, str) else self.scheme.name

    def text(self) -> str:
        """Returns the scheme with its settings and the layers, in words."""
        words = [self.name]
        if isinstance(self.scheme, Mapping):
            words += [f"{key}={value}" for key, value in self.scheme.items() if key != "name"]
        for option in ("low", "charges", "dispersion"):
            value = getattr(self, option)
            if value is not None:
                shown = isinstance(value, str | os.PathLike)
                words.append(f"{option}={value if shown else type(value).__name__}")
        return " ".join(words)

    def parsed(self) -> Scheme:
        """Returns the scheme; that of ``ai2bmd`` is ``mfcc``.

        Raises:
            ConfigError: no such scheme or setting.
        """
        if not is_ai2bmd(self.name):
            return parse_scheme(self.scheme)
        if isinstance(self.scheme, Mapping) and len(self.scheme) > 1:
            raise ConfigError("scheme ai2bmd has no settings; leave them out")
        return parse_scheme("mfcc")

    def calculator_scheme(self) -> Scheme | str:
        """Returns the scheme as `FragmentCalculator` takes it: ``ai2bmd`` by its name.

        Raises:
            ConfigError: no such scheme or setting.
        """
        scheme = self.parsed()
        return AI2BMD if is_ai2bmd(self.name) else scheme

    def calculator(
        self,
        atoms: Atoms,
        high: Source | Mapping[str, Source],
        *,
        level: str | None = None,
        topology: Topology | None = None,
        on_done: Callable[[], object] | None = None,
        device: Any = None,
        skin: float = SKIN,
    ) -> FragmentCalculator:
        """Makes the calculator of a structure.

        Args:
            atoms: the structure.
            high: the model of fragments, also by name, see `named_source`.
            level: of `high`.
            topology: of `atoms`, if it is known.
            on_done: called after each calculation of an engine.
            device: see `FragmentCalculator`.
            skin: see `FragmentCalculator`.

        Raises:
            TLPotError: see `FragmentCalculator`.
        """
        return FragmentCalculator(
            atoms,
            _opened(high, on_done),
            self.calculator_scheme(),
            low=_opened(self.low, on_done),
            level=level,
            low_level=self.low_level,
            charges=self.charges,
            dispersion=self.dispersion,
            trained_charges=self.trained_charges,
            topology=topology,
            device=device,
            skin=skin,
        )

    def force_field(self, model: EnergyModel, *, device: Any = None) -> FragmentForceField:
        """Makes the force field for structures of any kind.

        Args:
            model: of the fragments.
            device: of `low`.

        Raises:
            ConfigError: charges, which are those of one structure, or another mistake.
        """
        if self.charges is not None or is_ai2bmd(self.name):
            raise ConfigError(
                "AMBER charges belong to one structure, and a dataset may hold several; leave "
                "charges and scheme ai2bmd to fragment and md"
            )
        if self.low is None and self.low_level is not None:
            raise ConfigError("low_level is the level of low, which is not given")
        layers: list[Layer] = []
        if self.low is not None:
            low = energy_model(_opened(self.low, None), level=self.low_level, device=device)
            layers.append(ModelLayer(low, charge=low.uses_charge or not self.trained_charges))
        if self.dispersion is not None:
            layers.append(ModelLayer(dispersion_model(self.dispersion), subtract=False))
        return FragmentForceField(
            model, self.parsed(), layers=layers, trained_charges=self.trained_charges, skin=0.0
        )


def _opened(source: Any, on_done: Callable[[], object] | None) -> Any:
    if isinstance(source, str | os.PathLike):
        return named_source(os.fspath(source), on_done=on_done)
    return source

"""The calculator that drives the sampling, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from ase import Atoms
from ase.calculators.calculator import Calculator

from tlpot.calculators import TLPotCalculator
from tlpot.engines import METHODS as XTB
from tlpot.engines import xtb_calculator
from tlpot.errors import ConfigError, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingEngine:
    """Makes a calculator for a molecule, in any process.

    Attributes:
        name: ``gfn2-xtb``, ``gfn1-xtb``, or a model file or the name of a shipped model.
        level: level of theory; of a model with several the one to use.
        factory: a function of a module, for calculators of one's own: it is given the atoms.
    """

    name: str = "gfn2-xtb"
    level: str | None = None
    factory: Callable[[Atoms], Calculator] | None = None

    @property
    def label_level(self) -> str:
        """The level of theory of the energies.

        Raises:
            ConfigError: a factory without a level, or a level beside xTB.
            ModelFileError: no such model.
        """
        if self.factory is not None:
            if self.level is None:
                raise ConfigError("name the level of theory of your calculator: level='...'")
            return self.level
        if self.name in XTB:
            if self.level is not None:
                raise ConfigError(f"level={self.level!r} does not apply to {self.name}")
            return self.name
        return str(TLPotCalculator(self.name, level=self.level, device="cpu").level)

    @property
    def factory_name(self) -> str | None:
        """What tells one factory from another: where a function is, or the object in words."""
        if self.factory is None:
            return None
        name = getattr(self.factory, "__qualname__", None)
        return repr(self.factory) if name is None else f"{self.factory.__module__}:{name}"

    @property
    def definition(self) -> str:
        """How the energies are computed, in words."""
        if self.factory is not None:
            return f"calculator of {self.factory_name}"
        if self.name in XTB:
            return f"{XTB[self.name][0]}, tblite {version('tblite')}"
        return f"model {self.name}"

    def calculator(self, atoms: Atoms) -> Calculator:
        """A calculator that knows the charge and multiplicity of a molecule.

        Args:
            atoms: with ``info["charge"]`` and ``info["spin"]``, 0 and 1 where absent.

        Raises:
            MissingExtraError: tblite is not installed.
            ConfigError: neither a method nor a model file.
        """
        if self.factory is not None:
            return self.factory(atoms)
        if self.name in XTB:
            method, _ = XTB[self.name]
            return xtb_calculator(atoms, self.name, f"sampling with {method}")
        if self.name.endswith("-xtb"):
            raise ConfigError(f"no method {self.name!r}{nearest(self.name, XTB)}")
        return TLPotCalculator(self.name, level=self.level, device="cpu")

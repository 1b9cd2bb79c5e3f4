"""The numbers that fix a network: what is read from a model file before any weight."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from ase.data import atomic_numbers, chemical_symbols, covalent_radii

from tlpot.bond_thresholds import REPULSION_REACH
from tlpot.config import LATER, parse, to_mapping
from tlpot.errors import ConfigError, nearest
from tlpot.models.mace.architecture import MaceArchitecture
from tlpot.nn import HEAVIEST, N_ELEMENTAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A network of `n_layers` interactions.

    Attributes:
        elements: atomic numbers, ascending.
        cutoff: range of one layer, Å.
        hidden_irreps: features between layers, e3nn notation, natural parity and one
            multiplicity: ``32x0e+32x1o``.
        l_max: highest degree of the spherical harmonics and of the atomic basis.
        correlation: body order of the product basis, 1 to 3.
        n_layers: interaction layers.
        n_basis: Bessel functions.
        radial_hidden: hidden widths of the radial networks; empty for linear maps.
        envelope_power: p of the cutoff polynomial.
        n_species: width of the species embedding.
        species: ``learned``, or ``elemental``: features of the periodic table that stay as they are
            (see `tlpot.nn.elemental_features`), so that elements which no training has seen have
            an embedding.
        readout_hidden: width of the network that reads the last layer.
        avg_neighbors: average number of neighbours in the training set.
        zbl: add the screened nuclear repulsion.
        charge_spin: let total charge and multiplicity change the species embedding. Of models
            from before: what is far apart then does not add up, so none is trained any more.
    """

    elements: tuple[int, ...]
    cutoff: float = 4.5
    hidden_irreps: str = "32x0e+32x1o"
    l_max: int = 3
    correlation: int = 3
    n_layers: int = 2
    n_basis: int = 8
    radial_hidden: tuple[int, ...] = (16,)
    envelope_power: int = 6
    n_species: int = 16
    readout_hidden: int = 16
    avg_neighbors: float = 12.0
    zbl: bool = False
    charge_spin: bool = False
    species: Literal["learned", "elemental"] = field(default="learned", metadata=LATER)

    def __post_init__(self) -> None:
        self._check_species()
        if not self.elements or list(self.elements) != sorted(set(self.elements)):
            raise ConfigError(f"elements must be ascending and distinct, not {self.elements}")
        if not all(0 < z < len(chemical_symbols) for z in self.elements):
            raise ConfigError(f"elements must be atomic numbers, not {self.elements}")
        limits = {
            "cutoff": (self.cutoff, 0.5, 20.0),
            "l_max": (self.l_max, 1, 4),
            "correlation": (self.correlation, 1, 3),
            "n_layers": (self.n_layers, 1, 8),
            "n_basis": (self.n_basis, 1, 64),
            "envelope_power": (self.envelope_power, 3, 20),
            "avg_neighbors": (self.avg_neighbors, 1e-6, 1e4),
            "n_species": (self.n_species, 1, 1024),
            "readout_hidden": (self.readout_hidden, 1, 4096),
            "radial_hidden": (min(self.radial_hidden, default=1), 1, 4096),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}, expected {low} to {high}")
        if self.l_hidden > self.l_max:
            raise ConfigError(
                f"hidden_irreps {self.hidden_irreps!r} go to degree {self.l_hidden}, beyond "
                f"l_max {self.l_max}"
            )
        reach = 2.0 * REPULSION_REACH * max(covalent_radii[z] for z in self.elements)
        if self.zbl and self.cutoff < reach:
            raise ConfigError(
                f"cutoff is {self.cutoff} Å, but the ZBL repulsion reaches to {reach:.2f} Å; "
                "raise the cutoff, or set zbl to false"
            )

    def _check_species(self) -> None:
        if self.species == "learned":
            return
        if self.n_species != N_ELEMENTAL:
            raise ConfigError(
                f"n_species is {self.n_species}, expected {N_ELEMENTAL} with species=elemental"
            )
        beyond = [chemical_symbols[z] for z in self.elements if z > HEAVIEST]
        if beyond:
            raise ConfigError(f"species=elemental has no features of {', '.join(beyond)}")

    @property
    def isolated_at_reference(self) -> bool:
        """Whether the energy of an atom without neighbours is its E0 exactly: always."""
        return True

    @property
    def n_channels(self) -> int:
        """Multiplicity of every irrep."""
        return self._irreps()[0][0]

    @property
    def l_hidden(self) -> int:
        """Highest degree of the features between layers."""
        return len(self._irreps()) - 1

    def _irreps(self) -> list[tuple[int, int, str]]:
        """Returns multiplicity, degree and parity of each; one that is not written is 1."""
        matches = [_IRREP.fullmatch(part.strip()) for part in self.hidden_irreps.split("+")]
        irreps = [
            (int(m[1] or 1), int(m[2]), "eo"[int(m[2]) % 2] if m[3] == "y" else m[3])
            for m in matches
            if m is not None
        ]
        natural = [(l, "eo"[l % 2]) for l in range(len(matches))]
        n_channels = irreps[0][0] if irreps else 0
        if (
            n_channels < 1
            or [(l, p) for _, l, p in irreps] != natural
            or any(n != n_channels for n, _, _ in irreps)
        ):
            raise ConfigError(
                f"hidden_irreps is {self.hidden_irreps!r}; expected consecutive degrees from 0 "
                "with natural parity and one multiplicity, such as '64x0e+64x1o'"
            )
        return irreps


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineArchitecture:
    """A model of another program in place of a network: an engine with features of atoms.

    Its energy has no derivative here. Which structures it can do, and whether it is told charge
    and multiplicity, the engine decides.

    Attributes:
        family: tells the architecture from the others.
        elements: atomic numbers of the structures that regressors on the features were fitted to.
        engine: the level of the engine, which is the model's name.
        definition: what decides the engine's numbers, as plain JSON.
        n_channels: features of each atom.
    """

    family: Literal["engine"] = "engine"
    elements: tuple[int, ...]
    engine: str
    definition: Mapping[str, Any]
    n_channels: int

    cutoff: ClassVar[float] = 1.0  # of a neighbour list that nobody reads
    n_layers: ClassVar[int] = 1
    l_max: ClassVar[int] = 0
    readout_hidden: ClassVar[int] = 1
    charge_spin: ClassVar[bool] = True
    isolated_at_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.elements or list(self.elements) != sorted(set(self.elements)):
            raise ConfigError(f"elements must be ascending and distinct, not {self.elements}")
        if not all(0 < z < len(chemical_symbols) for z in self.elements):
            raise ConfigError(f"elements must be atomic numbers, not {self.elements}")
        if not 1 <= self.n_channels <= 65536:
            raise ConfigError(f"n_channels is {self.n_channels}, expected 1 to 65536")


AnyArchitecture = Architecture | MaceArchitecture | EngineArchitecture


def parse_architecture(settings: Mapping[str, Any], where: str) -> AnyArchitecture:
    """Returns the architecture that the description of a model states, whatever its family.

    Raises:
        ConfigError: an unknown key, or a value that makes no sense.
    """
    families = {"mace": MaceArchitecture, "engine": EngineArchitecture}
    return parse(families.get(settings.get("family", ""), Architecture), settings, where)


ALL_ELEMENTS = "all"

_IRREP = re.compile(r"(?:(\d+)\s*x\s*)?(\d+)([eoy])")  # y: the natural parity

_PRESETS: dict[str, dict[str, object]] = {
    "tiny": {},
    "small": {
        "cutoff": 5.0,
        "hidden_irreps": "96x0e+96x1o",
        "radial_hidden": (32,),
        "readout_hidden": 32,
    },
    "crystal": {"cutoff": 5.0},
    "medium": {
        "cutoff": 5.0,
        "hidden_irreps": "160x0e+160x1o+160x2e",
        "radial_hidden": (64,),
        "readout_hidden": 64,
    },
}


def preset(name: str, elements: tuple[int, ...], **changes: object) -> Architecture:
    """Returns one of the shipped architectures.

    Args:
        name: ``tiny`` (CPU, tens of thousands of weights), ``crystal`` (the same with the reach
            that coordination shells of solids need), ``small`` or ``medium`` (GPU).
        elements: atomic numbers.
        changes: fields of `Architecture` to set otherwise.

    Raises:
        ConfigError: no such preset, or a value out of range.
    """
    if name not in _PRESETS:
        raise ConfigError(f"unknown preset {name!r}{nearest(name, _PRESETS)}")
    settings = {**_PRESETS[name], **changes}
    return replace(Architecture(elements=tuple(sorted(elements))), **settings)  # type: ignore[arg-type]


def read_architecture(
    settings: Mapping[str, Any], elements: tuple[int, ...], where: str = "model"
) -> Architecture:
    """Returns the architecture that a section of a configuration asks for.

    Args:
        settings: ``preset`` (default ``tiny``) and any fields of `Architecture`; ``elements``
            are symbols or atomic numbers, or ``all`` with ``species: elemental``.
        elements: atomic numbers, where the section does not name them.
        where: the section, for messages.

    Raises:
        ConfigError: an unknown key, or a value that makes no sense.
    """
    changes = dict(settings)
    name = str(changes.pop("preset", "tiny"))
    if changes.get("elements") == ALL_ELEMENTS and changes.get("species") == "elemental":
        elements = tuple(range(1, HEAVIEST + 1))
        del changes["elements"]
    if "elements" in changes:
        elements = _numbers(changes.pop("elements"), where)
    return parse(Architecture, {**to_mapping(preset(name, elements)), **changes}, where)


def _numbers(elements: Any, where: str) -> tuple[int, ...]:
    if not isinstance(elements, list | tuple):
        raise ConfigError(f"{where}.elements must be a list such as [H, C, O], not {elements!r}")
    unknown = [e for e in elements if e not in chemical_symbols and not isinstance(e, int)]
    if unknown:
        raise ConfigError(f"{where}.elements: {unknown} are no elements")
    return tuple(sorted(atomic_numbers[e] if e in chemical_symbols else int(e) for e in elements))

"""The numbers that fix an imported MACE: what is read from its file before any weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ase.data import chemical_symbols

from tlpot.errors import ConfigError

Block = Literal["plain", "residual", "density", "density-residual", "nonlinear"]
"""Kinds of interaction blocks: ``RealAgnosticInteractionBlock`` and, of that name, those called
``Residual``, ``Density``, ``DensityResidual`` and ``ResidualNonLinear``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistanceTransform:
    """What the radial functions see in place of the distance.

    Attributes:
        kind: ``agnesi``, u = 1 / (1 + a x^q / (1 + x^(q − p))) with x = r over the mean of the
            covalent radii (doi:10.1063/5.0158783); ``soft``, which goes from 3/4 of the sum of
            the radii at short distances over to the distance itself.
        constants: ``a``, ``q`` and ``p``; or ``alpha``.
    """

    kind: Literal["agnesi", "soft"]
    constants: Mapping[str, float]

    def __post_init__(self) -> None:
        expected = {"agnesi": {"a", "q", "p"}, "soft": {"alpha"}}[self.kind]
        if set(self.constants) != expected:
            raise ConfigError(
                f"the constants of {self.kind} are {sorted(self.constants)}, expected "
                f"{sorted(expected)}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRepulsion:
    """Constants of the screened nuclear repulsion (doi:10.1007/978-1-4615-8103-1_3) as in MACE.

    Attributes:
        power: of the envelope, which ends at the sum of the covalent radii.
        coefficients: of the four exponentials.
        exponent: of the nuclear charges in the screening length.
        prefactor: of the screening length, in units of 0.529 Å.
    """

    power: int
    coefficients: tuple[float, ...]
    exponent: float
    prefactor: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StateEmbedding:
    """A table of vectors for the values of a quantity of the whole structure.

    Attributes:
        quantity: total charge, or multiplicity 2S + 1.
        classes: number of rows.
        width: of each.
        offset: row of the value 0.
    """

    quantity: Literal["total_charge", "total_spin"]
    classes: int
    width: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MaceArchitecture:
    """A network of mace-torch (arXiv:2206.07697, arXiv:2401.00096) with some of its elements.

    Attributes:
        elements: atomic numbers, ascending.
        radii: covalent radii of the elements, Å.
        cutoff: range of one layer, Å.
        blocks: kind of each layer's interaction.
        n_channels: channels of the features.
        l_max: highest degree of the harmonics and of the atomic basis.
        l_hidden: highest degree of the features between layers.
        edge_channels: channels of the features that each layer sends.
        edge_degrees: their highest degree.
        correlation: body order of each layer's product.
        avg_neighbors: what each layer's sums are divided by.
        n_basis: Bessel functions.
        envelope_power: p of the cutoff polynomial.
        radial_hidden: hidden widths of the radial networks.
        readout_hidden: width of the network that reads the last layer.
        readout_biased: whether that network has a second hidden layer, with a bias.
        last_readout_only: whether only the last layer is read.
        agnostic_product: whether the products' weights are the same for all elements.
        cutoff_in_basis: whether the envelope multiplies the radial functions, not what the
            radial network makes of them.
        transform: of the distance; None for none.
        repulsion: pair term; None for none.
        embeddings: of charge and spin; mostly none.
        embedding_readout: whether energies are read from the embedding, too.
        family: of architectures.
    """

    elements: tuple[int, ...]
    radii: tuple[float, ...]
    cutoff: float
    blocks: tuple[Block, ...]
    n_channels: int
    l_max: int
    l_hidden: int
    edge_channels: tuple[int, ...]
    edge_degrees: tuple[int, ...]
    correlation: tuple[int, ...]
    avg_neighbors: tuple[float, ...]
    n_basis: int
    envelope_power: int
    radial_hidden: tuple[int, ...]
    readout_hidden: int
    readout_biased: bool = False
    last_readout_only: bool = False
    agnostic_product: bool = False
    cutoff_in_basis: bool = True
    transform: DistanceTransform | None = None
    repulsion: PairRepulsion | None = None
    embeddings: tuple[StateEmbedding, ...] = ()
    embedding_readout: bool = False
    family: Literal["mace"] = "mace"

    def __post_init__(self) -> None:
        if not self.elements or list(self.elements) != sorted(set(self.elements)):
            raise ConfigError(f"elements must be ascending and distinct, not {self.elements}")
        if not all(0 < z < len(chemical_symbols) for z in self.elements):
            raise ConfigError(f"elements must be atomic numbers, not {self.elements}")
        for name, values, low, high in self._limits():
            for value in values:
                if not low <= value <= high:
                    raise ConfigError(f"{name} is {value}, expected {low} to {high}")
        if self.l_hidden > self.l_max:
            raise ConfigError(f"l_hidden is {self.l_hidden}, beyond l_max {self.l_max}")
        per_layer = (self.edge_channels, self.edge_degrees, self.correlation, self.avg_neighbors)
        if any(len(values) != self.n_layers for values in per_layer):
            raise ConfigError(f"expected {self.n_layers} numbers, one for each of blocks")
        if len(self.radii) != len(self.elements):
            raise ConfigError("expected a covalent radius for each element")
        if "nonlinear" in self.blocks and set(self.blocks) != {"nonlinear"}:
            raise ConfigError("non-linear blocks and others do not occur in one network")

    def _limits(self) -> list[tuple[str, tuple[float, ...], float, float]]:
        return [
            ("radii", self.radii, 0.1, 5.0),
            ("cutoff", (self.cutoff,), 0.5, 20.0),
            ("the number of layers", (self.n_layers,), 2, 3),
            ("n_channels", (self.n_channels,), 1, 4096),
            ("l_max", (self.l_max,), 1, 3),
            ("edge_channels", self.edge_channels, 1, 4096),
            ("edge_degrees", self.edge_degrees, 0, self.l_hidden),
            ("correlation", self.correlation, 1, 3),
            ("avg_neighbors", self.avg_neighbors, 1e-6, 1e6),
            ("n_basis", (self.n_basis,), 1, 64),
            ("envelope_power", (self.envelope_power,), 2, 20),
            ("radial_hidden", self.radial_hidden, 1, 4096),
            ("readout_hidden", (self.readout_hidden,), 1, 4096),
        ]

    @property
    def n_layers(self) -> int:
        """Number of interactions."""
        return len(self.blocks)

    @property
    def hidden_irreps(self) -> str:
        """Features between layers in e3nn's notation."""
        return "+".join(f"{self.n_channels}x{l}{'eo'[l % 2]}" for l in range(self.l_hidden + 1))

    @property
    def charge_spin(self) -> bool:
        """Whether total charge and multiplicity change the energy."""
        return bool(self.embeddings)

    @property
    def zbl(self) -> bool:
        """Whether there is a nuclear repulsion."""
        return self.repulsion is not None

    @property
    def isolated_at_reference(self) -> bool:
        """Whether the energy of an atom without neighbours is its E0 exactly."""
        constant = self.readout_biased or self.embedding_readout
        return self.blocks[0] in ("plain", "density") and not constant

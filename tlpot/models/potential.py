"""A potential: one backbone, a head for each level, fixed physics terms; names of its weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from tlpot.errors import ConfigError, UnknownElementError
from tlpot.graph import Layout
from tlpot.kernels import kernels_by_name
from tlpot.levels import canonical_level, choose_level
from tlpot.models.architecture import AnyArchitecture
from tlpot.models.backbone import Head, make_backbone, make_repulsion, reference_list
from tlpot.models.description import ModelCard
from tlpot.models.fused import FusedLevels
from tlpot.models.level_potential import LevelPotential
from tlpot.models.mace import ElementMap
from tlpot.models.property_target import PropertyTarget, same_readout
from tlpot.models.regressors import Correction
from tlpot.models.spread import LastLayerRigidity
from tlpot.nn import ChannelLinear
from tlpot.torch_mode import plain_torch


class Potential(nn.Module):
    """E_i = E0^level(z_i) + readout^level(backbone) + corrections^level(backbone) + repulsion.

    Made by `Potential.create` or `load`, not by its constructor.

    Attributes:
        architecture: sizes.
        levels: names of the levels of theory.
        card: provenance.
    """

    index: Tensor

    def __init__(
        self, architecture: AnyArchitecture, heads: Mapping[str, Head], kernels: str = "auto"
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.card = ModelCard()
        self.levels = tuple(heads)
        self.backbone = make_backbone(architecture, kernels_by_name(kernels))
        self.repulsion = make_repulsion(architecture)
        self.heads = nn.ModuleList(heads.values())
        index = torch.full((len(chemical_symbols),), -1)
        index[list(architecture.elements)] = torch.arange(len(architecture.elements))
        self.register_buffer("index", index, persistent=False)
        self.fused_levels = FusedLevels()

    @classmethod
    @plain_torch()
    def create(
        cls,
        architecture: AnyArchitecture,
        levels: Mapping[str, Mapping[int, float]],
        *,
        scale: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        kernels: str = "auto",
        targets: Mapping[str, PropertyTarget] | None = None,
    ) -> Potential:
        """Makes a potential with random weights.

        Args:
            architecture: sizes.
            levels: E0 by atomic number, eV, for each level of theory.
            scale: of the readouts, eV.
            seed: of the weights; torch's global generator is left as it was.
            dtype: precision; the same seed gives the same weights in each, to rounding.
            kernels: ``auto``, ``fused``, ``compiled``, ``torch`` or ``torch_scatter``, see
                `tlpot.kernels.kernels_by_name`.
            targets: the properties among the levels, by canonical name.

        Raises:
            ConfigError: a level lacks an E0 for one of the elements.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            heads = {
                canonical_level(level): Head(
                    architecture,
                    reference_list(architecture, level, references),
                    scale,
                    (targets or {}).get(canonical_level(level)),
                )
                for level, references in levels.items()
            }
            return cls(architecture, heads, kernels).to(dtype)

    @property
    def cutoff(self) -> float:
        """Range of the neighbour list, Å."""
        return self.architecture.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the potential knows."""
        return self.architecture.elements

    @property
    def uses_charge(self) -> bool:
        """Whether the energy depends on total charge and multiplicity."""
        return self.architecture.charge_spin

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network; reference energies and sums are float64 always."""
        return self.backbone.species.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.backbone.species.device

    @property
    def kernels(self) -> str:
        """Name of the implementation of the sums, see `tlpot.kernels`."""
        return self.backbone.edges.kernels.name

    @property
    def layout(self) -> Layout:
        """How the pairs should be laid out: sorted for compiled kernels, which need no padding."""
        kernels, l_max = self.backbone.edges.kernels, self.architecture.l_max
        return "sorted" if kernels.compiled(self.device, self.dtype, l_max) else "auto"

    def at(self, level: str | None = None) -> LevelPotential:
        """Returns the energy model of one level of theory; it shares the weights.

        Raises:
            UnknownLevelError: no such level, or none was named and there are several.
        """
        return LevelPotential(self, choose_level(level, self.levels, f"model {self.card.name!r}"))

    def head(self, level: str) -> Head:
        """Returns the head of a level by its canonical name."""
        return self.heads[self.levels.index(level)]  # type: ignore[return-value]

    def corrections(self, level: str) -> list[Correction]:
        """Returns the closed-form regressors that add to a level's energy; mostly none."""
        return list(self.head(level).corrections)  # type: ignore[arg-type]

    def references(self, level: str) -> dict[int, float]:
        """Returns E0 by atomic number, eV."""
        values = self.head(level).references.value.tolist()
        return dict(zip(self.elements, values, strict=True))

    def target(self, level: str) -> PropertyTarget | None:
        """Returns the property that a level, by its canonical name, is of; None for energies."""
        return self.head(level).target

    def with_level(
        self,
        level: str,
        references: Mapping[int, float],
        *,
        parent: str | None = None,
        target: PropertyTarget | None = None,
    ) -> Potential:
        """Returns a copy with one more level, or with a level's reference energies replaced.

        Args:
            level: name of the level.
            references: E0 by atomic number, eV.
            parent: the level whose readout the new one inherits; None is the level of that
                name if it is there, else the only one.
            target: the property, if the level is none of energies. Of another property, and of
                energies, it inherits nothing: its readout starts with zero.

        Raises:
            ConfigError: an E0 is missing.
            UnknownLevelError: no such parent, or several levels to choose from.
        """
        name = canonical_level(level)
        if parent is None and name in self.levels:
            parent = name
        source = self.at(parent).level
        if same_readout(name, target, source, self.target(source)):
            head = copy.deepcopy(self.head(source))
            head.forget()
            head.domain = None
            head.target = target
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                zeros = [0.0] * len(self.elements)
                head = Head(self.architecture, zeros, 1.0, target)
            head.readout.silence()
            head = head.to(device=self.device, dtype=self.dtype)
        values = reference_list(self.architecture, level, references)
        head.references.value = torch.tensor(values, dtype=torch.float64, device=self.device)
        grown = copy.deepcopy(self)
        heads = {**dict(zip(self.levels, grown.heads, strict=True)), name: head}
        grown.levels = tuple(heads)
        grown.heads = nn.ModuleList(heads.values())
        return grown

    def only(self, level: str) -> Potential:
        """Returns a copy that has just this level.

        Raises:
            UnknownLevelError: no such level.
        """
        return self.keeping((level,))

    def keeping(self, levels: Sequence[str]) -> Potential:
        """Returns a copy that has just these levels, in this order.

        Raises:
            UnknownLevelError: no such level.
        """
        names = [self.at(level).level for level in levels]
        kept = copy.deepcopy(self)
        heads = [kept.head(name) for name in names]
        kept.levels, kept.heads = tuple(names), nn.ModuleList(heads)
        return kept

    def with_rigidity(self, level: str, rigidity: LastLayerRigidity) -> Potential:
        """Returns a copy with the uncertainty of a level, by its canonical name, replaced.

        Raises:
            ConfigError: see `check_rigidity`.
        """
        self.check_rigidity(level)
        grown = copy.deepcopy(self)
        grown.head(level).rigidity = rigidity.to(self.device)
        return grown

    def check_rigidity(self, level: str) -> None:
        """Checks that the energy of a level, by its canonical name, is that of its readout.

        Raises:
            ConfigError: the level has corrections, of which the last layer knows nothing.
        """
        kinds = [correction.info.kind for correction in self.corrections(level)]
        if kinds:
            raise ConfigError(
                f"level {level!r} of model {self.card.name!r} has corrections in closed form "
                f"({', '.join(kinds)}), of which a last-layer uncertainty would know nothing; "
                "join several such models with 'tlpot ensemble', or use strategy frozen-gp, which "
                "has standard deviations of its own"
            )

    def without_uncertainty(self) -> Potential:
        """Returns a copy whose levels have no uncertainty, as any change of weights needs."""
        plain = copy.deepcopy(self)
        for level in plain.levels:
            plain.head(level).forget()
        return plain

    def species(self, atomic_numbers: Tensor) -> Tensor:
        """Returns the index of each atom's element.

        Raises:
            UnknownElementError: the message lists the elements that are known.
        """
        species = self.index.index_select(0, atomic_numbers)
        if bool((species < 0).any()):
            unknown = sorted({chemical_symbols[z] for z in atomic_numbers[species < 0].tolist()})
            known = ", ".join(chemical_symbols[z] for z in self.elements)
            raise UnknownElementError(
                f"model {self.card.name!r} does not know {', '.join(unknown)}; it was trained on "
                f"{known}. Use a model with these elements, or train one"
            )
        return species


def parameter_blocks(potential: Potential, level: str) -> dict[str, list[str]]:
    """Groups the names of all weights that a level depends on by what they do.

    Args:
        potential: the potential.
        level: canonical name; readouts of other levels are left out.

    Returns:
        Parameter names for ``embedding``, ``interaction 1``, ``product 1``, …, ``readout``,
        from the input to the output.
    """
    head = f"heads.{potential.levels.index(level)}."
    blocks: dict[str, list[str]] = {"embedding": []}
    for layer in range(1, potential.architecture.n_layers + 1):
        blocks[f"interaction {layer}"] = []
        blocks[f"product {layer}"] = []
    blocks["readout"] = []
    fixed = fixed_parameters(potential)
    for name, _ in potential.named_parameters():
        if name in fixed:
            continue
        part = name.split(".")
        if name.startswith(head):
            blocks["readout"].append(name)
        elif part[:2] == ["backbone", "interactions"]:
            kind = "interaction" if part[3] in _INTERACTION else "product"
            blocks[f"{kind} {int(part[2]) + 1}"].append(name)
        elif part[0] == "backbone":
            blocks["embedding"].append(name)
    return blocks


def fixed_parameters(potential: Potential) -> set[str]:
    """Returns the names of weights that no training moves: features of the elements."""
    elemental = getattr(potential.architecture, "species", "learned") == "elemental"
    return {"backbone.species"} if elemental else set()


_INTERACTION = {
    "sender", "convolution", "element_mix", "density", "alpha", "beta", "residual", "gated",
}  # fmt: skip
"""Parts of a layer that make the atomic basis; the others form its products and what follows."""


def level_parameters(potential: Potential, level: str) -> list[str]:
    """Lists the names of all weights that a level depends on."""
    return [name for names in parameter_blocks(potential, level).values() for name in names]


def channel_maps(potential: Potential, level: str) -> list[ChannelLinear | ElementMap]:
    """Lists the parts of a level whose ``weight`` mixes the channels of features of one degree.

    A weight is a matrix [n_in, n_out], or one for each element, [n_elements, n_in, n_out]. A
    network stays equivariant whatever these become.
    """
    parts = (potential.backbone, potential.head(level))
    return [
        module
        for part in parts
        for module in part.modules()
        if isinstance(module, ChannelLinear | ElementMap)
    ]

"""Names of a potential's weights, by what they do."""

from __future__ import annotations

from tlpot.models.mace import ElementMap
from tlpot.models.potential import Potential
from tlpot.nn import ChannelLinear


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

"""The model card: where a model comes from and what it is worth, kept inside its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Provenance of a model.

    Attributes:
        name: what to call it.
        description: one or two sentences.
        licence: of the weights.
        parent: content hash of the model it was fine-tuned from, or empty.
        parent_licence: licence of the parent, or empty.
        dataset: file name, content hash and split of the training data.
        recipe: the resolved configuration that made it.
        metrics: errors on validation and test sets, in meV, meV/atom and meV/Å.
        references: by level of theory, how its isolated-atom energies were found.
        versions: of tlpot, torch and Python when it was made.
        citation: what to cite.
        charges: ``ignored`` where a model that reads no charges was trained on structures whose
            charge follows from their atoms; empty where it reads them, or saw none.
    """

    name: str = "unnamed"
    description: str = ""
    licence: str = "not stated"
    parent: str = ""
    parent_licence: str = ""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    citation: str = ""
    charges: Literal["", "ignored"] = ""

    @property
    def implies_charges(self) -> bool:
        """Whether the model was trained on charged structures without reading charges.

        A file from before the field says so in the configuration that made it.
        """
        data = self.recipe.get("data")
        made_so = isinstance(data, Mapping) and data.get("charges") == "ignore"
        return self.charges == "ignored" or made_so

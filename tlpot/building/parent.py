"""The model that a build starts from, and the charges that a model has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from tlpot.errors import ConfigError, ModelFileError, UnknownElementError, UnknownLevelError
from tlpot.levels import canonical_level
from tlpot.models import Potential, content_hash, load_potential


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildParent:
    """A model to start from.

    Attributes:
        source: file or name.
        sha256: of the file.
    """

    source: str
    sha256: str

    @property
    def name(self) -> str:
        """What to call it: a name, or the name of the file."""
        return Path(self.source).name

    def check(self) -> None:
        """Checks that the file is the one that the stage was planned with.

        Raises:
            ConfigError: it is another one.
        """
        if content_hash(self.source) != self.sha256:
            raise ConfigError(
                f"pretrain.parent {self.source} has changed since this build was started; the "
                "same command starts from the new file"
            )


def open_parent(source: Any, level: str, elements: Sequence[int]) -> tuple[BuildParent, Potential]:
    """Opens the model that a build starts from.

    Args:
        source: file or name, as in the configuration.
        level: the cheap one, which the model must have.
        elements: of the fragments, which it must know.

    Raises:
        ConfigError: no text.
        ModelFileError: there is no such model, or it is no single potential.
        UnknownLevelError: it lacks the level; the message lists those that it has.
        UnknownElementError: it lacks an element.
    """
    if not isinstance(source, str):
        raise ConfigError(f"pretrain.parent must be a file or the name of a model, not {source!r}")
    try:
        potential = load_potential(source, device="cpu")
    except ModelFileError as error:
        raise ModelFileError(f"pretrain.parent: {error}") from error
    if canonical_level(level) not in potential.levels:
        raise UnknownLevelError(
            f"pretrain.parent {source} has no level {level}, which is the low one of this build; "
            f"it has {', '.join(potential.levels)}. Choose low.engine (or low.level) of these, "
            "another parent, or leave the parent out to train from scratch"
        )
    unknown = [chemical_symbols[z] for z in elements if z not in potential.elements]
    if unknown:
        known = ", ".join(chemical_symbols[z] for z in potential.elements)
        raise UnknownElementError(
            f"pretrain.parent {source} does not know {', '.join(unknown)} of the fragments; it "
            f"knows {known}. Choose another parent, or leave it out to train from scratch"
        )
    return BuildParent(source=source, sha256=content_hash(source)), potential


def parent_implies_charges(given: Mapping[str, Any]) -> bool:
    """Whether the parent of a section says that it knows charges without reading them."""
    try:
        return load_potential(given["parent"], device="cpu").card.implies_charges
    except (KeyError, TypeError, ModelFileError):  # none, or one that `open_parent` refuses
        return False


def check_charges(reads: bool, charges: Sequence[int], trained_charges: bool, model: str) -> None:
    """Checks that charged fragments and what a model reads go together.

    Args:
        reads: whether the model reads charges.
        charges: of the charged fragments.
        trained_charges: whether it is to know the fragments with just these charges.
        model: what to call it.

    Raises:
        ConfigError: they do not.
    """
    if trained_charges and reads:
        raise ConfigError(
            "trained_charges does not apply: the model reads charges (model.charge_spin); leave it "
            "out"
        )
    if charges and not reads and not trained_charges:
        raise ConfigError(
            f"fragments have charges {list(charges)}, which {model} does not read. Take one that "
            "does, or, if it is to know these fragments with just these charges, say "
            "trained_charges: true"
        )

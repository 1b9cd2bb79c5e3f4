"""Announces tlpot to openmmml: ``MLPotential("tlpot", model="model.safetensors")``.

openmmml imports this module and calls `Factory` whenever it is imported itself, for whatever
potential, so both must be cheap and must never fail.
"""

from __future__ import annotations

from typing import Any


class Factory:
    """What openmmml asks for a potential; it is told from others by its one method."""

    def createImpl(self, name: str, **settings: Any) -> Any:  # noqa: N802
        """Returns the potential; `settings` are those of ``MLPotential("tlpot", ...)``.

        Raises:
            ConfigError: settings that do not exist or do not go together.
            MissingExtraError: OpenMM or openmmml is too old.
        """
        from tlpot.simulation import OpenMMPotential

        return OpenMMPotential(**settings)

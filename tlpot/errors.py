"""The exceptions users see: each message says what was found, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TLPotError(Exception):
    """A mistake in the input that the user can mend; the message says how."""


class ConfigError(TLPotError, ValueError):
    """A configuration key or value that does not exist or does not apply."""


class DataError(TLPotError, ValueError):
    """A dataset that is damaged, incomplete or not what its description says."""


class UnknownLevelError(TLPotError, LookupError):
    """A level of theory that the model or the dataset does not have."""


class UnknownElementError(TLPotError, ValueError):
    """An element that the model was not trained on."""


class GeometryError(TLPotError, ValueError):
    """A structure that cannot be evaluated: NaN, coincident atoms, a singular cell."""


class ValenceError(GeometryError):
    """Atoms whose valence does not close.

    Args:
        message: see `Exception`.
        short: indices of those that seem to lack neighbours. A flat carbon with three is none of
            them, as of a radical, nor an atom with too many, or one that binds a metal.
    """

    def __init__(self, message: str, short: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.short = tuple(short)


class CalculationError(GeometryError):
    """A program that fails for one of several structures.

    Args:
        message: see `Exception`.
        index: of the structure.
    """

    def __init__(self, message: str, index: int = 0) -> None:
        super().__init__(message)
        self.index = index


class FragmentError(CalculationError):
    """A program that fails for one of the fragments of a structure."""


class ModelFileError(TLPotError, ValueError):
    """A model file that is damaged, foreign, or written by a newer tlpot."""


class DownloadError(TLPotError, OSError):
    """Something that could not be had from a URL, or came incomplete."""


class SimulationError(TLPotError, RuntimeError):
    """A simulation that blew up; what was written before stays readable."""


class OutputError(TLPotError, OSError):
    """A file that could not be written; the old one, if any, is untouched."""


class KernelError(TLPotError, RuntimeError):
    """Compiled kernels that cannot be built, loaded or trusted on this machine."""


class StrictError(TLPotError):
    """A warning where the user asked for none (``--strict``)."""


class TLPotWarning(UserWarning):
    """Something that may be meant, and often is not; ``--strict`` makes it an error."""


class ChargeWarning(TLPotWarning):
    """A total charge that could not be told, in whose place another one was taken."""


class PreflightWarning(TLPotWarning):
    """What a training's report says before the first update, where nobody reads it in the log."""


def refuse_warnings(found: Iterable[str]) -> None:
    """Makes an error of warnings.

    Raises:
        StrictError: there are some.
    """
    texts = list(found)
    if texts:
        more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
        raise StrictError(f"{texts[0]}{more}; a warning, and --strict was given")


class UnreadLabelWarning(TLPotWarning):
    """Something of a dataset that looks like a label and is not read; among its `problems`, too."""


class MissingExtraError(TLPotError, ImportError):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed: "
            f'pip install -c constraints.txt "tlpot[{extra}]"'
        )
        self._parts = package, extra, purpose

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """Lets a worker's error reach the process that asked."""
        return type(self), self._parts


def nearest(name: str, valid: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` for a misspelt name, or lists what is valid.

    Args:
        name: what the user wrote.
        valid: the names that exist.
    """
    name, names = str(name), sorted(valid)
    match = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if match:
        return f"; did you mean {match[0]!r}? (valid: {', '.join(names)})"
    return f"; valid: {', '.join(names) if names else 'none'}"

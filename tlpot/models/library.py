"""Models by name: those that ship with tlpot, and those that were installed."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from tlpot.errors import ConfigError, ModelFileError, nearest

LIBRARY = Path(__file__).parent.parent / "library"
"""Folder of the shipped models."""
SUFFIX = ".safetensors"
PLACE_VARIABLE = "TLPOT_MODELS"
"""Environment variable with the folder of installed models."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def own_library() -> Path:
    """Returns the folder of installed models, which need not exist.

    It is that of the environment variable ``TLPOT_MODELS``, else ``tlpot/models`` in
    ``XDG_DATA_HOME``, else ``~/.local/share/tlpot/models``.
    """
    given = os.environ.get(PLACE_VARIABLE)
    if given:
        return Path(given).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    # the XDG specification has relative paths ignored
    home = Path(data) if data and Path(data).is_absolute() else Path.home() / ".local" / "share"
    return home / "tlpot" / "models"


def shipped_names() -> list[str]:
    """Returns the names of the shipped models."""
    return _names(LIBRARY)


def installed_names() -> list[str]:
    """Returns the names of the installed models."""
    return _names(own_library())


def library_names() -> list[str]:
    """Returns the names of all models that are known by name, each once."""
    return sorted({*shipped_names(), *installed_names()})


def named_file(name: str) -> Path | None:
    """Returns the file of a name; None if there is none.

    A name stands for one content. Where a shipped and an installed model have the same name and
    not the same bytes, neither is taken.

    Raises:
        ModelFileError: the name stands for two models.
    """
    if not name or Path(name).name != name:
        return None
    found = [
        f for f in (LIBRARY / f"{name}{SUFFIX}", own_library() / f"{name}{SUFFIX}") if f.is_file()
    ]
    if len(found) == 2 and file_hash(found[0]) != file_hash(found[1]):
        raise ModelFileError(
            f"{name!r} is the name of two models: tlpot ships one (SHA-256 "
            f"{file_hash(found[0])[:12]}…), and {found[1]} is another "
            f"({file_hash(found[1])[:12]}…). Rename that file, or give the path of the one you want"
        )
    return found[0] if found else None


def library_file(source: str | os.PathLike[str]) -> Path:
    """Returns the file that a path or a name stands for; a path that exists wins.

    Raises:
        ModelFileError: neither a file nor a name, or the name of two models; see `named_file`.
        ConfigError: neither a path nor a name.
    """
    if not isinstance(source, str | os.PathLike):
        raise ConfigError(
            f"the model is a {type(source).__name__}; expected a file or the name of a model"
        )
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder; expected a model file such as model{SUFFIX}")
    found = named_file(str(source))
    if found is not None:
        return found
    raise ModelFileError(
        f"there is no file {str(source)!r} and no shipped model of that name, nor an installed "
        f"one{nearest(str(source), library_names())}"
    )


def check_name(name: str) -> str:
    """Returns a name if a model can be called that.

    Raises:
        ConfigError: it can not.
    """
    if not _NAME.fullmatch(name) or name.endswith(SUFFIX):
        raise ConfigError(
            f"a model cannot be called {name!r}; a name has letters, digits and . _ + -, starts "
            f"with a letter or digit, and does not end in {SUFFIX}"
        )
    return name


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))

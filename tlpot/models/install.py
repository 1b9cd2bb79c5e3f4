"""Putting models into the user's own library, where they have names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tlpot.atomic_file import atomic_file, make_folder
from tlpot.errors import ConfigError, ModelFileError
from tlpot.models.download import download, is_url
from tlpot.models.library import LIBRARY, SUFFIX, check_name, file_hash, own_library
from tlpot.models.place import Place, read_file


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A model that has a name now.

    Attributes:
        name: what it is called.
        path: its file.
        sha256: of the file.
        levels: of theory.
        is_new: whether the file was written; the same content may have been there.
    """

    name: str
    path: Path
    sha256: str
    levels: tuple[str, ...]
    is_new: bool


def install(
    source: str | os.PathLike[str],
    *,
    place: str | os.PathLike[str] | None = None,
    name: str | None = None,
    sha256: str | None = None,
    force: bool = False,
    show: bool = False,
) -> Installed:
    """Installs a model into `own_library`.

    The content is hashed, compared and loaded before anything is written; the file appears
    whole or not at all.

    Args:
        source: a model file or its URL; with `place`, a name in it.
        place: folder or URL to install from, see `Place`.
        name: what to call it; None is its name there.
        sha256: what the file must have; the index of a place says it otherwise.
        force: replace another model that is installed under the name.
        show: whether to show a progress bar.

    Raises:
        ModelFileError: no such model, not a model, or not the content that was expected; or the
            name belongs to another one.
        DownloadError: it could not be had.
        ConfigError: a name that cannot be one.
        OutputError: it could not be written.
    """
    from tlpot.models.model_file import from_bytes  # needs torch, listing models does not

    content, origin, stem = _content(source, place, show)
    called = check_name(name if name is not None else stem)
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.strip().lower():
        raise ModelFileError(
            f"{origin} has SHA-256 {found}, expected {sha256}; it is damaged or another file"
        )
    levels = tuple(from_bytes(content, name=origin).levels)
    target = own_library() / f"{called}{SUFFIX}"
    shipped = LIBRARY / f"{called}{SUFFIX}"
    if shipped.is_file():
        if file_hash(shipped) == found:
            return Installed(name=called, path=shipped, sha256=found, levels=levels, is_new=False)
        raise ModelFileError(
            f"tlpot ships another model called {called!r}, and a name stands for one; choose "
            "another with --as NAME"
        )
    if target.is_file():
        held = file_hash(target)
        if held == found:
            return Installed(name=called, path=target, sha256=found, levels=levels, is_new=False)
        if not force:
            raise ModelFileError(
                f"{called!r} is installed already with another content: {target} has SHA-256 "
                f"{held[:12]}…, {origin} has {found[:12]}…. Choose another name with --as NAME, or "
                "replace it with --force"
            )
    make_folder(target.parent)
    with atomic_file(target) as temporary:
        temporary.write_bytes(content)
    return Installed(name=called, path=target, sha256=found, levels=levels, is_new=True)


def _content(
    source: str | os.PathLike[str], place: str | os.PathLike[str] | None, show: bool
) -> tuple[bytes, str, str]:
    """Returns the content, where it is from, and what it is called there."""
    text = os.fspath(source)
    if place is not None:
        opened = Place(place)
        entry = opened.entry(text)
        return opened.fetch(entry, show=show), f"{entry.file} from {opened.where}", entry.name
    if is_url(text):
        path = unquote(urlsplit(text).path)
        if not path.endswith(SUFFIX):
            raise ConfigError(
                f"{text} is no model file (*{SUFFIX}); to install from a place with several, say "
                f"'tlpot models install NAME --from {text}'"
            )
        return download(text, show=show), text, Path(path).stem
    if not Path(text).is_file():
        raise ModelFileError(
            f"there is no file {text!r}; to install a model by name say where from: --from DIR or "
            "--from URL"
        )
    return read_file(Path(text)), text, Path(text).name.removesuffix(SUFFIX)

"""Places that models are installed from: a folder, or a URL with an index."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tlpot.errors import DownloadError, ModelFileError, nearest
from tlpot.models.download import download, is_url
from tlpot.models.library import SUFFIX
from tlpot.models.model_index import INDEX, IndexEntry, index_entry, parse_index


class Place:
    """A folder or URL with models.

    A folder without an index is looked through; one with an index has what the index lists. A
    URL needs an index.

    Args:
        where: a folder; or a URL (http, https or file) of a folder or of the index in it.

    Raises:
        ModelFileError: no such folder, or its index is damaged.
        DownloadError: the index cannot be had.
        ConfigError: a URL of another kind.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        text = os.fspath(where)
        self._folder: Path | None = None
        if is_url(text):
            self.where = text if text.endswith("/") else text.removesuffix(INDEX).rstrip("/") + "/"
            parts = urlsplit(text)
            if parts.scheme.lower() == "file":
                self._folder = Path(unquote(urlsplit(self.where).path))
        else:
            self.where = text
            self._folder = Path(text)
        self.entries = self._at_url() if self._folder is None else _in_folder(self._folder)

    def entry(self, name: str) -> IndexEntry:
        """Returns the model of a name.

        Raises:
            ModelFileError: there is none.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        names = [entry.name for entry in self.entries]
        raise ModelFileError(f"{self.where} has no model {name!r}{nearest(name, names)}")

    def fetch(self, entry: IndexEntry, *, show: bool = False) -> bytes:
        """Returns the content of a model's file, after comparing its hash with the index.

        Raises:
            ModelFileError: the file cannot be read, or is not what the index says.
            DownloadError: see `download`.
        """
        if self._folder is None:
            origin = self.where + quote(entry.file)
            content = download(origin, most=entry.size, show=show)
        else:
            origin = str(self._folder / entry.file)
            content = read_file(Path(origin))
        if len(content) < entry.size:
            raise ModelFileError(
                f"{origin} is truncated: {len(content)} of {entry.size} bytes; copy it again"
            )
        found = hashlib.sha256(content).hexdigest()
        if found != entry.sha256:
            raise ModelFileError(
                f"{origin} is not the file that its index lists: SHA-256 {found}, expected "
                f"{entry.sha256}. It was damaged or replaced; if it was replaced on purpose, its "
                "owner runs 'tlpot models index' again"
            )
        return content

    def _at_url(self) -> tuple[IndexEntry, ...]:
        url = self.where + INDEX
        try:
            content = download(url)
        except DownloadError as error:
            raise DownloadError(
                f"{error}. A place to install from has an index {INDEX}, which its owner makes "
                "with 'tlpot models index DIR'"
            ) from error
        return parse_index(content, url)


def _in_folder(folder: Path) -> tuple[IndexEntry, ...]:
    if not folder.is_dir():
        raise ModelFileError(f"there is no folder {folder}")
    index = folder / INDEX
    if index.is_file():
        return parse_index(read_file(index), str(index))
    return tuple(index_entry(path) for path in sorted(folder.glob(f"*{SUFFIX}")))


def read_file(path: Path) -> bytes:
    """Returns the content of a file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error

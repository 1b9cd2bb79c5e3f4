"""Where models are installed from: a folder, or a URL with an index of hashes."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ase.data import chemical_symbols

from tlpot._version import __version__
from tlpot.config import parse, to_mapping
from tlpot.errors import ConfigError, DownloadError, ModelFileError, nearest
from tlpot.files import atomic_file, make_folder, write_text
from tlpot.models.catalogue import CatalogueEntry
from tlpot.models.library import LIBRARY, SUFFIX, check_name, file_hash, own_library
from tlpot.presentation import progress_bar

SCHEMES = ("http", "https", "file")
_SECONDS = 30.0
_CHUNK = 1 << 18
_LARGEST = 1 << 32
"""Bytes; a server that sends more sends something else."""


def is_url(text: str) -> bool:
    """Whether something is a URL and not a path.

    Raises:
        ConfigError: a URL of a kind that is not read.
    """
    scheme, *rest = text.split("://", 1)
    if not rest:
        return False
    if scheme.lower() not in SCHEMES:
        raise ConfigError(f"{text}: URLs begin with {'://, '.join(SCHEMES)}://, not {scheme}://")
    return True


def download(url: str, *, most: int = _LARGEST, show: bool = False) -> bytes:
    """Returns what a URL holds.

    Args:
        url: ``http``, ``https`` or ``file``.
        most: more bytes than these are an error.
        show: whether to show a progress bar if it takes longer than a second.

    Raises:
        DownloadError: nothing there, the connection broke, or more or fewer bytes than announced.
        ConfigError: another kind of URL.
    """
    is_url(url)
    request = urllib.request.Request(url, headers={"User-Agent": f"tlpot/{__version__}"})
    parts = []
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            length = answer.headers.get("Content-Length")
            size = int(length) if length and length.isdecimal() else None
            name = urlsplit(url).path.rpartition("/")[2]
            with progress_bar(total=size, desc=name, unit="B", unit_scale=True, delay=1.0,
                      disable=not show, file=sys.stderr, dynamic_ncols=True) as bar:  # fmt: skip
                n_bytes = 0
                while chunk := answer.read(_CHUNK):
                    parts.append(chunk)
                    n_bytes += len(chunk)
                    bar.update(len(chunk))
                    if n_bytes > most:
                        raise DownloadError(
                            f"{url} holds more than the {most} bytes that were expected; is it "
                            "another file?"
                        )
    except urllib.error.HTTPError as error:
        raise DownloadError(
            f"{url}: the server answers {error.code} {error.reason}; check the address"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(f"{url} cannot be read: {reason}") from error
    if size is not None and n_bytes != size:
        raise DownloadError(
            f"{url}: the download is truncated: {n_bytes} of {size} bytes came; try again"
        )
    return b"".join(parts)


INDEX = "tlpot-models.json"
FORMAT = "tlpot-models"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexEntry:
    """One model of an index.

    Attributes:
        name: what it is installed as, unless another name is asked for.
        file: beside the index.
        sha256: of the file.
        size: of the file, bytes.
        kind: class of the model, such as ``Potential`` or ``Ensemble``.
        levels: of theory.
        elements: atomic numbers.
        n_weights: trainable numbers.
        cutoff: Å.
        licence: of the weights.
        description: on its card.
    """

    name: str
    file: str
    sha256: str
    size: int
    kind: str
    levels: tuple[str, ...]
    elements: tuple[int, ...]
    n_weights: int
    cutoff: float
    licence: str
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        if Path(self.file).name != self.file or "\\" in self.file or self.file in ("", ".", ".."):
            raise ConfigError(
                f"file is {self.file!r}, expected the name of a file beside the index"
            )
        if len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ConfigError(f"sha256 is {self.sha256!r}, expected 64 digits 0-9a-f")
        if self.size < 1:
            raise ConfigError(f"size is {self.size}, expected a number of bytes")
        if not all(0 < z < len(chemical_symbols) for z in self.elements):
            raise ConfigError(f"elements must be atomic numbers, not {self.elements}")

    def as_catalogue(self) -> CatalogueEntry:
        """Returns it in the form that `tlpot.models.Query` looks at."""
        return CatalogueEntry(
            source=self.name,
            name=self.name,
            levels=self.levels,
            elements=self.elements,
            n_weights=self.n_weights,
            cutoff=self.cutoff,
            licence=self.licence,
            description=self.description,
            sha256=self.sha256,
        )


def index_entry(path: Path) -> IndexEntry:
    """Describes a model file; it is loaded, so that what is listed can be used.

    Raises:
        ModelFileError: it cannot be read, or holds no model.
        ConfigError: its name is no name for a model.
    """
    from tlpot.models.model_file import from_bytes  # needs torch, reading an index does not

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error
    model = from_bytes(content, name=str(path))
    return IndexEntry(
        name=check_name(path.stem),
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        kind=type(model).__name__,
        levels=tuple(model.levels),
        elements=tuple(model.elements),
        n_weights=sum(p.numel() for p in model.parameters()),
        cutoff=float(model.cutoff),
        licence=model.card.lineage_licence,
        description=model.card.description,
    )


def write_index(folder: str | os.PathLike[str]) -> tuple[IndexEntry, ...]:
    """Writes the index of the model files in a folder, not of those in folders within it.

    Returns:
        What it lists.

    Raises:
        ModelFileError: no such folder, no model in it, or a file that cannot be used.
        ConfigError: a file whose name is no name for a model.
        OutputError: the index could not be written.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ModelFileError(f"there is no folder {folder}")
    entries = tuple(index_entry(path) for path in sorted(place.glob(f"*{SUFFIX}")))
    if not entries:
        raise ModelFileError(f"there are no model files (*{SUFFIX}) in {folder}")
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "models": [to_mapping(entry) for entry in entries],
    }
    write_text(place / INDEX, json.dumps(content, indent=1) + "\n")
    return entries


def parse_index(content: bytes, where: str) -> tuple[IndexEntry, ...]:
    """Reads an index.

    Args:
        content: of its file.
        where: the file or URL, for messages.

    Raises:
        ModelFileError: it is no index, from a newer tlpot, or damaged.
    """
    try:
        found: Any = json.loads(content)
    except ValueError as error:
        raise ModelFileError(
            f"{where} is not JSON ({error}); make it with 'tlpot models index'"
        ) from error
    if not isinstance(found, Mapping) or found.get("format") != FORMAT:
        raise ModelFileError(
            f"{where} is no index of models: 'format' must be {FORMAT!r}. Make one with "
            "'tlpot models index DIR'"
        )
    if found.get("format_version") != FORMAT_VERSION:
        raise ModelFileError(
            f"{where} has format version {found.get('format_version')!r}, this tlpot reads "
            f"{FORMAT_VERSION}; update tlpot"
        )
    models = found.get("models")
    if not isinstance(models, list) or not all(isinstance(m, Mapping) for m in models):
        raise ModelFileError(f"{where}: 'models' must be a list of entries")
    try:
        entries = tuple(parse(IndexEntry, m, f"models[{k}]") for k, m in enumerate(models))
    except ConfigError as error:
        raise ModelFileError(f"{where} is damaged: {error}; make it again") from error
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ModelFileError(f"{where} has {twice[0]!r} twice; make it again")
    return entries


class ModelSource:
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
        place: folder or URL to install from, see `ModelSource`.
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
        opened = ModelSource(place)
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

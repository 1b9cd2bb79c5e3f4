"""HDF5 files: opened, written whole or not at all, and seen as sections of columns."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from tlpot.data.dataset import Problem, Severity
from tlpot.data.fragment_upgrade import is_earlier, upgrade
from tlpot.data.store import Section
from tlpot.data.unread import unread_remedy
from tlpot.errors import DataError, OutputError
from tlpot.files import atomic_file


class HDF5Store:
    """The groups of an HDF5 file that hold structures.

    Groups without any frame are passed over, and counted in `problems`. So are, with a warning,
    groups that have one of the two datasets only.

    Args:
        path: the file.
        numbers: the dataset of atomic numbers or symbols.
        coordinates: the dataset of positions; a group with both is a section.
        pattern: shell pattern for the groups' paths (without the leading slash).

    Raises:
        DataError: the file is not HDF5, is truncated, leads to another that is not there, or no
            group has both datasets.
    """

    def __init__(self, path: Path, numbers: str, coordinates: str, pattern: str = "*") -> None:
        self.path = path
        self._file = HDF5File(path)
        self.sections: Sequence[Section] = []
        self.names: list[str] = []
        passed: dict[str, list[str]] = {kind: [] for kind in _PASSED_OVER}
        seen: set[str] = set()
        outside: set[str] = set()
        groups = GroupWalk(self._file.open(), path)
        for name, molecule, shapes in groups:
            seen |= shapes.keys()
            both = {numbers, coordinates} & shapes.keys()
            if not fnmatchcase(name, pattern):
                passed["unasked"] += [name] if len(both) == 2 else []
            elif len(both) < 2:
                passed["half"] += [name] if both else []
                outside |= shapes.keys()
            elif not shapes[coordinates][:1] or shapes[coordinates][0] == 0:
                passed["empty"].append(name)
            else:
                self.names.append(name)
                label = f"{path.name}:/{printable(name)}"
                self.sections.append(Section(group=molecule, label=label, shapes=shapes))
        passed["empty"] += groups.empty
        passed["again"] += groups.again
        self.linked: Sequence[Path] = tuple(sorted(groups.linked))
        self.outside: Sequence[str] = tuple(sorted(outside - {numbers, coordinates}))
        self.read_from: Mapping[str, Sequence[str]] = {}
        self.problems: Sequence[Problem] = _problems(passed, numbers, coordinates)
        if not self.sections and not passed["empty"]:
            found = ", ".join(sorted(map(printable, seen))) or "no datasets at all"
            raise DataError(
                f"{path}: no group matching {pattern!r} has both {numbers!r} and {coordinates!r} "
                f"(found: {found}); is this the right description (spec)?"
            )

    def attributes(self, section: int | None = None) -> Mapping[str, Any]:
        """Returns the attributes of a section's group, or of the file's root."""
        return read_attributes(self._file, "" if section is None else self.names[section])

    def read(self, section: int, key: str, rows: slice | None = None) -> NDArray:
        """Returns a dataset, or some of its rows.

        Raises:
            DataError: the file is damaged.
        """
        return read_column(self._file, self.path, self.names[section], key, rows)


class HDF5File:
    """A file that is opened when first needed in each process: it may be pickled or forked.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: h5py.File | None = None
        self._pid = -1

    def open(self) -> h5py.File:
        """Returns the file of this process, open for reading.

        Raises:
            DataError: see `open_hdf5`.
        """
        if self._pid != os.getpid():
            self._handle = open_hdf5(self._path)
            self._pid = os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_handle": None, "_pid": -1}


def read_attributes(file: HDF5File, name: str) -> dict[str, Any]:
    """Returns the attributes of a group; of the root without a name."""
    return dict(file.open()[raw_name(name or "/")].attrs)


def read_column(
    file: HDF5File, path: Path, name: str, key: str, rows: slice | None = None
) -> NDArray:
    """Returns a dataset of a group, or some of its rows.

    Raises:
        DataError: the file is damaged.
    """
    try:
        dataset = file.open()[raw_name(f"{name}/{key}")]
        # text that is stored once comes without a shape
        return np.asarray(dataset[() if rows is None else rows])
    except (OSError, KeyError) as error:
        raise DataError(
            f"{path}:/{name}: cannot read {key!r} ({error}); the file is damaged or "
            "was changed while open"
        ) from error


def open_hdf5(path: Path) -> h5py.File:
    """Opens a file for reading; a fragment file of tlpot 0.1 comes as it would be written now.

    Raises:
        DataError: there is no such file, or it is not HDF5, or is truncated.
    """
    handle = _open(path)
    if not is_earlier(handle, path):
        return handle
    with handle:
        upgraded = h5py.File(io.BytesIO(), "w")
        upgrade(handle, upgraded, path)
        return upgraded


@contextmanager
def written_hdf5(
    path: str | os.PathLike[str], source: Path | Callable[[Path], object] | None = None
) -> Iterator[h5py.File]:
    """Yields a new file that replaces `path` at the end, if nothing fails.

    Args:
        path: the file to write.
        source: what the new file begins with: what a call writes, or the content of another,
            which may be `path`; of a fragment file of tlpot 0.1, in the native layout.

    Raises:
        DataError: the source is damaged.
        OutputError: the file could not be written; an existing one is left as it was.
    """
    mode = "w"
    with atomic_file(path) as temporary:
        if callable(source):
            try:
                source(temporary)
            except OutputError as error:  # it names the temporary file
                if isinstance(error.__cause__, OSError):
                    raise error.__cause__ from None
                raise
            mode = "r+"
        elif source is not None:
            with _open(source) as handle:
                earlier = is_earlier(handle, source)
            if not earlier:
                shutil.copyfile(source, temporary)
                mode = "r+"
        try:
            with (
                _Target(temporary) as target,
                h5py.File(temporary, mode, driver="fileobj", fileobj=target) as new,
            ):
                if isinstance(source, Path) and mode == "w":
                    with _open(source) as handle:
                        upgrade(handle, new, source)
                yield new
        except RuntimeError as error:  # HDF5 reports some failed writes this way
            raise OSError(str(error)) from error


class _Target(io.RawIOBase):
    """A file for HDF5 to write, which hears of no failure.

    HDF5 cannot close a file on a full disk, leaves it behind and crashes when the process ends.
    So what it writes after the first failure is dropped, and the failure is raised at the end.

    Args:
        path: opened for reading and writing, and made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._file = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        self._failure: OSError | None = None

    def __exit__(self, *error: object) -> None:
        """Closes the file.

        Raises:
            OSError: the operating system has refused to write.
        """
        self._file.close()
        if self._failure is not None:
            raise self._failure

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, content: Any) -> int | None:
        return self._file.readinto(content)

    def write(self, content: Any) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        try:
            while rest and self._failure is None:  # a full disk may take a part
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise DataError(f"no such file: {path}")
    if path.stat().st_size and not h5py.is_hdf5(path):
        raise DataError(
            f"{path} is not an HDF5 file, and its name tells of no other format that holds a "
            "dataset (.xyz, .extxyz, .traj, .db, .json, vasprun.xml, OUTCAR, outputs of pw.x and "
            f"ORCA and folders do, .npz with spec=...); {unread_remedy(path)}"
        )
    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        raise DataError(
            f"{path} is not a complete HDF5 file ({error}); was the download or the program "
            "that wrote it interrupted?"
        ) from error


class GroupWalk:
    """Every group of a file once: its path, its molecule and the shapes of its datasets.

    Links are followed. A group that was met before, by another name or as its own ancestor, is
    not gone through again.

    Args:
        handle: the file, or a group of it.
        path: of the file.

    Attributes:
        empty: groups with nothing in them, as far as the walk has come.
        again: names that lead to groups that were met before.
        linked: other files that hold part of the content.

    Raises:
        DataError: a link or a virtual dataset leads to something that is not there.
    """

    def __init__(self, handle: h5py.Group, path: Path) -> None:
        self.empty: list[str] = []
        self.again: list[str] = []
        self.linked: set[Path] = set()
        self._handle = handle
        self._path = path
        self._met: set[tuple[int, int]] = set()

    def __iter__(self) -> Iterator[tuple[str, str, dict[str, tuple[int, ...]]]]:
        self._is_new(self._handle)
        yield from self._groups(self._handle, "")

    def _groups(
        self, group: h5py.Group, path: str
    ) -> Iterator[tuple[str, str, dict[str, tuple[int, ...]]]]:
        shapes: dict[str, tuple[int, ...]] = {}
        children: list[tuple[str, h5py.Group]] = []
        # a group that a link leads to has its own name where it lies in the file itself
        names = [_text(name) for name in group]
        for name in sorted(names, key=lambda name: self._is_link(group, name)):
            item, full = self._item(group, name), f"{path}/{name}" if path else name
            if isinstance(item, h5py.Dataset):
                self._note_files(item, full)
                # a dataset without dataspace has no shape at all
                shapes[name] = (0,) if item.shape is None else item.shape
            elif isinstance(item, h5py.Group):
                children.append((full, item))
        if path and not shapes and not children:
            self.empty.append(path)
        yield path, molecule_name(group, path), shapes
        for child_path, child in children:
            if self._is_new(child):
                yield from self._groups(child, child_path)
            else:
                self.again.append(child_path)

    def _is_new(self, group: h5py.Group) -> bool:
        info = h5py.h5o.get_info(group.id)
        key = info.fileno, info.addr
        new = key not in self._met
        self._met.add(key)
        return new

    @staticmethod
    def _is_link(group: h5py.Group, name: str) -> bool:
        return group.id.links.get_info(raw_name(name)).type != h5py.h5l.TYPE_HARD

    def _item(self, group: h5py.Group, name: str) -> object:
        try:
            item = group[raw_name(name)]
        except (KeyError, OSError, RuntimeError) as error:
            link = group.get(raw_name(name), getlink=True)
            if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
                target = link.path
                if isinstance(link, h5py.ExternalLink):
                    target = f"{link.filename}:{target}"
                raise DataError(
                    f"{self._path}:{group.name}: the link {name!r} leads to {target}, which is not "
                    "there; put the file that it needs beside this one, or remove the link"
                ) from error
            raise DataError(
                f"{self._path}:{group.name}: cannot open {name!r} ({error}); the file is damaged"
            ) from error
        if group.id.links.get_info(raw_name(name)).type == h5py.h5l.TYPE_EXTERNAL:
            self._link(Path(item.file.filename))
        return item

    def _note_files(self, dataset: h5py.Dataset, name: str) -> None:
        """Notes where a dataset has its content, if that is not in the file itself."""
        layout = dataset.id.get_create_plist()
        files: list[str] = []
        if layout.get_layout() == h5py.h5d.VIRTUAL:
            files = [source.file_name for source in dataset.virtual_sources()]
        elif layout.get_layout() == h5py.h5d.CONTIGUOUS and layout.get_external_count():
            files = [file for file, *_ in dataset.external]
        for file in set(files) - {"."}:
            place = Path(dataset.file.filename).parent / file
            if not place.is_file():
                # what is not there would be read as zeros
                raise DataError(
                    f"{self._path}:/{printable(name)} has its content in {file}, which is not "
                    "there; put that file beside this one"
                )
            self._link(place)

    def _link(self, file: Path) -> None:
        if file.resolve() != self._path.resolve():
            self.linked.add(file)


def dataset_names(handle: h5py.File, path: Path) -> set[str]:
    """Returns the names of all datasets, wherever they are; those of groups may be among them.

    Raises:
        DataError: see `GroupWalk`.
    """
    names: set[str] = set()
    kinds: set[int] = set()

    def visit(name: bytes, info: Any) -> None:
        names.add(_text(name).rpartition("/")[2])
        kinds.add(info.type)

    handle.id.links.visit(visit, info=True)
    if kinds <= {h5py.h5l.TYPE_HARD}:
        return names
    # where links lead, only the slower way through all groups tells
    return {name for _, _, shapes in GroupWalk(handle, path) for name in shapes}


def molecule_name(group: h5py.Group, path: str) -> str:
    """Returns the molecule of a group: several are one where its atoms come in several orders."""
    name = np.asarray(group.attrs.get("molecule", path)).reshape(-1)[:1].tolist()
    text = name[0] if name else path
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def printable(name: str) -> str:
    """Returns a name for a message: what would break the line, or the terminal, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def raw_name(name: str) -> bytes:
    """Returns a name as the file has it, which need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name


_PASSED_OVER: Mapping[str, tuple[Severity, str]] = {
    "empty": ("note", "groups passed over because they hold no frame"),
    "again": ("note", "groups passed over because they are read under another name"),
    "unasked": ("note", "groups passed over because they do not match the description's 'groups'"),
    "half": ("warning", "groups passed over because they lack {numbers!r} or {coordinates!r}"),
}
_SHOWN = 3
"""Groups named in a message."""


def _problems(
    passed: Mapping[str, Sequence[str]], numbers: str, coordinates: str
) -> tuple[Problem, ...]:
    found = []
    for kind, (severity, what) in _PASSED_OVER.items():
        names = [printable(name) or "/" for name in passed[kind]]
        if names:
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            text = what.format(numbers=numbers, coordinates=coordinates)
            found.append(Problem(severity=severity, what=f"{text}: {len(names)} ({shown})"))
    return tuple(found)


def json_attribute(handle: h5py.File, name: str, path: Path) -> dict[str, Any]:
    """Returns a root attribute that holds a JSON object; empty where there is none.

    Raises:
        DataError: it holds something else.
    """
    text = handle.attrs.get(name)
    if text is None:
        return {}
    try:
        value = json.loads(text, object_pairs_hook=_distinct)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: root attribute {name!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: root attribute {name!r} must be a JSON object, not {text!r}")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object; the last of two equal keys would else win unsaid."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise ValueError(f"{key!r} is given twice, as {found[key]!r} and {value!r}")
        found[key] = value
    return found

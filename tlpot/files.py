"""Files that are written whole or not at all, their encoding, hashes, checksums and locks."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import secrets
import shutil
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tlpot.errors import DataError, ModelFileError, OutputError, TLPotError, TLPotWarning

PathLike = str | os.PathLike[str]

HDF5_ENDINGS = (".h5", ".hdf5")
"""Of datasets in tlpot's own layout."""


def make_folder(path: PathLike) -> None:
    """Makes a folder, with those above it, unless it is there.

    Raises:
        OutputError: it could not be made, or a file is in the way.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror or error}") from error


@contextmanager
def atomic_file(path: PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is fsynced and renamed to `path`.

    On any failure, a full disk included, the temporary file is removed and an existing
    `path` is left as it was. Of several writers at once, the last to end has the file.

    Raises:
        OutputError: the file could not be written (disk full, no such folder, no permission).
    """
    target = Path(path)
    if not target.name or target.is_dir():
        raise OutputError(f"cannot write the file {path}: it is a folder")
    # threads, and containers on a shared folder, have the number of their process in common
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(target)
    except TLPotError:  # has said already what could not be written
        raise
    except OSError as error:
        raise OutputError(
            f"could not write {target}: {error.strerror or error}; nothing was changed. "
            "Check that the folder exists, that you may write there, and that the disk has room."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """A context in which a file is written piece by piece.

    Raises:
        OutputError: the operating system refused.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"could not write {path}: {error.strerror or error}") from error


def write_text(path: PathLike, text: str) -> None:
    """Writes a text file, UTF-8, see `atomic_file`.

    Raises:
        OutputError: the file could not be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_spared(output: PathLike, *given: object, option: str = "the output") -> Path:
    """Refuses an output that is one of the files that are read: it may be the only copy.

    Args:
        output: the file to write.
        given: what is read: files, datasets and the like with a ``path``, or several in a list or
            by name; what is no file is passed over.
        option: what names the output.

    Returns:
        The output.

    Raises:
        OutputError: it is one of the files.
    """
    target = Path(output)
    if target.is_file():
        for each in given:
            if isinstance(each, Mapping | list | tuple):
                inner = each.values() if isinstance(each, Mapping) else each
                check_spared(output, *inner, option=option)
                continue
            path = each if isinstance(each, str) else getattr(each, "path", each)
            if isinstance(path, str | os.PathLike) and _same_file(target, path):
                raise OutputError(
                    f"{option} {output} is one of the files that are read, which may be the only "
                    "copy; choose another name"
                )
    return target


def check_replaced(
    output: PathLike, *, what: str, overwrite: bool, option: str | None = "-o (output=...)"
) -> None:
    """Refuses to replace a file that nobody said may be replaced.

    Args:
        output: the file to write.
        what: it holds.
        overwrite: whether it may be replaced.
        option: that names it on the command line; None for what only Python writes.

    Raises:
        OutputError: the file exists, and `overwrite` is not set.
    """
    if Path(output).exists() and not overwrite:
        told = "overwrite=True" if option is None else "--overwrite (overwrite=True)"
        instead = "" if option is None else f" with {option}"
        raise OutputError(
            f"the {what} {output} exists; replace it with {told}, or choose another name{instead}"
        )


def check_hdf5_name(output: PathLike) -> Path:
    """Returns the path of a dataset to write, if it can be one.

    Raises:
        OutputError: another ending than .h5 and .hdf5.
    """
    if Path(output).suffix not in HDF5_ENDINGS:
        raise OutputError(
            f"the dataset {output} is written as HDF5, in tlpot's own layout, and must end in .h5 "
            "or .hdf5"
        )
    return Path(output)


def _same_file(target: Path, path: PathLike) -> bool:
    try:
        return target.samefile(path)
    except (OSError, ValueError):  # no such file, or a name that no file can have
        return False


def copy_file(source: PathLike, path: PathLike) -> None:
    """Copies the content of a file, see `atomic_file`.

    Raises:
        OutputError: `source` could not be read, or the copy could not be written.
    """
    with atomic_file(path) as temporary:
        shutil.copyfile(source, temporary)


def check_text(path: PathLike) -> None:
    """Checks that a file that may be text is not in UTF-16, which readers take for damage.

    Nothing is said of a file that does not exist.

    Raises:
        DataError: it is.
    """
    try:
        with Path(path).open("rb") as handle:
            head = handle.read(32)
    except OSError:
        return
    # without a mark of its order of bytes, every other byte of plain text is zero
    halves = (head[::2], head[1::2])
    bare = len(head) > 3 and any(
        not any(zeros) and all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in letters)
        for letters, zeros in (halves, halves[::-1])
    )
    if bare or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(
            f"{path} is text in UTF-16, as editors and PowerShell of Windows write it; expected "
            f"UTF-8: save it so in the editor, or iconv -f UTF-16 -t UTF-8 {path} > NEW"
        )


def not_utf8(path: PathLike, error: UnicodeDecodeError) -> str:
    """Says that a text has another encoding than UTF-8, for messages."""
    byte = error.object[error.start]
    return (
        f"{path} cannot be read as text: the byte {byte:#04x} at {error.start} is not UTF-8; save "
        "it in this encoding (iconv -f LATIN1 -t UTF-8), unless the file is damaged"
    )


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file's content.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


@contextmanager
def sole_use(output: Path, job: str, *, error: type[TLPotError] = OutputError) -> Iterator[None]:
    """Keeps other runs, of this process or another, away from a file while the context lasts.

    The lock is the operating system's (``flock``) on a small file that names the holder. It goes
    with the process, so that a killed run never blocks another. Where there are no locks (on
    some file systems, with a warning, and on Windows) nothing happens.

    Args:
        output: what is to be written; its folder must exist, the file need not.
        job: what is at work, such as ``tlpot md``.
        error: what to raise.

    Raises:
        TLPotError: another run has the output; the message names it.
        OutputError: the folder cannot be written.
    """
    with _sole_use(output, output.with_name(f".{output.name}.lock"), job, error):
        yield


@contextmanager
def sole_folder(folder: Path, job: str, *, error: type[TLPotError] = OutputError) -> Iterator[None]:
    """As `sole_use`, for a folder: it is made, and removed again if nothing was put into it."""
    make_folder(folder)
    try:
        with _sole_use(folder, folder / ".lock", job, error):
            yield
    finally:
        with suppress(OSError):  # not empty, as it should be
            folder.rmdir()


@contextmanager
def _sole_use(output: Path, path: Path, job: str, error: type[TLPotError]) -> Iterator[None]:
    handle = _locked(path, output, job, error)
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # a forked worker that comes by here holds nothing
            with suppress(OSError):
                path.unlink()  # before the lock goes, see `_locked`
        handle.close()


def _locked(path: Path, output: Path, job: str, error: type[TLPotError]) -> IO[str]:
    while True:
        try:
            handle = path.open("a+", encoding="utf-8")
        except OSError as problem:
            raise OutputError(
                f"cannot write beside {output}: {path}: {problem.strerror or problem}"
            ) from problem
        try:
            _lock(handle)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "another run"
            handle.close()
            raise error(
                f"{output} is in use by {holder}; wait for it, or choose another output"
            ) from None
        except OSError as problem:
            warnings.warn(
                f"{output} cannot be locked ({problem}); keep other runs away from it yourself",
                TLPotWarning,
                stacklevel=4,
            )
        try:
            # the file may have been removed by the run before, after it was opened here
            if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                break
        except FileNotFoundError:
            pass
        handle.close()
    handle.truncate(0)
    with suppress(OSError):  # on a full disk it holds without a name, too
        name = f"{job} (process {os.getpid()} on {socket.gethostname()})\n"
        os.write(handle.fileno(), name.encode())  # a buffer would be written again on closing
    return handle


def _lock(handle: IO[str]) -> None:
    """Takes the lock of an open file.

    Raises:
        BlockingIOError: somebody has it.
        OSError: there are no locks here.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


CHECKSUM = "tlpot-checksum"
"""The checksum inside a safetensors file, over every byte of it: header, metadata and tensors.

It is the SHA-256 of the file in which the 64 digits of the checksum itself are zeros. A file
without one, as tlpot wrote them before, has its description as its only metadata, so that
damage to the checksum's own name shows as an entry that does not belong there.
"""
_BEGINNING = b'{"__metadata__":{'
_ZEROS = b"0" * 64


def with_checksum(content: bytes) -> bytes:
    """Returns a safetensors file with metadata and without checksum, with one added."""
    length = int.from_bytes(content[:8], "little")
    header, tensors = content[8 : 8 + length], content[8 + length :]
    if not header.startswith(_BEGINNING):
        raise ValueError("a file without metadata cannot have a checksum")
    header = _BEGINNING + _entry(_ZEROS) + b"," + header.removeprefix(_BEGINNING).rstrip(b" ")
    header += b" " * (-len(header) % 8)  # tensors are aligned
    blank = len(header).to_bytes(8, "little") + header + tensors
    digest = hashlib.sha256(blank).hexdigest().encode()
    return blank.replace(_entry(_ZEROS), _entry(digest), 1)


def has_checksum(content: bytes, name: str) -> bool:
    """Whether a safetensors file has a checksum; it is compared with the content.

    Args:
        content: the file's bytes; the header must be whole.
        name: of the file, for messages.

    Raises:
        ModelFileError: the content is not what it was when the checksum was made.
    """
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    found = metadata.get(CHECKSUM)
    if found is None:
        if len(metadata) > 1:
            raise ModelFileError(
                f"{name} is damaged, or was changed by another program: its metadata hold "
                f"{', '.join(sorted(metadata))} without {CHECKSUM!r}; copy it again"
            )
        return False
    entry = _entry(str(found).encode())
    start = content.find(entry, 0, 8 + length)
    if start >= 0 and len(found) == 64:
        blank = content[:start] + _entry(_ZEROS) + content[start + len(entry) :]
        if hashlib.sha256(blank).hexdigest() == found:
            return True
    raise ModelFileError(
        f"{name} is damaged: it does not have the checksum that it states (a bad disk, an "
        "incomplete copy, or a program that changed it); copy it again"
    )


def _entry(digits: bytes) -> bytes:
    return b'"' + CHECKSUM.encode() + b'":"' + digits + b'"'

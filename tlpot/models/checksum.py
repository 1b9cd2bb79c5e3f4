"""A checksum inside a safetensors file, over every byte of it: header, metadata and tensors.

It is the SHA-256 of the file in which the 64 digits of the checksum itself are zeros. A file
without one, as tlpot wrote them before, has its description as its only metadata, so that
damage to the checksum's own name shows as an entry that does not belong there.
"""

from __future__ import annotations

import hashlib
import json

from tlpot.errors import ModelFileError

CHECKSUM = "tlpot-checksum"
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

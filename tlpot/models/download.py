"""Bytes from a URL."""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from tlpot._version import __version__
from tlpot.errors import ConfigError, DownloadError
from tlpot.progress_bar import progress_bar

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
    scheme, found, _ = text.partition("://")
    if not found:
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

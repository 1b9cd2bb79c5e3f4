"""How memory is given back: by the C library, and by Python's garbage collector."""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # from malloc.h
_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Lets glibc keep freed memory for the next allocation.

    Each step of a training or a simulation allocates the same tensors anew; returning them to the
    system and fetching zeroed pages again takes time. It concerns the
    whole process, hence only the command line does it. Elsewhere than on glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    adjust(_MMAP_THRESHOLD, _BYTES)
    adjust(_TRIM_THRESHOLD, _BYTES)


def load_torch() -> None:
    """Imports torch without looking for garbage among its modules, now or ever.

    They stay until the process ends, and looking takes a tenth of the import.
    """
    if "torch" in sys.modules or not gc.isenabled():
        return
    gc.disable()
    try:
        importlib.import_module("torch")
        gc.freeze()
    finally:
        gc.enable()

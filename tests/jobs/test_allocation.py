"""The one process-wide setting besides OpenMP's, made by the command line alone."""

import ctypes
import sys

import pytest

from tlpot import execution as allocation


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_both_thresholds_are_raised(monkeypatch):
    calls = []

    class Library:
        def __init__(self, name):
            pass

        def mallopt(self, parameter, value):
            calls.append((parameter, value))

    monkeypatch.setattr(ctypes, "CDLL", Library)
    allocation.keep_freed_memory()
    assert calls == [(-3, 1 << 30), (-1, 1 << 30)]


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    allocation.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    allocation.keep_freed_memory()

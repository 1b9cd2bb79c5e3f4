"""A cache that holds the most recently used items under a bound on their size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Items by key; the least recently used go first when the bound is passed.

    Args:
        limit: bytes. One item larger than that is returned but not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.n_bytes = 0
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K, load: Callable[[], tuple[V, int]]) -> V:
        """Returns the item, calling `load` for it and its size in bytes where it is not held."""
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key][0]
        value, n_bytes = load()
        if n_bytes <= self.limit:
            self._items[key] = value, n_bytes
            self.n_bytes += n_bytes
            while self.n_bytes > self.limit:
                _, (_, freed) = self._items.popitem(last=False)
                self.n_bytes -= freed
        return value

    def __getstate__(self) -> dict[str, int]:
        """The content stays behind: another process fills its own."""
        return {"limit": self.limit}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.limit = state["limit"]
        self.n_bytes = 0
        self._items = OrderedDict()

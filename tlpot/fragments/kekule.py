"""Double and triple bonds: the cheapest way to close all valences of a conjugated system."""

from __future__ import annotations

from functools import lru_cache

from tlpot.errors import GeometryError

MOST_STATES = 200_000

Options = tuple[tuple[int, int], ...]
"""What an atom may be: (extra bond orders, cost) pairs."""


@lru_cache(maxsize=4096)
def cheapest_orders(
    options: tuple[Options, ...], edges: tuple[tuple[int, int], ...]
) -> tuple[int, ...]:
    """Returns the extra order (0, 1 or 2) of each bond that costs least in all.

    Exact dynamic programming over the bonds in the given order: an atom is priced when its
    last bond is set, so the table holds only the atoms at the front. With atoms numbered
    breadth first and bonds sorted by their later atom, the front of a molecule is narrow.

    Args:
        options: for each atom what it may be; anything else is forbidden.
        edges: bonds between atoms.

    Raises:
        GeometryError: the front is too wide (a sheet of graphene).
    """
    last = {}
    for index, (a, b) in enumerate(edges):
        last[a] = last[b] = index
    prices = [dict(option) for option in options]
    most = [max(price) for price in prices]
    empty: tuple = ()
    table: dict[tuple[int, ...], tuple[int, tuple]] = {(0,) * len(options): (0, empty)}
    for index, (a, b) in enumerate(edges):
        closing = [atom for atom in (a, b) if last[atom] == index]
        new: dict[tuple[int, ...], tuple[int, tuple]] = {}
        for state, (cost, path) in table.items():
            for order in range(min(2, most[a] - state[a], most[b] - state[b]) + 1):
                after = list(state)
                after[a] += order
                after[b] += order
                total: int | None = cost
                for atom in closing:
                    price = prices[atom].get(after[atom])
                    total = None if price is None or total is None else total + price
                    after[atom] = 0
                if total is None:
                    continue
                key = tuple(after)
                if key not in new or total < new[key][0]:
                    new[key] = (total, (path, order))
        if len(new) > MOST_STATES:
            raise GeometryError(
                f"a conjugated system of {len(options)} atoms is too wide for an assignment of "
                "double bonds; fragments of sheets and tubes are not supported"
            )
        table = new
    _, path = min(table.values(), key=lambda entry: entry[0])
    orders = []
    while path:
        path, order = path
        orders.append(order)
    return tuple(reversed(orders))

"""All pairs of outputs as a mapping that makes a boundary when it is looked up."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nneq.api.boundary import Boundary

__all__ = ["Pairs"]

Pair = tuple[str, str]


class Pairs(Mapping[Pair, "Boundary"]):
    """``{(z_i, z_j): Boundary}`` for ``i < j``; a boundary is made once, when it is asked for."""

    def __init__(self, names: Sequence[str], make: Callable[[str, str], Boundary]) -> None:
        """Hold the names; nothing is made yet."""
        self._places = {str(name): place for place, name in enumerate(names)}
        self._make = make
        self._made: dict[Pair, Boundary] = {}

    def __getitem__(self, pair: Pair) -> Boundary:
        first, second = pair
        places = self._places
        if first not in places or second not in places or places[first] >= places[second]:
            raise KeyError(pair)
        if pair not in self._made:
            self._made[pair] = self._make(first, second)
        return self._made[pair]

    def __iter__(self) -> Iterator[Pair]:
        return itertools.combinations(self._places, 2)

    def __len__(self) -> int:
        count = len(self._places)
        return count * (count - 1) // 2

    def __contains__(self, pair: object) -> bool:
        if not (isinstance(pair, tuple) and len(pair) == 2):
            return False
        first, second = (self._places.get(name) for name in pair)
        return first is not None and second is not None and first < second

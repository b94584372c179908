"""
Content hashes → small numbers, in memory: an open hash table that is asked for whole arrays at once.

An entry takes 24 to 48 bytes. The hashes are those of hashing.py: their bits are mixed already, so the low ones say
where to look first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diagnose.pprof.hashing import Hashes

Numbers = NDArray[np.int32]
Any63Bits = NDArray[np.uint64] | NDArray[np.int64]
_SMALLEST = 1024  # places
_NOBODY = np.uint64(0)


class HashTable:
    """For one thread."""

    def __init__(self) -> None:
        self._count = 0
        self._empty(_SMALLEST)

    def __len__(self) -> int:
        return self._count

    def find(self, hashes: Any63Bits) -> Numbers:
        """The number of each; 0 for those that are not here."""
        found = np.zeros(len(hashes), np.int32)
        keys = _keys(hashes)
        places = self._first_places(keys)
        left = np.arange(len(keys))
        while len(left):
            at = places[left]
            there = self._keys[at]
            hit = there == keys[left]
            found[left[hit]] = self._numbers[at[hit]]
            left = left[~hit & (there != _NOBODY)]
            places[left] = self._next_places(places[left])
        return found

    def add(self, hashes: Any63Bits, numbers: Numbers) -> None:
        """*hashes* are distinct and not here yet; *numbers* are not 0."""
        self._count += len(hashes)
        if 2 * self._count > len(self._keys):
            taken = self._keys != _NOBODY
            keys, old_numbers = self._keys[taken], self._numbers[taken]
            self._empty(1 << (2 * self._count).bit_length())
            self._put(keys, old_numbers)
        self._put(_keys(hashes), numbers)

    def _put(self, keys: Hashes, numbers: Numbers) -> None:
        places = self._first_places(keys)
        left = np.arange(len(keys))
        while len(left):
            at = places[left]
            free = self._keys[at] == _NOBODY
            self._keys[at[free]] = keys[left[free]]  # of several that want one place the last gets it
            settled = self._keys[at] == keys[left]
            self._numbers[at[settled]] = numbers[left[settled]]
            left = left[~settled]
            places[left] = self._next_places(places[left])

    def _empty(self, size: int) -> None:
        self._keys = np.zeros(size, np.uint64)
        self._numbers = np.zeros(size, np.int32)

    def _first_places(self, keys: Hashes) -> NDArray[np.int64]:
        return (keys & np.uint64(len(self._keys) - 1)).astype(np.int64)

    def _next_places(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return (places + 1) & (len(self._keys) - 1)


def _keys(hashes: Any63Bits) -> Hashes:
    """A hash has 63 bits, so none of these is 0, which stands for nobody."""
    return hashes.astype(np.uint64) + np.uint64(1)

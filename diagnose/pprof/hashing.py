"""
Content hashes, the same in every profile, process and version, unlike `hash()` of Python or DuckDB.

They use 63 bits: above that, joins in DuckDB over Arrow tables fail (it hands the bounds to pyarrow, which takes Python
integers as signed), and signed readers see negative numbers.

Texts are hashed with BLAKE2b. What is made of hashed parts, a frame or a stack, is mixed from their hashes with the
finaliser of SplitMix64, for whole arrays at once: a profile of 50,000 stacks has two million positions to hash. That
does not stop somebody who looks for collisions; whoever may send profiles can spoil only profiles.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from diagnose.pprof.arrays import Positions

Hashes = NDArray[np.uint64]
ID_MASK = (1 << 63) - 1
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_PIECE = 32_768


def hash64(data: bytes) -> int:
    """BLAKE2b cut to 63 bits, little endian: stable for ever."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little") & ID_MASK


@lru_cache(maxsize=65536)
def hash_text(text: str) -> int:
    """The hash of a text; half surrogate pairs are allowed."""
    return hash64(text.encode("utf-8", "surrogatepass"))


def scramble(values: Hashes) -> Hashes:
    """SplitMix64's finaliser: every bit of a value changes half of the result."""
    return _scrambled(values.copy())


def _scrambled(values: Hashes) -> Hashes:
    """The same in place, piece by piece: what fits into the cache takes a third of the time."""
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE]
        piece ^= piece >> np.uint64(30)
        piece *= _FIRST
        piece ^= piece >> np.uint64(27)
        piece *= _SECOND
        piece ^= piece >> np.uint64(31)
    return values


def mix(first: Hashes, second: NDArray[np.int64] | Hashes) -> Hashes:
    """One hash out of two; the order counts."""
    return _scrambled(_scrambled(first + _STEP) + second.astype(np.uint64) * _STEP)


def placed(values: Hashes, places: Positions) -> Hashes:
    """A hash of each value at its place; their sum is the hash of the sequence."""
    hashes = places.astype(np.uint64)
    hashes += np.uint64(1)
    hashes *= _STEP
    hashes += values
    return _scrambled(hashes)


def sums(values: Hashes, ends: Positions) -> Hashes:
    """The sum of each slice `values[ends[i]:ends[i + 1]]`, modulo 2⁶⁴."""
    before = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values, out=before[1:])
    return before[ends[1:]] - before[ends[:-1]]


def as_ids(hashes: Hashes) -> Hashes:
    """Cut to 63 bits."""
    ids = scramble(hashes)
    ids &= np.uint64(ID_MASK)
    return ids

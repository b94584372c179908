"""
Slices of flat arrays: the stacks of a profile, one after the other.

Slice *i* of an array is `array[ends[i]:ends[i + 1]]`; `ends` starts with 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Result = TypeVar("Result")
BLOCK = 1 << 19
WORKERS = 2  # NumPy and Arrow let the other one work meanwhile
_MOST_KEYS = 1 << 63


def numbers_of(column: pa.Array) -> Positions:
    """An Arrow array of whole numbers as NumPy has them; above 2⁶³ they become negative."""
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype(np.int64, copy=False)


def dense(*columns: NDArray[Any]) -> tuple[Positions, Positions]:
    """
    (a number from 0 for each distinct row of *columns*, the position of the first such row), in order of appearance.

    Exact: columns of whole numbers make one key as digits make a number, as long as it fits into 63 bits.

        b a b c  →  numbers 0 1 0 2, first 0 1 3
    """
    if not len(columns[0]):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    key, size = _digits(columns[0]) if len(columns) > 1 else (columns[0], 0)
    for column in columns[1:]:
        digits, base = _digits(column)
        if size * base > _MOST_KEYS:
            (key, size), (digits, base) = _digits(_numbered(key)[0]), _digits(_numbered(digits)[0])
        key, size = key * base + digits, size * base
    return _numbered(key)


def _digits(column: NDArray[Any]) -> tuple[Positions, int]:
    """(the numbers from 0 on, one more than the largest)."""
    lowest = int(column.min())
    return column.astype(np.int64) - lowest, int(column.max()) - lowest + 1


def _numbered(column: NDArray[Any]) -> tuple[Positions, Positions]:
    """`dense` of one column."""
    if int(column.min()) >= 0 and int(column.max()) <= 2 * len(column):
        return _numbered_by_table(column)
    numbers = numbers_of(pa.array(column).dictionary_encode().indices)
    first = np.empty(int(numbers.max()) + 1, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]  # of several, the last assignment stays
    return numbers, first


def _numbered_by_table(column: NDArray[Any]) -> tuple[Positions, Positions]:
    """The same without a hash table: a quarter of the time where the numbers are small."""
    places = np.full(int(column.max()) + 1, -1)
    places[column[::-1]] = np.arange(len(column))[::-1]
    first = np.sort(places[places >= 0])
    places[column[first]] = np.arange(len(first))
    return places[column], first


def is_counted(ids: Positions) -> bool:
    """Whether they are 1, 2, 3 … as in most files."""
    return bool(np.array_equal(ids, np.arange(1, len(ids) + 1)))


def positions_of(ids: Positions, wanted: Positions) -> Positions:
    """Where each of *wanted* stands in *ids*, which are distinct; -1 where it does not."""
    if is_counted(ids):
        places = wanted - 1
        places[(wanted < 1) | (wanted > len(ids))] = -1
        return places
    if ids.min() >= 0 and ids.max() <= 8 * len(ids) + 1024:
        return _by_table(ids, wanted)
    order = np.argsort(ids)
    at = order[np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)]
    return np.where(ids[at] == wanted, at, -1)


def _by_table(ids: Positions, wanted: Positions) -> Positions:
    table = np.full(ids.max() + 2, -1)
    table[ids] = np.arange(len(ids))
    found = np.empty(len(wanted), np.int64)
    for start in range(0, len(wanted), BLOCK):
        piece = wanted[start : start + BLOCK]
        known = np.where((piece < 0) | (piece > ids.max()), len(table) - 1, piece)
        found[start : start + BLOCK] = table[known]
    return found


@dataclass(frozen=True)
class Block:
    """Some slices that lie together: which ones, their elements, and their ends counted from the first element."""

    slices: slice
    elements: slice
    ends: Positions


def by_blocks(ends: Positions, work: Callable[[Block], Result]) -> list[Result]:
    """
    What *work* makes of the slices, one block after the other; two are worked on at a time.

    Each block has about BLOCK elements together, one slice at least: arrays of that size stay in the cache, and their
    memory is used again. Those of a whole profile of 200,000 samples took twice as long, most of it in the kernel.
    """
    blocks = list(_blocks(ends))
    if len(blocks) < 2:
        return [work(block) for block in blocks]
    with ThreadPoolExecutor(WORKERS) as workers:
        return list(workers.map(work, blocks))


def _blocks(ends: Positions) -> Iterator[Block]:
    first, count = 0, len(ends) - 1
    while first < count:
        last = int(np.searchsorted(ends, ends[first] + BLOCK, side="right")) - 1
        last = min(max(last, first + 1), count)
        own_ends = ends[first : last + 1] - ends[first]
        yield Block(slice(first, last), slice(int(ends[first]), int(ends[last])), own_ends)
        first = last


def slices(ends: Positions, chosen: Positions) -> tuple[Positions, Positions]:
    """(the places of the elements of the *chosen* slices one after the other, their new ends)."""
    lengths = ends[chosen + 1] - ends[chosen]
    new_ends = np.concatenate([[0], np.cumsum(lengths)])
    places = np.repeat(ends[chosen] - new_ends[:-1], lengths)
    places += np.arange(new_ends[-1])
    return places, new_ends


def places_within(ends: Positions) -> Positions:
    """How far each element is from the start of its slice: ends 0 2 5 → 0 1 0 1 2."""
    places = np.arange(ends[-1])
    places -= np.repeat(ends[:-1], np.diff(ends))
    return places


def first_places(flags: NDArray[np.bool_], values: NDArray[Any], ends: Positions) -> Positions:
    """
    The place of the first element of each slice of *values* whose flag is set; -1 where none is.

    Walks all slices together, one element a step: what is looked for mostly stands near the start.
    """
    places = np.full(len(ends) - 1, -1)
    left = np.flatnonzero(ends[1:] > ends[:-1]) if flags.any() else np.zeros(0, np.int64)
    at = ends[left]
    while len(left):
        found = flags[values[at]]
        places[left[found]] = at[found]
        left, at = left[~found], at[~found] + 1
        inside = at < ends[left + 1]
        left, at = left[inside], at[inside]
    return places

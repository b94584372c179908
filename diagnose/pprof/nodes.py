"""
Many stacks → one call tree by function name.

A node is the path of names from the root to it. Its id is a hash of those names in their places, so the same path has
the same id in every profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagnose.pprof.arrays import BLOCK, Block, Positions, by_blocks, dense, places_within
from diagnose.pprof.hashing import Hashes, as_ids, placed

_ROOT = -1


@dataclass(frozen=True)
class Nodes:
    """
    Nodes numbered from 0, parents before children. The arrays have one entry per node, but `flat` has the node number
    of every frame of every stack, each stack root → leaf.
    """

    ids: Hashes
    parents: Positions  # number of the parent, -1 for a root
    first_frames: Positions  # number of the first frame seen there
    depths: Positions  # 1 for a root
    outer_most: NDArray[np.bool_]  # no ancestor has the same name
    flat: NDArray[np.int32]


def build_nodes(frames: NDArray[np.int32], ends: Positions, name_of_frame: Positions, name_hashes: Hashes) -> Nodes:
    """
    The tree over the stacks `frames[ends[i]:ends[i + 1]]`, given leaf → root as frame numbers.

    *name_of_frame* is the number of each frame's name, *name_hashes* the hash of each name.

        stacks [c b a] and [b a], names a b c  →  nodes a, a/b, a/b/c; flat = [0 1 2, 0 1]
    """
    flat = np.empty(len(frames), np.int32)
    parts: list[_Part] = []
    known = 0
    frame_hashes = name_hashes[name_of_frame]

    def part_of(block: Block) -> tuple[_Part, slice]:
        part, flat[block.elements] = _part(frames[block.elements], block.ends, frame_hashes)
        return part, block.elements

    for part, whole in by_blocks(ends, part_of):
        flat[whole] += known  # for now the place among the nodes of all parts
        parts.append(part.shifted(known))
        known += len(part.ids)
    ids, parents, first_frames, depths = (np.concatenate(column) for column in zip(*(_NOTHING, *parts), strict=True))
    number, firsts = dense(ids)
    own_parents = parents[firsts]
    parents = np.where(own_parents < 0, _ROOT, number[own_parents] if len(number) else own_parents)
    for start in range(0, len(flat), BLOCK):
        flat[start : start + BLOCK] = number[flat[start : start + BLOCK]]
    names = name_of_frame[first_frames[firsts]]
    return Nodes(
        ids[firsts], parents, first_frames[firsts], depths[firsts], _outer_most(parents, names, depths[firsts]), flat
    )


class _Part(NamedTuple):
    """The nodes of some stacks; those of several parts may be the same."""

    ids: Hashes
    parents: Positions
    first_frames: Positions
    depths: Positions

    def shifted(self, by: int) -> _Part:
        return self._replace(parents=np.where(self.parents < 0, _ROOT, self.parents + by))


_NOTHING = _Part(np.zeros(0, np.uint64), *(np.zeros(0, np.int64),) * 3)


def _part(frames: NDArray[np.int32], ends: Positions, frame_hashes: Hashes) -> tuple[_Part, Positions]:
    """The nodes of these stacks and, stack by stack from the root, which one each frame is."""
    counts, places = np.diff(ends), places_within(ends)
    from_root = frames[np.repeat(ends[1:] - 1, counts) - places]
    ids = _path_hashes(placed(frame_hashes[from_root], places), ends)
    numbers, first = dense(ids)
    parents = np.where(places[first] == 0, _ROOT, numbers[first - 1])
    return _Part(ids[first], parents, from_root[first].astype(np.int64), places[first] + 1), numbers


def _path_hashes(values: Hashes, ends: Positions) -> Hashes:
    """The hash of each stack from its start up to every place in it."""
    added = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values, out=added[1:])
    added[1:] -= np.repeat(added[ends[:-1]], np.diff(ends))
    return as_ids(added[1:])


def _outer_most(parents: Positions, names: Positions, depths: Positions) -> NDArray[np.bool_]:
    """Walks those that may be recursive up together, one ancestor a step."""
    outer_most = np.ones(len(parents), np.bool_)
    nodes = _maybe_recursive(parents, names, depths)
    above = parents[nodes]
    while len(nodes):
        recursive = names[above] == names[nodes]
        outer_most[nodes[recursive]] = False
        above = parents[above]
        going_on = ~recursive & (above != _ROOT)
        nodes, above = nodes[going_on], above[going_on]
    return outer_most


def _maybe_recursive(parents: Positions, names: Positions, depths: Positions) -> Positions:
    """
    Nodes with an ancestor whose name sets the same two bits of 64, level by level: all recursive ones and some others.

    Few programs recurse, and walking up from every node takes a sixth of the time of a large import.
    """
    bits = np.uint64(1) << (names % 61).astype(np.uint64) | np.uint64(1) << (names // 61 % 64).astype(np.uint64)
    above = np.zeros(len(parents), np.uint64)  # the bits of all ancestors
    order = np.argsort(depths, kind="stable")
    level_ends = np.cumsum(np.bincount(depths))
    for start, stop in pairwise(level_ends[1:]):
        level = order[start:stop]
        above[level] = above[parents[level]] | bits[parents[level]]
    return np.flatnonzero((above & bits) == bits)

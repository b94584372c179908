"""
Many stacks → one call tree by function name, level by level from the root, with NumPy.

A node is the path of names from the root to it. Its id is a hash of its parent's id and its own name, so the same path
has the same id in every profile.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

NumberArray = NDArray[np.int64]
ID_MASK = (1 << 63) - 1
_ROOT = -1


@dataclass(frozen=True)
class Nodes:
    """
    Nodes numbered from 0, parents before children. The arrays have one entry per node, but `flat` has the node number
    of every frame of every stack, each stack root → leaf.
    """

    ids: NDArray[np.uint64]
    parents: NumberArray  # number of the parent, -1 for a root
    first_frames: NumberArray  # number of the first frame seen there
    depths: NDArray[np.int32]  # 1 for a root
    outer_most: NDArray[np.bool_]  # no ancestor has the same name
    flat: NumberArray


def build_nodes(frames: NumberArray, ends: NumberArray, names: tuple[NumberArray, list[str]]) -> Nodes:
    """
    The tree over the stacks `frames[ends[i]:ends[i + 1]]`, given leaf → root as frame numbers.

    *names* is (frame number → name number, the names).

        stacks [c b a] and [b a], names a b c  →  nodes a, a/b, a/b/c; flat = [0 1 2, 0 1]
    """
    name_of_frame, texts = names
    flat = np.zeros(len(frames), np.int64)
    levels: list[_Level] = []
    active = np.flatnonzero(ends[1:] > ends[:-1])  # stacks that reach this level
    parents = np.full(len(active), _ROOT, np.int64)
    known = 0
    while len(active):
        depth = len(levels)
        frames_here = frames[ends[active + 1] - 1 - depth]
        level, numbers = _level(parents, frames_here, name_of_frame, first_number=known)
        known += len(level.parents)
        levels.append(level)
        flat[ends[active] + depth] = numbers
        deeper = ends[active + 1] - ends[active] > depth + 1
        active, parents = active[deeper], numbers[deeper]
    return _join(levels, flat, name_of_frame, texts)


@dataclass(frozen=True)
class _Level:
    parents: NumberArray
    first_frames: NumberArray


def _level(
    parents: NumberArray, frames: NumberArray, name_of_frame: NumberArray, *, first_number: int
) -> tuple[_Level, NumberArray]:
    """The distinct (parent, name) pairs of one level, and which of them each stack is in."""
    keys = (parents + 1) << 32 | name_of_frame[frames]
    _, firsts, numbers = np.unique(keys, return_index=True, return_inverse=True)
    return _Level(parents[firsts], frames[firsts]), numbers.astype(np.int64) + first_number


def _join(levels: list[_Level], flat: NumberArray, name_of_frame: NumberArray, texts: list[str]) -> Nodes:
    nothing = np.zeros(0, np.int64)
    parents = np.concatenate([nothing, *(level.parents for level in levels)])
    first_frames = np.concatenate([nothing, *(level.first_frames for level in levels)])
    sizes = [len(level.parents) for level in levels]
    depths = np.repeat(np.arange(1, len(levels) + 1, dtype=np.int32), sizes)
    names = name_of_frame[first_frames]
    return Nodes(_hashes(parents, names, texts), parents, first_frames, depths, _outer_most(parents, names), flat)


def _hashes(parents: NumberArray, names: NumberArray, texts: list[str]) -> NDArray[np.uint64]:
    name_hashes = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    digests: list[bytes] = []
    no_parent = bytes(8)
    for parent, name in zip(parents.tolist(), names.tolist(), strict=True):
        above = no_parent if parent == _ROOT else digests[parent]
        digests.append(blake2b(above + name_hashes[name], digest_size=8).digest())
    return np.frombuffer(b"".join(digests), np.dtype("<u8")) & np.uint64(ID_MASK)


def _outer_most(parents: NumberArray, names: NumberArray) -> NDArray[np.bool_]:
    """Walks all nodes up together, one ancestor a step."""
    outer_most = np.ones(len(parents), np.bool_)
    nodes = np.flatnonzero(parents != _ROOT)
    above = parents[nodes]
    while len(nodes):
        recursive = names[above] == names[nodes]
        outer_most[nodes[recursive]] = False
        above = parents[above]
        going_on = ~recursive & (above != _ROOT)
        nodes, above = nodes[going_on], above[going_on]
    return outer_most

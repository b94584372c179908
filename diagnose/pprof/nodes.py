"""
Many stacks → one call tree by function name.

A node is the path of names from the root to it. Its id is a hash of those names in their places, so the same path has
the same id in every profile.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagnose.pprof.arrays import Positions, dense, places_within
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
    flat: Positions


def build_nodes(frames: Positions, ends: Positions, name_of_frame: Positions, name_hashes: Hashes) -> Nodes:
    """
    The tree over the stacks `frames[ends[i]:ends[i + 1]]`, given leaf → root as frame numbers.

    *name_of_frame* is the number of each frame's name, *name_hashes* the hash of each name.

        stacks [c b a] and [b a], names a b c  →  nodes a, a/b, a/b/c; flat = [0 1 2, 0 1]
    """
    counts, places = np.diff(ends), places_within(ends)
    from_root = frames[np.repeat(ends[1:] - 1, counts) - places]
    names = name_of_frame[from_root]
    ids = _path_hashes(placed(name_hashes[names], places), ends)
    flat, first = dense(ids)
    parents = np.where(places[first] == 0, _ROOT, flat[first - 1])
    return Nodes(
        ids=ids[first],
        parents=parents,
        first_frames=from_root[first],
        depths=places[first] + 1,
        outer_most=_outer_most(parents, names[first]),
        flat=flat,
    )


def _path_hashes(values: Hashes, ends: Positions) -> Hashes:
    """The hash of each stack from its start up to every place in it."""
    added = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values, out=added[1:])
    return as_ids(added[1:] - np.repeat(added[ends[:-1]], np.diff(ends)))


def _outer_most(parents: Positions, names: Positions) -> NDArray[np.bool_]:
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

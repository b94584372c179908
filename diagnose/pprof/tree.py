"""
Samples → call tree by function name, and functions that turn one tree into another. None of them changes its input.

A tree is a flat list: node 0 is `all`, parents stand before their children, so every walk is a loop and a stack of ten
thousand frames is no danger. Each node has two pairs of values, during and before; in a tree of one profile the second
pair is 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from diagnose.pprof.names import is_profiler, origin_of
from diagnose.pprof.profile import Profile, ValueType
from diagnose.pprof.top import stack_values

ROOT = "all"
PROFILER = "diagnose itself"
SMALL = "(small)"


class Node(NamedTuple):
    """
    One function called along one path. `total` covers the node and all below, `self_value` what is not below.

    `parent` is the position of the caller in the tree, -1 for the root.
    """

    function: str
    file: str
    parent: int
    total: int
    self_value: int
    base_total: int = 0
    base_self: int = 0


@dataclass(frozen=True, slots=True)
class Tree:
    """A call tree in the unit of `value_type`. `compared` says whether the base values mean anything."""

    value_type: ValueType
    nodes: tuple[Node, ...]
    compared: bool = False

    @property
    def total(self) -> int:
        return self.nodes[0].total

    @property
    def base_total(self) -> int:
        return self.nodes[0].base_total

    def self_check(self) -> None:
        """Raise AssertionError unless every total is the node's own value plus its children's totals, in both pairs."""
        parents = [node.parent for node in self.nodes]
        totals = _added_up(parents, [node.self_value for node in self.nodes])
        base_totals = _added_up(parents, [node.base_self for node in self.nodes])
        for at, node in enumerate(self.nodes):
            if node.parent >= at or (node.parent < 0) != (at == 0):
                raise AssertionError(f"node {at} ({node.function}) has parent {node.parent}")
            if (node.total, node.base_total) != (totals[at], base_totals[at]):
                sums = f"{totals[at]} {base_totals[at]}"
                raise AssertionError(f"{node.function}: {node.total} {node.base_total} is not the sum {sums}")

    def dump(self, unit: int = 1) -> str:
        """
        The tree as indented text, total and self in multiples of *unit*, children largest first.

            all 30 0
              main.main 30 10
                main.work 20 20
        """
        lines: list[str] = []
        children = self.children()
        waiting = [(0, 0)]
        while waiting:
            at, depth = waiting.pop()
            node = self.nodes[at]
            before = f" (before {node.base_total // unit} {node.base_self // unit})" if self.compared else ""
            lines.append(f"{'  ' * depth}{node.function} {node.total // unit} {node.self_value // unit}{before}")
            waiting += [(child, depth + 1) for child in reversed(children[at])]
        return "\n".join(lines) + "\n"

    def children(self) -> list[list[int]]:
        """Positions of the children of every node, largest total first, then by name."""
        children: list[list[int]] = [[] for _ in self.nodes]
        for at, node in enumerate(self.nodes[1:], start=1):
            children[node.parent].append(at)
        for below in children:
            if len(below) > 1:
                below.sort(key=lambda at: (-self.nodes[at].total, -self.nodes[at].base_total, self.nodes[at].function))
        return children


class _Builder:
    """Adds paths of (function, file) to a tree; the same name below the same parent is one node."""

    def __init__(self) -> None:
        self.functions, self.files, self.parents = [ROOT], [""], [-1]
        self.own, self.base = [0], [0]
        self.known: dict[tuple[int, str], int] = {}

    def child(self, parent: int, function: str, file: str) -> int:
        key = (parent, function)
        at = self.known.get(key)
        if at is None:
            at = self.known[key] = len(self.parents)
            self.functions.append(function)
            self.files.append(file)
            self.parents.append(parent)
            self.own.append(0)
            self.base.append(0)
        return at

    def add(self, at: int, value: int, base: int) -> None:
        self.own[at] += value
        self.base[at] += base

    def tree(self, value_type: ValueType, *, compared: bool) -> Tree:
        totals, base_totals = _added_up(self.parents, self.own), _added_up(self.parents, self.base)
        rows = zip(self.functions, self.files, self.parents, totals, self.own, base_totals, self.base, strict=True)
        return Tree(value_type, tuple(map(Node._make, rows)), compared)


def _added_up(parents: Sequence[int], own: Sequence[int]) -> list[int]:
    """The total of every node from the values of its own; parents stand before their children."""
    totals = list(own)
    if any(own):
        for at in range(len(totals) - 1, 0, -1):
            totals[parents[at]] += totals[at]
    return totals


def build_tree(profile: Profile, value_type: str | None = None) -> Tree:
    """The call tree of one value type (None: the default). Raises KeyError when the profile does not have it."""
    index = profile.value_index(value_type)
    builder = _Builder()
    for frames, value in stack_values(profile, index):
        at = 0
        for frame in reversed(frames):
            at = builder.child(at, frame.function, frame.file)
        builder.add(at, value, 0)
    return builder.tree(profile.sample_types[index], compared=False)


def tree_of(value_type: ValueType, rows: Iterable[tuple[int, str, str, int, int]], *, compared: bool) -> Tree:
    """
    A tree out of (parent, function, file, own value, own base value) rows, the callers before what they call.

    `parent` counts the rows from 1; 0 is the root, which has no row. Rows of one caller and one name become one node.
    """
    builder = _Builder()
    where = [0]
    for parent, function, file, value, base in rows:
        at = builder.child(where[parent], function, file)
        where.append(at)
        builder.add(at, value, base)
    return builder.tree(value_type, compared=compared)


def set_profiler_apart(tree: Tree) -> Tree:
    """
    Moves what exists only because a profile was taken (names.is_profiler) under one node, `diagnose itself`.

        net/http.(*conn).serve > main.buy: 8, > net/http/pprof.Index: 2     becomes
        net/http.(*conn).serve > main.buy: 8
        diagnose itself > net/http.(*conn).serve > net/http/pprof.Index: 2
    """
    itself = [False] * len(tree.nodes)
    for at, node in enumerate(tree.nodes[1:], start=1):
        itself[at] = itself[node.parent] or is_profiler(node.function)
    if not any(itself):
        return tree
    builder = _Builder()
    for at, node in enumerate(tree.nodes):
        if node.self_value or node.base_self:
            under = builder.child(0, PROFILER, "") if itself[at] else 0
            builder.add(_copy_path(builder, tree, at, under=under), node.self_value, node.base_self)
    return builder.tree(tree.value_type, compared=tree.compared)


def diff_trees(base: Tree, new: Tree) -> Tree:
    """One tree with the values of *new* and, as base values, those of *base*; paths of either are in it."""
    builder = _Builder()
    for tree, values in ((new, builder.own), (base, builder.base)):
        where = [0] * len(tree.nodes)
        for at, node in enumerate(tree.nodes):
            if at:
                where[at] = builder.child(where[node.parent], node.function, node.file)
            values[where[at]] += node.self_value
    return builder.tree(new.value_type, compared=True)


def _rebuild(tree: Tree, place: Callable[[_Builder, int, Node], int | None]) -> Tree:
    """
    A new tree out of the nodes of *tree*, parents first.

    *place* gets the new position of the parent and says where the node goes, or None to drop it with all below.
    """
    builder = _Builder()
    where: list[int | None] = [0]
    builder.add(0, tree.nodes[0].self_value, tree.nodes[0].base_self)
    for node in tree.nodes[1:]:
        parent = where[node.parent]
        at = None if parent is None else place(builder, parent, node)
        where.append(at)
        if at is not None:
            builder.add(at, node.self_value, node.base_self)
    return builder.tree(tree.value_type, compared=tree.compared)


def focus(tree: Tree, pattern: str) -> Tree:
    """Only the paths through a function or file that *pattern* is found in. Raises re.error."""
    search = re.compile(pattern).search
    inside = [False] * len(tree.nodes)
    for at, node in enumerate(tree.nodes[1:], start=1):
        inside[at] = inside[node.parent] or bool(search(node.function) or search(node.file))
    builder = _Builder()
    for at, node in enumerate(tree.nodes):
        if inside[at] and (node.self_value or node.base_self):
            builder.add(_copy_path(builder, tree, at), node.self_value, node.base_self)
    return builder.tree(tree.value_type, compared=tree.compared)


def _copy_path(builder: _Builder, tree: Tree, at: int, *, under: int = 0) -> int:
    path = []
    while at:
        path.append(tree.nodes[at])
        at = tree.nodes[at].parent
    position = under
    for node in reversed(path):
        position = builder.child(position, node.function, node.file)
    return position


def hide_runtime(tree: Tree) -> Tree:
    """
    Without the frames of Go's runtime: their values go to the caller, their callees to the caller as well.

        main.work → runtime.mallocgc → runtime.memclr: 5     becomes     main.work: 5
    """

    def place(builder: _Builder, parent: int, node: Node) -> int:
        if origin_of(node.function, node.file).is_runtime:
            return parent
        return builder.child(parent, node.function, node.file)

    return _rebuild(tree, place)


def drop_small(tree: Tree, share: float = 0.001) -> Tree:
    """
    Replaces nodes below *share* of the total, during and before, by one node `(small)` per parent.

    Sums stay exact. What a viewer cannot see is not sent: the CPU profile of a real service has 12,710 nodes, 2,634 of
    them above 0.1 %.
    """
    limit, base_limit = abs(tree.total) * share, abs(tree.base_total) * share
    small_ones: set[int] = set()

    def place(builder: _Builder, parent: int, node: Node) -> int:
        if parent in small_ones:
            return parent
        if abs(node.total) >= limit and (node.total or not tree.compared):
            return builder.child(parent, node.function, node.file)
        if tree.compared and node.base_total and abs(node.base_total) >= base_limit:
            return builder.child(parent, node.function, node.file)
        small = builder.child(parent, SMALL, "")
        small_ones.add(small)
        return small

    return _rebuild(tree, place)

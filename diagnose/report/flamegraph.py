"""
A profile, or call-tree rows from SQL, → the flame graph in the page: compact data for static/flame.js, and a whole
self-contained HTML file around it.

A page embeds `<div class="flame" data-flame="ID">` and `<script type="application/json" id="ID">` with the data, the
script and the style sheet; `render_page` does just that.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from diagnose.pprof.diff import diff
from diagnose.pprof.garbage import collector_paused
from diagnose.pprof.names import origin_of
from diagnose.pprof.profile import Profile, ValueType
from diagnose.pprof.tree import (
    PROFILER,
    SMALL,
    Node,
    Tree,
    build_tree,
    diff_trees,
    drop_small,
    set_profiler_apart,
    tree_of,
)

HERE = Path(__file__).parent
KINDS = ("other", "own", "std", "runtime", "itself", "small")  # what `kind` in the data counts
APART = {PROFILER: KINDS.index("itself"), SMALL: KINDS.index("small")}
LAST = {PROFILER: 2, SMALL: 1}
NOTHING = (0, 0)  # during and before
COLUMNS = ("parent", "name", "file", "kind", "total", "self", "base_total", "base_self")
SMALLEST_SHARE = 0.001
_ENVIRONMENT = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True)


class FlameRow(NamedTuple):
    """One node of a call tree as SQL returns it, in the unit of the value type. Base values are None without a base."""

    node_no: int
    parent_no: int | None
    name: str
    file: str
    is_runtime: bool
    is_own: bool
    total: int
    self_value: int
    base_total: int | None = None
    base_self: int | None = None


def flame_data(
    profile: Profile | Tree,
    base: Profile | Tree | None = None,
    value_type: str | None = None,
    *,
    smallest_share: float = SMALLEST_SHARE,
) -> dict[str, Any]:
    """
    The data of one flame graph, ready for `json.dumps` (use `to_json`).

    With *base* the graph shows the difference: *base* is before, *profile* is during. When both are profiles, only
    functions whose cum changed significantly are coloured. Nodes under *smallest_share* of the total are gathered.
    Raises KeyError when a value type is missing.
    """
    notable: Collection[str] | None = None
    if isinstance(profile, Profile) and isinstance(base, Profile):
        name = profile.sample_types[profile.value_index(value_type)].type
        notable = [each.name for each in diff(base, profile, name, by="cum").functions if each.significant]
    tree = _tree(profile, value_type)
    if base is not None:
        tree = diff_trees(_tree(base, tree.value_type.type), tree)
    return _data(tree, notable, smallest_share)


def flame_data_from_nodes(
    nodes: Iterable[FlameRow],
    value_type: ValueType,
    *,
    notable: Collection[str] | None = None,
    smallest_share: float = SMALLEST_SHARE,
) -> dict[str, Any]:
    """
    The same from rows of a call tree, in any order. A row whose parent is missing is a root.

    What a row's total holds beyond itself and its children (rows the query left out as too small) is shown as small.
    *notable* names the functions that changed significantly; None colours every visible change. *smallest_share* is 0
    when the query left the small ones out.
    """
    with collector_paused():
        rows = _parents_first(list(nodes))
        compared = any(row.base_total is not None for row in rows)
        tree = set_profiler_apart(tree_of(value_type, _own_values(rows), compared=compared))
        return _data(tree, notable, smallest_share)


def _tree(profile: Profile | Tree, value_type: str | None) -> Tree:
    return set_profiler_apart(build_tree(profile, value_type) if isinstance(profile, Profile) else profile)


def _parents_first(rows: list[FlameRow]) -> list[FlameRow]:
    children: dict[int | None, list[FlameRow]] = {}
    known = {row.node_no for row in rows}
    for row in rows:
        children.setdefault(row.parent_no if row.parent_no in known else None, []).append(row)
    ordered: list[FlameRow] = []
    waiting = list(reversed(children.get(None, [])))
    while waiting:
        row = waiting.pop()
        ordered.append(row)
        waiting += reversed(children.get(row.node_no, []))
    return ordered


def _own_values(rows: list[FlameRow]) -> Iterable[tuple[int, str, str, int, int]]:
    """Rows for `tree_of`; each with something missing below it is followed by a small one that holds the rest."""
    below: dict[int | None, tuple[int, int]] = {}
    for row in rows:
        now, base = below.get(row.parent_no, NOTHING)
        below[row.parent_no] = (now + row.total, base + (row.base_total or 0))
    positions: dict[int | None, int] = {}
    count = 0
    for node_no, parent_no, name, file, _, _, total, own, base_total, base_own in rows:
        count += 1
        positions[node_no] = count
        yield positions.get(parent_no, 0), name, file, own, base_own or 0
        now, base = below.get(node_no, NOTHING)
        rest, base_rest = total - own - now, (base_total or 0) - (base_own or 0) - base
        if rest or base_rest:
            count += 1
            yield positions[node_no], SMALL, "", rest, base_rest


def _data(tree: Tree, notable: Collection[str] | None, smallest_share: float) -> dict[str, Any]:
    itself = next((node for node in tree.nodes if node.function == PROFILER and node.parent == 0), None)
    if smallest_share:
        tree = drop_small(tree, smallest_share)
    parents, nodes = zip(*_depth_first(tree), strict=True)
    functions, files, _, *values = zip(*nodes, strict=True)
    texts = dict.fromkeys(chain(("",), chain.from_iterable(zip(functions, files, strict=True))))
    strings = {text: number for number, text in enumerate(texts)}
    names = ([strings[text] for text in each] for each in (functions, files))
    shown = COLUMNS if tree.compared else COLUMNS[:-2]
    columns = (parents, *names, map(_kind, functions, files), *values)
    data: dict[str, Any] = {
        "type": tree.value_type.type,
        "unit": tree.value_type.unit,
        "total": tree.total - (itself.total if itself else 0),
        "strings": list(strings),
        "nodes": {name: list(column) for name, column in zip(shown, columns, strict=False)},
    }
    if tree.compared:
        data["base_total"] = tree.base_total - (itself.base_total if itself else 0)
        data["notable"] = None if notable is None else sorted(strings[name] for name in notable if name in strings)
    return data


@lru_cache(maxsize=65_536)
def _kind(function: str, file: str) -> int:
    if function in APART:
        return APART[function]
    origin = origin_of(function, file)
    kind = "own" if origin.is_own else "runtime" if origin.is_runtime else "std" if origin.is_std else "other"
    return KINDS.index(kind)


def _depth_first(tree: Tree) -> Iterable[tuple[int, Node]]:
    """(position of the parent in this order, node), largest first; the profiler's own and the small ones come last."""
    children = tree.children()
    last = {at for at, node in enumerate(tree.nodes) if node.function in LAST}
    waiting = [(-1, 0)]
    count = 0
    while waiting:
        parent, at = waiting.pop()
        yield parent, tree.nodes[at]
        below = children[at]
        if not last.isdisjoint(below):
            below = sorted(below, key=lambda child: LAST.get(tree.nodes[child].function, 0))
        waiting += [(count, child) for child in reversed(below)]
        count += 1


def to_json(data: object) -> Markup:
    """JSON that is safe inside a `<script>` element, whatever the names contain."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704  every character that could end the script is escaped


def script() -> Markup:
    """static/flame.js, to be put into a `<script>` element as it is."""
    return Markup((HERE / "static" / "flame.js").read_text(encoding="utf-8"))  # noqa: S704  our own file


def style() -> Markup:
    """static/flame.css, to be put into a `<style>` element as it is."""
    return Markup((HERE / "static" / "flame.css").read_text(encoding="utf-8"))  # noqa: S704  our own file


def render_page(
    profile: Profile | Tree,
    base: Profile | Tree | None = None,
    *,
    title: str = "Flame graph",
    value_type: str | None = None,
) -> str:
    """One HTML file with everything in it: opens from an attachment, without a network."""
    data = flame_data(profile, base, value_type)
    facts: list[str] = []
    if isinstance(profile, Profile):
        facts += [f"{profile.duration_ns / 1e9:.1f} s"] if profile.duration_ns else []
        facts += [f"build {profile.build_id[:12]}"] if profile.build_id else []
    return page_of(data, title=title, facts=facts)


def page_of(data: Mapping[str, Any], *, title: str, facts: Iterable[str] = ()) -> str:
    """The same around finished data; *facts* stand below the title."""
    facts = [f"{data['type']} in {data['unit']}", *facts]
    template = _ENVIRONMENT.get_template("flame.html.j2")
    return template.render(title=title, facts=facts, data=to_json(data), script=script(), style=style())

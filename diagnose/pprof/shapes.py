"""
The machine-readable shapes of top, peek and diff: what `--json` prints and the HTTP API answers (docs/reference).

Values are integers in the unit of the value type, shares are percentage points.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from diagnose.pprof.profile import ValueType
from diagnose.pprof.sides import Diff, FunctionChange
from diagnose.pprof.top import Edge, Peek, Top


def _head(profile_id: str | None, kind: str, value_type: ValueType) -> dict[str, Any]:
    return {"profile_id": profile_id, "kind": kind, "value_type": value_type.type, "unit": value_type.unit}


def top_shape(result: Top, *, profile_id: str | None, kind: str) -> dict[str, Any]:
    """`functions` are ordered as in *result*; `profile_id` is None for a profile that is not stored."""
    functions = [
        {"name": each.name, "file": each.file, "flat": each.flat, "cum": each.cum} for each in result.functions
    ]
    return {**_head(profile_id, kind, result.value_type), "total": result.total, "functions": functions}


def peek_shape(found: Iterable[Peek], value_type: ValueType, *, profile_id: str | None, kind: str) -> dict[str, Any]:
    return {**_head(profile_id, kind, value_type), "functions": [_peek(each) for each in found]}


def _peek(found: Peek) -> dict[str, Any]:
    function = found.function
    return {
        "name": function.name,
        "file": function.file,
        "flat": function.flat,
        "cum": function.cum,
        "callers": [_edge(edge) for edge in found.callers],
        "callees": [_edge(edge) for edge in found.callees],
    }


def _edge(edge: Edge) -> dict[str, Any]:
    return {"name": edge.name, "value": edge.value, "inlined": edge.inlined}


def diff_shape(
    result: Diff,
    *,
    profile_id: str | None,
    base_profile_id: str | None,
    kind: str,
    limit: int = 0,
) -> dict[str, Any]:
    """
    The shape of top, with `flat` and `cum` being new minus base, and per function `base` and `new` (values), `delta`
    (share points) of both columns, `z` and `significant`. *limit* 0 means all functions.
    """
    shown = result.functions[:limit] if limit else result.functions
    return {
        **_head(profile_id, kind, result.value_type),
        "base_profile_id": base_profile_id,
        "total": result.new_total,
        "base_total": result.base_total,
        "functions": [_change(change) for change in shown],
    }


def _change(change: FunctionChange) -> dict[str, Any]:
    return {
        "name": change.name,
        "file": change.file,
        "flat": change.flat,
        "cum": change.cum,
        "base": {"flat": change.base_flat, "cum": change.base_cum},
        "new": {"flat": change.new_flat, "cum": change.new_cum},
        "delta": {"flat": change.flat_points, "cum": change.cum_points},
        "z": change.z,
        "significant": change.significant,
    }

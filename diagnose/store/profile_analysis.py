"""
Questions about stored profiles that SQL answers: the macros of views/15_profiles.sql, asked with a selection.

A selection is one profile, or all of a service that match; their samples are merged. Nothing is decoded for that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import datetime
from typing import Any

import duckdb

from diagnose.errors import DecodeError, NotFound
from diagnose.model import Labels
from diagnose.pprof.profile import ValueType
from diagnose.pprof.sides import FunctionSides
from diagnose.pprof.top import FunctionValue
from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.rows import as_map

QUERIES = load_queries("profile_analysis")
MAX_PROFILES = 5000


@dataclass(frozen=True)
class Selection:
    """One profile by its id, or the profiles of *service* that match everything that is not None."""

    profile_id: str | None = None
    service: str | None = None
    instance: str | None = None
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    labels: Labels = dataclass_field(default_factory=dict)


@dataclass(frozen=True)
class SampleFilter:
    """Which samples of the profiles: of one trace or span, with these labels, with *focus* found in a frame."""

    trace_id: str | None = None
    span_id: str | None = None
    labels: Labels = dataclass_field(default_factory=dict)
    focus: str | None = None

    def params(self) -> dict[str, Any]:
        return {
            "trace_id": self.trace_id.rjust(32, "0") if self.trace_id else None,
            "span_id": self.span_id.rjust(16, "0") if self.span_id else None,
            "labels": as_map(self.labels) if self.labels else None,
            "focus": self.focus or None,
        }


@dataclass(frozen=True)
class Chosen:
    """Profiles of one kind, oldest first, and the value type they are looked at by."""

    profile_ids: tuple[str, ...]
    kind: str
    service: str
    value_type: ValueType
    duration_ns: int

    @property
    def profile_id(self) -> str | None:
        """The one profile; None when several were merged."""
        return self.profile_ids[0] if len(self.profile_ids) == 1 else None


def choose(store: Store, selection: Selection, value_type: str | None = None, *, field: str = "value") -> Chosen:
    """
    The profiles of *selection* by *value_type*; None: the default of the newest one.

    Raises NotFound when there is none; DecodeError when they are of several kinds, are more than MAX_PROFILES, or have
    no such value type, which is then the fault of parameter *field*.
    """
    rows = store.rows(QUERIES["chosen"], _selection_params(selection))
    if not rows:
        wanted = f"no profile {selection.profile_id!r}" if selection.profile_id else "no profile matches the selection"
        raise NotFound(wanted)
    if sum(len(row["profile_ids"]) for row in rows) > MAX_PROFILES:
        raise DecodeError(f"more than {MAX_PROFILES} profiles match; choose a shorter time", field="since")
    kinds = sorted({row["kind"] for row in rows})
    if len(kinds) > 1:
        raise DecodeError(f"the profiles are of several kinds: {', '.join(kinds)}", field="kind")
    newest = rows[0]
    name = value_type or newest["types"][newest["default_value"] - 1]
    having = [row for row in rows if name in row["types"]]
    if not having:
        raise DecodeError(f"no value type {name!r}; there are {', '.join(newest['types'])}", field=field)
    return Chosen(
        profile_ids=tuple(profile_id for row in reversed(having) for profile_id in row["profile_ids"]),
        kind=kinds[0],
        service=newest["service_name"],
        value_type=ValueType(name, having[0]["units"][having[0]["types"].index(name)]),
        duration_ns=sum(row["duration_ns"] for row in having),
    )


def _selection_params(selection: Selection) -> dict[str, Any]:
    names = ("profile_id", "service", "instance", "kind", "since", "until")
    wanted = {name: getattr(selection, name) for name in names}
    return {**wanted, "labels": as_map(selection.labels), "limit": MAX_PROFILES + 1}


def flame_rows(
    store: Store, chosen: Chosen, samples: SampleFilter, *, smallest_share: float, by_line: bool = False
) -> list[tuple[Any, ...]]:
    """
    (node, parent, name, file, is_runtime, is_own, total, self) of the nodes that are not small, callers first.

    With *by_line* the name is `function:line`. Raises DecodeError when focus is no regular expression.
    """
    params = {"smallest": smallest_share, **_params(chosen, samples)}
    return _rows(store, "flame_of_lines" if by_line else "flame", params)


def flame_diff_rows(
    store: Store, base: Chosen, new: Chosen, samples: SampleFilter, *, smallest_share: float
) -> list[tuple[Any, ...]]:
    """As `flame_rows`, with total and self of *base* at the end."""
    params = {"smallest": smallest_share, "base_ids": _list(base.profile_ids), **_params(new, samples)}
    return _rows(store, "flame_diff", params)


def top_of(store: Store, chosen: Chosen, samples: SampleFilter) -> tuple[int, list[FunctionValue]]:
    """(the sum of all samples, flat and cum of every function)."""
    params = _params(chosen, samples)
    functions = [FunctionValue(*row) for row in _rows(store, "top", params)]
    [(total,)] = _rows(store, "total", params)
    return total, functions


def sides_of(store: Store, base: Chosen, new: Chosen, samples: SampleFilter) -> FunctionSides:
    """Both side by side, function by function, without the samples of the profiler itself."""
    params = {"base_ids": _list(base.profile_ids), **_params(new, samples)}
    seconds = (base.duration_ns / 1e9, new.duration_ns / 1e9)
    return FunctionSides.of(new.value_type, seconds, _rows(store, "sides", params))


def _params(chosen: Chosen, samples: SampleFilter) -> dict[str, Any]:
    return {
        "profile_ids": _list(chosen.profile_ids),
        "value_type": chosen.value_type.type,
        **samples.params(),
    }


def _list(texts: Sequence[str]) -> str:
    """As JSON: binding hundreds of texts one by one takes longer than the query."""
    return json.dumps(texts)


def _rows(store: Store, name: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    cursor = store.cursor()
    try:
        rows: list[tuple[Any, ...]] = cursor.execute(QUERIES[name], params).fetchall()
    except duckdb.InvalidInputException as err:
        if not params["focus"]:
            raise
        raise DecodeError(f"focus is no regular expression: {err}", field="focus") from err
    finally:
        cursor.close()
    return rows

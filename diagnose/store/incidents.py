"""
Incidents: what is known of one, the list of them, and what the pipeline learns about them after the intake.

Functions that answer dictionaries answer what the API shows: times are RFC 3339 text, absent values None.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

import duckdb

from diagnose.errors import DecodeError, NotFound
from diagnose.model import Episode, Incident, Labels, TraceRef, rfc3339, utc_now
from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.reports import finding_shape, findings_at
from diagnose.store.rows import as_json, fetch
from diagnose.store.timeline import Line, save_lines

SQL = load_queries("incidents")


def get_incident(store: Store, incident_id: str) -> Incident:
    """Raises NotFound."""
    found = store.rows(SQL["get_incident"], {"incident_id": incident_id})
    if not found:
        raise NotFound(f"no incident {incident_id}")
    return Incident(**found[0])


def open_incidents(store: Store) -> list[Incident]:
    """Longest open first."""
    return [Incident(**row) for row in store.rows(SQL["open_incidents"])]


def count_open(store: Store) -> int:
    return int(store.row(SQL["count_open"])["incidents"])


def unfinished_incidents(
    store: Store, *, first_reason: str, last_reason: str, since: datetime
) -> list[tuple[str, Literal["open", "resolved"]]]:
    """
    Id and status of those whose newest report lacks something that is stored, longest open first.

    *first_reason* is that of the report which another follows once the profiles are there, *last_reason* that of the
    one after the end; of incidents that ended before *since* none is missed.
    """
    asked = {"first_reason": first_reason, "last_reason": last_reason, "since": since}
    return [(row["incident_id"], row["status"]) for row in store.rows(SQL["unfinished_incidents"], asked)]


def episodes_of(store: Store, incident_id: str) -> list[Episode]:
    """All alerts that belong to the incident, ended ones too, in the order they started."""
    return [Episode(**row) for row in store.rows(SQL["episodes_of"], {"incident_id": incident_id})]


def route_labels_of(store: Store, incident_id: str) -> Labels:
    """What Alertmanager's route says about the incident (`labels:` of a route, since 0.34); empty when nothing."""
    found = store.rows(SQL["route_labels_of"], {"incident_id": incident_id})
    return found[0]["route_labels"] if found else {}


def list_incidents(
    store: Store,
    *,
    status: str | None = None,
    service: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """
    At most *limit* incidents that started at *since* or later, newest first, and the *cursor* of the next page.

    An item has id, status, title, service, severity, started_at, ended_at, alert_count and verdict (the sentence of the
    first finding of the newest report, or None). The cursor is None on the last page. Raises DecodeError when *cursor*
    is not one of ours.
    """
    before_at, before_id = _position(cursor) if cursor else (None, None)
    rows = store.rows(
        SQL["list_incidents"],
        {
            "status": status,
            "service": service,
            "since": since,
            "before_at": before_at,
            "before_id": before_id,
            "limit": limit + 1,
        },
    )
    opened = [row.pop("opened_at") for row in rows]
    more = len(rows) > limit > 0
    return shown(rows[:limit]), _cursor(opened[limit - 1], rows[limit - 1]["id"]) if more else None


def _cursor(opened_at: datetime, incident_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([opened_at.isoformat(), incident_id]).encode()).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        opened_at, incident_id = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return datetime.fromisoformat(opened_at), str(incident_id)
    except (ValueError, TypeError, RecursionError, binascii.Error) as err:
        raise DecodeError("cursor is not one this server gave out", field="cursor") from err


def incident_detail(store: Store, incident_id: str) -> dict[str, Any]:
    """
    Everything about one incident, as one moment saw it. Raises NotFound.

    The keys of a list item, opened_at, revision, and the lists alerts, traces, captures, findings (of the newest
    report), deliveries and timeline.
    """
    cursor = store.cursor()
    try:
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        return _detail(cursor, incident_id)
    finally:
        cursor.close()


def _detail(cursor: duckdb.DuckDBPyConnection, incident_id: str) -> dict[str, Any]:
    of_this = {"incident_id": incident_id}
    head = fetch(cursor, SQL["incident_head"], of_this)
    if not head:
        raise NotFound(f"no incident {incident_id}")
    findings = findings_at(cursor, incident_id, head[0]["revision"])
    return shown(head)[0] | {
        "verdict": findings[0].statement if findings else None,
        "alerts": shown(fetch(cursor, SQL["incident_alerts"], of_this)),
        "traces": shown(fetch(cursor, SQL["traces_of"], of_this)),
        "captures": shown(fetch(cursor, SQL["incident_captures"], of_this)),
        "findings": [finding_shape(finding) for finding in findings],
        "deliveries": shown(fetch(cursor, SQL["incident_deliveries"], of_this)),
        "timeline": shown(fetch(cursor, SQL["incident_timeline"], of_this)),
    }


def shown(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as the API has them: times as RFC 3339 in UTC, what is no JSON number as text."""
    return [{name: _shown(value) for name, value in row.items()} for row in rows]


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def save_traces(store: Store, incident_id: str, refs: Sequence[TraceRef]) -> int:
    """
    Add traces to what was found before. Of a trace that is known the surer finding stays; ranks are given anew.

    Returns how many traces are new.
    """

    def save(cursor: duckdb.DuckDBPyConnection) -> int:
        known = _traces(fetch(cursor, SQL["traces_of"], {"incident_id": incident_id}))
        merged = merge_traces([*known, *refs])
        if merged != known:
            cursor.execute(SQL["forget_traces"], {"incident_id": incident_id})
            rows = as_json([vars(ref) for ref in merged])
            cursor.execute(SQL["save_traces"], {"incident_id": incident_id, "rows": rows})
        return len(merged) - len(known)

    return store.control.run(save) if refs else 0


def merge_traces(refs: Iterable[TraceRef]) -> list[TraceRef]:
    """
    Each trace once, the surest finding of it (the first of equals), ranked 1, 2, … by confidence, then metric value.

    Of equals the latest observation comes first.
    """
    best: dict[str, TraceRef] = {}
    for ref in refs:
        known = best.get(ref.trace_id)
        if known is None or ref.confidence > known.confidence:
            best[ref.trace_id] = _finite(ref)
    ranked = sorted(best.values(), key=_order)
    return [replace(ref, rank=rank) for rank, ref in enumerate(ranked, start=1)]


def _finite(ref: TraceRef) -> TraceRef:
    """A NaN or an infinity says nothing about a trace."""
    is_number = ref.metric_value is not None and math.isfinite(ref.metric_value)
    return ref if is_number else replace(ref, metric_value=None)


def _order(ref: TraceRef) -> tuple[float, float, float, str]:
    value = -math.inf if ref.metric_value is None else ref.metric_value
    seen = ref.seen_at.timestamp() if ref.seen_at else 0.0
    return -ref.confidence, -value, -seen, ref.trace_id


def traces_of(store: Store, incident_id: str) -> list[TraceRef]:
    """Best first."""
    return _traces(store.rows(SQL["traces_of"], {"incident_id": incident_id}))


def _traces(rows: Iterable[dict[str, Any]]) -> list[TraceRef]:
    return [TraceRef(**row) for row in rows]


def save_timing(store: Store, incident_id: str, step: str, ms: float) -> None:
    """Milliseconds from the webhook to *step* (`webhook_to_ack`, …). Only the first time counts."""
    values = {"incident_id": incident_id, "step": step, "ms": ms}
    store.control.run(lambda cursor: cursor.execute(SQL["save_timing"], values))


def timings_of(store: Store, incident_id: str) -> dict[str, float]:
    """Step → milliseconds, in the order they were reached."""
    rows = store.rows(SQL["timings_of"], {"incident_id": incident_id})
    return {row["step"]: row["ms"] for row in rows}


def add_timeline(store: Store, incident_id: str, kind: str, text: str, at: datetime | None = None) -> None:
    """One line, at this moment unless told otherwise."""
    line = Line(incident_id, at or utc_now(), kind, text)
    store.control.run(lambda cursor: save_lines(cursor, [line]))


def note_incident(store: Store, incident_id: str, text: str) -> None:
    """What a human wants to remember. Raises NotFound."""
    get_incident(store, incident_id)
    add_timeline(store, incident_id, "note", text)


def close_incident(store: Store, incident_id: str, why: str) -> bool:
    """
    End an incident by hand, whatever its alerts do; False when it was over already. Raises NotFound.

    A new alert within the quiet period opens it again; one that goes on firing does not.
    """
    get_incident(store, incident_id)
    now = utc_now()

    def close(cursor: duckdb.DuckDBPyConnection) -> bool:
        closed = fetch(cursor, SQL["close_incident"], {"incident_id": incident_id, "at": now})
        save_lines(cursor, [Line(incident_id, now, "closed", why) for _ in closed])
        return bool(closed)

    return store.control.run(close)

"""
Alerts whose end nobody tells: what fires, what is known about it from elsewhere, and ending it from what is missing.

A silenced alert that ends is told by no message, and one sent directly by Prometheus just stops being sent. Such an end
is inferred (`ended_by`), and taken back when a sender of the present says that the alert goes on (episodes.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb

from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.rows import as_json, fetch
from diagnose.store.timeline import Line, save_lines

SQL = load_queries("endings")
RESOLVE = load_queries("alerts")["resolve_incidents"]
EndedBy = Literal["vanished", "expired"]
WHY: Mapping[EndedBy, str] = {
    "vanished": "no Alertmanager has it any more",
    "expired": "it was not sent again",
}


@dataclass(frozen=True)
class OpenEpisode:
    """`is_told_by_ours`: an Alertmanager that is asked told us of it, so that its absence there means something."""

    episode_id: str
    fingerprint: str
    starts_at: datetime
    suppressed: str | None
    is_listed: bool
    is_told_by_ours: bool


@dataclass(frozen=True)
class LastEnd:
    ends_at: datetime
    is_inferred: bool


def open_episodes(store: Store, urls: Collection[str]) -> list[OpenEpisode]:
    """Those that came through an Alertmanager. *urls* are those of the Alertmanagers that are asked."""
    trimmed = [url.rstrip("/") for url in urls]
    return [OpenEpisode(**row) for row in store.rows(SQL["open_episodes"], {"urls": trimmed})]


def last_ends(store: Store, fingerprints: Collection[str], earliest: datetime) -> dict[str, LastEnd]:
    """By fingerprint, of those that ended at *earliest* or later."""
    asked = {"fingerprints": as_json(list(fingerprints)), "earliest": earliest}
    return {row.pop("fingerprint"): LastEnd(**row) for row in store.rows(SQL["last_ends"], asked)}


def told_receivers(store: Store) -> set[str]:
    """The receivers that messages of Alertmanagers were for, as sent."""
    return {row["receiver"] for row in store.rows(SQL["receivers"])}


def end_episodes(store: Store, ends: Mapping[str, datetime], ended_by: EndedBy, now: datetime) -> tuple[str, ...]:
    """End the episodes of *ends* (id → when) that still fire. Returns the incidents whose last alert that was."""
    if not ends:
        return ()
    rows = [{"episode_id": episode_id, "ends_at": at} for episode_id, at in ends.items()]
    return store.control.run(lambda cursor: _end(cursor, rows, ended_by, now))


def expire_episodes(store: Store, now: datetime) -> tuple[str, ...]:
    """End what Prometheus sent directly and did not send again, each when it said. Returns as `end_episodes`."""
    if not store.rows(SQL["expired_episodes"], {"now": now}):
        return ()
    return store.control.run(
        lambda cursor: _end(cursor, fetch(cursor, SQL["expired_episodes"], {"now": now}), "expired", now)
    )


def _end(
    cursor: duckdb.DuckDBPyConnection, rows: Sequence[Mapping[str, Any]], ended_by: EndedBy, now: datetime
) -> tuple[str, ...]:
    ended = fetch(cursor, SQL["end_episodes"], {"rows": as_json(rows), "ended_by": ended_by})
    lines = [
        Line(each["incident_id"], now, "alert", f"{_name(each)} ended: {WHY[ended_by]}")
        for each in ended
        if each["incident_id"]
    ]
    incidents = as_json(sorted({line.incident_id for line in lines}))
    resolved = tuple(row["incident_id"] for row in fetch(cursor, RESOLVE, {"incidents": incidents}))
    lines += [Line(incident_id, now, "resolved", "all alerts have ended") for incident_id in resolved]
    save_lines(cursor, lines)
    return resolved


def mark_episodes(
    store: Store, *, listed: Collection[str], suppressed: Mapping[str, str | None], now: datetime
) -> None:
    """Remember which episodes an Alertmanager lists, and of which nobody is notified and why (None: they are again)."""

    def mark(cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(SQL["mark_listed"], {"episodes": as_json(list(listed)), "at": now})
        rows = [{"episode_id": episode_id, "suppressed": why} for episode_id, why in suppressed.items()]
        marked = fetch(cursor, SQL["mark_suppressed"], {"rows": as_json(rows)})
        save_lines(cursor, [_suppressed_line(each, now) for each in marked if each["incident_id"]])

    if listed or suppressed:
        store.control.run(mark)


def _suppressed_line(episode: Mapping[str, Any], now: datetime) -> Line:
    told = f"was {episode['suppressed']} in Alertmanager" if episode["suppressed"] else "is notified again"
    return Line(episode["incident_id"], now, "suppressed", f"{_name(episode)} {told}")


def _name(episode: Mapping[str, Any]) -> str:
    return f"{episode['alertname']} ({episode['instance']})" if episode["instance"] else str(episode["alertname"])

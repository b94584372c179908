"""
Alerts: one message in, what it changed out, in one transaction; and what is found out about an alert later.

What was seen before changes nothing, so a message may come any number of times, from any number of Alertmanagers, late
and out of order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from uuid import UUID

import duckdb

from diagnose.model import Accepted, Alert, AlertGroup, IncidentKey, identity_of, rfc3339
from diagnose.store.db import Store
from diagnose.store.intake import Arrival, Message
from diagnose.store.intake_rows import take_in
from diagnose.store.queries import load_queries
from diagnose.store.redaction import redacted_group
from diagnose.store.rows import fetch
from diagnose.store.timeline import Line, save_lines

SQL = load_queries("alerts")
Assign = Callable[[Alert], IncidentKey | None]


def save_group(
    store: Store, group: AlertGroup, assign: Assign, *, quiet: timedelta, ignore_labels: Collection[str] = ()
) -> Accepted:
    """
    Commit one message: its body, the alerts that are new in it, and what they do to episodes and incidents.

    *assign* names what an alert belongs to; an alert for which it answers None is stored and opens no incident. A
    re-fire that starts within *quiet* after an incident of its group ended opens that one again. Alerts that differ
    only in *ignore_labels* are one alert, which ends when the last of them does. A message without anything new stores
    nothing. Raises StoreBusy when it could not be made durable.
    """
    group = redacted_group(group, store.redactor)
    arrivals = tuple(_arrivals(group, assign, ignore_labels))
    if not arrivals:
        return Accepted(0, 0, ())
    message = Message(group, arrivals, quiet)
    return store.control.run_together(take_in, message, size_bytes=3 * len(group.body) + 1000)


def save_enrichment(
    store: Store, episode_id: str, *, expr: str | None, active_at: datetime | None, value: float | None
) -> None:
    """
    Keep what Prometheus knows about an alert: its expression, since when it is pending, its value.

    None leaves what is stored. An earlier *active_at* moves the start of the incident. An unknown episode is ignored.
    """

    if expr is None and active_at is None and value is None:
        return

    def save(cursor: duckdb.DuckDBPyConnection) -> None:
        changed = {"episode_id": episode_id, "expr": expr, "active_at": active_at, "value": value}
        for episode in fetch(cursor, SQL["enrich_episode"], changed):
            if active_at is not None:
                _start_earlier(cursor, episode["incident_id"], active_at)

    store.control.run(save)


def _start_earlier(cursor: duckdb.DuckDBPyConnection, incident_id: str | None, at: datetime) -> None:
    for moved in fetch(cursor, SQL["start_incident_earlier"], {"incident_id": incident_id, "at": at}):
        save_lines(cursor, [Line(moved["incident_id"], at, "started", "what the alert watches for began")])


def _arrivals(group: AlertGroup, assign: Assign, ignore_labels: Collection[str]) -> Iterator[Arrival]:
    """In the order they started, a firing before its end."""
    for alert in sorted(group.alerts, key=lambda each: (each.starts_at, each.status)):
        yield Arrival(
            alert=alert,
            fingerprint=identity_of(alert.fingerprint, alert.labels, ignore_labels),
            event_key=_event_key(group, alert),
            key=assign(alert),
            ended_at=(alert.ends_at or group.received_at) if alert.status == "resolved" else None,
        )


def _event_key(group: AlertGroup, alert: Alert) -> str:
    parts = [group.source, group.key_of(alert), alert.fingerprint, rfc3339(alert.starts_at), alert.status]
    return str(UUID(bytes=hashlib.sha256(json.dumps(parts).encode()).digest()[:16]))

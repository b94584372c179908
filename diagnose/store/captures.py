"""Captures: planned before the target is asked, then their outcome. A refusal is a row too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb

from diagnose.model import Capture, Trigger, utc_now
from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.rows import as_json, fetch

SQL = load_queries("captures")
OUTCOME = (
    "capture_id",
    "status",
    "reason",
    "http_status",
    "started_at",
    "ended_at",
    "lag_ms",
    "bytes",
    "profile_id",
    "seconds",
    "requests",
    "took_ms",
)


def plan_captures(store: Store, captures: Sequence[Capture]) -> None:
    """
    Record what is about to be asked, or why it is not (status `skipped`). All captures of a round have one
    `requested_at`: it is what makes them a round.
    """
    if captures:
        store.control.run(lambda cursor: _save(cursor, captures))


def _save(cursor: duckdb.DuckDBPyConnection, captures: Sequence[Capture]) -> None:
    cursor.execute(SQL["forget_captures"], {"ids": as_json([capture.capture_id for capture in captures])})
    cursor.execute(SQL["plan_captures"], {"rows": as_json([vars(capture) for capture in captures])})


def start_capture(store: Store, capture_id: str, at: datetime) -> None:
    """The target is being asked."""
    values = {"capture_id": capture_id, "at": at}
    store.control.run(lambda cursor: cursor.execute(SQL["start_capture"], values))


def finish_capture(store: Store, capture: Capture) -> None:
    """Record the outcome. A capture nobody planned is recorded all the same."""
    values = {name: getattr(capture, name) for name in OUTCOME}

    def finish(cursor: duckdb.DuckDBPyConnection) -> None:
        if not fetch(cursor, SQL["finish_capture"], values):
            _save(cursor, [capture])

    store.control.run(finish)


def captures_of(store: Store, incident_id: str) -> list[Capture]:
    """In the order they were planned."""
    return [Capture(**row) for row in store.rows(SQL["captures_of"], {"incident_id": incident_id})]


def mark_lost(store: Store) -> list[str]:
    """
    At start: what was planned or running when the process ended is `lost`, reason `restart`.

    Returns the incidents whose evidence is incomplete therefore, each once.
    """
    values = {"at": utc_now()}
    rows = store.control.run(lambda cursor: fetch(cursor, SQL["mark_lost"], values))
    return list(dict.fromkeys(row["incident_id"] for row in rows if row["incident_id"]))


def last_round(store: Store, target: str, instance: str, trigger: Trigger) -> datetime | None:
    """When *instance* was last asked for anything by *trigger*; a round that was skipped does not count."""
    found = store.row(SQL["last_round"], {"target": target, "instance": instance, "trigger": trigger})
    requested_at: datetime | None = found["requested_at"]
    return requested_at


def rounds_since(store: Store, target: str, instance: str, since: datetime) -> int:
    """How many rounds, baselines apart, have asked *instance* since then."""
    found = store.row(SQL["rounds_since"], {"target": target, "instance": instance, "since": since})
    return int(found["rounds"])


def seconds_since(store: Store, target: str, instance: str, since: datetime) -> int:
    """For how many seconds *instance* was profiled since then, baselines apart."""
    found = store.row(SQL["seconds_since"], {"target": target, "instance": instance, "since": since})
    return int(found["seconds"])


def last_incident(store: Store, target: str, instance: str, trigger: Trigger, besides: str) -> str | None:
    """The incident for which *instance* was asked last by *trigger*, other than *besides*."""
    values = {"target": target, "instance": instance, "trigger": trigger, "incident_id": besides}
    found: str | None = store.row(SQL["last_incident"], values)["incident_id"]
    return found


def baseline_profiles(
    store: Store,
    service: str,
    instance: str | None,
    kind: str,
    basis: str,
    *,
    before: datetime,
    limit: int = 1,
    besides_build: str | None = None,
) -> list[str]:
    """
    Ids of profiles of *service* in health that started before *before*: *instance*'s first, each newest first.

    Healthy is what the schedule took and what was taken after an incident had ended. Profiles of the build
    *besides_build* are left out.
    """
    values = {
        "service": service,
        "instance": instance,
        "kind": kind,
        "basis": basis,
        "before": before,
        "limit": limit,
        "besides_build": besides_build,
    }
    return [row["profile_id"] for row in store.rows(SQL["baseline_profiles"], values)]

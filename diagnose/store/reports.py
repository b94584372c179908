"""Reports: the revisions of an incident's page with their findings, and the outbox of their deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

import duckdb

from diagnose.errors import NotFound, StoreError
from diagnose.model import Delivery, Effect, Finding, Note, Subject, utc_now
from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.rows import fetch, insert
from diagnose.store.timeline import Line, save_lines

SQL = load_queries("reports")
DeliveryStatus = Literal["pending", "delivered", "dead"]


def next_revision(store: Store, incident_id: str) -> int:
    """1 for the first."""
    return int(store.row(SQL["next_revision"], {"incident_id": incident_id})["revision"])


def save_revision(
    store: Store,
    incident_id: str,
    revision: int,
    reason: str,
    findings: Sequence[Finding],
    *,
    ruled_out: Sequence[Note],
    missing: Sequence[Note],
    html: str,
    markdown: str,
    json_text: str,
    sinks: Sequence[str],
    title: str | None = None,
) -> None:
    """
    Publish one revision of the page in one transaction: what it found, what it looks like, a delivery for each sink.

    *findings* come best first and are ranked so. *title* replaces the incident's. Raises NotFound, and StoreError when
    there is such a revision already.
    """
    now = utc_now()
    of_this = {"incident_id": incident_id, "revision": revision}

    def save(cursor: duckdb.DuckDBPyConnection) -> None:
        if not fetch(cursor, SQL["publish_revision"], of_this | {"title": title}):
            raise NotFound(f"no incident {incident_id}")
        if fetch(cursor, SQL["has_revision"], of_this):
            raise StoreError(f"revision {revision} of {incident_id} is there already")
        report = {"created_at": now, "reason": reason, "html": html, "markdown": markdown, "json": json_text}
        insert(cursor, "report", [of_this | report])
        insert(cursor, "finding", _finding_rows(of_this, findings))
        insert(cursor, "note", _note_rows(of_this, "ruled_out", ruled_out))
        insert(cursor, "note", _note_rows(of_this, "missing_evidence", missing))
        insert(cursor, "delivery", _delivery_rows(of_this, sinks, now))
        save_lines(cursor, [Line(incident_id, now, "report", f"revision {revision}: {reason}")])

    store.control.run(save, size_bytes=len(html) + len(markdown) + len(json_text))


def _finding_rows(of_this: Mapping[str, Any], findings: Sequence[Finding]) -> Iterator[dict[str, Any]]:
    for rank, finding in enumerate(findings, start=1):
        yield {
            **of_this,
            "finding_id": f"{of_this['incident_id']}.{of_this['revision']}.{rank}",
            "rank": rank,
            "kind": finding.kind,
            "statement": finding.statement,
            "subject": asdict(finding.subject),
            "effect": asdict(finding.effect),
            "significance": {name: finding.significance.get(name) for name in ("method", "z", "p")},
            "confidence": finding.confidence,
            "evidence": list(finding.evidence),
            "sql": finding.sql,
            "weight": finding.weight,
        }


def _note_rows(of_this: Mapping[str, Any], kind: str, notes: Sequence[Note]) -> Iterator[dict[str, Any]]:
    for rank, note in enumerate(notes, start=1):
        yield {**of_this, "kind": kind, "rank": rank, **asdict(note)}


def _delivery_rows(of_this: Mapping[str, Any], sinks: Sequence[str], now: datetime) -> Iterator[dict[str, Any]]:
    for sink in dict.fromkeys(sinks):
        yield {
            **of_this,
            "delivery_id": f"{of_this['incident_id']}.{of_this['revision']}.{sink}",
            "sink": sink,
            "status": "pending",
            "attempts": 0,
            "created_at": now,
        }


def get_report(store: Store, incident_id: str, *, revision: int | None = None) -> dict[str, Any]:
    """revision, created_at (datetime), reason, html, markdown and json; of the newest unless told. Raises NotFound."""
    found = store.rows(SQL["get_report"], {"incident_id": incident_id, "revision": revision})
    if not found:
        which = "a report" if revision is None else f"revision {revision}"
        raise NotFound(f"{incident_id} does not have {which}")
    return found[0]


def findings_of(store: Store, incident_id: str, revision: int | None = None) -> list[Finding]:
    """Best first; of the newest revision unless told."""
    cursor = store.cursor()
    try:
        return findings_at(cursor, incident_id, revision)
    finally:
        cursor.close()


def findings_at(cursor: duckdb.DuckDBPyConnection, incident_id: str, revision: int | None) -> list[Finding]:
    """The same on a cursor whose transaction has begun."""
    rows = fetch(cursor, SQL["findings_of"], {"incident_id": incident_id, "revision": revision})
    return [_finding(row) for row in rows]


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(
        **row
        | {
            "subject": Subject(**row["subject"]),
            "effect": Effect(**row["effect"]),
            "significance": {name: value for name, value in row["significance"].items() if value is not None},
            "evidence": tuple(row["evidence"]),
        }
    )


def finding_shape(finding: Finding) -> dict[str, Any]:
    """A finding as the API and report.json show it; the weight that ranked it stays inside."""
    return {
        "rank": finding.rank,
        "kind": finding.kind,
        "statement": finding.statement,
        "subject": asdict(finding.subject),
        "effect": asdict(finding.effect),
        "significance": dict(finding.significance),
        "confidence": finding.confidence,
        "evidence": list(finding.evidence),
        "sql": finding.sql,
    }


def notes_of(
    store: Store, incident_id: str, kind: Literal["ruled_out", "missing_evidence"], revision: int | None = None
) -> list[Note]:
    """What was ruled out, or what could not be known, in the order of the report; of the newest unless told."""
    values = {"incident_id": incident_id, "kind": kind, "revision": revision}
    return [Note(**row) for row in store.rows(SQL["notes_of"], values)]


def due_deliveries(store: Store, now: datetime, limit: int = 20) -> list[Delivery]:
    """
    What the outbox should try now, longest waiting first.

    The revisions of one incident go to one sink in order: a later one is due once the earlier ones are delivered or
    dead. `external_ref` is what the sink called the message it already has of this incident.
    """
    return [Delivery(**row) for row in store.rows(SQL["due_deliveries"], {"now": now, "limit": limit})]


def save_delivery(
    store: Store,
    delivery_id: str,
    *,
    status: DeliveryStatus,
    attempts: int,
    last_error: str | None,
    next_attempt_at: datetime | None,
    delivered_at: datetime | None,
    external_ref: str | None,
) -> None:
    """Record an attempt; one that was the last, good or bad, is told in the timeline. Raises NotFound."""
    now = utc_now()
    values = {
        "delivery_id": delivery_id,
        "status": status,
        "attempts": attempts,
        "last_error": last_error,
        "next_attempt_at": next_attempt_at,
        "delivered_at": delivered_at,
        "external_ref": external_ref,
    }

    def save(cursor: duckdb.DuckDBPyConnection) -> None:
        saved = fetch(cursor, SQL["save_delivery"], values)
        if not saved:
            raise NotFound(f"no delivery {delivery_id}")
        if status != "pending":
            save_lines(cursor, [_delivery_line(saved[0], status, last_error, now)])

    store.control.run(save)


def _delivery_line(delivery: dict[str, Any], status: str, last_error: str | None, now: datetime) -> Line:
    outcome = "delivered" if status == "delivered" else f"could not be delivered ({last_error}) and is given up"
    return Line(
        delivery["incident_id"], now, "delivery", f"revision {delivery['revision']} {outcome}: {delivery['sink']}"
    )

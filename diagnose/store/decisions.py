"""What was decided about an incident, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from diagnose.model import Decision, utc_now
from diagnose.store.db import Store
from diagnose.store.incidents import incident_detail, shown, timings_of
from diagnose.store.queries import load_queries
from diagnose.store.rows import as_json, fetch

SQL = load_queries("decisions")


def save_decisions(store: Store, incident_id: str, decisions: Sequence[Decision]) -> list[Decision]:
    """Those that are not known yet; a plan that is made again mostly decides the same."""
    if not decisions:
        return []
    rows = as_json([vars(decision) for decision in decisions])
    values = {"incident_id": incident_id, "at": utc_now(), "rows": rows}
    return [Decision(**row) for row in store.control.run(lambda cursor: fetch(cursor, SQL["save_decisions"], values))]


def decisions_of(store: Store, incident_id: str) -> list[dict[str, Any]]:
    """at, step, subject, outcome and reason, in the order they were taken."""
    return shown(store.rows(SQL["decisions_of"], {"incident_id": incident_id}))


def explained(store: Store, incident_id: str) -> dict[str, Any]:
    """
    Why an incident was treated as it was: id, title, decisions, captures with their reasons, how many traces were found
    in which way, and milliseconds from the webhook to each step. Raises NotFound.
    """
    detail = incident_detail(store, incident_id)
    return {
        "id": detail["id"],
        "title": detail["title"],
        "decisions": decisions_of(store, incident_id),
        "captures": detail["captures"],
        "traces": dict(Counter(trace["found_by"] for trace in detail["traces"])),
        "timings_ms": timings_of(store, incident_id),
    }

"""Who asked what through the SQL endpoint, and how it ended."""

from __future__ import annotations

from diagnose.errors import StoreBusy
from diagnose.model import utc_now
from diagnose.store.db import Store
from diagnose.store.rows import insert
from diagnose.telemetry import get_logger

log = get_logger(__name__)


def save_query(
    store: Store, who: str, sql: str, *, elapsed_ms: float = 0.0, row_count: int = 0, outcome: str = "done"
) -> None:
    """Queued, not waited for: an answer must not depend on it. When the queue is full it goes to the log instead."""
    row = {
        "at": utc_now(),
        "who": who,
        "sql": sql,
        "elapsed_ms": elapsed_ms,
        "row_count": row_count,
        "outcome": outcome,
    }
    try:
        store.control.submit(lambda cursor: insert(cursor, "sql_audit", [row]), size_bytes=len(sql))
    except StoreBusy as err:
        log.warning("query not written down", who=who, outcome=outcome, error=str(err))

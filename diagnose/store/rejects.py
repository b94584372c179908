"""What was refused and why, so that a sender's mistake can be seen. Bounded: this is the door strangers knock at."""

from __future__ import annotations

import hashlib

import duckdb

from diagnose.model import utc_now
from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.rows import fetch, insert

SQL = load_queries("rejects")
MAX_ROWS = 1000


def save_rejected(
    store: Store,
    path: str,
    reason: str,
    field: str | None,
    body: bytes,
    *,
    limit_bytes: int = 65_536,
    keep_rows: int = MAX_ROWS,
) -> None:
    """
    Keep the first *limit_bytes* of a refused body, redacted. The same body refused for the same reason is counted.

    Of more than *keep_rows* those refused longest ago are forgotten. Raises StoreBusy.
    """
    now = utc_now()
    kept = store.redactor.body(body)
    named = {"path": path, "reason": reason, "body_sha256": hashlib.sha256(body).hexdigest()}
    row = named | {
        "field": field,
        "body": kept[:limit_bytes],
        "body_bytes": len(body),
        "first_at": now,
        "last_at": now,
        "repeats": 0,
    }

    def save(cursor: duckdb.DuckDBPyConnection) -> None:
        if not fetch(cursor, SQL["count_repeat"], named | {"at": now}):
            insert(cursor, "rejected_request", [row])
            cursor.execute(SQL["forget_oldest"], {"keep": keep_rows})

    store.control.run(save, size_bytes=min(len(body), limit_bytes))

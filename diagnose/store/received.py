"""Bodies that were stored already: whoever got no answer sends the same one again, and it must not count twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb

from diagnose.pprof.hashing import hash64
from diagnose.store.queries import load_queries

SAME_WITHIN = timedelta(minutes=30)
QUERIES = load_queries("received")


def body_id(body: bytes) -> int:
    return hash64(body)


def remember_body(cursor: duckdb.DuckDBPyConnection, body: int, now: datetime) -> bool:
    """
    Whether *body* is new; it is then remembered in the same transaction as its rows.

    Old entries go in bulk, so that the table holds half an hour to an hour of them.
    """
    since = now - SAME_WITHIN
    [(known, oldest)] = cursor.execute(QUERIES["known_body"], {"body_id": body, "since": since}).fetchall()
    if known:
        return False
    if oldest is not None and oldest < since - SAME_WITHIN:
        cursor.execute(QUERIES["forget_bodies"], {"before": since})
    cursor.execute(QUERIES["remember_body"], {"body_id": body, "now": now})
    return True

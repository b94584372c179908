"""Bodies that were stored already: whoever got no answer sends the same one again, and it must not count twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import duckdb

from diagnose.pprof.hashing import hash64
from diagnose.store.queries import load_queries

SAME_WITHIN = timedelta(minutes=30)
QUERIES = load_queries("received")


def body_id(body: bytes) -> int:
    return hash64(body)


def remember_bodies(cursor: duckdb.DuckDBPyConnection, bodies: Sequence[int], now: datetime) -> list[bool]:
    """
    Which of *bodies* are new; they are then remembered in the same transaction as their rows.

    Old entries go in bulk, so that the table holds half an hour to an hour of them.
    """
    since = now - SAME_WITHIN
    known = cursor.execute(QUERIES["known_bodies"], {"body_ids": list(bodies), "since": since}).fetchall()
    seen = {body for (body,) in known}
    is_new = []
    for body in bodies:
        is_new.append(body not in seen)
        seen.add(body)
    fresh = [body for body, new in zip(bodies, is_new, strict=True) if new]
    if fresh:
        [(oldest,)] = cursor.execute(QUERIES["oldest_body"]).fetchall()
        if oldest is not None and oldest < since - SAME_WITHIN:
            cursor.execute(QUERIES["forget_bodies"], {"before": since})
        cursor.execute(QUERIES["remember_bodies"], {"body_ids": fresh, "now": now})
    return is_new

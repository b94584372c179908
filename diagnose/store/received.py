"""Bodies that were stored already: whoever got no answer sends the same one again, and it must not count twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import duckdb

from diagnose.pprof.hashing import hash64
from diagnose.store.queries import load_queries

SAME_WITHIN = timedelta(minutes=30)
FORGET_EVERY = 256
QUERIES = load_queries("received")


def body_id(body: bytes) -> int:
    return hash64(body)


def remember_bodies(cursor: duckdb.DuckDBPyConnection, bodies: Sequence[int], now: datetime) -> list[bool]:
    """
    Which of *bodies* are new; they are then remembered in the same transaction as their rows.

    Old entries go now and then, so that the table holds half an hour of them and a little more.
    """
    since = now - SAME_WITHIN
    asked = {"body_ids": list(dict.fromkeys(bodies)), "since": since, "now": now}
    new = {body for (body,) in cursor.execute(QUERIES["remember_bodies"], asked).fetchall()}
    if any(body % FORGET_EVERY == 0 for body in new):  # ids are hashes: one body in so many
        cursor.execute(QUERIES["forget_bodies"], {"before": since})
    return [body in new and body not in bodies[:place] for place, body in enumerate(bodies)]

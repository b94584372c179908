"""Which build of a program runs where and since when: what a change is told by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from diagnose.store.db import Store
from diagnose.store.queries import load_queries
from diagnose.store.rows import fetch

SQL = load_queries("builds")
RENEW = timedelta(minutes=5)  # `last_seen` may be this much behind: a write per look would be many


@dataclass(frozen=True)
class Build:
    """A build on one instance, from when it was first seen there to when it was last."""

    service_name: str
    service_instance_id: str
    build_id: str
    first_seen: datetime
    last_seen: datetime


def see_build(store: Store, service: str, instance: str, build_id: str, at: datetime) -> Build | None:
    """
    Note that *instance* ran *build_id* at that moment. Answers the build it ran before, when this is another one.

    An empty id (a program without one, or a profile that does not tell) is ignored.
    """
    values = {"service": service, "instance": instance, "build": build_id, "at": at}
    last = _last(store, service, instance) if build_id else None
    if not build_id or (last and last.build_id == build_id and at - last.last_seen < RENEW):
        return None

    def save(cursor: duckdb.DuckDBPyConnection) -> None:
        if not fetch(cursor, SQL["renew_build"], values):
            cursor.execute(SQL["new_build"], values)

    store.control.run(save)
    return last if last and last.build_id != build_id else None


def _last(store: Store, service: str, instance: str) -> Build | None:
    found = store.rows(SQL["last_build"], {"service": service, "instance": instance})
    return Build(**found[0]) if found else None


def builds_of(store: Store, service: str) -> list[Build]:
    """All builds of all instances, in the order they were first seen."""
    return [Build(**row) for row in store.rows(SQL["builds_of"], {"service": service})]

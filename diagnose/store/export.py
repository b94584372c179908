"""
DuckDB files that stand alone: what belongs to one incident.

Such a file has the tables, views, macros and comments of the service in one database and names no other, so it answers
the same SQL under any file name, in DuckDB 1.4, 1.5 and 2.0. It is written beside its place and renamed when complete.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from diagnose.errors import NotFound, StoreError
from diagnose.model import utc_now
from diagnose.store.db import FILES, Store, create_views, migrations
from diagnose.store.queries import load_queries

STORAGE_VERSION = "v1.0.0"  # the oldest format that DuckDB 1.4 writes and everything newer reads
MAX_SPANS = 200_000
MAX_POINTS = 500_000
QUERIES = load_queries("export")

OF_INCIDENT = (
    "incident",
    "incident_trace",
    "finding",
    "note",
    "report",
    "delivery",
    "timeline_entry",
    "timing",
    "decision",
)
STATEMENTS = (
    "trace_spans",
    "window_spans",
    "points",
    "histograms",
    "exemplars",
    "series",
    "resources",
    "profiles",
    "samples",
    "weights",
    "stacks",
    "nodes",
    "frames",
    "functions",
    "captures",
    "builds",
    "episodes",
    "alert_events",
    "messages",
)  # in this order: the later ones look at what the earlier ones brought
PARAMETER = re.compile(r"\$(\w+)")
Fill = Callable[[duckdb.DuckDBPyConnection], None]


def export_incident(store: Store, incident_id: str, path: Path) -> None:
    """
    Write the rows of one incident to *path*: what was received, decided and found, its traces, and of the services in
    them the spans from 15 minutes before its start, metrics from an hour before, with the profiles it is compared with.

    At most MAX_SPANS spans and MAX_POINTS points of each kind beside those of its traces, the newest. Raises NotFound,
    and StoreError when the file cannot be written.
    """
    scope = _scope(store, incident_id)

    def fill(cursor: duckdb.DuckDBPyConnection) -> None:
        for table in OF_INCIDENT:
            rows = f"SELECT * FROM control.{table} WHERE incident_id = $incident_id"  # noqa: S608  our own table names
            cursor.execute(*_named(f"INSERT INTO {table} {rows}", scope))
        for name in STATEMENTS:
            cursor.execute(*_named(QUERIES[name], scope))

    write_database(store, path, fill)


def _scope(store: Store, incident_id: str) -> dict[str, Any]:
    """The parameters of all statements."""
    found = store.rows(QUERIES["incident_scope"], {"incident_id": incident_id, "now": utc_now()})
    if not found:
        raise NotFound(f"no incident {incident_id!r}")
    scope = found[0] | {"incident_id": incident_id, "max_spans": MAX_SPANS, "max_points": MAX_POINTS}
    beside = store.rows(QUERIES["incident_span_services"], {"trace_ids": scope["trace_ids"]})
    scope["services"] = sorted({scope["service"], *(row["service_name"] for row in beside)})
    scope["profile_ids"] = [row["profile_id"] for row in store.rows(*_named(QUERIES["incident_profiles"], scope))]
    return scope


def _named(sql: str, scope: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A statement and those of the parameters that it names."""
    return sql, {name: scope[name] for name in set(PARAMETER.findall(sql))}


def write_database(store: Store, path: Path, fill: Fill, *, empty: Path | None = None) -> None:
    """
    A file at *path* with all tables, views and macros, and the rows that *fill* puts in on a cursor of it.

    It does so in one transaction, so what it reads is one state of both databases. To make the tables and views takes
    most of the time: *empty* is a file that has them already. Raises StoreError.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if empty:
            shutil.copyfile(empty, part)
        with _new_database(store, part) as cursor:
            if not empty:
                _create_tables(cursor)
                create_views(cursor)
            cursor.execute("BEGIN TRANSACTION")
            fill(cursor)
            cursor.execute("COMMIT")
        part.replace(path)
    except (duckdb.Error, OSError) as err:
        raise StoreError(f"{path} cannot be written: {err}") from err
    finally:
        for left in (part, part.with_name(f"{part.name}.wal")):
            left.unlink(missing_ok=True)


@contextmanager
def _new_database(store: Store, file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor whose only database is *file*; it is complete when this ends."""
    name = f"export_{secrets.token_hex(6)}"
    cursor = store.cursor()
    quoted = str(file).replace("'", "''")
    try:
        cursor.execute(f"ATTACH '{quoted}' AS {name} (STORAGE_VERSION '{STORAGE_VERSION}')")
        try:
            cursor.execute(f"USE {name}")
            yield cursor
            cursor.execute(f"CHECKPOINT {name}")
        finally:
            with suppress(duckdb.TransactionException):
                cursor.execute("ROLLBACK")  # of what failed; when all is committed there is nothing to roll back
            cursor.execute("USE memory")
            cursor.execute(f"DETACH {name}")
    finally:
        cursor.close()


def _create_tables(cursor: duckdb.DuckDBPyConnection) -> None:
    for database in FILES:
        for script in migrations(database):
            cursor.execute(script)

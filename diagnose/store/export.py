"""
One incident, or everything, as a DuckDB file of its own: tables, the documented views and macros, comments.

The file is written with STORAGE_VERSION 'v1.0.0', which DuckDB 1.0 to 2.x open, and names no catalogue anywhere, so it
works under any file name. The SQL of every finding runs on it unchanged.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import duckdb

from diagnose.errors import NotFound, StoreError
from diagnose.store.db import Store, create_views, fetch
from diagnose.store.queries import load_queries

STORAGE_VERSION = "v1.0.0"
PRIVATE = frozenset({"schema_version", "sql_audit", "rejected_request", "received_body"})  # nothing a reader needs
TABLES = "SELECT table_name, comment FROM duckdb_tables() WHERE database_name IN ('control', 'telemetry')"
Rows = Callable[[str], str]  # table → the SELECT of its rows


def export_incident(store: Store, incident_id: str, path: Path) -> None:
    """
    Write what belongs to one incident to *path*: its rows, traces, profiles, the healthy time they are compared with.

    The file appears when it is complete. Raises NotFound, and StoreError when it cannot be written.
    """
    if not store.rows("SELECT 1 FROM incident WHERE incident_id = ?", [incident_id]):
        raise NotFound(f"no incident {incident_id}")
    queries = load_queries("export")
    _export(store, path, list(queries), lambda table: queries[table], {"incident_id": incident_id})


def export_all(store: Store, path: Path) -> None:
    """Write every table to *path*, as of one moment."""
    tables = [row["table_name"] for row in store.rows(TABLES) if row["table_name"] not in PRIVATE]
    _export(store, path, tables, lambda table: f"SELECT * FROM {table}", {})  # noqa: S608  our own table names


def _export(store: Store, path: Path, tables: list[str], rows_of: Rows, params: dict[str, str]) -> None:
    name = f"export_{secrets.token_hex(8)}"
    partial = path.with_name(f".{path.name}.{name}")
    cursor = store.cursor()
    try:
        _attach(cursor, partial, name)
        try:
            _copy(cursor, name, tables, rows_of, params)
            _add_views(store, name)
        finally:
            cursor.execute(f"DETACH {name}")
        os.replace(partial, path)
    except (duckdb.IOException, OSError) as err:
        raise StoreError(f"{path} cannot be written: {err}") from err
    finally:
        cursor.close()
        partial.unlink(missing_ok=True)
        partial.with_name(f"{partial.name}.wal").unlink(missing_ok=True)


def _attach(cursor: duckdb.DuckDBPyConnection, file: Path, name: str) -> None:
    quoted = str(file).replace("'", "''")
    cursor.execute(f"ATTACH '{quoted}' AS {name} (STORAGE_VERSION '{STORAGE_VERSION}')")


def _copy(
    cursor: duckdb.DuckDBPyConnection, name: str, tables: list[str], rows_of: Rows, params: dict[str, str]
) -> None:
    """All tables in one transaction: the rows of one moment. Tables that are not listed are there, but empty."""
    comments = {row["table_name"]: row["comment"] for row in fetch(cursor, TABLES)}
    cursor.execute("BEGIN TRANSACTION")
    for table in tables:
        _create(cursor, name, table, rows_of(table).replace("{export}", name), params)
    for table in comments.keys() - set(tables):
        _create(cursor, name, table, f"SELECT * FROM {table} LIMIT 0", {})  # noqa: S608  our own table names
    for table, comment in comments.items():
        if comment:
            cursor.execute(f"COMMENT ON TABLE {name}.{table} IS '{comment.replace(chr(39), chr(39) * 2)}'")
    cursor.execute("COMMIT")


def _create(cursor: duckdb.DuckDBPyConnection, name: str, table: str, rows: str, params: dict[str, str]) -> None:
    used = {key: value for key, value in params.items() if f"${key}" in rows}
    cursor.execute(f"CREATE TABLE {name}.{table} AS {rows}", used)


def _add_views(store: Store, name: str) -> None:
    cursor = store.cursor()
    try:
        cursor.execute(f"SET search_path = '{name}'")
        create_views(cursor)
        cursor.execute(f"CHECKPOINT {name}")
    finally:
        cursor.close()
